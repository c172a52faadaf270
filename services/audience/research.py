"""Answers over a selection: who is in, who is taken out and why, of one consistent state.

`prepare` pins directory, catalogue and lists, checks the condition and the caller's regions, and opens
the columns; what it returns is worked on in a thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from services.audience import convert
from services.audience.domain import region
from services.audience.domain.catalogue import Tag
from services.audience.domain.condition import Checked, check, sets_of, tags_of
from services.audience.domain.selection import Selection, date_for
from services.audience.domain.suppression import applied, check_choice
from services.audience.engine import bitmap, execute
from services.audience.engine.columns import Column
from services.audience.memory import Catalogue, Memory
from services.audience.store import audiences as audience_rows
from services.kit import db, errors, resource
from services.kit.actor import Actor
from services.kit.bus import Bus

BITMAPS = "IOP_BITMAPS"
_NESTING = 8


@dataclass(frozen=True)
class Prepared:
    """A selection over one consistent state, ready to run."""

    checked: Checked
    step: execute.Step  # the condition alone
    scope: execute.Step  # the regions alone
    scope_ranges: region.Ranges
    exclusions: tuple[tuple[str, BitMap], ...]
    count: int  # subscribers of the directory
    counties: NDArray[np.uint16]
    directory_version: int
    catalogue: Catalogue
    data_date: date | None  # asked, else the newest date read
    columns: dict[str, Column]
    dates: dict[str, date]
    masks: dict[str, bitmap.Mask]
    tags: tuple[str, ...]

    def leaf(self, node: Checked) -> execute.Step:
        """The steps of one node of the condition."""
        return execute.build(node, lambda test: self.columns[test.tag.code], lambda name: self.masks[name])


@dataclass(frozen=True)
class Outcome:
    """Who is selected; `mask` has one boolean an ordinal."""

    scope: int
    matched: int
    excluded: tuple[tuple[str, int], ...]
    count: int
    mask: bitmap.Mask


class Research:
    """Prepares selections."""

    def __init__(self, memory: Memory, database: db.Database, bus: Bus, today: Callable[[], date]) -> None:
        self.memory, self._db, self._bus, self._today = memory, database, bus, today

    def check_condition(self, selection: Selection, path: str = "selection.condition") -> Checked:
        """Check a condition that is only kept: values need not be loaded yet."""
        return self._check(selection, self.memory.catalogue, path)

    def _check(self, selection: Selection, catalogue: Catalogue, path: str) -> Checked:
        day = selection.data_date or self._today()
        return check(selection.condition, catalogue.tag, lambda _: day, path)

    def scope_of(self, selection: Selection, actor: Actor, path: str = "selection") -> region.Ranges:
        """The regions of a selection within those of the caller; Denied REGION_OUT_OF_SCOPE beyond them."""
        ranges = region.ranges_of(selection.regions, f"{path}.regions")
        for code in selection.regions:
            actor.require_region(code)
        if not selection.regions and not actor.whole_province:
            if not actor.regions:
                raise errors.Denied("you have no regions", reason="REGION_OUT_OF_SCOPE")
            return region.ranges_of(actor.regions, "actor.regions")
        return ranges

    async def prepare(
        self,
        selection: Selection,
        actor: Actor,
        *,
        bound: Sequence[int] = (),
        path: str = "selection",
        _above: tuple[str, ...] = (),
    ) -> Prepared:
        """Make a selection ready; `bound` are regions it may not exceed.

        Errors: Invalid TAG_UNKNOWN, CONDITION_TYPE_MISMATCH, CONDITION_IMPOSSIBLE, SET_UNKNOWN,
        SUPPRESSION_REASON_MISSING; Precondition DATA_DATE_MISSING; Denied REGION_OUT_OF_SCOPE.
        """
        check_choice(selection.suppression, actor.roles, f"{path}.suppression")
        scope_ranges = region.intersect(
            self.scope_of(selection, actor, path), region.ranges_of(bound, "regions")
        )
        directory, catalogue = self.memory.directory, self.memory.catalogue
        suppression = self.memory.suppression
        # The version is read before the count: rows of a newer version may be there, none is missing.
        directory_version, count = directory.version, directory.count
        counties = directory.county_codes[:count]
        dates: dict[str, date] = {}

        def day_of_data(tag: Tag) -> date:
            if tag.code not in dates:
                dates[tag.code] = date_for(tag, catalogue.dates(tag.code), selection.data_date)
            return dates[tag.code]

        # Faults of the condition come before missing data.
        self._check(selection, catalogue, f"{path}.condition")
        checked = check(selection.condition, catalogue.tag, day_of_data, f"{path}.condition")
        used = tags_of(selection.condition)
        for code in used:
            day_of_data(cast(Tag, catalogue.tag(code)))
        masks = {
            name: await self._set_mask(name, count, actor, _above, f"{path}.condition")
            for name in sets_of(checked)
        }

        def open_columns() -> dict[str, Column]:
            return {
                code: self.memory.column(cast(Tag, catalogue.tag(code)), dates[code], catalogue)
                for code in used
            }

        columns = await asyncio.to_thread(open_columns)
        step = execute.build(checked, lambda test: columns[test.tag.code], lambda name: masks[name])
        return Prepared(
            checked=checked,
            step=step,
            scope=execute.in_regions(counties, scope_ranges) if scope_ranges else execute.Constant(False),
            scope_ranges=scope_ranges,
            exclusions=tuple(
                (reason, suppression.bitmaps[kind]) for kind, reason in applied(selection.suppression)
            ),
            count=count,
            counties=counties,
            directory_version=directory_version,
            catalogue=catalogue,
            data_date=selection.data_date or max(dates.values(), default=None),
            columns=columns,
            dates=dates,
            masks=masks,
            tags=used,
        )

    async def _set_mask(
        self, name: str, count: int, actor: Actor, above: tuple[str, ...], path: str
    ) -> bitmap.Mask:
        """Members of a list, a snapshot or another audience (its condition and regions, not its lists)."""
        collection = name.partition("/")[0]
        try:
            if collection == "lists":
                members = await self.memory.list_bitmap(resource.parse(name, "lists"))
                return bitmap.to_mask(members, count)
            if collection == "snapshots":
                key = resource.parse(name, "snapshots")
                row = await self._db.read(lambda tx: audience_rows.snapshot(tx, key))
                data = await self._bus.get_object(BITMAPS, row.object, row.digest)
                return bitmap.to_mask(bitmap.deserialize(data), count)
            if collection == "audiences" and name not in above and len(above) < _NESTING:
                key = resource.parse(name, "audiences")
                row = await self._db.read(lambda tx: audience_rows.audience(tx, key))
                nested = convert.selection(convert.selection_from_json(row.selection))
                inner = await self.prepare(nested, actor, _above=(*above, name))
                return await asyncio.to_thread(matched_mask, inner, count)
        except errors.NotFound:
            pass
        problem = "refers to itself" if name in above else "does not exist or is not ready"
        raise errors.Invalid(
            f"the set {name} {problem}",
            reason="SET_UNKNOWN",
            fields=[(path, f"{name} {problem}")],
            metadata={"set": name},
        )


def matched_mask(prepared: Prepared, count: int | None = None) -> bitmap.Mask:
    """Who satisfies condition and regions, before lists are taken out. Blocking."""
    step = execute.both([prepared.scope, prepared.step])
    return execute.select(step, prepared.count if count is None else count)


def run(prepared: Prepared) -> Outcome:
    """Count and take out the lists, each subscriber by the first that holds him. Blocking."""
    scope = execute.count_of(prepared.scope, prepared.count)
    mask = matched_mask(prepared)
    matched = int(np.count_nonzero(mask))
    excluded = tuple((reason, bitmap.take_out(mask, members)) for reason, members in prepared.exclusions)
    return Outcome(scope, matched, excluded, matched - sum(n for _, n in excluded), mask)


def members_from(prepared: Prepared, start: int, limit: int) -> NDArray[np.int64]:
    """The first `limit` selected ordinals at or after `start`, looking no further than needed. Blocking."""
    step = execute.both([prepared.scope, prepared.step])
    found: list[NDArray[np.int64]] = []
    total, low = 0, start
    while low < prepared.count and total < limit:
        high = min(prepared.count, low + execute.BLOCK)
        mask = execute.select(step, high, low)
        ordinals = np.flatnonzero(mask).astype(np.int64) + low
        for _, members in prepared.exclusions:
            if len(ordinals) and members:
                inside = bitmap.from_ordinals(ordinals) & members
                ordinals = ordinals[~np.isin(ordinals, bitmap.to_array(inside))]
        found.append(ordinals)
        total += len(ordinals)
        low = high
    return np.concatenate(found)[:limit] if found else np.zeros(0, dtype=np.int64)
