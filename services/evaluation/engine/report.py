"""The arithmetic of reports: sets and rows of an activity, counted by period and region.

Whom a count belongs to is looked up when it is read, from the home and the campus of each subscriber,
so that every measure of a report is about the same people and the levels add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from services.evaluation.domain import regions
from services.evaluation.domain.days import Period
from services.evaluation.domain.indicators import BY_CODE, Indicator
from services.evaluation.domain.regions import Level

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Campus:
    """Identified students of one campus; of two campuses that claim a student the later `order` has him."""

    code: int
    county: int
    order: int
    students: BitMap


@dataclass(frozen=True)
class Rows:
    """Dated rows about subscribers: int64 arrays of one length; `amount` is fen or a count."""

    days: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    ordinals: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    amount: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Evidence:
    """What is known of one activity. `target` None stands for every customer outside the control group."""

    target: BitMap | None
    control: BitMap
    reached: Mapping[int, BitMap]  # by day
    orders: Rows  # attributed; amount in fen
    responses: Mapping[str, Rows]  # clicks, replies, opt_outs; amount is a count


class Grouping:
    """Regions of a level within a data scope, and the region of each subscriber."""

    def __init__(
        self,
        level: Level,
        counties: NDArray[Any],
        campuses: Sequence[Campus],
        allowed: Sequence[tuple[int, int]] | None,
        only_campuses: Sequence[str] = (),
    ) -> None:
        """`allowed`: spans of county codes, None for all; `only_campuses`: leading digits of campus codes."""
        self.size = len(counties)
        self.student = np.zeros(self.size, bool)
        campus = np.full(self.size, -1, np.int64)
        for i, one in sorted(enumerate(campuses), key=lambda pair: pair[1].order):
            members = self.known(as_array(one.students))
            self.student[members] = True
            campus[members] = i
        if level is Level.CAMPUS:
            keys = np.array([one.code for one in campuses], np.int64)
            homes = np.array([one.county for one in campuses], np.int64)
            inside = regions.within(homes, allowed)
            if only_campuses:
                inside &= np.array([str(key).startswith(tuple(only_campuses)) for key in keys.tolist()], bool)
            self.regions, place = _numbered(keys, inside)
            self._group = np.where(campus >= 0, place[campus] if len(place) else -1, -1)
        else:
            # Codes have six digits, so a table by code is quicker than sorting ten million homes.
            homes = np.flatnonzero(np.bincount(counties, minlength=1))
            keys = regions.rolled_up(homes, level)
            inside = keys > 0
            if allowed is not None:
                # A region is shown when all of it lies in the scope: a part would pass for the whole.
                whole = [regions.span(int(key)) for key in keys]
                inside &= np.array(
                    [any(a <= low and high <= b for a, b in allowed) for low, high in whole], bool
                )
            self.regions, place = _numbered(keys, inside)
            by_code = np.full(int(homes.max(initial=0)) + 1, -1, np.int64)
            by_code[homes] = place
            self._group = by_code[counties]

    def known(self, ordinals: NDArray[Any]) -> Ints:
        """The ordinals that the directory copy holds."""
        wide = ordinals.astype(np.int64, copy=False)
        return wide[wide < self.size]

    def count(self, ordinals: NDArray[Any], amount: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Subscribers, or the sum of `amount`, by region."""
        wide = ordinals.astype(np.int64, copy=False)
        known = wide < self.size
        group = self._group[wide[known]]
        shown = group >= 0
        weights = None if amount is None else amount[known][shown]
        return np.bincount(group[shown], weights, len(self.regions)).astype(np.float64)

    def students(self, ordinals: NDArray[Any]) -> Ints:
        """Those of the ordinals that are identified students."""
        known = self.known(ordinals)
        return known[self.student[known]]


Table = NDArray[np.float64]


def table(
    evidence: Evidence,
    grouping: Grouping,
    numbered: NDArray[Any],
    periods: Sequence[Period],
    indicators: Sequence[Indicator],
) -> Table:
    """Values[period, region, indicator] (EVA-18 to EVA-43)."""
    measures = _fixed(evidence, grouping, numbered)
    seen, seen_buyers = BitMap(), BitMap()
    totals = {code: np.zeros(len(grouping.regions)) for code in _CUMULATIVE}
    values = np.zeros((len(periods), len(grouping.regions), len(indicators)))
    # What lies before the first period counts in the cumulative measures only.
    for i, period in enumerate([Period("", 0, periods[0].first - 1), *periods]):
        reached = BitMap().union(
            *(s for day, s in evidence.reached.items() if period.first <= day <= period.last)
        )
        now = _reach(grouping, as_array(reached))
        fresh = _reach(grouping, as_array(reached - seen))
        seen |= reached
        bought = _between(evidence.orders, period)
        buyers = BitMap(bought.ordinals.astype(np.uint32))
        now |= _orders(grouping, bought, as_array(buyers))
        totals["cumulative_triggered"] += fresh["triggered"]
        totals["cumulative_students_triggered"] += fresh["students_triggered"]
        totals["cumulative_business_taken"] += grouping.count(as_array(buyers - seen_buyers))
        seen_buyers |= buyers
        if i == 0:
            continue
        for code, rows in evidence.responses.items():
            part = _between(rows, period)
            now[code] = grouping.count(part.ordinals, part.amount)
        values[i - 1] = _columns(indicators, {**measures, **now, **totals})
    return values


def lift_groups(
    evidence: Evidence, buyers: NDArray[Any], scope: NDArray[np.bool_]
) -> tuple[int, int, int, int]:
    """(target, of these with an order, control, of these with an order) among the subscribers of `scope`.

    Everybody the activity was meant for counts, reached or not: that is what the control group, drawn
    from the same people before anything was sent, can be compared with.
    """
    control = np.zeros(len(scope), bool)
    control[_below(as_array(evidence.control), len(scope))] = True
    if evidence.target is None:
        target = ~control
    else:
        target = np.zeros(len(scope), bool)
        target[_below(as_array(evidence.target), len(scope))] = True
    bought = np.zeros(len(scope), bool)
    bought[_below(buyers, len(scope))] = True
    target &= scope
    control &= scope
    return int(target.sum()), int((target & bought).sum()), int(control.sum()), int((control & bought).sum())


def as_array(members: BitMap) -> NDArray[np.uint32]:
    """The ordinals of a bitmap, rising."""
    return np.frombuffer(members.to_array(), np.uint32)


_CUMULATIVE = ("cumulative_triggered", "cumulative_students_triggered", "cumulative_business_taken")


def _fixed(evidence: Evidence, grouping: Grouping, numbered: NDArray[Any]) -> dict[str, Table]:
    """Measures that no period changes."""
    if evidence.target is None:
        everyone = np.ones(grouping.size, bool)
        everyone[grouping.known(as_array(evidence.control))] = False
        target = np.flatnonzero(everyone)
    else:
        target = grouping.known(as_array(evidence.target))
    students = np.flatnonzero(grouping.student)
    return {
        "target": grouping.count(target),
        "in_network": grouping.count(target[numbered[target]]),
        "students": grouping.count(students),
        "students_in_network": grouping.count(students[numbered[students]]),
    }


def _reach(grouping: Grouping, reached: NDArray[Any]) -> dict[str, Table]:
    return {
        "triggered": grouping.count(reached),
        "students_triggered": grouping.count(grouping.students(reached)),
    }


def _orders(grouping: Grouping, bought: Rows, buyers: NDArray[Any]) -> dict[str, Table]:
    known = bought.ordinals < grouping.size
    of_student = np.zeros(len(bought.ordinals), bool)
    of_student[known] = grouping.student[bought.ordinals[known]]
    return {
        "orders": grouping.count(bought.ordinals),
        "order_revenue": grouping.count(bought.ordinals, bought.amount),
        "business_taken": grouping.count(buyers),
        "students_business_taken": grouping.count(grouping.students(buyers)),
        "student_order_revenue": grouping.count(bought.ordinals[of_student], bought.amount[of_student]),
    }


def _between(rows: Rows, period: Period) -> Rows:
    inside = (rows.days >= period.first) & (rows.days <= period.last)
    return Rows(rows.days[inside], rows.ordinals[inside], rows.amount[inside])


def _columns(indicators: Sequence[Indicator], measures: Mapping[str, Table]) -> Table:
    def column(indicator: Indicator) -> Table:
        if indicator.ratio is None:
            return measures[indicator.code]
        over, under = (column(BY_CODE[code]) for code in indicator.ratio)
        return np.divide(over, under, out=np.zeros_like(over), where=under > 0)

    return np.stack([column(indicator) for indicator in indicators], axis=-1)


def _numbered(keys: Ints, inside: NDArray[np.bool_]) -> tuple[list[int], Ints]:
    """The distinct keys that are inside, rising, and for each key its place among them or -1."""
    shown = np.unique(keys[inside])
    place = np.where(inside, np.searchsorted(shown, keys), -1)
    return shown.tolist(), place


def _below(ordinals: NDArray[Any], size: int) -> NDArray[Any]:
    return ordinals[ordinals < size]
