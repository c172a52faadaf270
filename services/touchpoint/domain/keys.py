"""The key of a touch and its text form, the touch id.

A touch is (planned day, activity, occurrence, touchpoint, subscriber); the id is the 15 bytes of
`>HIIBI` in lower-case base32 without padding, 24 characters. Days count from 2000-01-01.
"""

import base64
import struct
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.kit import errors

EPOCH = date(2000, 1, 1)
_FORM = struct.Struct(">HIIBI")
_LENGTH = 24
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", np.uint8)
_VALUES = np.full(256, 255, np.uint8)
_VALUES[_LETTERS] = np.arange(32, dtype=np.uint8)


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


def encode_page(day: int, activity: int, occurrence: int, touchpoint: int, ordinals: ArrayLike) -> list[str]:
    """The touch ids of one page, in the order of the ordinals."""
    digits = _digits(pack_page(day, activity, occurrence, touchpoint, ordinals))
    return [text.decode() for text in _LETTERS[digits].view(f"S{_LENGTH}").ravel().tolist()]


def pack_page(
    day: int, activity: int, occurrence: int, touchpoint: int, ordinals: ArrayLike
) -> NDArray[np.uint8]:
    """The 15 bytes of each key of one page, one row a touch."""
    column = np.asarray(ordinals, ">u4")
    rows = np.empty((len(column), _FORM.size), np.uint8)
    rows[:] = np.frombuffer(_FORM.pack(day, activity, occurrence, touchpoint, 0), np.uint8)
    rows[:, 11:] = column.view(np.uint8).reshape(-1, 4)
    return rows


def decode_all(touch_ids: Sequence[str]) -> list[TouchKey | None]:
    """The keys of many touch ids; None for what is no touch id."""
    made: list[TouchKey | None] = [None] * len(touch_ids)
    good = [i for i, text in enumerate(touch_ids) if len(text) == _LENGTH and text.isascii()]
    if good:
        letters = np.frombuffer("".join(touch_ids[i] for i in good).encode(), np.uint8)
        digits = _VALUES[letters].reshape(-1, _LENGTH)
        bits = np.unpackbits(digits.reshape(-1, _LENGTH, 1), axis=2)[:, :, 3:].reshape(len(good), -1)
        raw = np.packbits(bits, axis=1).tobytes()
        valid = np.all(digits < 32, axis=1).tolist()
        for i, fine, key in zip(good, valid, _FORM.iter_unpack(raw), strict=True):
            if fine:
                made[i] = TouchKey(*key)
    return made


def _digits(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes as digits of five bits, 24 a row."""
    bits = np.unpackbits(rows, axis=1).reshape(-1, _LENGTH, 5)
    return bits @ np.array([16, 8, 4, 2, 1], np.uint8)  # type: ignore[no-any-return]


def decode(touch_id: str) -> TouchKey:
    """The key of a touch id; errors.Invalid, reason TOUCH_ID_INVALID, when it is none."""
    key = decode_all([touch_id])[0]
    if key is None:
        raise errors.Invalid(
            f"{touch_id!r} is not a touch id",
            reason="TOUCH_ID_INVALID",
            fields=[("touch_id", "24 characters as the platform gave them")],
        )
    return key


def day_number(day: date) -> int:
    """Days since 2000-01-01."""
    return (day - EPOCH).days


def date_of(number: int) -> date:
    """The date of a day number."""
    return EPOCH + timedelta(days=number)
