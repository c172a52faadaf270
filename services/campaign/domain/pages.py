"""Pages of touches: their ids, their pace, how match batches become pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

EPOCH_DAY = date(2000, 1, 1)
_UNIX_TO_EPOCH_DAYS = (EPOCH_DAY - date(1970, 1, 1)).days
_DAY_US = 86_400_000_000


@dataclass
class Cursor:
    """How far the members of one group have been handed to one touchpoint in one wave."""

    group_index: int
    group: str
    digest: str
    size: int
    position: int = 0  # first ordinal that may not have been handed yet
    handed: int = 0

    @property
    def left(self) -> int:
        """Members not handed yet."""
        return self.size - self.handed


@dataclass(frozen=True)
class PushPage:
    """One page of a push, at most the page size long."""

    index: int
    group: str
    ordinals: NDArray[np.uint32]


@dataclass(frozen=True)
class MatchPage:
    """Rows of one match batch that are planned on one day."""

    day: int
    rows: NDArray[np.intp]  # positions in the batch


def push_page_id(activity_number: int, touchpoint: int, wave: int, index: int) -> str:
    """Id of a push page; the same page planned twice has the same id."""
    return f"{activity_number}.{touchpoint}.{wave}.{index}"


def match_page_id(message_id: str, touchpoint: int, index: int) -> str:
    """Id of the index-th page that a match batch gives a touchpoint."""
    return f"{message_id}.{touchpoint}" if index == 0 else f"{message_id}.{touchpoint}.{index}"


def allowance(received: int, room: int, handed: int, window: int) -> int:
    """Touches that may be handed now.

    `received` and `room` are the touchpoint's: what it has taken in and what it wants beyond. At most
    `window` may be on their way, so that urgent work never stands behind a flood.
    """
    return max(0, min(received + room, received + window) - handed)


def next_pages(
    cursors: Sequence[Cursor], sets: dict[str, BitMap], allowed: int, first_index: int, size: int, quiet: bool
) -> Iterator[PushPage]:
    """Cut pages of `size` off the cursors, which move on; at most `allowed` touches in all.

    A page is cut short only at the end of its group, or when nothing is on its way (`quiet`) and a
    whole page will never be allowed.
    """
    index = first_index
    for cursor in cursors:
        while cursor.left > 0:
            wanted = min(size, cursor.left)
            if allowed < wanted:
                if not (quiet and index == first_index and allowed > 0):
                    return
                wanted = allowed
            found = np.fromiter(
                islice(sets[cursor.digest].iter_equal_or_larger(cursor.position), wanted), np.uint32
            )
            cursor.position = int(found[-1]) + 1
            cursor.handed += len(found)
            allowed -= len(found)
            yield PushPage(index, cursor.group, found)
            index += 1


def planned_day(day: date) -> int:
    """Days since 2000-01-01."""
    return (day - EPOCH_DAY).days


def days_of(occurred_at: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Days since 2000-01-01, in the region's time zone, of times in microseconds since 1970."""
    if len(occurred_at) == 0:
        return np.zeros(0, np.int64)
    # One offset for a batch, unless the zone changes it in between.
    first, last = int(occurred_at.min()), int(occurred_at.max())
    if _offset_us(first, timezone) == _offset_us(last, timezone):
        local = occurred_at + _offset_us(first, timezone)
    else:
        local = occurred_at + np.array([_offset_us(int(at), timezone) for at in occurred_at], np.int64)
    return local // _DAY_US - _UNIX_TO_EPOCH_DAYS


def by_day(days: NDArray[np.int64], rows: NDArray[np.intp]) -> list[MatchPage]:
    """The rows of a batch grouped by day, earliest first: a batch over midnight gives two pages."""
    return [MatchPage(int(day), rows[days[rows] == day]) for day in np.unique(days[rows])]


def day_of(number: int) -> date:
    """The date of a planned day."""
    return EPOCH_DAY + timedelta(days=number)


def _offset_us(at: int, timezone: str) -> int:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(at // 1_000_000, UTC).astimezone(ZoneInfo(timezone))
    offset = moment.utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)
