"""Where each subscriber is at each minute of a day. Generated: home, work, errands, travel.

Everything is a function of (seed, day, row, minute), so that any part of the day can be asked for alone.
"""

from __future__ import annotations

from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from demo import homes, places, seeded, stations
from demo.people import People

Minutes = NDArray[np.float64]  # since local midnight
Rows = NDArray[np.integer]
NOWHERE = -1  # outside the province: no cell of the network
HOHHOT = 150100
# Share of the people of a county who run an errand on a day, and where those of Hohhot go.
HOHHOT_ERRANDS, STUDENT_ERRANDS, COUNTY_ERRANDS = 0.24, 0.16, 0.04
HOHHOT_KINDS = {places.STORE: 0.34, places.HOSPITAL: 0.21, places.STATION: 0.2, places.DISTRICT: 0.25}
IN_PROVINCE, OUT_OF_PROVINCE, ABROAD = 0.02, 0.012, 0.001
LOCAL, WITHIN_PROVINCE, BETWEEN_PROVINCES, INTERNATIONAL = 1, 2, 3, 4
_SALT_LEAVE, _SALT_BACK, _SALT_RIDE, _SALT_WAY, _SALT_ERRAND, _SALT_PLACE, _SALT_START = range(101, 108)
_SALT_STAY, _SALT_AWAY, _SALT_SECTOR, _SALT_CAMPUS, _SALT_SPOT = range(108, 113)


class Movement:
    """The day of a population. A weekend has no work."""

    def __init__(self, people: People, day: date, seed: int) -> None:
        self.people = people
        self.day = day
        self.key = seed * 1_000_003 + day.toordinal()
        self.net = stations.network()
        rows = np.arange(len(people), dtype=np.int64)
        self.works = (people.work_cell >= 0) & (people.campus_role != homes.STUDENT) & (day.weekday() < 5)
        self.leave = (390 + 120 * self._unit(rows, _SALT_LEAVE)).astype(np.int16)
        self.ride = (20 + 30 * self._unit(rows, _SALT_RIDE)).astype(np.int16)
        self.back = (1020 + 150 * self._unit(rows, _SALT_BACK)).astype(np.int16)
        self.away, self.roaming = self._travel(rows)
        self.errand_place, self.errand_from, self.errand_to = self._errands(rows)

    def _unit(self, rows: Rows, salt: int, extra: int = 0) -> NDArray[np.float64]:
        return seeded.unit(rows, self.key, salt, extra)

    def _travel(self, rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Cell of those who are elsewhere all day (-2: at home), and everyone's roaming type."""
        roll = self._unit(rows, _SALT_AWAY)
        roll[self.people.campus_role == homes.STUDENT] = 1.0  # term time
        away = np.full(len(rows), -2, dtype=np.int32)
        roaming = np.full(len(rows), LOCAL, dtype=np.uint8)
        gone = np.flatnonzero(roll < OUT_OF_PROVINCE + ABROAD)
        away[gone] = NOWHERE
        roaming[gone] = np.where(roll[gone] < ABROAD, INTERNATIONAL, BETWEEN_PROVINCES)
        visiting = np.flatnonzero((roll >= OUT_OF_PROVINCE + ABROAD) & (roll < IN_PROVINCE + OUT_OF_PROVINCE))
        away[visiting] = seeded.below(self.net.cells, visiting, self.key, _SALT_AWAY, 1)
        elsewhere = self.net.county[away[visiting]] // 100 * 100 != self.people.city[visiting]
        roaming[visiting[elsewhere]] = WITHIN_PROVINCE
        return away, roaming

    def _errands(self, rows: Rows) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
        """Place (-1 is none), first and last minute of the errand of each row."""
        people, known = self.people, places.places()
        chance = np.full(len(rows), COUNTY_ERRANDS)
        chance[people.city == HOHHOT] = HOHHOT_ERRANDS
        chance[people.campus_role == homes.STUDENT] = STUDENT_ERRANDS
        chance[self.away != -2] = 0.0
        going = np.flatnonzero(self._unit(rows, _SALT_ERRAND) < chance)
        place = np.full(len(rows), -1, dtype=np.int16)
        spot = self._unit(going, _SALT_PLACE)
        # Outside Hohhot: the store of one's county.
        store_of = {
            known[index].county: index for index in range(len(known)) if known[index].kind == places.STORE
        }
        codes = np.array(sorted(store_of))
        stores = np.array([store_of[code] for code in codes.tolist()], dtype=np.int16)
        place[going] = stores[np.searchsorted(codes, people.county[going])]
        weights = np.zeros(len(known))
        for kind, share in HOHHOT_KINDS.items():
            mine = [i for i, item in enumerate(known) if item.kind == kind and item.city == HOHHOT]
            weights[mine] = share / len(mine)
        in_city = people.city[going] == HOHHOT
        cut = np.cumsum(weights)
        place[going[in_city]] = np.searchsorted(cut, spot[in_city] * cut[-1], side="right")
        start = np.zeros(len(rows), dtype=np.int16)
        stay = np.zeros(len(rows), dtype=np.int16)
        start[going] = 480 + (660 * self._unit(going, _SALT_START)).astype(np.int16)
        stay[going] = 25 + (65 * self._unit(going, _SALT_STAY)).astype(np.int16)
        return place, start, start + stay

    @cached_property
    def _campus_cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        return _flat(self.net.cells_of_campus)

    @cached_property
    def _place_cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        return _flat(self.net.cells_of_place)

    @cached_property
    def _town_cells(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """County codes, and for each the first and the number of its town cells in the last column."""
        town = np.flatnonzero(self.net.station_kind[self.net.station] == stations.TOWN).astype(np.int32)
        county = self.net.county[town]
        codes, first, count = np.unique(county, return_index=True, return_counts=True)
        return codes, first, count, town

    def cell_at(self, rows: Rows, minute: Minutes) -> NDArray[np.int32]:
        """Cell of each row at a minute of its own; NOWHERE outside the province."""
        people = self.people
        leave, back, ride = self.leave[rows], self.back[rows], self.ride[rows]
        cell = people.home_cell[rows].copy()
        # A phone at rest still changes between the sectors of its station now and then.
        turn = (minute // 40).astype(np.int64)
        roll = seeded.mix(rows * 64 + turn, self.key, _SALT_SECTOR)
        flip = (roll & np.uint64(7)) == 0
        other = (roll >> np.uint64(8)) % np.uint64(stations.SECTORS)
        cell = np.where(flip, cell // stations.SECTORS * stations.SECTORS + other.astype(np.int32), cell)

        works = self.works[rows]
        at_work = works & (minute >= leave + ride) & (minute < back)
        cell = np.where(at_work, people.work_cell[rows], cell)
        riding = works & (
            ((minute >= leave) & (minute < leave + ride)) | ((minute >= back) & (minute < back + ride))
        )
        on_way = np.flatnonzero(riding)
        if on_way.size:
            codes, first, count, town = self._town_cells
            at = np.searchsorted(codes, people.county[rows[on_way]])
            step = rows[on_way] * 256 + (minute[on_way] // 8).astype(np.int64)
            cell[on_way] = town[first[at] + seeded.below(count[at], step, self.key, _SALT_WAY)]
        campus = np.flatnonzero(
            (people.campus_role[rows] == homes.STUDENT) & (minute >= 450) & (minute < 1320)
        )
        if campus.size:
            first, count, flat = self._campus_cells
            site = people.campus[rows[campus]]
            step = rows[campus] * 64 + (minute[campus] // 50).astype(np.int64)
            cell[campus] = flat[first[site] + seeded.below(count[site], step, self.key, _SALT_CAMPUS)]
        place = self.errand_place[rows]
        out = (place >= 0) & (minute >= self.errand_from[rows]) & (minute < self.errand_to[rows])
        outside = np.flatnonzero(out)
        if outside.size:
            first, count, flat = self._place_cells
            there = place[outside]
            cell[outside] = flat[
                first[there] + seeded.below(count[there], rows[outside], self.key, _SALT_SPOT)
            ]
        away = self.away[rows]
        return np.where(away != -2, away, cell).astype(np.int32)


def _flat(
    groups: tuple[NDArray[np.int32], ...],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    counts = np.array([len(group) for group in groups], dtype=np.int64)
    return np.cumsum(counts) - counts, counts, np.concatenate(groups)
