"""The plain reading of the rules: signal by signal, subscriber by subscriber, no columns, no index."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from services.event.domain import sites
from services.event.domain.model import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Definition,
    Every,
    Expression,
    Not,
    Operator,
    Rule,
    Source,
    rules,
)
from services.event.domain.sources import ATTRIBUTES, normal_value

SHANGHAI = timezone(timedelta(hours=8))


@dataclass(frozen=True)
class Signal:
    """One signal; 0 and "" are missing."""

    ordinal: int
    source: int
    at: int
    cell: int = 0
    came_from: int = 0
    county: int = 0
    home: int = 0
    roaming: int = 0
    power: int = 0
    imei: int = 0
    text: str = ""
    brand: str = ""


@dataclass(frozen=True)
class Population:
    """An activity that listens to a definition."""

    activity: int
    definition: int
    members: frozenset[int]
    start: int = 0
    end: int = 1 << 62


@dataclass
class Oracle:
    """What the matcher must find."""

    definitions: list[Definition]
    populations: list[Population]
    imeis: dict[int, int] = field(default_factory=dict)
    since: dict[tuple[int, int, int], int] = field(default_factory=dict)
    times: dict[tuple[int, int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    until: dict[tuple[int, int, int], int] = field(default_factory=dict)
    fired: set[tuple[int, int, int]] = field(default_factory=set)

    def feed(self, signals: Iterable[Signal]) -> list[tuple[int, int, int, int, int]]:
        """(definition, activity, period, ordinal, time) of each match."""
        return [match for signal in signals for match in self._one(signal)]

    def _one(self, signal: Signal) -> list[tuple[int, int, int, int, int]]:
        changed = False
        if signal.source == Source.TERMINAL_CHANGE and signal.imei:
            changed = self.imeis.get(signal.ordinal, signal.imei) != signal.imei
            self.imeis[signal.ordinal] = signal.imei
        found = []
        local = datetime.fromtimestamp(signal.at // 1_000_000, UTC).astimezone(SHANGHAI)
        for definition in self.definitions:
            bound = [
                population
                for population in self.populations
                if population.definition == definition.number
                and signal.ordinal in population.members
                and population.start <= signal.at < population.end
            ]
            true = [
                self._rule(definition.number, i, rule, signal, changed, bool(bound))
                for i, rule in enumerate(rules(definition.expression))
            ]
            if bound and any(true) and self._complete(definition, signal, true):
                for population in bound:
                    key = (population.activity, local.year * 100 + local.month, signal.ordinal)
                    if key not in self.fired:
                        self.fired.add(key)
                        found.append((definition.number, key[0], key[1], signal.ordinal, signal.at))
        return found

    def _rule(self, number: int, place: int, rule: Rule, signal: Signal, changed: bool, member: bool) -> bool:
        sources = {rule.source}
        if rule.source is Source.RESIDENT_POPULATION:
            sources.add(Source.LOCATION)
        true = (
            member
            and signal.source in sources
            and (signal.source != Source.TERMINAL_CHANGE or changed)
            and (rule.start is None or signal.at >= rule.start)
            and (rule.end is None or signal.at < rule.end)
            and holds(rule.condition, signal)
        )
        key = (number, place, signal.ordinal)
        if rule.dwell_seconds:
            if true:
                return signal.at - self.since.setdefault(key, signal.at) >= rule.dwell_seconds * 1_000_000
            if signal.source == Source.LOCATION:
                self.since.pop(key, None)
            return False
        if true and rule.count > 1:
            self.times[key].append(signal.at)
            last = self.times[key][-rule.count :]
            return len(last) == rule.count and last[-1] - last[0] <= rule.window_seconds * 1_000_000
        return true

    def _complete(self, definition: Definition, signal: Signal, true: list[bool]) -> bool:
        if not any_every(definition.expression):
            return True
        places = range(len(true))
        for place in places:
            if true[place]:
                self.until[definition.number, place, signal.ordinal] = (
                    signal.at + definition.combination_seconds * 1_000_000
                )
        valid = [self.until.get((definition.number, i, signal.ordinal), 0) >= signal.at for i in places]
        if not evaluate(definition.expression, valid):
            return False
        for place in places:
            self.until.pop((definition.number, place, signal.ordinal), None)
        return True


def any_every(expression: Expression) -> bool:
    """Whether two rules have to come together somewhere."""
    if isinstance(expression, Rule):
        return False
    together = isinstance(expression, Every) and len(expression.children) > 1
    return together or any(any_every(child) for child in expression.children)


def evaluate(expression: Expression, true: list[bool]) -> bool:
    """The expression by the values of its rules, from left to right."""

    def walk(node: Expression, place: int) -> tuple[bool, int]:
        if isinstance(node, Rule):
            return true[place], place + 1
        values = []
        for child in node.children:
            value, place = walk(child, place)
            values.append(value)
        return (all(values) if isinstance(node, Every) else any(values)), place

    return walk(expression, 0)[0]


def holds(condition: Condition, signal: Signal) -> bool:
    """A condition on one signal."""
    if isinstance(condition, All):
        return all(holds(child, signal) for child in condition.children)
    if isinstance(condition, AnyOf):
        return any(holds(child, signal) for child in condition.children)
    if isinstance(condition, Not):
        return not holds(condition.child, signal)
    assert isinstance(condition, Comparison)
    return _compare(condition, signal)


_NEGATIVE = {
    Operator.NE: Operator.EQ,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_EXISTS: Operator.EXISTS,
}


def _compare(comparison: Comparison, signal: Signal) -> bool:
    operator = comparison.operator
    if operator in _NEGATIVE:
        return not _compare(Comparison(comparison.attribute, _NEGATIVE[operator], comparison.values), signal)
    value = _value(comparison.attribute, signal)
    if value is None:
        return False
    if operator is Operator.EXISTS:
        return True
    attribute = ATTRIBUTES[comparison.attribute]
    given: list[Any] = [normal_value(attribute, item) for item in comparison.values]
    if attribute.name == "site":
        hosts = [host for site in given for host in sites.SITES[site]]
        return any(value == host or value.endswith("." + host) for host in hosts)
    if operator is Operator.CONTAINS and attribute.type == "text":
        return any(word in value for word in given)
    if operator in (Operator.EQ, Operator.IN, Operator.CONTAINS):
        return value in given
    if operator is Operator.BETWEEN:
        low, high = given
        above = value > low if comparison.lower_open else value >= low
        below = value < high if comparison.upper_open else value <= high
        return bool(above and below)
    test = {
        Operator.LT: lambda: value < given[0],
        Operator.LE: lambda: value <= given[0],
        Operator.GT: lambda: value > given[0],
        Operator.GE: lambda: value >= given[0],
    }
    return bool(test[operator]())


def _value(attribute: str, signal: Signal) -> Any:
    if attribute == "hour":
        return datetime.fromtimestamp(signal.at // 1_000_000, UTC).astimezone(SHANGHAI).hour
    values: dict[str, Any] = {
        "tac_cell": signal.cell,
        "source_tac_cell": signal.came_from,
        "current_county": signal.county,
        "current_city": signal.county // 100 * 100,
        "home_city": signal.home,
        "home_province": signal.home // 10000 * 10000,
        "roaming_type": signal.roaming,
        "power_state": signal.power,
        "terminal_changed": 1,
        "brand": signal.brand.casefold(),
        "keyword": signal.text.casefold(),
        "host": signal.text.casefold(),
        "site": signal.text.casefold(),
        "app": signal.text.casefold(),
    }
    return values[attribute] or None
