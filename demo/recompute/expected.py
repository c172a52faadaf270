"""The whole day recomputed: what every activity and touchpoint must show at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from demo.cases import ACTIVE_PUSH, cases
from demo.recompute.contacts import Contacts, Line
from demo.recompute.events import PART, Matching
from demo.recompute.targets import Selected, select
from demo.schedule import BEHAVIOUR, BEHAVIOURS, LOCATION, REAL_TIME, positions
from demo.simulators import fate
from demo.world import World, micros

Counts = dict[str, int]


@dataclass
class Row:
    """Counters of one activity at one touchpoint; the fields of report.json."""

    target: int = 0
    control: int = 0
    excluded: Counts = field(default_factory=dict)
    unplanned: int = 0
    handed: int = 0
    received: int = 0
    suppressed: Counts = field(default_factory=dict)
    waiting: int = 0
    held: int = 0
    queued: int = 0
    leased: int = 0
    cancelled: int = 0
    settled: Counts = field(default_factory=dict)
    clicks: int = 0
    replies: int = 0
    orders: int = 0
    population: int = 0
    population_control: int = 0


@dataclass
class Expected:
    """What the day must come to."""

    rows: dict[tuple[str, str], Row]
    lines: dict[tuple[str, str], Line]
    selected: dict[str, Selected]
    signals: int
    spontaneous: int  # orders that nobody asked for
    control_orders: Counts  # by case: subscribers of the control group who ordered the product


def expected(world: World) -> Expected:
    """Walks the positions of the day."""
    by_case = {case.case: case for case in cases()}
    contacts = Contacts(world, cases())
    selected: dict[str, Selected] = {}
    matchings: dict[str, Matching] = {}
    played = 0
    for position in positions():
        contacts.clock(position.minute)
        for name in position.launches:
            case = by_case[name]
            found = selected[name] = select(world, case, contacts.opted_out)
            if case.mode == ACTIVE_PUSH:
                contacts.push(case, np.flatnonzero(found.target))
            else:
                matchings[name] = Matching(case, found.target)
        if position.part not in (LOCATION, BEHAVIOUR):
            continue
        sources = REAL_TIME if position.part == LOCATION else BEHAVIOURS
        signals = world.day.between(micros(position.begin), micros(position.end))
        signals = signals.take(np.isin(signals.source, sources))
        played += len(signals)
        for name, matching in matchings.items():
            if PART[name] == position.part:
                contacts.matched(by_case[name], *matching.play(signals))
        came = world.counter_visits if position.part == LOCATION else world.toolbar_sessions
        came = came.between(micros(position.begin), micros(position.end))
        contacts.visit(came.touchpoint, came.row.tolist())
    contacts.spontaneous()
    return Expected(
        rows={key: _row(line, selected[key[0]]) for key, line in contacts.lines.items()},
        lines=contacts.lines,
        selected=selected,
        signals=played,
        spontaneous=sum(
            int(fate.spontaneous(world.seed, case.product[0], world.people.phone).sum()) for case in cases()
        ),
        control_orders={
            case.case: int(
                (
                    fate.spontaneous(world.seed, case.product[0], world.people.phone)
                    & selected[case.case].control
                ).sum()
            )
            for case in cases()
        },
    )


def _row(line: Line, selected: Selected) -> Row:
    states = line.states()
    row = Row(
        received=len(line.touches),
        handed=len(line.touches),
        clicks=line.clicks,
        replies=line.replies,
        orders=line.orders,
    )
    if line.case.mode == ACTIVE_PUSH:
        row.target = int(selected.matched.sum())
        row.control = int(selected.control.sum())
        row.excluded = selected.excluded
    else:
        # The target of an event activity is its matches; its population stands beside it.
        row.target = len(line.touches)
        row.population = int(selected.target.sum())
        row.population_control = int(selected.control.sum())
    for state, count in sorted(states.items()):
        kind, _, reason = state.partition(":")
        if kind == "suppressed":
            row.suppressed[reason] = count
        elif state in ("waiting", "held", "queued", "leased", "cancelled"):
            setattr(row, state, count)
        else:
            row.settled[state] = count
    return row
