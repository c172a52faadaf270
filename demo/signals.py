"""A day of signals: location, power switch, terminal change, keyword search, site visit, app use. Generated.

The day is made of quarter-hour buckets, each a function of (seed, day, bucket): `between` gives the same rows
however the day is cut. Columns have the types and meanings of `iop.event.v1.SignalBatch`.

Beside a background at random times there are: regular location updates of students, arrival and departure of
errands, changes of terminal, and bursts of power switching where the network is weak (EVT-34).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from demo import homes, seeded, vocabulary
from demo.movement import Movement
from demo.people import People

LOCATION, POWER_SWITCH, TERMINAL_CHANGE, KEYWORD_SEARCH, SITE_VISIT, APP_USE = range(1, 7)
KINDS = ("location", "power_switch", "terminal_change", "keyword_search", "site_visit", "app_use")
ON, OFF = 1, 2
REGION_TIME = timezone(timedelta(hours=8))
BUCKET_US = 900 * 1_000_000
DAY_US = 86_400 * 1_000_000
MINUTE_US = 60 * 1_000_000.0
DEFAULT_RATE = 3.0  # signals per subscriber and day
# Texts that rows refer to: keywords, hosts, app names, terminal brands.
TEXTS = (
    *vocabulary.KEYWORDS,
    *(host for host, _ in vocabulary.SITES),
    *(app.name for app in vocabulary.APPS),
    *vocabulary.TERMINAL_BRANDS,
)
FIRST_HOST = len(vocabulary.KEYWORDS)
FIRST_APP = FIRST_HOST + len(vocabulary.SITES)
FIRST_BRAND = FIRST_APP + len(vocabulary.APPS)
# How busy each hour is, and how its background divides; the evening is for videos.
HOURS = (6, 4, 3, 2, 3, 6, 18, 42, 54, 56, 56, 60, 64, 56, 54, 54, 56, 62, 66, 70, 72, 62, 38, 16)
_SHARES = {LOCATION: 0.50, POWER_SWITCH: 0.05, KEYWORD_SEARCH: 0.08, SITE_VISIT: 0.12, APP_USE: 0.25}
_EVENING = {LOCATION: 0.40, POWER_SWITCH: 0.03, KEYWORD_SEARCH: 0.08, SITE_VISIT: 0.12, APP_USE: 0.37}
STUDENT_PERIOD_US = 45 * 60 * 1_000_000
STUDENT_FROM_US, STUDENT_TO_US = 7 * 3600 * 1_000_000, int(22.5 * 3600) * 1_000_000
TERMINAL_CHANGES = 0.004  # share of subscribers a day
BURSTS = 0.2  # share of those with weak coverage at home or work
BURST_SIGNALS, BURST_STEP_US = 8, 150 * 1_000_000
MIN_BACKGROUND = 0.2
_SALT_PHASE, _SALT_CHANGE, _SALT_MODEL, _SALT_BURST, _SALT_EDGE, _SALT_TIME = range(201, 207)


@dataclass(frozen=True)
class Signals:
    """Rows in time order. `row` is the subscriber's row in the population; the rest is what probes send."""

    row: NDArray[np.int64]
    source: NDArray[np.uint8]
    occurred_at: NDArray[np.int64]  # microseconds since 1970, UTC
    tac_cell: NDArray[np.uint64]  # 0 outside the province
    source_tac_cell: NDArray[np.uint64]  # real-time kinds only
    county: NDArray[np.int32]
    home_city: NDArray[np.int32]
    roaming_type: NDArray[np.uint8]
    power_state: NDArray[np.uint8]
    imei: NDArray[np.uint64]
    text: NDArray[np.int32]  # into TEXTS, -1 is none
    brand: NDArray[np.int32]  # into TEXTS
    subscriber_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray | slice) -> Signals:
        """Some of the rows."""
        return Signals(**{item.name: getattr(self, item.name)[index] for item in fields(self)})

    @staticmethod
    def concatenate(parts: list[Signals]) -> Signals:
        """Rows of several parts, one after the other."""
        names = [item.name for item in fields(Signals)]
        return Signals(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def columns(self) -> dict[str, NDArray]:
        """Columns under the names of SignalBatch, in its types; its `texts` are TEXTS."""
        return {
            "subscriber_ids": self.subscriber_id,
            "sources": self.source,
            "occurred_at": self.occurred_at,
            "tac_cells": self.tac_cell,
            "source_tac_cells": self.source_tac_cell,
            "counties": self.county,
            "home_cities": self.home_city,
            "roaming_types": self.roaming_type,
            "power_states": self.power_state,
            "imeis": self.imei,
            "text_indexes": self.text,
            "brand_indexes": self.brand,
        }


@dataclass(frozen=True)
class _Rough:
    """Who, when and what, before places and terminals follow. `time` is microseconds of the local day."""

    row: NDArray[np.int64]
    time: NDArray[np.int64]
    source: NDArray[np.uint8]
    text: NDArray[np.int32]
    power: NDArray[np.uint8]


def _rough(row: NDArray, time: NDArray, source: int, power: NDArray | None = None) -> _Rough:
    size = len(row)
    return _Rough(
        row=row.astype(np.int64),
        time=time.astype(np.int64),
        source=np.full(size, source, dtype=np.uint8),
        text=np.full(size, -1, dtype=np.int32),
        power=np.zeros(size, dtype=np.uint8) if power is None else power,
    )


class Day:
    """The signals of one day in the region's time zone.

    Rate is signals per subscriber and day in all; the background fills what the patterns leave, and is never
    less than a fifth of it.
    """

    def __init__(self, people: People, day: date, seed: int, rate: float = DEFAULT_RATE) -> None:
        if rate <= 0:
            raise ValueError("rate must be positive")
        self.people = people
        self.day = day
        self.seed = seed
        self.movement = Movement(people, day, seed)
        self._key = self.movement.key
        self._start = int(datetime.combine(day, datetime.min.time(), REGION_TIME).timestamp()) * 1_000_000
        self._tacs = np.array([item.tac for item in vocabulary.TERMINALS], dtype=np.uint64)
        self._prepare_students()
        self._prepare_changes()
        self._fixed = self._sorted([self._edges(), self._changes(), self._bursts()])
        patterned = len(self._fixed.row) + self._student_signals()
        target = max(rate * len(people) - patterned, MIN_BACKGROUND * rate * len(people))
        hours = np.repeat(np.array(HOURS, dtype=float), 4)
        self._upto = np.concatenate([[0], np.rint(np.cumsum(hours) / hours.sum() * target)]).astype(np.int64)
        self.total = patterned + int(self._upto[-1])
        self._kept: tuple[int, Signals] | None = None

    @property
    def start(self) -> datetime:
        """Local midnight as UTC."""
        return datetime.fromtimestamp(self._start / 1_000_000, UTC)

    def between(self, begin: datetime | int, end: datetime | int) -> Signals:
        """Signals with begin <= time < end of this day, in time order; datetimes or UTC microseconds."""
        first, last = self._offset(begin), self._offset(end)
        parts = []
        for bucket in range(first // BUCKET_US, -(-last // BUCKET_US)):
            rows = self._bucket(bucket)
            lo, hi = np.searchsorted(rows.occurred_at, (self._start + first, self._start + last))
            parts.append(rows.take(slice(lo, hi)))
        return Signals.concatenate(parts) if parts else self._finish(self._sorted([]))

    def _offset(self, moment: datetime | int) -> int:
        micros = moment if isinstance(moment, int) else round(moment.timestamp() * 1_000_000)
        return min(max(micros - self._start, 0), DAY_US)

    # The patterns.

    def _prepare_students(self) -> None:
        students = np.flatnonzero(self.people.campus_role == homes.STUDENT)
        phase = seeded.below(STUDENT_PERIOD_US, students, self._key, _SALT_PHASE)
        order = np.argsort(phase, kind="stable")
        self._students, self._phases = students[order], phase[order]

    def _student_signals(self) -> int:
        full, rest = divmod(STUDENT_TO_US - STUDENT_FROM_US, STUDENT_PERIOD_US)
        at = (self._phases - STUDENT_FROM_US) % STUDENT_PERIOD_US
        return int(full) * len(at) + int((at < rest).sum())

    def _student_updates(self, begin: int, end: int) -> _Rough:
        begin, end = max(begin, STUDENT_FROM_US), min(end, STUDENT_TO_US)
        if begin >= end:
            return _rough(np.empty(0), np.empty(0), LOCATION)
        away = (self._phases - begin) % STUDENT_PERIOD_US
        mine = np.flatnonzero(away < end - begin)
        return _rough(self._students[mine], begin + away[mine], LOCATION)

    def _edges(self) -> _Rough:
        """Errands: seen on arrival, and when back on the way."""
        move = self.movement
        going = np.flatnonzero(move.errand_place >= 0)
        late = seeded.below(60_000_000, going, self._key, _SALT_EDGE)
        arrive = move.errand_from[going].astype(np.int64) * 60_000_000 + late
        depart = move.errand_to[going].astype(np.int64) * 60_000_000 + late
        return _rough(np.concatenate([going, going]), np.concatenate([arrive, depart]), LOCATION)

    def _prepare_changes(self) -> None:
        """Who changes the terminal today, when, and to which model; nobody's new model is the old one."""
        rows = np.arange(len(self.people))
        changing = np.flatnonzero(seeded.unit(rows, self._key, _SALT_CHANGE) < TERMINAL_CHANGES)
        self._change_rows = changing
        at = 8 * 3600 + 13 * 3600 * seeded.unit(changing, self._key, _SALT_CHANGE, 1)
        self._change_times = (at * 1_000_000).astype(np.int64)
        step = 1 + seeded.below(len(vocabulary.TERMINALS) - 1, changing, self._key, _SALT_MODEL)
        self._change_models = (self.people.terminal[changing] + step) % len(vocabulary.TERMINALS)

    def _changes(self) -> _Rough:
        return _rough(self._change_rows, self._change_times, TERMINAL_CHANGE)

    def _bursts(self) -> _Rough:
        """Phones that lose the network at home or at work detach and attach again and again."""
        people, weak = self.people, self.movement.net.station_weak[self.movement.net.station]
        at_home = weak[people.home_cell] & (people.work_cell < 0)
        at_work = weak[people.work_cell] & (people.work_cell >= 0) & self.movement.works
        candidates = np.flatnonzero((at_home | at_work) & (self.movement.away == -2))
        rows = candidates[seeded.unit(candidates, self._key, _SALT_BURST) < BURSTS]
        begin = ((9.5 + 7 * seeded.unit(rows, self._key, _SALT_BURST, 1)) * 3600 * 1_000_000).astype(np.int64)
        steps = np.arange(BURST_SIGNALS)
        times = begin[:, None] + steps * BURST_STEP_US
        power = np.where(np.tile(steps, len(rows)) % 2 == 0, OFF, ON).astype(np.uint8)
        return _rough(np.repeat(rows, BURST_SIGNALS), times.ravel(), POWER_SWITCH, power)

    # The background.

    def _background(self, bucket: int) -> _Rough:
        count = int(self._upto[bucket + 1] - self._upto[bucket])
        rng = seeded.generator(self.seed, self.day.toordinal(), bucket)
        hour = bucket // 4
        row = rng.integers(0, len(self.people), count)
        time = bucket * BUCKET_US + rng.integers(0, BUCKET_US, count)
        shares = _EVENING if 19 <= hour < 23 else _SHARES
        source = rng.choice(np.array(list(shares), dtype=np.uint8), count, p=list(shares.values()))
        text = np.full(count, -1, dtype=np.int32)
        power = np.zeros(count, dtype=np.uint8)

        searching = np.flatnonzero(source == KEYWORD_SEARCH)
        text[searching] = _weighted(rng, vocabulary.KEYWORD_WEIGHTS, len(searching))
        browsing = np.flatnonzero(source == SITE_VISIT)
        text[browsing] = FIRST_HOST + _weighted(rng, vocabulary.SITE_WEIGHTS, len(browsing))
        using = np.flatnonzero(source == APP_USE)
        app = self._app(rng, row[using], 0.7 if 19 <= hour < 23 else 0.35)
        text[using] = np.where(app >= 0, FIRST_APP + app, -1)
        source[using[app < 0]] = LOCATION  # who has no app is merely seen
        switching = np.flatnonzero(source == POWER_SWITCH)
        power[switching] = np.where(rng.random(len(switching)) < (0.8 if hour < 9 else 0.5), ON, OFF)
        return _Rough(row, time, source, text, power)

    def _app(
        self, rng: np.random.Generator, rows: NDArray[np.int64], video_share: float
    ) -> NDArray[np.int64]:
        """One of the subscriber's own apps, rather a video app with the given chance; -1 without any."""
        own = self.people.apps[rows].astype(np.uint64)
        video = own & np.uint64(vocabulary.VIDEO_MASK)
        own = np.where((video != 0) & (rng.random(len(rows)) < video_share), video, own)
        size = np.uint64(len(vocabulary.APPS))
        start = rng.integers(0, len(vocabulary.APPS), len(rows)).astype(np.uint64)
        turned = (own >> start | own << (size - start)) & ((np.uint64(1) << size) - np.uint64(1))
        lowest = turned & (~turned + np.uint64(1))
        bit = np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64)
        return np.where(own == 0, -1, (bit + start.astype(np.int64)) % len(vocabulary.APPS))

    # Putting together.

    def _bucket(self, bucket: int) -> Signals:
        if self._kept is None or self._kept[0] != bucket:
            begin, end = bucket * BUCKET_US, (bucket + 1) * BUCKET_US
            lo, hi = np.searchsorted(self._fixed.time, (begin, end))
            fixed = _take(self._fixed, slice(lo, hi))
            rough = self._sorted([self._background(bucket), self._student_updates(begin, end), fixed])
            self._kept = (bucket, self._finish(rough))
        return self._kept[1]

    @staticmethod
    def _sorted(parts: list[_Rough]) -> _Rough:
        parts = parts or [_rough(np.empty(0), np.empty(0), LOCATION)]
        joined = _Rough(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(_Rough)}
        )
        return _take(joined, np.lexsort((joined.source, joined.row, joined.time)))

    def _finish(self, rough: _Rough) -> Signals:
        people, move, net = self.people, self.movement, self.movement.net
        row, minute = rough.row, rough.time / MINUTE_US
        cell = move.cell_at(row, minute)
        before = move.cell_at(row, np.maximum(minute - 12, 0))
        real_time = rough.source <= TERMINAL_CHANGE
        inside = cell >= 0
        terminal = self._terminal(row, rough.time)
        serial = seeded.below(1_000_000, row * 32 + terminal, self.seed, _SALT_MODEL).astype(np.uint64)
        # The last of the fifteen digits is sent as zero.
        imei = (self._tacs[terminal] * np.uint64(1_000_000) + serial) * np.uint64(10)
        return Signals(
            row=row,
            source=rough.source,
            occurred_at=self._start + rough.time,
            tac_cell=np.where(inside, net.tac_cell[cell], 0).astype(np.uint64),
            source_tac_cell=np.where(real_time & (before >= 0), net.tac_cell[before], 0).astype(np.uint64),
            county=np.where(inside, net.county[cell], 0).astype(np.int32),
            home_city=people.city[row],
            roaming_type=move.roaming[row],
            power_state=rough.power,
            imei=imei,
            text=rough.text,
            brand=(FIRST_BRAND + vocabulary.TERMINAL_BRAND_INDEX[terminal]).astype(np.int32),
            subscriber_id=people.subscriber_id[row],
        )

    def _terminal(self, row: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Model in hand: the new one from the moment of the change on."""
        terminal = self.people.terminal[row].astype(np.int64)
        if len(self._change_rows):
            at = np.minimum(np.searchsorted(self._change_rows, row), len(self._change_rows) - 1)
            changed = (self._change_rows[at] == row) & (time >= self._change_times[at])
            terminal = np.where(changed, self._change_models[at], terminal)
        return terminal


def _take(rough: _Rough, index: NDArray | slice) -> _Rough:
    return _Rough(**{item.name: getattr(rough, item.name)[index] for item in fields(_Rough)})


def _weighted(rng: np.random.Generator, weights: tuple[float, ...], count: int) -> NDArray[np.int64]:
    cut = np.cumsum(weights)
    return np.searchsorted(cut, rng.random(count) * cut[-1], side="right")
