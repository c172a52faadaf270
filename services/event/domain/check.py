"""The check of an expression before it is saved: every fault with the path of its node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.event.domain import predicates
from services.event.domain.model import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Expression,
    Membership,
    Not,
    Operator,
    Rule,
    Source,
    rules,
)
from services.event.domain.sources import ATTRIBUTES, SOURCES, Attribute, normal_value
from services.kit import errors

ATTRIBUTE_UNKNOWN = "ATTRIBUTE_UNKNOWN"
RULE_TYPE_MISMATCH = "RULE_TYPE_MISMATCH"
RULE_IMPOSSIBLE = "RULE_IMPOSSIBLE"
FIELD_INVALID = "FIELD_INVALID"

RULE_LIMIT = 100

_ONE = (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_NONE = (Operator.EXISTS, Operator.NOT_EXISTS)


@dataclass(frozen=True)
class Problem:
    """A fault: where, what, and the contract's reason for it."""

    path: str
    description: str
    reason: str


def require_sound(expression: Expression, path: str = "definition.expression") -> None:
    """errors.Invalid that names every fault of the expression by path; its reason is that of the first."""
    found = list(problems(expression, path))
    if found:
        raise errors.Invalid(
            found[0].description,
            reason=found[0].reason,
            fields=[(problem.path, problem.description) for problem in found],
        )


def problems(expression: Expression, path: str) -> Iterator[Problem]:
    """The faults of an expression, in the order of its nodes."""
    if sum(1 for _ in rules(expression)) > RULE_LIMIT:
        yield Problem(path, f"an event takes {RULE_LIMIT} rules at most", FIELD_INVALID)
        return
    yield from _of_expression(expression, path)


def _of_expression(expression: Expression, path: str) -> Iterator[Problem]:
    if isinstance(expression, Rule):
        yield from _of_rule(expression, f"{path}.rule")
        return
    word = "all_of" if type(expression).__name__ == "Every" else "any_of"
    for i, child in enumerate(expression.children):
        yield from _of_expression(child, f"{path}.{word}.expressions[{i}]")


def _of_rule(rule: Rule, path: str) -> Iterator[Problem]:
    found = list(_of_condition(rule.condition, f"{path}.condition", rule.source))
    yield from found
    if rule.dwell_seconds and rule.source is not Source.LOCATION:
        yield Problem(f"{path}.dwell_seconds", "only a location rule can ask for a stay", RULE_TYPE_MISMATCH)
    if rule.dwell_seconds and rule.count > 1:
        yield Problem(f"{path}.count", "a rule asks for a stay or for a count, not for both", FIELD_INVALID)
    if rule.count > 1 and not rule.window_seconds:
        yield Problem(f"{path}.window_seconds", "a count needs the window it is taken in", FIELD_INVALID)
    if rule.window_seconds and rule.count <= 1:
        yield Problem(f"{path}.count", "a window needs a count of at least 2", FIELD_INVALID)
    if rule.areas and not SOURCES[rule.source].realtime:
        yield Problem(f"{path}.areas", "areas belong to rules on real-time sources", RULE_TYPE_MISMATCH)
    if rule.start is not None and rule.end is not None and rule.end <= rule.start:
        yield Problem(f"{path}.end_time", "ends before it starts", RULE_IMPOSSIBLE)
    if not found:
        yield from _of_meaning(rule.condition, path)


def _of_meaning(condition: Condition, path: str) -> Iterator[Problem]:
    try:
        if not predicates.alternatives(_without_outlets(condition)):
            yield Problem(f"{path}.condition", "no signal can meet this condition", RULE_IMPOSSIBLE)
    except predicates.TooComplex as problem:
        yield Problem(f"{path}.condition", str(problem), FIELD_INVALID)


def _without_outlets(condition: Condition) -> Condition:
    """Outlets become cells when the rule is saved; until then they may hold or not."""
    if isinstance(condition, Comparison):
        return All(()) if condition.attribute == "outlet" else condition
    if isinstance(condition, Not):
        inner = _without_outlets(condition.child)
        return inner if inner == All(()) else Not(inner)
    if isinstance(condition, All | AnyOf):
        return type(condition)(tuple(_without_outlets(child) for child in condition.children))
    return condition


def _of_condition(condition: Condition, path: str, source: Source) -> Iterator[Problem]:
    if isinstance(condition, Comparison):
        yield from _of_comparison(condition, f"{path}.comparison", source)
    elif isinstance(condition, Membership):
        yield Problem(
            f"{path}.membership",
            "a rule looks at signals; the population of an activity says whose",
            RULE_TYPE_MISMATCH,
        )
    elif isinstance(condition, Not):
        yield from _of_condition(condition.child, f"{path}.not", source)
    else:
        word = "all_of" if isinstance(condition, All) else "any_of"
        for i, child in enumerate(condition.children):
            yield from _of_condition(child, f"{path}.{word}.conditions[{i}]", source)


def _of_comparison(comparison: Comparison, path: str, source: Source) -> Iterator[Problem]:
    known = SOURCES[source].attributes
    if comparison.attribute not in known:
        name = SOURCES[source].display_name
        description = f"{name} has no attribute {comparison.attribute!r}; it has {', '.join(known)}"
        yield Problem(f"{path}.field", description, ATTRIBUTE_UNKNOWN)
        return
    attribute = ATTRIBUTES[comparison.attribute]
    if comparison.operator not in attribute.operators:
        description = f"{attribute.name} does not take {comparison.operator.name.lower()}"
        yield Problem(f"{path}.operator", description, RULE_TYPE_MISMATCH)
        return
    yield from _of_values(comparison, attribute, path)


def _of_values(comparison: Comparison, attribute: Attribute, path: str) -> Iterator[Problem]:
    given, operator = len(comparison.values), comparison.operator
    if operator in _NONE:
        if given:
            yield Problem(f"{path}.values", "exists takes no value", RULE_TYPE_MISMATCH)
        return
    if operator in _ONE and given != 1:
        yield Problem(f"{path}.values", f"one value is needed, {given} are given", RULE_TYPE_MISMATCH)
        return
    if operator is Operator.BETWEEN and given != 2:
        yield Problem(f"{path}.values", f"two values are needed, {given} are given", RULE_TYPE_MISMATCH)
        return
    if not given:
        yield Problem(f"{path}.values", "a value is needed", RULE_TYPE_MISMATCH)
        return
    sound: list[int | str] = []
    for i, value in enumerate(comparison.values):
        try:
            sound.append(normal_value(attribute, value))
        except ValueError as problem:
            yield Problem(f"{path}.values[{i}]", str(problem), RULE_TYPE_MISMATCH)
    if attribute.name == "hour" and len(sound) == given:
        if not all(isinstance(hour, int) and 0 <= hour <= 24 for hour in sound):
            yield Problem(f"{path}.values", "hours run from 0 to 23", RULE_IMPOSSIBLE)
