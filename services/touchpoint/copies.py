"""Copies of what others own: the subscriber directory, the suppression lists, activities and policy."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any

import numpy as np
from iop.audience.v1 import directory_pb2, directory_pb2_grpc, list_pb2, list_pb2_grpc
from iop.campaign.v1 import activity_pb2, events_pb2
from iop.touchpoint.v1 import touchpoint_pb2
from numpy.typing import NDArray
from pyroaring import BitMap

from services.kit import actor, errors, resource, rpc
from services.kit.replica import ColumnReplica
from services.touchpoint.domain import catalogue, suppression, template
from services.touchpoint.domain.activity import Activity, ActivityState, Lane, Setting
from services.touchpoint.domain.policy import Cap, ContactPolicy, clock_text, window
from services.touchpoint.flow.centre import Centre
from services.touchpoint.store import registry

_YES = frozenset({"1", "true", "yes", "y", "是", "有"})
_VARIABLES = 5_000  # ordinals a call


class Directory:
    """Ordinal to subscriber id and number, and back."""

    def __init__(self, stub: directory_pb2_grpc.DirectoryServiceStub) -> None:
        self._stub = stub
        self._columns = ColumnReplica(
            self._fetch, {"subscriber_ids": np.int64, "phones": np.int64, "counties": np.int32}
        )
        self._by_phone = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._by_id = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    @property
    def version(self) -> int:
        """Version of the copy."""
        return self._columns.version

    async def refresh(self) -> None:
        """Bring the copy up to date."""
        if await self._columns.refresh():
            self._by_phone = await asyncio.to_thread(_index, self._columns.column("phones"))
            self._by_id = await asyncio.to_thread(_index, self._columns.column("subscriber_ids"))

    def phones_of(self, ordinals: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Numbers, 0 where a subscriber has none or is not known."""
        column = self._columns.column("phones")
        known = ordinals < len(column)
        return (
            np.where(known, column[np.where(known, ordinals, 0)], 0)
            if len(column)
            else np.zeros(len(ordinals), np.int64)
        )

    def subscriber(self, ordinal: int) -> tuple[int, int]:
        """(subscriber id, number) of an ordinal; zeros when it is not known."""
        if ordinal >= len(self._columns):
            return 0, 0
        return int(self._columns.column("subscriber_ids")[ordinal]), int(
            self._columns.column("phones")[ordinal]
        )

    def county(self, ordinal: int) -> int:
        """Home county of an ordinal, 0 when it is not known."""
        return int(self._columns.column("counties")[ordinal]) if ordinal < len(self._columns) else 0

    def by_phone(self, phone: int) -> int | None:
        """The ordinal that has a number today."""
        return _search(self._by_phone, phone)

    def by_subscriber(self, subscriber_id: int) -> int | None:
        """The ordinal of a subscriber id."""
        return _search(self._by_id, subscriber_id)

    async def _fetch(self, version: int) -> AsyncIterator[tuple[int, dict[str, NDArray[Any]], int]]:
        request = directory_pb2.StreamDirectoryRequest(
            start_ordinal=len(self._columns) if version else 0, since_version=version
        )
        reached = version
        stream: Any = self._stub.StreamDirectory(request)
        async for chunk in stream:
            ordinals = np.frombuffer(chunk.ordinals, "<u4")
            ids = np.frombuffer(chunk.subscriber_ids, "<i8")
            phones = np.frombuffer(chunk.phones, "<i8")
            counties = np.frombuffer(chunk.counties, "<i4")
            reached = max(reached, chunk.directory_version)
            cuts = np.flatnonzero(np.diff(ordinals.astype(np.int64)) != 1) + 1
            for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(ordinals)], strict=True):
                if end > start:
                    columns = {
                        "subscriber_ids": ids[start:end],
                        "phones": phones[start:end],
                        "counties": counties[start:end],
                    }
                    # Only a whole stream reaches the new version: an interrupted one is read again.
                    yield int(ordinals[start]), columns, version
        nothing = {"subscriber_ids": _none(), "phones": _none(), "counties": _none()}
        yield len(self._columns), nothing, reached


def _none() -> NDArray[np.int64]:
    """An empty column."""
    return np.zeros(0, np.int64)


def _index(column: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(column, kind="stable")
    keys = column[order]
    first = int(np.searchsorted(keys, 1))
    return keys[first:], order[first:]


def _search(index: tuple[NDArray[np.int64], NDArray[np.int64]], key: int) -> int | None:
    keys, order = index
    at = int(np.searchsorted(keys, key))
    return int(order[at]) if at < len(keys) and keys[at] == key else None


class Copies:
    """Everything copied. `ready` once directory and lists are there."""

    def __init__(self, centre: Centre, channel: Any) -> None:
        self._centre = centre
        self._directory_stub = directory_pb2_grpc.DirectoryServiceStub(channel)
        self._list_stub = list_pb2_grpc.ListServiceStub(channel)
        self.directory = Directory(self._directory_stub)
        self.suppression_version = 0
        self.ready = False
        self._unknown_tags: set[str] = set()

    async def load(self) -> None:
        """Read directory and lists, waiting for audience as long as it takes."""
        pause = 0.2
        while True:
            try:
                await self.directory.refresh()
                await self.load_suppressions()
                self.ready = True
                self._centre.wake()
                return
            except (errors.Unavailable, errors.Exhausted) as away:
                if pause > 2:
                    self._centre.service.log.info("waiting for audience: %s", away)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 1.7)

    def require(self) -> None:
        """errors.Unavailable until the copies are there."""
        if not self.ready:
            raise errors.Unavailable("the subscriber directory has not been read yet", retry_after=1)

    async def load_suppressions(self) -> None:
        """Read every list whole, and add the opt-outs that audience may not have heard of yet."""
        answer = await self._list_stub.GetSuppressionBitmaps(list_pb2.GetSuppressionBitmapsRequest())
        own = await self._centre.db.read(registry.opt_outs)
        lists = [
            (
                suppression.BIT_OF_LIST[item.suppression_list],
                np.array(BitMap.deserialize(item.bitmap), np.uint32),
            )
            for item in answer.bitmaps
            if item.suppression_list in suppression.BIT_OF_LIST
        ]
        self._centre.flags.replace([*lists, (suppression.OPT_OUT, np.array(own, np.uint32))])
        self.suppression_version = answer.version

    async def change_suppression(self, change: Any) -> None:
        """Apply one suppression.changed; a gap reads everything again."""
        if change.version <= self.suppression_version:
            return
        if change.version != self.suppression_version + 1:
            await self.load_suppressions()
            return
        bit = suppression.BIT_OF_LIST.get(change.suppression_list, 0)
        added, removed = np.frombuffer(change.added, "<u4"), np.frombuffer(change.removed, "<u4")
        if bit == suppression.OPT_OUT and len(removed):
            await self._centre.db.transaction(lambda tx: registry.remove_opt_outs(tx, removed.tolist()))
        self._centre.flags.set(bit, added)
        self._centre.flags.clear(bit, removed)
        self.suppression_version = change.version

    async def variables(self, ordinals: NDArray[np.uint32], tags: Sequence[str]) -> dict[str, list[str]]:
        """Values of tags as a person reads them, by tag in the order of the ordinals."""
        made: dict[str, list[str]] = {tag: [] for tag in tags}
        for start in range(0, len(ordinals), _VARIABLES):
            part = ordinals[start : start + _VARIABLES].astype("<u4").tobytes()
            # Asked by the service itself: whom a clerk serves may need what the clerk may not read.
            with rpc.acting(actor.of_service("touchpoint")):
                answer = await self._directory_stub.GetVariables(
                    directory_pb2.GetVariablesRequest(ordinals=part, tags=list(tags))
                )
            for column in answer.columns:
                made[column.tag] += column.values
        return made

    async def variables_of(self, ordinal: int, tags: Sequence[str]) -> dict[str, str]:
        """Values of tags of one subscriber."""
        columns = await self.variables(np.array([ordinal], np.uint32), tags)
        return {tag: values[0] for tag, values in columns.items() if values}

    async def followers(self, tag: str, ordinals: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Who follows an account (TCH-80). While nobody has loaded the tag, everybody is tried."""
        try:
            values = (await self.variables(ordinals, [tag]))[tag]
        except (errors.NotFound, errors.Invalid) as problem:
            if tag not in self._unknown_tags:
                self._unknown_tags.add(tag)
                self._centre.service.log.warning(
                    "followers are not known, all are taken as reachable: %s", problem
                )
            return np.ones(len(ordinals), np.bool_)
        return np.array([value.strip().lower() in _YES for value in values], np.bool_)


def activity_of(launched: events_pb2.ActivityLaunched, row: registry.ActivityRow) -> Activity:
    """The activity in its launch, with the state and switches of its row."""
    source = launched.activity
    event = source.mode == activity_pb2.MODE_EVENT_TRIGGERED
    settings = {}
    for item in source.settings:
        if item.touchpoint not in catalogue.BY_NUMBER:
            continue
        choice = item.suppression
        lane, enabled = row.settings.get(item.touchpoint, (lane_of(item.priority), True))
        settings[int(item.touchpoint)] = Setting(
            touchpoint=item.touchpoint,
            start=date.fromisoformat(item.period.start_date),
            end=date.fromisoformat(item.period.end_date),
            push=item.touchpoint in catalogue.PUSH,
            lane=Lane(lane),
            enabled=enabled,
            suppression=suppression.mask(
                keep_block=choice.keep_block_list,
                keep_red=choice.keep_red_list,
                keep_sensitive=choice.keep_sensitive_list,
                location=event,
            ),
            words=item.marketing_words,
            variables=template.variables(item.marketing_words),
            fields=dict(item.fields),
        )
    return Activity(
        number=source.activity_number,
        name=source.name,
        code=source.code,
        display_name=source.display_name,
        event=event,
        marketing_type=launched.marketing_type,
        product_code=source.product.code,
        product_name=source.product.display_name,
        order_instruction=source.product.order_instruction,
        time_to_live_s=source.time_to_live_seconds or 1800,
        trace_budget=launched.trace_budget,
        traceparent=launched.traceparent,
        state=ActivityState(row.state),
        state_version=row.state_version,
        settings=settings,
    )


def lane_of(priority: int) -> int:
    """The lane of a priority; unspecified is medium."""
    return priority if priority in (1, 2, 3) else int(Lane.MEDIUM)


def lanes_of(launched: events_pb2.ActivityLaunched) -> dict[int, int]:
    """The lanes of an activity's touchpoints as launched."""
    return {
        int(s.touchpoint): lane_of(s.priority)
        for s in launched.activity.settings
        if s.touchpoint in catalogue.BY_NUMBER
    }


def policy_of(message: touchpoint_pb2.ContactPolicy, version: int, update_micros: int) -> ContactPolicy:
    """The policy in a message; errors.Invalid names what is wrong."""
    problems = []
    made = []
    for i, cap in enumerate(message.caps):
        unknown = [t for t in cap.touchpoints if t not in catalogue.BY_NUMBER]
        if unknown:
            problems.append((f"policy.caps[{i}].touchpoints", f"no such touchpoint: {unknown[0]}"))
        made.append(Cap(cap.limit, cap.days, frozenset(map(int, cap.touchpoints)), cap.marketing_type))
    if problems:
        raise errors.Invalid("; ".join(text for _, text in problems), fields=problems)
    return ContactPolicy(
        push_window=window(
            message.window_start, message.window_end, ("policy.window_start", "policy.window_end")
        ),
        event_window=window(
            message.event_window_start,
            message.event_window_end,
            ("policy.event_window_start", "policy.event_window_end"),
        ),
        caps=tuple(made),
        receipt_hours=message.receipt_hours,
        version=version,
        update_micros=update_micros,
    )


def policy_message(policy: ContactPolicy) -> touchpoint_pb2.ContactPolicy:
    """A policy as a message."""
    message = touchpoint_pb2.ContactPolicy(
        window_start=clock_text(policy.push_window.start),
        window_end=clock_text(policy.push_window.end),
        event_window_start=clock_text(policy.event_window.start),
        event_window_end=clock_text(policy.event_window.end),
        receipt_hours=policy.receipt_hours,
        etag=resource.etag(policy.version),
        caps=[
            touchpoint_pb2.ContactCap(
                touchpoints=sorted(cap.touchpoints),  # type: ignore[arg-type]
                marketing_type=cap.marketing_type,
                limit=cap.limit,
                days=cap.days,
            )
            for cap in policy.caps
        ],
    )
    if policy.update_micros:
        message.update_time.FromMicroseconds(policy.update_micros)
    return message
