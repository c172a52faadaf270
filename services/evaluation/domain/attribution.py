"""Which activity an order is owed to (EVA-10).

The touch that the order names decides. Without one it is the latest activity that reached the
subscriber with the product within the 30 days up to the order; on the same day the younger activity.
An order of somebody whom nothing reached, but who is in the control group of an activity with the
product that runs, is that control group's.
"""

import base64
import binascii
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

WINDOW_DAYS = 30

_KEY = struct.Struct(">HIIBI")


@dataclass(frozen=True)
class TouchKey:
    """What a touch id says. `planned_day` counts from 2000-01-01."""

    planned_day: int
    activity_number: int
    occurrence: int
    touchpoint: int
    ordinal: int


def decode(touch_id: str) -> TouchKey | None:
    """The key in a touch id, None when it is not one."""
    if len(touch_id) != 24:
        return None
    try:
        return TouchKey(*_KEY.unpack(base64.b32decode(touch_id.upper())))
    except (binascii.Error, ValueError, struct.error):
        return None


@dataclass(frozen=True)
class Reach:
    """Subscribers that an activity reached by a touchpoint on a day; `product` is what it offers."""

    activity_number: int
    touchpoint: int
    day: int
    product: str
    members: BitMap


@dataclass(frozen=True)
class Control:
    """The control group of an activity."""

    activity_number: int
    product: str
    launched_at: int  # microseconds since 1970
    members: BitMap


@dataclass(frozen=True)
class Bought:
    """An order as far as attribution cares."""

    ordinal: int
    product: str
    day: int
    at: int  # microseconds since 1970


@dataclass(frozen=True)
class Owed:
    """To whom an order is owed; touchpoint 0 for a control group."""

    activity_number: int
    touchpoint: int
    control: bool = False


def by_reach(orders: Sequence[Bought], reaches: Iterable[Reach]) -> list[Owed | None]:
    """For each order the reach it is owed to, None when there is none."""
    owed: list[Owed | None] = [None] * len(orders)
    buyers: dict[str, dict[int, list[int]]] = {}
    for i, order in enumerate(orders):
        buyers.setdefault(order.product, {}).setdefault(order.ordinal, []).append(i)
    wanted = {
        product: BitMap(np.fromiter(people, np.uint32, len(people))) for product, people in buyers.items()
    }
    # Best first, so that the first hit of an order is its answer.
    for reach in sorted(reaches, key=lambda r: (-r.day, -r.activity_number, r.touchpoint)):
        for ordinal in reach.members & wanted.get(reach.product, BitMap()):
            for i in buyers[reach.product][ordinal]:
                if owed[i] is None and orders[i].day - WINDOW_DAYS <= reach.day <= orders[i].day:
                    owed[i] = Owed(reach.activity_number, reach.touchpoint)
    return owed


def by_control(order: Bought, controls: Iterable[Control]) -> Owed | None:
    """The control group an order belongs to: the activity launched last before the order."""
    best: Control | None = None
    for control in controls:
        if (
            control.product != order.product
            or control.launched_at > order.at
            or order.ordinal not in control.members
        ):
            continue
        if best is None or (control.launched_at, control.activity_number) > (
            best.launched_at,
            best.activity_number,
        ):
            best = control
    return Owed(best.activity_number, 0, True) if best else None
