"""Customers who come by themselves on a day: counters, kiosks, browsing, halls, the hotline. Generated.

Counter and kiosk visits are errands of `Movement`, so that the customer's phone is seen at the store too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo import places, seeded, vocabulary
from demo.signals import HOURS, Day

STORE_COUNTER, KIOSK, TOOLBAR, APP_HALL, WEB_HALL, IVR = (
    "store_counter",
    "kiosk",
    "toolbar",
    "app_hall",
    "web_hall",
    "ivr",
)
# Of those on an errand at a store: who is served at the counter, who uses the kiosk.
COUNTER_SHARE, KIOSK_SHARE = 0.55, 0.25
# Of all subscribers (toolbar and app hall: of those with apps).
SHARES = {TOOLBAR: 0.10, APP_HALL: 0.02, WEB_HALL: 0.008, IVR: 0.01}
_SALTS = {kind: 301 + index for index, kind in enumerate((STORE_COUNTER, TOOLBAR, APP_HALL, WEB_HALL, IVR))}


@dataclass(frozen=True)
class Visits:
    """Visits in time order. `where` indexes `names`: stores' ids, hosts, or the one channel."""

    touchpoint: str
    row: NDArray[np.int64]
    at: NDArray[np.int64]  # microseconds since 1970, UTC
    subscriber_id: NDArray[np.int64]
    phone: NDArray[np.int64]
    where: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.row)

    def between(self, begin: int, end: int) -> Visits:
        """Visits with begin <= at < end, UTC microseconds."""
        lo, hi = np.searchsorted(self.at, (begin, end))
        cut = slice(lo, hi)
        return Visits(
            self.touchpoint,
            self.row[cut],
            self.at[cut],
            self.subscriber_id[cut],
            self.phone[cut],
            self.where[cut],
            self.names,
        )


def visits(day: Day, touchpoint: str, share: float | None = None) -> Visits:
    """The day's visits to a pull touchpoint; `share` replaces the default share of its customers."""
    if touchpoint in (STORE_COUNTER, KIOSK):
        return _store_visits(day, touchpoint, share)
    return _sessions(day, touchpoint, SHARES[touchpoint] if share is None else share)


def merge(first: Visits, second: Visits) -> Visits:
    """Visits of two groups to the same touchpoint, in time order; both name the same places."""
    both = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("row", "at", "subscriber_id", "phone", "where")
    }
    order = np.lexsort((both["row"], both["at"]))
    columns = {name: column[order] for name, column in both.items()}
    return Visits(touchpoint=first.touchpoint, names=first.names, **columns)


def _store_visits(day: Day, touchpoint: str, share: float | None) -> Visits:
    known, move = places.places(), day.movement
    is_store = np.array([place.kind == places.STORE for place in known])
    there = np.flatnonzero((move.errand_place >= 0) & is_store[move.errand_place])
    roll = seeded.unit(there, move.key, _SALTS[STORE_COUNTER])
    if touchpoint == STORE_COUNTER:
        chosen = roll < (COUNTER_SHARE if share is None else share)
    else:
        chosen = roll >= 1 - (KIOSK_SHARE if share is None else share)
    rows = there[chosen]
    # Served 3 to 20 minutes after coming in, before leaving at the earliest 25 minutes later.
    wait = seeded.below(17 * 60_000_000, rows, move.key, _SALTS[STORE_COUNTER], 1) + 3 * 60_000_000
    time = move.errand_from[rows].astype(np.int64) * 60_000_000 + wait
    names = tuple(place.id for place in known)
    return _visits(day, touchpoint, rows, time, move.errand_place[rows].astype(np.int64), names)


def _sessions(day: Day, touchpoint: str, share: float) -> Visits:
    key, salt, people = day.movement.key, _SALTS[touchpoint], day.people
    rows = np.arange(len(people))
    chosen = seeded.unit(rows, key, salt) < share
    if touchpoint in (TOOLBAR, APP_HALL):
        chosen &= people.apps != 0
    rows = rows[chosen]
    # Spread over the day as the signals are.
    cut = np.concatenate([[0.0], np.cumsum(HOURS) / sum(HOURS)])
    hour = np.interp(seeded.unit(rows, key, salt, 1), cut, np.arange(25))
    time = np.minimum((hour * 3_600_000_000).astype(np.int64), 86_400_000_000 - 1)
    if touchpoint != TOOLBAR:
        return _visits(day, touchpoint, rows, time, np.zeros(len(rows), dtype=np.int64), (touchpoint,))
    weights = np.cumsum(vocabulary.SITE_WEIGHTS)
    where = np.searchsorted(weights, seeded.unit(rows, key, salt, 2) * weights[-1], side="right")
    return _visits(day, touchpoint, rows, time, where, tuple(host for host, _ in vocabulary.SITES))


def _visits(
    day: Day, touchpoint: str, rows: NDArray, time: NDArray, where: NDArray, names: tuple[str, ...]
) -> Visits:
    order = np.lexsort((rows, time))
    rows = rows[order].astype(np.int64)
    start = round(day.start.timestamp() * 1_000_000)
    people = day.people
    return Visits(
        touchpoint=touchpoint,
        row=rows,
        at=start + time[order],
        subscriber_id=people.subscriber_id[rows],
        phone=people.phone[rows],
        where=where[order],
        names=names,
    )
