"""Which signals fire which case, found signal by signal."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from demo import campuses, places, stations, vocabulary
from demo.cases import CAMPUS_SCHOOL, Case
from demo.recompute.targets import HOHHOT, Mask
from demo.schedule import BEHAVIOUR, LOCATION
from demo.signals import APP_USE, FIRST_APP, Signals
from demo.signals import LOCATION as AT_CELL

DWELL_US = 3600 * 1_000_000
PART = {
    "CMP-22": BEHAVIOUR, "CMP-44": BEHAVIOUR,
    "CMP-41": LOCATION, "CMP-42": LOCATION, "CMP-43": LOCATION, "CAM-32": LOCATION,
}  # fmt: skip
_APPS = {"CMP-22": (vocabulary.TENCENT_VIDEO,), "CMP-44": (vocabulary.IQIYI, vocabulary.YOUKU)}


@cache
def cells(case: str) -> NDArray[np.uint64]:
    """Cells whose station lies in the case's outlines."""
    if case == "CMP-41":
        outlines = [place.outline for place in places.of_kind(places.STORE, city=HOHHOT)]
    elif case == "CMP-42":
        kinds = (places.HOSPITAL, places.STATION, places.DISTRICT)
        outlines = [place.outline for place in places.of_kind(*kinds, city=HOHHOT)]
    elif case == "CMP-43":
        outlines = [place.outline for place in places.of_kind(places.VILLAGE)]
    else:
        outlines = [site.outline for site in campuses.campuses() if site.school.code == CAMPUS_SCHOOL]
    net = stations.network()
    return np.unique(np.concatenate([net.tac_cell[net.cells_in(outline)] for outline in outlines]))


class Matching:
    """First matches of a population, once a month; `population` is who may match."""

    def __init__(self, case: Case, population: Mask) -> None:
        self._case = case.case
        self._left = population.copy()
        self._population = population
        self._since: dict[int, int] = {}  # row -> begin of its stay, micros
        self.matched = 0

    def play(self, signals: Signals) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that match for the first time, and when; signals in time order."""
        if self._case == "CAM-32":
            fires = self._stays(signals)
        elif self._case in _APPS:
            app = signals.text - FIRST_APP
            fires = (signals.source == APP_USE) & np.isin(app, _APPS[self._case])
        else:
            fires = (signals.source == AT_CELL) & np.isin(signals.tac_cell, cells(self._case))
        at = np.flatnonzero(fires & self._left[signals.row])
        rows, first = np.unique(signals.row[at], return_index=True)
        self._left[rows] = False
        self.matched += len(rows)
        return rows, signals.occurred_at[at[first]]

    def _stays(self, signals: Signals) -> Mask:
        """Signals at the end of an hour without a sign from elsewhere."""
        fires = np.zeros(len(signals), np.bool_)
        seen = np.flatnonzero((signals.source == AT_CELL) & self._population[signals.row])
        here = np.isin(signals.tac_cell, cells(self._case))
        for i in seen.tolist():
            row, time = int(signals.row[i]), int(signals.occurred_at[i])
            if not here[i]:
                self._since.pop(row, None)
            elif time - self._since.setdefault(row, time) >= DWELL_US:
                fires[i] = True
        return fires
