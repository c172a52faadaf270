"""To whom an order is owed."""

import base64
import struct

from pyroaring import BitMap

from services.evaluation.domain.attribution import (
    Bought,
    Control,
    Owed,
    Reach,
    TouchKey,
    by_control,
    by_reach,
    decode,
)


def touch_id(planned_day, activity, occurrence, touchpoint, ordinal):
    packed = struct.pack(">HIIBI", planned_day, activity, occurrence, touchpoint, ordinal)
    return base64.b32encode(packed).decode().lower()


def test_a_touch_id_tells_its_key():
    assert decode(touch_id(7537, 21, 1, 8, 123456)) == TouchKey(7537, 21, 1, 8, 123456)
    assert decode("short") is None
    assert decode("1" * 24) is None


def reach(activity, day, *members, touchpoint=1, product="P"):
    return Reach(activity, touchpoint, day, product, BitMap(members))


def test_the_latest_reach_with_the_product_within_thirty_days_wins():
    """Orders are owed to the activity through its product (EVA-10)."""
    reaches = [
        reach(1, 100, 7),
        reach(2, 105, 7),
        reach(3, 105, 7, touchpoint=8),
        reach(3, 105, 7, touchpoint=2),
        reach(4, 111, 7),
        reach(5, 109, 7, product="Q"),
        reach(6, 80, 8),
    ]
    orders = [
        Bought(7, "P", 110, 0),
        Bought(7, "P", 104, 0),
        Bought(7, "Q", 110, 0),
        Bought(8, "P", 110, 0),
        Bought(8, "P", 111, 0),
        Bought(9, "P", 110, 0),
        Bought(7, "P", 99, 0),
    ]
    assert by_reach(orders, reaches) == [Owed(3, 2), Owed(1, 1), Owed(5, 1), Owed(6, 1), None, None, None]


def test_a_control_group_is_that_of_the_last_launch_before_the_order():
    controls = [
        Control(1, "P", 100, BitMap([5])),
        Control(2, "P", 200, BitMap([5])),
        Control(3, "P", 400, BitMap([5])),
        Control(4, "Q", 250, BitMap([5])),
    ]
    assert by_control(Bought(5, "P", 0, 300), controls) == Owed(2, 0, True)
    assert by_control(Bought(5, "P", 0, 99), controls) is None
    assert by_control(Bought(6, "P", 0, 300), controls) is None
