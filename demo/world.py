"""The input of one run: the generated people, and the day they live. Runner and recomputation read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from demo import places, subscribers, visits
from demo.people import People
from demo.signals import REGION_TIME, Day
from demo.simulators import fate
from demo.subscribers import DEMO_DAY, Population

LAST_MONTH, YESTERDAY = date(2020, 8, 31), date(2020, 9, 15)  # dates of monthly and of daily tags
# Shares of errands that end at a counter and of customers who browse, as far as the demonstration plays them.
COUNTER_SHARE, TOOLBAR_SHARE = 0.10, 0.012
COME = 0.15  # of those whom the 38-yuan tier would suit
_KEPT = 1_000_000  # subscribers whose columns stay in memory; more are generated again

# Tags and lists that conditions, templates and reports read.
COLUMNS = (
    "monthly_spend", "monthly_traffic", "outgoing_minutes", "user_12580", "violation_queries", "apps",
    "terminal_months", "campus_role", "traffic_saturation", "broadband", "business_preference",
    "enrolment_year", "data_plus_follower", "salutation",
)  # fmt: skip


def at(minute: int) -> datetime:
    """UTC time of a minute of the demo day, region time; 1440 and more lie on the next day."""
    local = datetime.combine(DEMO_DAY, time(), REGION_TIME) + timedelta(minutes=minute)
    return local.astimezone(UTC)


def micros(minute: int) -> int:
    """Microseconds since 1970 of a minute of the demo day."""
    return round(at(minute).timestamp() * 1_000_000)


@dataclass(frozen=True)
class World:
    """People and their day. Rows are subscribers in the order in which they are loaded."""

    count: int
    seed: int

    @cached_property
    def _chunks(self) -> list[Population]:
        return list(subscribers.generate(self.count, self.seed)) if self.count <= _KEPT else []

    def chunks(self) -> Iterator[Population]:
        """The population, in chunks."""
        return iter(self._chunks) if self.count <= _KEPT else subscribers.generate(self.count, self.seed)

    @cached_property
    def people(self) -> People:
        """What the players of the day need."""
        return People.of(self.chunks())

    @cached_property
    def columns(self) -> dict[str, NDArray]:
        """The tags in COLUMNS as stored: exact integers."""
        parts = [{code: chunk.stored[code] for code in COLUMNS} for chunk in self.chunks()]
        return {code: np.concatenate([part[code] for part in parts]) for code in COLUMNS}

    @cached_property
    def lists(self) -> dict[str, NDArray[np.bool_]]:
        """Members of the suppression lists."""
        parts = [chunk.suppressed for chunk in self.chunks()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @cached_property
    def salutations(self) -> tuple[str, ...]:
        """Texts that the column `salutation` points into."""
        return next(self.chunks()).texts["salutation"]

    @cached_property
    def day(self) -> Day:
        """The signals of the demo day."""
        return Day(self.people, DEMO_DAY, self.seed)

    @cached_property
    def caliber(self) -> NDArray[np.bool_]:
        """Who fits AUD-30."""
        return np.concatenate([chunk.caliber() for chunk in self.chunks()])

    @cached_property
    def counter_visits(self) -> visits.Visits:
        """Who comes to a counter: some of those on an errand, and some whom the 38-yuan tier would suit."""
        errands = visits.visits(self.day, visits.STORE_COUNTER, COUNTER_SHARE)
        rows = np.setdiff1d(np.flatnonzero(self.caliber), errands.row)
        rows = rows[fate.draw(self.seed, "", self.people.phone[rows], visits.STORE_COUNTER, "comes") < COME]
        minute = 540 + 480 * fate.draw(self.seed, "", self.people.phone[rows], visits.STORE_COUNTER, "time")
        known = places.places()
        store_of = {place.county: i for i, place in enumerate(known) if place.kind == places.STORE}
        return visits.merge(
            errands,
            visits.Visits(
                touchpoint=visits.STORE_COUNTER,
                row=rows,
                at=micros(0) + (minute * 60_000_000).astype(np.int64),
                subscriber_id=self.people.subscriber_id[rows],
                phone=self.people.phone[rows],
                where=np.array([store_of[int(c)] for c in self.people.county[rows]], dtype=np.int64),
                names=errands.names,
            ),
        )

    @cached_property
    def toolbar_sessions(self) -> visits.Visits:
        """Who browses with the Toolbar."""
        return visits.visits(self.day, visits.TOOLBAR, TOOLBAR_SHARE)

    def prepare(self) -> World:
        """Generates everything that is asked for later."""
        _ = self.people, self.columns, self.lists, self.day, self.counter_visits, self.toolbar_sessions
        return self
