"""What a launch or a periodic update selects: snapshots, control group, groups of the split."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pyroaring import BitMap

from services.campaign.bitmaps import Bitmaps
from services.campaign.domain import split
from services.campaign.domain.model import Setting
from services.campaign.neighbours import Neighbours
from services.campaign.store.activities import Activity, Bitmap


@dataclass(frozen=True)
class Selection:
    """Customers of one choice of lists, shared by the settings that made that choice."""

    snapshot: Any  # iop.audience.v1.Snapshot
    stored: Bitmap  # the snapshot's bitmap
    members: BitMap
    control: BitMap
    groups: dict[int, BitMap]
    touchpoints: tuple[int, ...]

    @property
    def excluded(self) -> dict[str, int]:
        """Subscribers taken out by lists, by reason."""
        return {row.reason: row.count for row in self.snapshot.excluded}

    @property
    def directory_version(self) -> int:
        """Version of the directory that the ordinals belong to."""
        return self.stored.directory_version


async def select(
    activity: Activity,
    settings: Iterable[Setting],
    scope: Sequence[int],
    cause: str,
    neighbours: Neighbours,
    bitmaps: Bitmaps,
) -> list[Selection]:
    """One selection per distinct choice of lists, in order of the touchpoints.

    `cause` makes the snapshots' request ids, so that a repeat after a crash gets the same ones.
    """
    by_choice: dict[tuple[Any, ...], list[Setting]] = {}
    for setting in settings:
        by_choice.setdefault(setting.choice, []).append(setting)
    plan = activity.plan
    assert plan.target is not None  # complete before it was submitted
    found = []
    for index, sharing in enumerate(by_choice.values()):
        made = await neighbours.snapshot(plan.target, scope, sharing[0], f"{cause}-{index}")
        ref = made.bitmap
        stored = Bitmap(ref.object, ref.digest, ref.cardinality, ref.directory_version)
        members = await bitmaps.get(stored)
        control, groups = await asyncio.to_thread(
            split.divide, members, split.seed_of(activity.name), plan.control_percent, plan.splits
        )
        touchpoints = tuple(setting.touchpoint for setting in sharing)
        found.append(Selection(made, stored, members, control, groups, touchpoints))
    return found


def union(sets: Iterable[BitMap]) -> BitMap:
    """A new set of all members of the sets."""
    everyone = BitMap()
    for members in sets:
        everyone |= members
    return everyone
