"""Conditions in the form the matcher runs: alternatives, each a predicate on every attribute it needs.

An attribute's value is missing, one of the values a predicate names, or another one; predicates are
closed under and, or, not, so that a condition becomes a short list of alternatives (DNF).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

from services.event.domain import sites, sources
from services.event.domain.model import All, Comparison, Condition, Membership, Not, Operator

ALTERNATIVES = 512  # a condition that needs more is refused
HOURS = range(24)

# Attributes of texts that share one column of signals; the source of the rule tells them apart.
TEXT_COLUMN = "text"
_COLUMN_OF = {"keyword": TEXT_COLUMN, "host": TEXT_COLUMN, "site": TEXT_COLUMN, "app": TEXT_COLUMN}


class TooComplex(Exception):
    """The condition has more alternatives than the matcher takes."""


@dataclass(frozen=True)
class Among:
    """A value that is among (`inside`) or not among `values`; a missing one gives `missing`."""

    values: frozenset[int]
    inside: bool = True
    missing: bool = False

    def holds(self, value: int | None) -> bool:
        """Whether it is true of `value`, None being missing."""
        return self.missing if value is None else (value in self.values) == self.inside

    def negated(self) -> Among:
        return Among(self.values, not self.inside, not self.missing)

    def both(self, other: Among) -> Among:
        missing = self.missing and other.missing
        if self.inside and other.inside:
            return Among(self.values & other.values, True, missing)
        if self.inside:
            return Among(self.values - other.values, True, missing)
        if other.inside:
            return Among(other.values - self.values, True, missing)
        return Among(self.values | other.values, False, missing)

    def either(self, other: Among) -> Among:
        return self.negated().both(other.negated()).negated()

    @property
    def never(self) -> bool:
        return self.inside and not self.values and not self.missing

    @property
    def always(self) -> bool:
        return not self.inside and not self.values and self.missing

    @property
    def selective(self) -> bool:
        """Only the values it names make it true, so that they can lead to it."""
        return self.inside and not self.missing


@dataclass(frozen=True, order=True)
class Atom:
    """A fact about a text: it is `word`, has it inside, or is the host `word` or one below it."""

    kind: str  # "is", "has", "host"
    word: str

    def true_of(self, text: str) -> bool:
        """Whether it holds for a text in normal form."""
        if self.kind == "is":
            return text == self.word
        if self.kind == "has":
            return self.word in text
        return text == self.word or text.endswith("." + self.word)


@dataclass(frozen=True)
class Text:
    """Clauses that are all true: (atoms, True) when one of the atoms is true, (atoms, False) when none is.

    A missing text gives `missing`, whatever the clauses.
    """

    clauses: frozenset[tuple[frozenset[Atom], bool]]
    missing: bool

    def holds(self, true: frozenset[Atom] | None) -> bool:
        """Whether it is true of a text of which exactly these atoms are true; None is a missing text."""
        if true is None:
            return self.missing
        return all(bool(atoms & true) == positive for atoms, positive in self.clauses)

    def both(self, other: Text) -> Text:
        return Text(self.clauses | other.clauses, self.missing and other.missing)

    @property
    def atoms(self) -> frozenset[Atom]:
        return frozenset().union(*(atoms for atoms, _ in self.clauses))

    @property
    def never(self) -> bool:
        if self.missing:
            return False
        if (frozenset(), True) in self.clauses:
            return True
        return any((atoms, False) in self.clauses for atoms, positive in self.clauses if positive)

    @property
    def always(self) -> bool:
        return self.missing and not self.clauses

    @property
    def selective(self) -> bool:
        return not self.missing and any(positive for _, positive in self.clauses)


Predicate: TypeAlias = Among | Text
Alternative: TypeAlias = dict[str, Predicate]


def alternatives(condition: Condition) -> list[Alternative]:
    """The condition as alternatives, each {attribute: predicate}; none when it can never be true.

    The condition must have passed the check of its source, and outlets must be cells by now.
    TooComplex when there are more than 512.
    """
    return _alternatives(condition, positive=True)


def _alternatives(condition: Condition, *, positive: bool) -> list[Alternative]:
    if isinstance(condition, Not):
        return _alternatives(condition.child, positive=not positive)
    if isinstance(condition, Comparison):
        return _of_comparison(condition, positive)
    if isinstance(condition, Membership):
        raise ValueError("a rule knows no sets of subscribers")
    parts = [_alternatives(child, positive=positive) for child in condition.children]
    if isinstance(condition, All) == positive:
        return reduce(_product, parts, [{}])
    return _union(parts)


def _union(parts: Iterable[list[Alternative]]) -> list[Alternative]:
    """One alternative per attribute where alternatives are about a single one, the rest as they are."""
    single: dict[str, Among] = {}
    rest: dict[tuple[tuple[str, Predicate], ...], Alternative] = {}
    for alternative in (alternative for part in parts for alternative in part):
        if not alternative:
            return [{}]
        (name, predicate), *more = alternative.items()
        if more or isinstance(predicate, Text):
            rest[tuple(sorted(alternative.items(), key=lambda item: item[0]))] = alternative
        else:
            single[name] = single[name].either(predicate) if name in single else predicate
    if any(predicate.always for predicate in single.values()):
        return [{}]
    found: list[Alternative] = [{name: predicate} for name, predicate in single.items()]
    return _limited(found + _merged_texts(list(rest.values())))


def _merged_texts(given: list[Alternative]) -> list[Alternative]:
    """Texts that must hold one of many words are one predicate, however many comparisons name them."""
    words: dict[str, frozenset[Atom]] = {}
    others: list[Alternative] = []
    for alternative in given:
        (name, predicate), *more = alternative.items()
        if not more and isinstance(predicate, Text) and not predicate.missing and len(predicate.clauses) == 1:
            ((atoms, positive),) = predicate.clauses
            if positive:
                words[name] = words.get(name, frozenset()) | atoms
                continue
        others.append(alternative)
    found: list[Alternative] = [
        {name: Text(frozenset({(atoms, True)}), False)} for name, atoms in words.items()
    ]
    return [*found, *others]


def _product(left: list[Alternative], right: list[Alternative]) -> list[Alternative]:
    found: list[Alternative] = []
    for one in left:
        for other in right:
            merged = dict(one)
            for name, predicate in other.items():
                mine = merged.get(name)
                merged[name] = predicate if mine is None else mine.both(predicate)  # type: ignore[arg-type]
            if not any(predicate.never for predicate in merged.values()):
                found.append(merged)
                _limited(found)
    return found


def _limited(found: list[Alternative]) -> list[Alternative]:
    if len(found) > ALTERNATIVES:
        raise TooComplex(f"the condition has more than {ALTERNATIVES} alternatives")
    return found


_NEGATIVE = {
    Operator.NE: Operator.EQ,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_EXISTS: Operator.EXISTS,
}


def _of_comparison(comparison: Comparison, positive: bool) -> list[Alternative]:
    if comparison.operator in _NEGATIVE:
        operator = _NEGATIVE[comparison.operator]
        plain = Comparison(comparison.attribute, operator, comparison.values)
        return _of_comparison(plain, not positive)
    attribute = sources.ATTRIBUTES[comparison.attribute]
    if attribute.name == "terminal_changed":
        # Rules on terminal changes see changes only.
        return [{}] if positive else []
    name = _COLUMN_OF.get(attribute.name, attribute.name)
    predicate: Predicate
    if name == TEXT_COLUMN or attribute.type == "text":
        predicate = _of_text(comparison, positive)
    else:
        among = _of_values(comparison)
        if attribute.name == "hour" and not positive:
            among = Among(frozenset(HOURS) - among.values)  # every signal has its hour
        predicate = among if positive or attribute.name == "hour" else among.negated()
    if predicate.never:
        return []
    return [{}] if predicate.always else [{name: predicate}]


def _of_text(comparison: Comparison, positive: bool) -> Text:
    if comparison.operator is Operator.EXISTS:
        # A clause of no atoms, negated, is true of every text that is there.
        none: frozenset[Atom] = frozenset()
        return Text(frozenset(), False) if positive else Text(frozenset({(none, True)}), True)
    attribute = sources.ATTRIBUTES[comparison.attribute]
    words = [str(sources.normal_value(attribute, value)) for value in comparison.values]
    if attribute.name == "site":
        atoms = frozenset(Atom("host", host) for site in words for host in sites.hosts_of(site) or ())
    else:
        kind = "has" if comparison.operator is Operator.CONTAINS else "is"
        atoms = frozenset(Atom(kind, word) for word in words)
    return Text(frozenset({(atoms, positive)}), missing=not positive)


def _of_values(comparison: Comparison) -> Among:
    attribute = sources.ATTRIBUTES[comparison.attribute]
    if comparison.operator is Operator.EXISTS:
        return Among(frozenset(), inside=False, missing=False)
    values = [int(sources.normal_value(attribute, value)) for value in comparison.values]
    if comparison.operator in (Operator.EQ, Operator.IN, Operator.CONTAINS):
        return Among(frozenset(values))
    test = _order_test(comparison, values)
    return Among(frozenset(hour for hour in HOURS if test(hour)))


def _order_test(comparison: Comparison, values: list[int]) -> Callable[[int], bool]:
    low = values[0]
    if comparison.operator is Operator.LT:
        return lambda value: value < low
    if comparison.operator is Operator.LE:
        return lambda value: value <= low
    if comparison.operator is Operator.GT:
        return lambda value: value > low
    if comparison.operator is Operator.GE:
        return lambda value: value >= low
    high = values[1]
    above: Callable[[int], bool] = (lambda v: v > low) if comparison.lower_open else (lambda v: v >= low)
    below: Callable[[int], bool] = (lambda v: v < high) if comparison.upper_open else (lambda v: v <= high)
    return lambda value: above(value) and below(value)
