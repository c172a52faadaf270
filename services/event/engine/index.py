"""The index of all bound definitions: from a batch of signals to the pairs of (row, rule) that hold.

A rule's condition is a few conjuncts. Each is filed under the one attribute that leads to the fewest
candidates; what else it asks for is tested for all candidates of the batch at once, attribute by attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.event.domain import predicates
from services.event.domain.model import Definition, Expression, combines, holds, rules
from services.event.domain.predicates import Alternative, Among, Text
from services.event.domain.sources import SEEN_BY
from services.event.engine.attributes import (
    KEY_ORDER,
    TEXT_ATTRIBUTES,
    VALUE_ATTRIBUTES,
    TextAttribute,
    ValueAttribute,
    values_of,
)
from services.event.engine.columns import Signals

Ints = NDArray[np.int64]

FOR_EVER = np.iinfo(np.int64).max
TRUTH_LIMIT = 10  # rules of a combination whose value is looked up instead of computed


@dataclass(frozen=True)
class RulePlan:
    """A rule ready for the index."""

    alternatives: tuple[Alternative, ...]
    sources: int  # bit s: signals of source s are seen
    start: int
    end: int
    dwell_us: int
    count: int
    window_us: int


@dataclass(frozen=True)
class Plan:
    """A definition ready for the index; made once per definition and shared by the partitions."""

    definition: Definition
    rules: tuple[RulePlan, ...]
    plain: bool  # one true rule is enough
    truth: NDArray[np.bool_] | None  # by bits of true rules

    @property
    def width(self) -> int:
        """Number of rules."""
        return len(self.rules)

    def value(self, true: list[bool]) -> bool:
        """The value of the expression by the values of its rules."""
        return holds(self.definition.expression, true)


def plan(definition: Definition) -> Plan:
    """Compile a definition that has passed its check."""
    made = tuple(
        RulePlan(
            alternatives=tuple(predicates.alternatives(rule.condition)),
            sources=sum(1 << source for source in SEEN_BY[rule.source]),
            start=0 if rule.start is None else rule.start,
            end=FOR_EVER if rule.end is None else rule.end,
            dwell_us=rule.dwell_seconds * 1_000_000,
            count=max(1, rule.count),
            window_us=rule.window_seconds * 1_000_000,
        )
        for rule in rules(definition.expression)
    )
    plain = not combines(definition.expression)
    truth = None if plain or len(made) > TRUTH_LIMIT else _truth(definition.expression, len(made))
    return Plan(definition, made, plain, truth)


def _truth(expression: Expression, width: int) -> NDArray[np.bool_]:
    return np.array(
        [holds(expression, [bool(bits >> i & 1) for i in range(width)]) for bits in range(1 << width)]
    )


@dataclass(frozen=True)
class Bound:
    """A population on a definition: where its bitmap lies, and the time in which it may match."""

    activity_number: int
    first_byte: int
    bytes: int
    start: int
    end: int


@dataclass(frozen=True)
class Entry:
    """A definition with its populations; its state is kept under first_id, first_id + 1, ..."""

    plan: Plan
    first_id: int
    bound: tuple[Bound, ...]


@dataclass
class Candidates:
    """Pairs of a row and a rule that hold, by row; `rule` is the rule's place in the index."""

    row: Ints
    rule: Ints


class Index:
    """Built off the loop and swapped; never changed, but for classes of texts seen since."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self._lay_out()
        conjuncts: list[tuple[int, Alternative]] = []
        position = 0
        self.several = False
        for entry in entries:
            for rule in entry.plan.rules:
                self.several = self.several or len(rule.alternatives) > 1
                conjuncts += [(position, alternative) for alternative in rule.alternatives]
                position += 1
        self._rule_of = np.fromiter((rule for rule, _ in conjuncts), np.int64, len(conjuncts))
        self._file([alternative for _, alternative in conjuncts])

    @property
    def empty(self) -> bool:
        """Nothing can match."""
        return not len(self._rule_of)

    def candidates(self, signals: Signals, sources: NDArray[np.uint8], local: Ints) -> Candidates:
        """The pairs of rows and rules that hold. A row whose source is 0 is not looked at."""
        codes = self._codes(signals, local)
        rows: list[Ints] = []
        found: list[Ints] = []
        for name, attribute in self._attributes.items():
            if len(attribute.items):
                row, at = expand(attribute.starts[codes[name]], attribute.counts[codes[name]])
                rows.append(row)
                found.append(attribute.items[at])
        row, at = expand(self._source_starts[sources], self._source_counts[sources])
        rows.append(row)
        found.append(self._source_items[at])
        row, conjunct = np.concatenate(rows), np.concatenate(found)
        rule = self._rule_of[conjunct]
        kept = (self.sources[rule] >> sources[row]) & 1 == 1
        if self._timed:
            at_time = signals.occurred_at[row]
            kept &= (at_time >= self.start[rule]) & (at_time < self.end[rule])
        row, conjunct = row[kept], conjunct[kept]
        for name, numbers in self._residuals.items():
            if not len(row):
                break
            kept = self._attributes[name].test(numbers[conjunct], codes[name][row])
            if not kept.all():
                row, conjunct = row[kept], conjunct[kept]
        return self._in_order(row, self._rule_of[conjunct])

    def _in_order(self, row: Ints, rule: Ints) -> Candidates:
        if self.several:
            pair = np.unique(row * len(self.sources) + rule)
            return Candidates(pair // len(self.sources), pair % len(self.sources))
        order = np.argsort(row, kind="stable")
        return Candidates(row[order], rule[order])

    def _codes(self, signals: Signals, local: Ints) -> dict[str, Ints]:
        codes: dict[str, Ints] = {}
        for name, attribute in self._attributes.items():
            if isinstance(attribute, TextAttribute):
                indexes = signals.text_indexes if name == "text" else signals.brand_indexes
                codes[name] = attribute.codes(signals.texts, indexes)
            else:
                codes[name] = attribute.codes(values_of(name, signals, local))
        return codes

    def _lay_out(self) -> None:
        """Arrays by rule, by definition and by population."""
        plans = [(number, entry) for number, entry in enumerate(self.entries)]
        flat = [
            (number, entry, i, rule) for number, entry in plans for i, rule in enumerate(entry.plan.rules)
        ]

        def ints(values: Sequence[int]) -> Ints:
            return np.array(values, np.int64)

        self.sources = ints([rule.sources for *_, rule in flat])
        self.start = ints([rule.start for *_, rule in flat])
        self.end = ints([rule.end for *_, rule in flat])
        self._timed = bool((self.start > 0).any() or (self.end < FOR_EVER).any())
        self.dwell_us = ints([rule.dwell_us for *_, rule in flat])
        self.count = ints([rule.count for *_, rule in flat])
        self.window_us = ints([rule.window_us for *_, rule in flat])
        self.rule_id = ints([entry.first_id + i for _, entry, i, _ in flat])
        self.place_in_definition = ints([i for _, _, i, _ in flat])
        self.definition = ints([number for number, *_ in flat])
        self.plain = np.array([entry.plan.plain for entry in self.entries], bool)
        # Rules that keep nothing and whose definition needs nothing else fire at once.
        self.direct = self.plain[self.definition] & (self.dwell_us == 0) & (self.count == 1)
        self.dwells = bool((self.dwell_us > 0).any())
        self.number = ints([entry.plan.definition.number for entry in self.entries])
        self.combination_id = ints([entry.first_id + entry.plan.width for entry in self.entries])
        self.combination_us = ints(
            [entry.plan.definition.combination_seconds * 1_000_000 for entry in self.entries]
        )
        self.width = ints([entry.plan.width for entry in self.entries])
        tables = [entry.plan.truth for entry in self.entries if entry.plan.truth is not None]
        self.truth = np.concatenate(tables) if tables else np.zeros(0, bool)
        starts, end = [], 0
        for entry in self.entries:
            starts.append(-1 if entry.plan.truth is None else end)
            end += 0 if entry.plan.truth is None else len(entry.plan.truth)
        self.truth_start = ints(starts)
        bound = [item for entry in self.entries for item in entry.bound]
        self.bound_count = ints([len(entry.bound) for entry in self.entries])
        self.bound_start = np.concatenate(([0], np.cumsum(self.bound_count)[:-1])).astype(np.int64)
        self.bound_definition = np.repeat(np.arange(len(self.entries)), self.bound_count)
        self.activity = ints([item.activity_number for item in bound])
        self.first_byte = ints([item.first_byte for item in bound])
        self.bytes = ints([item.bytes for item in bound])
        self.bound_from = ints([item.start for item in bound])
        self.bound_to = ints([item.end for item in bound])

    def _file(self, conjuncts: Sequence[Alternative]) -> None:
        """File each conjunct under its key, number the predicates that are left to test."""
        keys: dict[str, list[tuple[Among | Text, int]]] = {}
        numbers: dict[str, dict[Among | Text, int]] = {}
        rest: dict[str, Ints] = {}
        by_source: list[list[int]] = [[] for _ in range(256)]
        for number, conjunct in enumerate(conjuncts):
            key = next((name for name in KEY_ORDER if name in conjunct and conjunct[name].selective), None)
            if key is None:
                for source in range(8):
                    if self.sources[self._rule_of[number]] >> source & 1:
                        by_source[source].append(number)
            else:
                keys.setdefault(key, []).append((conjunct[key], number))
            for name, predicate in conjunct.items():
                if name != key:
                    known = numbers.setdefault(name, {})
                    if name not in rest:
                        rest[name] = np.zeros(len(conjuncts), np.int64)
                    rest[name][number] = known.setdefault(predicate, len(known) + 1)
        self._residuals = rest
        self._attributes: dict[str, ValueAttribute | TextAttribute] = {}
        for name in (*VALUE_ATTRIBUTES, *TEXT_ATTRIBUTES):
            if name not in keys and name not in numbers:
                continue
            filed, tested = keys.get(name, []), list(numbers.get(name, {}))
            if name in TEXT_ATTRIBUTES:
                self._attributes[name] = TextAttribute(filed, tested)  # type: ignore[arg-type]
            else:
                self._attributes[name] = ValueAttribute(name, filed, tested)  # type: ignore[arg-type]
        self._source_items = np.array([number for listed in by_source for number in listed], np.int64)
        self._source_counts = np.array([len(listed) for listed in by_source], np.int64)
        self._source_starts = np.concatenate(([0], np.cumsum(self._source_counts)[:-1])).astype(np.int64)


def expand(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """(row, place) of every item of every row's run of `counts` items from `starts` on."""
    total = int(counts.sum())
    if not total:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return row, np.arange(total) + (starts - before)[row]
