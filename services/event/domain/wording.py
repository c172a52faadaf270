"""Expressions in Chinese words, as planners read them on cards and in approvals (EVT-10 to EVT-13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from services.event.domain import regions
from services.event.domain.model import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Either,
    Expression,
    Membership,
    Not,
    Operator,
    Rule,
    Value,
)
from services.event.domain.sources import ATTRIBUTES, SOURCES, Attribute, normal_value

_WORDS = {
    Operator.EQ: "等于", Operator.NE: "不等于", Operator.LT: "小于", Operator.LE: "不大于",
    Operator.GT: "大于", Operator.GE: "不小于", Operator.IN: "属于", Operator.NOT_IN: "不属于",
    Operator.CONTAINS: "包含", Operator.NOT_CONTAINS: "不包含", Operator.EXISTS: "有值",
    Operator.NOT_EXISTS: "无值",
}  # fmt: skip
_SHOWN = 3  # values written out; more are counted


def text_of(expression: Expression, timezone: str = "Asia/Shanghai") -> str:
    """The expression in words: 位置（当前TAC-小区标识 包含 12 个小区，停留不少于 3600 秒）并 …"""
    return _expression(expression, ZoneInfo(timezone), outer=True)


def _expression(expression: Expression, zone: ZoneInfo, *, outer: bool = False) -> str:
    if isinstance(expression, Rule):
        return _rule(expression, zone)
    word = " 或 " if isinstance(expression, Either) else " 并 "
    text = word.join(_expression(child, zone) for child in expression.children)
    return text if outer or len(expression.children) == 1 else f"（{text}）"


def _rule(rule: Rule, zone: ZoneInfo) -> str:
    parts = [] if rule.condition == All(()) else [_condition(rule.condition, outer=True)]
    if rule.dwell_seconds:
        parts.append(f"停留不少于 {_seconds(rule.dwell_seconds)}")
    if rule.count > 1:
        parts.append(f"{_seconds(rule.window_seconds)}内达到 {rule.count} 次")
    if rule.start is not None:
        parts.append(f"开始时间 {_time(rule.start, zone)}")
    if rule.end is not None:
        parts.append(f"结束时间 {_time(rule.end, zone)}")
    name = SOURCES[rule.source].display_name
    return f"{name}（{'，'.join(parts)}）" if parts else name


def _condition(condition: Condition, *, outer: bool = False) -> str:
    if isinstance(condition, Comparison):
        return _comparison(condition)
    if isinstance(condition, Not):
        return f"非（{_condition(condition.child, outer=True)}）"
    if isinstance(condition, Membership):
        return f"属于 {condition.name}"
    word = " 或 " if isinstance(condition, AnyOf) else " 并 "
    text = word.join(_condition(child) for child in condition.children)
    return text if outer or len(condition.children) == 1 else f"（{text}）"


def _comparison(comparison: Comparison) -> str:
    attribute = ATTRIBUTES[comparison.attribute]
    name, operator = attribute.display_name, comparison.operator
    if operator in (Operator.EXISTS, Operator.NOT_EXISTS):
        return f"{name} {_WORDS[operator]}"
    if operator is Operator.BETWEEN:
        low, high = (_value(attribute, value) for value in comparison.values)
        left = "(" if comparison.lower_open else "["
        right = ")" if comparison.upper_open else "]"
        return f"{name} 介于 {left}{low}, {high}{right}"
    word = _WORDS[operator]
    if attribute.type == "cell" and attribute.name != "outlet" and len(comparison.values) > 1:
        return f"{name} {word} {len(comparison.values)} 个小区"
    shown = "、".join(_value(attribute, value) for value in comparison.values[:_SHOWN])
    more = f"等 {len(comparison.values)} 项" if len(comparison.values) > _SHOWN else ""
    return f"{name} {word} {shown}{more}"


def _value(attribute: Attribute, value: Value) -> str:
    if attribute.type == "text" or attribute.name in ("site", "outlet"):
        return f"“{value}”"
    code = normal_value(attribute, value)
    if attribute.level:
        return f"“{regions.name_of(int(code))}”"
    if attribute.codes is not None:
        words = {number: word for word, number in attribute.codes.items() if not word.isdigit()}
        return f"“{words[int(code)]}”"
    if attribute.type == "cell":
        return f"{int(code) >> 32}-{int(code) & 0xFFFFFFFF}"
    return str(code)


def _seconds(seconds: int) -> str:
    for size, unit in ((86400, "天"), (3600, "小时"), (60, "分钟")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} 秒"


def _time(micros: int, zone: ZoneInfo) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M")
