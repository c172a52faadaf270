"""Audiences, exclusions and control groups, from the generated columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo import campuses, homes, vocabulary
from demo.cases import CAMPUS_SCHOOL, Case
from demo.world import World

Mask = NDArray[np.bool_]
HOHHOT, WUHAI = 150100, 150300
NOT_STUDENT = 0  # index of `student` among campus roles
VIDEO = 0  # index of `video` among business preferences
# The order in which lists take customers out, and the reason they give.
FUNNEL = (
    ("opt_out", "opt_out"), ("no_consent", "no_consent"), ("minor", "minor"),
    ("block", "block_list"), ("red", "red_list"), ("sensitive", "sensitive_list"),
)  # fmt: skip


@dataclass(frozen=True)
class Selected:
    """Who a case selects. Masks over all rows."""

    matched: Mask
    excluded: dict[str, int]
    control: Mask
    target: Mask  # after lists and control


def _fx38(world: World) -> Mask:
    c = world.columns  # fen, hundredths of a MB, hundredths of a minute
    spend, traffic, minutes = c["monthly_spend"], c["monthly_traffic"], c["outgoing_minutes"]
    return (
        (spend > 2_800) & (spend < 3_800) & (traffic >= 20_000) & (traffic <= 30_000)
        & (minutes >= 5_000) & (minutes <= 7_000)
    )  # fmt: skip


def _tencent(world: World) -> Mask:
    return (world.columns["apps"] >> np.uint64(vocabulary.TENCENT_VIDEO)) & np.uint64(1) == 1


def _car(world: World) -> Mask:
    return (world.columns["user_12580"] == 1) & (world.columns["violation_queries"] >= 3)


def _old_terminals(world: World) -> Mask:
    c = world.columns
    return (world.people.city == HOHHOT) & (c["terminal_months"] >= 18) & (c["campus_role"] != NOT_STUDENT)


def _saturated(world: World) -> Mask:
    return (world.people.city == HOHHOT) & (world.columns["traffic_saturation"] >= 8_000)


def _no_broadband(world: World) -> Mask:
    c = world.columns
    return (world.people.city == WUHAI) & (c["broadband"] == 0) & (c["campus_role"] != NOT_STUDENT)


def _video(world: World) -> Mask:
    c = world.columns
    return (c["business_preference"] == VIDEO) & (c["traffic_saturation"] >= 10_000)


def _students(world: World) -> Mask:
    mine = np.array([site.school.code == CAMPUS_SCHOOL for site in campuses.campuses()])
    people, year = world.people, world.columns["enrolment_year"]
    there = (people.campus >= 0) & (people.campus_role == homes.STUDENT) & mine[people.campus]
    return there & (year > 0) & (year < 2020)


CONDITIONS: dict[str, Callable[[World], Mask]] = {
    "CMP-21": _fx38, "CMP-22": _tencent, "CMP-40": _car, "CMP-41": _old_terminals, "CMP-42": _saturated,
    "CMP-43": _no_broadband, "CMP-44": _video, "CAM-32": _students,
}  # fmt: skip


def select(world: World, case: Case, opted_out: Mask | None = None) -> Selected:
    """Who the case selects when `opted_out` have refused since the load."""
    matched = np.asarray(CONDITIONS[case.case](world))
    left, excluded = matched.copy(), {}
    for name, reason in FUNNEL:
        members = world.lists[name]
        if name == "opt_out" and opted_out is not None:
            members = members | opted_out
        out = left & members
        excluded[reason] = int(out.sum())
        left &= ~members
    control = left & control_group(case.activity, world.count, case.control_percent)
    return Selected(matched, {r: n for r, n in excluded.items() if n}, control, left & ~control)


def control_group(activity: str, count: int, percent: float) -> Mask:
    """Which ordinals 0 to count - 1 the split keeps apart: the formula of the campaign service's README."""
    seed = int.from_bytes(hashlib.sha256(activity.encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        h = np.uint64(seed) + (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        h = h ^ (h >> np.uint64(31))
    return np.asarray((h >> np.uint64(32)).astype(np.float64) < np.floor(percent / 100 * 2**32))
