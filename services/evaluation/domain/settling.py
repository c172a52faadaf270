"""Settled touches as additive facts and as sets of subscribers.

Facts are counts of touches by (activity, touchpoint, day, county, outcome, reason); an amended outcome
takes back what it replaces on the day it was counted. Sets answer what counts cannot: who was reached
on which day, each once (EVA-20). A set is kept in chunks of 65,536 ordinals, at most 8 KiB each, so
that a message about a few hundred subscribers rewrites little.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

CHUNK_BITS = 16


class Outcome(IntEnum):
    """Outcomes of a touch, numbered as in the contract of the touchpoint service."""

    DELIVERED = 1
    FAILED = 2
    REJECTED = 3
    EXPIRED = 4
    RECALLED = 5
    UNKNOWN = 6
    SHOWN = 7
    ACCEPTED = 8
    DECLINED = 9
    SUPPRESSED = 10
    CANCELLED = 11


NAMES = {outcome: outcome.name.lower() for outcome in Outcome}
REACHED = frozenset({Outcome.DELIVERED, Outcome.SHOWN, Outcome.ACCEPTED, Outcome.DECLINED})
AMENDABLE = frozenset({Outcome.UNKNOWN, Outcome.SHOWN})
REACHED_SET = 0  # kind of set, beside the sets of the amendable outcomes

_REACHED_CODES = np.array(sorted(REACHED))


@dataclass(frozen=True)
class Touches:
    """One message of settled touches; arrays of one length. `days` are region days since 1970."""

    activity_number: int
    touchpoint: int
    planned_day: int
    ordinals: NDArray[np.uint32]
    occurrences: NDArray[np.uint32]
    outcomes: NDArray[np.uint8]
    previous: NDArray[np.uint8]
    days: NDArray[np.int64]
    reasons: NDArray[np.object_]
    counties: NDArray[np.int32]

    def scopes(self) -> set["Scope"]:
        """The groups of sets that the message may change."""
        pairs = np.unique(_packed(self.occurrences, self.ordinals >> CHUNK_BITS))
        return {
            Scope(self.activity_number, self.touchpoint, self.planned_day, int(p >> 16), int(p & 0xFFFF))
            for p in pairs
        }


@dataclass(frozen=True, order=True)
class Scope:
    """Touches of one cause in one chunk of ordinals: within it a subscriber has one touch."""

    activity_number: int
    touchpoint: int
    planned_day: int
    occurrence: int
    chunk: int


@dataclass(frozen=True, order=True)
class FactKey:
    """What a count is about. `reason` is given for suppressed touches only."""

    activity_number: int
    touchpoint: int
    day: int
    county: int
    outcome: int
    reason: str


SetKey = tuple[Scope, int, int]  # scope, day, kind (REACHED_SET or an amendable outcome)


class Settling:
    """Applies messages in their order to the sets they concern and gathers the changes of facts."""

    def __init__(self, sets: dict[SetKey, BitMap]) -> None:
        self.facts: dict[FactKey, int] = defaultdict(int)
        self.changed: set[SetKey] = set()
        self._sets: dict[Scope, dict[tuple[int, int], BitMap]] = defaultdict(dict)
        for (scope, day, kind), members in sets.items():
            self._sets[scope][day, kind] = members

    def members(self, key: SetKey) -> BitMap:
        """A set as it is now."""
        scope, day, kind = key
        return self._sets[scope].get((day, kind), BitMap())

    def apply(self, touches: Touches) -> None:
        """Count the new outcomes, take back the replaced ones, keep the sets."""
        self._count(touches)
        amended = touches.previous != 0
        if amended.any():
            self._take_back(touches, np.flatnonzero(amended))
        for outcome in AMENDABLE:
            self._put(touches, touches.outcomes == outcome, outcome)
        reached = np.isin(touches.outcomes, _REACHED_CODES)
        was_reached = np.isin(touches.previous, _REACHED_CODES)
        self._put(touches, reached & ~was_reached, REACHED_SET)
        for scope, members in self._grouped(touches, np.flatnonzero(was_reached & ~reached)):
            for day, kind in list(self._sets[scope]):
                if kind == REACHED_SET:
                    self._remove(scope, day, kind, members)

    def _count(self, touches: Touches) -> None:
        reasons, reason_index = np.unique(
            np.where(touches.outcomes == Outcome.SUPPRESSED, touches.reasons, ""), return_inverse=True
        )
        rows = np.stack([touches.days, touches.counties, touches.outcomes, reason_index]).astype(np.int64)
        for (day, county, outcome, reason), n in zip(*_counted(rows), strict=True):
            self._add(touches, int(day), int(county), int(outcome), str(reasons[reason]), int(n))

    def _take_back(self, touches: Touches, rows: NDArray[np.intp]) -> None:
        counties = dict(zip(touches.ordinals[rows].tolist(), touches.counties[rows].tolist(), strict=True))
        days = dict(zip(touches.ordinals[rows].tolist(), touches.days[rows].tolist(), strict=True))
        for outcome in np.unique(touches.previous[rows]).tolist():
            of_outcome = rows[touches.previous[rows] == outcome]
            for scope, members in self._grouped(touches, of_outcome):
                for day, kind in sorted(self._sets[scope], reverse=True):
                    if kind != outcome:
                        continue
                    found = self._remove(scope, day, kind, members)
                    for ordinal in found:
                        self._add(touches, day, counties[ordinal], outcome, "", -1)
                    members -= found
                # Not kept by day (such an outcome is not amended by contract): the sum stays right.
                for ordinal in members:
                    self._add(touches, days[ordinal], counties[ordinal], outcome, "", -1)

    def _put(self, touches: Touches, rows: NDArray[np.bool_], kind: int) -> None:
        chosen = np.flatnonzero(rows)
        for day in np.unique(touches.days[chosen]).tolist():
            for scope, members in self._grouped(touches, chosen[touches.days[chosen] == day]):
                known = self._sets[scope].get((day, kind))
                if known is None:
                    self._sets[scope][day, kind] = members
                else:
                    known |= members
                self.changed.add((scope, day, kind))

    def _remove(self, scope: Scope, day: int, kind: int, members: BitMap) -> BitMap:
        known = self._sets[scope][day, kind]
        found = known & members
        if found:
            known -= found
            self.changed.add((scope, day, kind))
        return found

    def _add(self, touches: Touches, day: int, county: int, outcome: int, reason: str, n: int) -> None:
        self.facts[FactKey(touches.activity_number, touches.touchpoint, day, county, outcome, reason)] += n

    @staticmethod
    def _grouped(touches: Touches, rows: NDArray[np.intp]) -> Iterator[tuple[Scope, BitMap]]:
        """The ordinals of some rows by scope."""
        ordinals, occurrences = touches.ordinals[rows], touches.occurrences[rows]
        keys = _packed(occurrences, ordinals >> CHUNK_BITS)
        for key in np.unique(keys).tolist():
            scope = Scope(
                touches.activity_number, touches.touchpoint, touches.planned_day, key >> 16, key & 0xFFFF
            )
            yield scope, BitMap(ordinals[keys == key])


def scopes(batch: Iterable[Touches]) -> list[Scope]:
    """Every scope that a batch may change, in one order for all writers."""
    return sorted({scope for touches in batch for scope in touches.scopes()})


def _packed(occurrences: NDArray[Any], chunks: NDArray[Any]) -> NDArray[np.int64]:
    return (occurrences.astype(np.int64) << 16) | chunks.astype(np.int64)


def _counted(rows: NDArray[np.int64]) -> tuple[list[list[int]], list[int]]:
    """Distinct columns of `rows` and how often each occurs."""
    count = rows.shape[1]
    if not count:
        return [], []
    ordered = rows[:, np.lexsort(rows)]
    differs = np.any(np.diff(ordered, axis=1) != 0, axis=0)
    starts = np.flatnonzero(np.append(True, differs))
    return ordered[:, starts].T.tolist(), np.diff(np.append(starts, count)).tolist()
