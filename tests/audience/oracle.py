"""The meaning of a condition, row by row and in plain Python: what every executor must agree with.

A row maps the code of each tag to its value: Decimal, str, bool, date, a frozenset of codes, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from services.audience.domain.condition import AllOf, AnyOf, Comparison, Member, Node, Not, Operator

Row = Mapping[str, Any]


def matches(node: Node, row: Row, data_date: date) -> bool:
    """Whether a row satisfies a condition."""
    if isinstance(node, AllOf):
        return all(matches(child, row, data_date) for child in node.children)
    if isinstance(node, AnyOf):
        return any(matches(child, row, data_date) for child in node.children)
    if isinstance(node, Not):
        return not matches(node.child, row, data_date)
    if isinstance(node, Member):
        return row[node.set] is True
    return compare(node, row[node.field], data_date)


def compare(node: Comparison, value: Any, data_date: date) -> bool:
    """One comparison; a missing value satisfies the negative operators and no other."""
    operator = node.operator
    complements = {
        Operator.NE: Operator.EQ,
        Operator.NOT_IN: Operator.IN,
        Operator.NOT_CONTAINS: Operator.CONTAINS,
        Operator.NOT_EXISTS: Operator.EXISTS,
    }
    if operator in complements:
        positive = Comparison(
            node.field, complements[operator], node.values, node.lower_open, node.upper_open
        )
        return not compare(positive, value, data_date)
    if value is None or value == frozenset():
        return False
    if operator == Operator.EXISTS:
        return True
    given = [constant(item.kind, item.value, data_date) for item in node.values]
    if isinstance(value, frozenset):
        return any(item in value for item in given)
    if operator in (Operator.EQ, Operator.IN):
        return value in given
    if operator == Operator.CONTAINS:
        return any(item in value for item in given) if row_is_text(node) else value in given
    if operator == Operator.LT:
        return bool(value < given[0])
    if operator == Operator.LE:
        return bool(value <= given[0])
    if operator == Operator.GT:
        return bool(value > given[0])
    if operator == Operator.GE:
        return bool(value >= given[0])
    low = value > given[0] if node.lower_open else value >= given[0]
    high = value < given[1] if node.upper_open else value <= given[1]
    return bool(low and high)


def row_is_text(node: Comparison) -> bool:
    """Text tags of the cases begin with `text`; an enumeration's contains is the same as in."""
    return node.field.startswith("text")


def constant(kind: str, value: Any, data_date: date) -> Any:
    """A constant as a plain value."""
    if kind in ("number", "id"):
        return Decimal(repr(value))
    if kind == "date":
        if value.endswith("d"):
            return data_date + timedelta(days=int(value[:-1]))
        return date.fromisoformat(value)
    return value
