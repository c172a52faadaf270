"""A checked condition in the words of a planner: `28 元 < 月消费 < 38 元 且 归属地市 属于 包头市、赤峰市`."""

from services.audience.domain.catalogue import Tag, TagType, number_text
from services.audience.domain.condition import (
    AllOf,
    AnyOf,
    Checked,
    Comparison,
    Constant,
    Member,
    Not,
    Operator,
    Test,
)

_UNITS = {
    "yuan": "元",
    "minute": "分钟",
    "month": "个月",
    "day": "天",
    "person": "人",
    "card": "张",
    "point": "分",
}
_SIGNS = {
    Operator.EQ: "=",
    Operator.NE: "≠",
    Operator.LT: "<",
    Operator.LE: "≤",
    Operator.GT: ">",
    Operator.GE: "≥",
    Operator.IN: "属于",
    Operator.NOT_IN: "不属于",
    Operator.CONTAINS: "包含",
    Operator.NOT_CONTAINS: "不包含",
    Operator.EXISTS: "有值",
    Operator.NOT_EXISTS: "无值",
}
_SHOWN_VALUES = 8
_SETS = {"audiences": "客户群", "snapshots": "快照", "lists": "名单"}


def words(node: Checked) -> str:
    """The whole condition in one line; all customers when there is none."""
    if node == AllOf():
        return "全部客户"
    return _words(node, nested=False)


def line(node: Checked) -> str:
    """One node without its children."""
    match node:
        case AllOf():
            return "同时满足"
        case AnyOf():
            return "满足其一"
        case Not():
            return "非"
        case _:
            return _words(node, nested=False)


def _words(node: Checked, nested: bool) -> str:
    match node:
        case AllOf(children) | AnyOf(children):
            if not children:
                return "全部客户" if isinstance(node, AllOf) else "无客户"
            joint = " 且 " if isinstance(node, AllOf) else " 或 "
            if len(children) == 1:
                return _words(children[0], nested)
            text = joint.join(_words(child, True) for child in children)
            return f"（{text}）" if nested else text
        case Not(child):
            return f"非（{_words(child, False)}）"
        case Member(name):
            kind = _SETS.get(name.partition("/")[0], "集合")
            return f"属于{kind} {name}"
        case Test():
            return _test(node.tag, node.comparison)


def _test(tag: Tag, comparison: Comparison) -> str:
    operator = comparison.operator
    if operator in (Operator.EXISTS, Operator.NOT_EXISTS):
        return f"{tag.name} {_SIGNS[operator]}"
    values = [_constant(tag, value) for value in comparison.values]
    if operator == Operator.BETWEEN:
        left = "<" if comparison.lower_open else "≤"
        right = "<" if comparison.upper_open else "≤"
        return f"{values[0]} {left} {tag.name} {right} {values[1]}"
    more = f" 等{len(values)}项" if len(values) > _SHOWN_VALUES else ""
    return f"{tag.name} {_SIGNS[operator]} {'、'.join(values[:_SHOWN_VALUES])}{more}"


def _constant(tag: Tag, constant: Constant) -> str:
    if tag.type == TagType.NUMBER:
        value = constant.value
        text = number_text(int(value), 0) if float(value).is_integer() else repr(value)
        unit = _UNITS.get(tag.unit, tag.unit if tag.unit in ("MB", "GB", "%") else "")
        return f"{text} {unit}".rstrip()
    if tag.type == TagType.FLAG:
        return "是" if constant.value else "否"
    if tag.type in (TagType.ENUMERATION, TagType.SET):
        return tag.label(tag.index[constant.value])
    return str(constant.value)
