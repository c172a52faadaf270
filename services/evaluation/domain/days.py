"""Days of the region's time zone, and the periods of reports. A day is a number: days since 1970-01-01."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from services.kit import errors

Days = NDArray[np.int64]

EPOCH = date(1970, 1, 1)
LONGEST = 400  # days that one report or funnel may span

_QUARTER_US = 900 * 1_000_000  # time zones change their offset on quarters of an hour


def number(day: date) -> int:
    """The number of a date."""
    return (day - EPOCH).days


def day_of(day: int) -> date:
    """The date of a number."""
    return EPOCH + timedelta(days=int(day))


def parse(text: str, field: str) -> int | None:
    """The number of a `YYYY-MM-DD` text, None when it is empty; errors.Invalid names `field`."""
    if not text:
        return None
    try:
        return number(date.fromisoformat(text))
    except ValueError:
        raise errors.Invalid(
            f"{text!r} is not a date", fields=[(field, "must be a date, YYYY-MM-DD")]
        ) from None


def days_of(micros: NDArray[Any], tz: str) -> Days:
    """The day in `tz` of each time (microseconds since 1970, int64)."""
    quarters, inverse = np.unique(np.asarray(micros, np.int64) // _QUARTER_US, return_inverse=True)
    zone = ZoneInfo(tz)
    found = [number(datetime.fromtimestamp(int(q) * 900, UTC).astimezone(zone).date()) for q in quarters]
    return np.array(found, np.int64)[inverse]


@dataclass(frozen=True)
class Period:
    """A row label of a report and the days it covers, both included."""

    label: str
    first: int
    last: int


def periods(first: int, last: int, monthly: bool) -> list[Period]:
    """The days, or the months cut to the range, from `first` to `last` (EVA-13, EVA-14)."""
    if last < first:
        raise errors.Invalid(
            "the period ends before it begins", fields=[("end_date", "must not lie before start_date")]
        )
    if last - first >= LONGEST:
        raise errors.Invalid(
            "the period is too long", fields=[("end_date", f"at most {LONGEST} days from start_date")]
        )
    found: list[Period] = []
    for day in range(first, last + 1):
        label = day_of(day).isoformat()[: 7 if monthly else 10]
        if found and found[-1].label == label:
            found[-1] = Period(label, found[-1].first, day)
        else:
            found.append(Period(label, day, day))
    return found
