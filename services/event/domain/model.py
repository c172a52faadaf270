"""Definitions as the rules of this service see them; the contract's messages are translated into these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

DEFAULT_COMBINATION_SECONDS = 1800  # a part of a combination stays true for half an hour

Value: TypeAlias = bool | int | float | str


class Source(IntEnum):
    """The seven kinds of events (EVT-03), numbered as in the contract."""

    LOCATION = 1
    POWER_SWITCH = 2
    TERMINAL_CHANGE = 3
    KEYWORD_SEARCH = 4
    SITE_VISIT = 5
    APP_USE = 6
    RESIDENT_POPULATION = 7


class Operator(IntEnum):
    """Operators of a comparison, numbered as in the contract (EVT-11)."""

    EQ = 1
    NE = 2
    LT = 3
    LE = 4
    GT = 5
    GE = 6
    BETWEEN = 7
    IN = 8
    NOT_IN = 9
    CONTAINS = 10
    NOT_CONTAINS = 11
    EXISTS = 12
    NOT_EXISTS = 13


@dataclass(frozen=True)
class Comparison:
    """One attribute of a signal against constants."""

    attribute: str
    operator: Operator
    values: tuple[Value, ...] = ()
    lower_open: bool = False
    upper_open: bool = False


@dataclass(frozen=True)
class All:
    """True when every child is."""

    children: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """True when a child is."""

    children: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    """True when the child is not."""

    child: Condition


@dataclass(frozen=True)
class Membership:
    """A set of subscribers; rules on signals refuse it, populations are bound by activities."""

    name: str


Condition: TypeAlias = Comparison | All | AnyOf | Not | Membership


@dataclass(frozen=True)
class Area:
    """An outline drawn on the map: (longitude, latitude) corners."""

    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Rule:
    """A rule on signals of one source; times are microseconds since 1970, None is open."""

    source: Source
    condition: Condition = field(default_factory=lambda: All(()))
    dwell_seconds: int = 0
    count: int = 1
    window_seconds: int = 0
    start: int | None = None
    end: int | None = None
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True)
class Every:
    """并: every child true within the combination time."""

    children: tuple[Expression, ...]


@dataclass(frozen=True)
class Either:
    """或: a child true."""

    children: tuple[Expression, ...]


Expression: TypeAlias = Rule | Every | Either


@dataclass(frozen=True)
class Definition:
    """When something happens to a subscriber."""

    number: int
    expression: Expression
    combination_seconds: int = DEFAULT_COMBINATION_SECONDS


def rules(expression: Expression) -> Iterator[Rule]:
    """The rules of an expression from left to right; their positions number them."""
    if isinstance(expression, Rule):
        yield expression
    else:
        for child in expression.children:
            yield from rules(child)


def combines(expression: Expression) -> bool:
    """True when two rules have to be true together, so that parts must be remembered."""
    if isinstance(expression, Rule):
        return False
    if isinstance(expression, Every) and len(expression.children) > 1:
        return True
    return any(combines(child) for child in expression.children)


def holds(expression: Expression, true: list[bool]) -> bool:
    """The value of the expression when rule i has the value true[i]."""
    return _holds(expression, iter(true))


def _holds(expression: Expression, values: Iterator[bool]) -> bool:
    if isinstance(expression, Rule):
        return next(values)
    # Every child takes its share of the values, also when the result is known before.
    children = [_holds(child, values) for child in expression.children]
    return all(children) if isinstance(expression, Every) else any(children)
