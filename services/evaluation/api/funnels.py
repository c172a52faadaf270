"""Funnels: what became of activities, by touchpoint and day, and in sum (EVA-09)."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from iop.common.v1 import types_pb2
from iop.evaluation.v1 import report_pb2
from numpy.typing import NDArray
from pyroaring import BitMap

from services.evaluation.domain import days, regions
from services.evaluation.domain.settling import NAMES, Outcome
from services.evaluation.store import facts, orders
from services.kit.db import Connection

Key = tuple[int, int, int]  # activity, touchpoint, day; the sum has day -1


def collect(
    tx: Connection,
    numbers: Sequence[int],
    first: int,
    last: int,
    spans: Sequence[tuple[int, int]] | None,
    counties: NDArray[Any],
) -> list[Any]:
    """Funnel messages of activities between two days, counting subscribers of the regions only."""
    found = _Funnels()
    for row in facts.outcomes(tx, numbers, first, last, spans):
        for funnel in found.both(row.activity_number, row.touchpoint, row.day):
            if row.outcome == Outcome.SUPPRESSED:
                funnel.suppressed[row.reason] = funnel.suppressed.get(row.reason, 0) + int(row.n)
            else:
                name = NAMES.get(row.outcome, str(row.outcome))
                funnel.settled[name] = funnel.settled.get(name, 0) + int(row.n)
    scope = (
        None if spans is None else BitMap(np.flatnonzero(regions.within(counties, spans)).astype(np.uint32))
    )
    everyone: dict[tuple[int, int], BitMap] = {}
    for (number, touchpoint, day), reached in facts.reached_by_touchpoint(tx, numbers, first, last).items():
        inside = reached if scope is None else reached & scope
        if inside:
            found.at(number, touchpoint, day).reached = len(inside)
            everyone.setdefault((number, touchpoint), BitMap()).update(inside)
    for (number, touchpoint), reached in everyone.items():
        found.at(number, touchpoint, SUM).reached = len(reached)
    for row in facts.response_counts(tx, numbers, first, last, spans):
        for funnel in found.both(row.activity_number, row.touchpoint, row.day):
            setattr(funnel, row.kind, getattr(funnel, row.kind) + int(row.n))
    for row in orders.counts(tx, numbers, first, last, spans):
        for funnel in found.both(row.activity_number, row.touchpoint, row.day):
            funnel.orders += int(row.n)
            funnel.order_fen += int(row.fen)
    return found.messages()


SUM = -1


class _Funnel:
    def __init__(self) -> None:
        self.suppressed: dict[str, int] = {}
        self.settled: dict[str, int] = {}
        self.reached = self.clicks = self.replies = self.opt_outs = self.orders = self.order_fen = 0


class _Funnels:
    def __init__(self) -> None:
        self._rows: dict[Key, _Funnel] = {}

    def at(self, number: int, touchpoint: int, day: int) -> _Funnel:
        return self._rows.setdefault((number, touchpoint, day), _Funnel())

    def both(self, number: int, touchpoint: int, day: int) -> tuple[_Funnel, _Funnel]:
        """The row of the day and the sum."""
        return self.at(number, touchpoint, day), self.at(number, touchpoint, SUM)

    def messages(self) -> list[Any]:
        """By activity and touchpoint, the days in order, the sum last."""
        made = []
        ordered = sorted(self._rows.items(), key=lambda item: (item[0][:2], item[0][2] == SUM, item[0][2]))
        for (number, touchpoint, day), row in ordered:
            funnel = report_pb2.Funnel(
                activity_number=number,
                touchpoint=cast("types_pb2.Touchpoint", touchpoint),
                date="" if day == SUM else days.day_of(day).isoformat(),
                reached=row.reached,
                clicks=row.clicks,
                replies=row.replies,
                opt_outs=row.opt_outs,
                orders=row.orders,
                order_fen=row.order_fen,
            )
            for reason, n in sorted(row.suppressed.items()):
                if n:
                    funnel.suppressed.add(reason=reason, count=n)
            for outcome, n in sorted(row.settled.items()):
                if n:
                    funnel.settled.add(reason=outcome, count=n)
            made.append(funnel)
        return made
