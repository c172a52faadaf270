"""The key of a touch and its text form, the touch id.

A touch is (planned day, activity, occurrence, touchpoint, subscriber); the id is the 15 bytes of
`>HIIBI` in lower-case base32 without padding, 24 characters. Days count from 2000-01-01.
"""

import base64
import struct
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from services.kit import errors

EPOCH = date(2000, 1, 1)
_FORM = struct.Struct(">HIIBI")
_LENGTH = 24


class TouchKey(NamedTuple):
    """Identity of a touch; `ordinal` is the subscriber's."""

    planned_day: int
    activity_number: int
    occurrence: int
    touchpoint: int
    ordinal: int


def pack(key: TouchKey) -> bytes:
    """The 15 bytes of a key, as reservations in Redis are named."""
    return _FORM.pack(*key)


def unpack(raw: bytes) -> TouchKey:
    """The key of 15 bytes."""
    return TouchKey(*_FORM.unpack(raw))


def encode(key: TouchKey) -> str:
    """The touch id of a key."""
    return base64.b32encode(_FORM.pack(*key)).decode().lower()


def encode_page(
    day: int, activity: int, occurrence: int, touchpoint: int, ordinals: Iterable[int]
) -> list[str]:
    """The touch ids of one page, in the order of the ordinals."""
    pack_, b32 = _FORM.pack, base64.b32encode
    return [
        b32(pack_(day, activity, occurrence, touchpoint, ordinal)).decode().lower() for ordinal in ordinals
    ]


def decode(touch_id: str) -> TouchKey:
    """The key of a touch id; errors.Invalid, reason TOUCH_ID_INVALID, when it is none."""
    try:
        if len(touch_id) == _LENGTH and touch_id == touch_id.lower():
            return TouchKey(*_FORM.unpack(base64.b32decode(touch_id.upper())))
    except (ValueError, struct.error):
        pass
    raise errors.Invalid(
        f"{touch_id!r} is not a touch id",
        reason="TOUCH_ID_INVALID",
        fields=[("touch_id", "24 characters as the platform gave them")],
    )


def day_number(day: date) -> int:
    """Days since 2000-01-01."""
    return (day - EPOCH).days


def date_of(number: int) -> date:
    """The date of a day number."""
    return EPOCH + timedelta(days=number)
