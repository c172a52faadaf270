"""Between the contract's messages and the rules' own values."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from iop.common.v1 import condition_pb2, types_pb2
from iop.event.v1 import definition_pb2, events_pb2

from services.event.domain.model import (
    DEFAULT_COMBINATION_SECONDS,
    All,
    AnyOf,
    Area,
    Comparison,
    Condition,
    Definition,
    Either,
    Every,
    Expression,
    Membership,
    Not,
    Operator,
    Rule,
    Source,
    Value,
)
from services.event.engine.columns import LocalTime
from services.event.engine.index import FOR_EVER
from services.event.engine.matcher import Match
from services.event.engine.state import Binding


def expression_of(message: Any) -> Expression:
    """An EventExpression as our own."""
    kind = message.WhichOneof("node")
    if kind == "rule":
        return _rule_of(message.rule)
    children = tuple(expression_of(child) for child in getattr(message, kind).expressions)
    return Every(children) if kind == "all_of" else Either(children)


def _rule_of(message: Any) -> Rule:
    return Rule(
        source=Source(message.source),
        condition=condition_of(message.condition) if message.HasField("condition") else All(()),
        dwell_seconds=message.dwell_seconds,
        count=max(1, message.count),
        window_seconds=message.window_seconds,
        start=message.start_time.ToMicroseconds() if message.HasField("start_time") else None,
        end=message.end_time.ToMicroseconds() if message.HasField("end_time") else None,
        areas=tuple(
            Area(tuple((point.longitude, point.latitude) for point in polygon.points))
            for polygon in message.areas
        ),
    )


def condition_of(message: Any) -> Condition:
    """A Condition as our own."""
    kind = message.WhichOneof("node")
    if kind == "comparison":
        comparison = message.comparison
        return Comparison(
            attribute=comparison.field,
            operator=Operator(comparison.operator),
            values=tuple(_value_of(value) for value in comparison.values),
            lower_open=comparison.lower_open,
            upper_open=comparison.upper_open,
        )
    if kind == "not":
        return Not(condition_of(getattr(message, "not")))
    if kind == "membership":
        return Membership(message.membership.set)
    children = tuple(condition_of(child) for child in getattr(message, kind).conditions)
    return All(children) if kind == "all_of" else AnyOf(children)


def _value_of(message: Any) -> Value:
    value: Value = getattr(message, message.WhichOneof("kind"))
    return value


def expression_message(expression: Expression) -> definition_pb2.EventExpression:
    """Our expression as an EventExpression."""
    if isinstance(expression, Rule):
        return definition_pb2.EventExpression(rule=_rule_message(expression))
    children = definition_pb2.EventExpressions(
        expressions=[expression_message(child) for child in expression.children]
    )
    if isinstance(expression, Every):
        return definition_pb2.EventExpression(all_of=children)
    return definition_pb2.EventExpression(any_of=children)


def _rule_message(rule: Rule) -> definition_pb2.Rule:
    message = definition_pb2.Rule(
        source=int(rule.source),  # type: ignore[arg-type]
        dwell_seconds=rule.dwell_seconds,
        count=rule.count,
        window_seconds=rule.window_seconds,
        areas=[
            types_pb2.Polygon(points=[types_pb2.Point(longitude=x, latitude=y) for x, y in area.corners])
            for area in rule.areas
        ],
    )
    if rule.condition != All(()):
        message.condition.CopyFrom(condition_message(rule.condition))
    if rule.start is not None:
        message.start_time.FromMicroseconds(rule.start)
    if rule.end is not None:
        message.end_time.FromMicroseconds(rule.end)
    return message


def condition_message(condition: Condition) -> condition_pb2.Condition:
    """Our condition as a Condition."""
    message = condition_pb2.Condition()
    if isinstance(condition, Comparison):
        message.comparison.field = condition.attribute
        message.comparison.operator = int(condition.operator)  # type: ignore[assignment]
        message.comparison.values.extend(_value_message(value) for value in condition.values)
        message.comparison.lower_open = condition.lower_open
        message.comparison.upper_open = condition.upper_open
    elif isinstance(condition, Not):
        getattr(message, "not").CopyFrom(condition_message(condition.child))
    elif isinstance(condition, Membership):
        message.membership.set = condition.name
    else:
        children = message.all_of if isinstance(condition, All) else message.any_of
        children.SetInParent()
        children.conditions.extend(condition_message(child) for child in condition.children)
    return message


def _value_message(value: Value) -> condition_pb2.Value:
    if isinstance(value, bool):
        return condition_pb2.Value(flag=value)
    if isinstance(value, int):
        return condition_pb2.Value(id=value)
    return condition_pb2.Value(number=value) if isinstance(value, float) else condition_pb2.Value(text=value)


def definition_record(record: bytes) -> Definition:
    """The definition in a serialized DefinitionChanged of the log."""
    return definition_of(events_pb2.DefinitionChanged.FromString(record).definition)


def definition_of(message: Any) -> Definition:
    """A Definition as the matcher takes it."""
    return Definition(
        number=message.definition_number,
        expression=expression_of(message.expression),
        combination_seconds=message.combination_seconds or DEFAULT_COMBINATION_SECONDS,
    )


def binding_record(record: bytes, time: LocalTime) -> Binding:
    """The binding in a serialized PopulationBound of the log."""
    message = events_pb2.PopulationBound.FromString(record)
    start = date.fromisoformat(message.start_date) if message.start_date else None
    end = date.fromisoformat(message.end_date) + timedelta(days=1) if message.end_date else None
    return Binding(
        activity_number=message.activity_number,
        definition_number=message.definition_number,
        digest=message.bitmap.digest,
        start=0 if start is None else time.day_start(start.year, start.month, start.day),
        end=FOR_EVER if end is None else time.day_start(end.year, end.month, end.day),
        record=record,
    )


def match_message(match: Match) -> events_pb2.EventMatched:
    """A match as it is announced."""
    return events_pb2.EventMatched(
        definition_number=match.definition_number,
        activity_number=match.activity_number,
        period=match.period,
        ordinals=match.ordinals.astype("<u4", copy=False).tobytes(),
        occurred_at=match.occurred_at.astype("<i8", copy=False).tobytes(),
        tac_cells=match.tac_cells.astype("<u8", copy=False).tobytes(),
        counties=match.counties.astype("<i4", copy=False).tobytes(),
    )
