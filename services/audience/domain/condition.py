"""A condition over tags: its tree, and the check that turns comparisons into tests on stored values.

A missing value satisfies the negative operators and no other; each negative operator is the exact
complement of its positive one. A checked comparison is a `Test` over stored integers, so that every
executor reads the same bounds and 28.00 < x < 38.00 is exact (AUD-07, AUD-09, AUD-30).
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import Enum, IntEnum
from typing import Any

from services.audience.domain.catalogue import Tag, TagType, day_number
from services.audience.domain.region import Ranges, merge
from services.kit import errors

LOWEST, HIGHEST = -(2**63) + 1, 2**63 - 2


class Operator(IntEnum):
    """Operators; the numbers are those of the contract."""

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


POSITIVE_OF = {
    Operator.NE: Operator.EQ,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_EXISTS: Operator.EXISTS,
}
_EQUALITY = {Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.NOT_EXISTS}
_ORDER = {Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.BETWEEN}
_CONTAINING = {Operator.CONTAINS, Operator.NOT_CONTAINS}
ALLOWED: dict[TagType, set[Operator]] = {
    TagType.NUMBER: _EQUALITY | _ORDER,
    TagType.DATE: _EQUALITY | _ORDER,
    TagType.ENUMERATION: _EQUALITY | _CONTAINING,
    TagType.TEXT: _EQUALITY | _CONTAINING,
    TagType.FLAG: _EQUALITY,
    # A set is never equal to one code: it holds it.
    TagType.SET: (_EQUALITY | _CONTAINING) - {Operator.EQ, Operator.NE},
}
# Kinds of constants that fit a type.
_KINDS: dict[TagType, tuple[str, ...]] = {
    TagType.NUMBER: ("number", "id"),
    TagType.DATE: ("date",),
    TagType.ENUMERATION: ("text",),
    TagType.TEXT: ("text",),
    TagType.FLAG: ("flag",),
    TagType.SET: ("text",),
}
_OFFSET = re.compile(r"([+-]?\d{1,5})d")


@dataclass(frozen=True)
class Constant:
    """A typed constant; `kind` is number, text, flag, date or id."""

    kind: str
    value: Any


@dataclass(frozen=True)
class AllOf:
    """True when every child is; true when there is none."""

    children: tuple[Any, ...] = ()  # of Node, or of Checked once it is checked


@dataclass(frozen=True)
class AnyOf:
    """True when a child is; false when there is none."""

    children: tuple[Any, ...] = ()  # of Node, or of Checked once it is checked


@dataclass(frozen=True)
class Not:
    """True when the child is not."""

    child: Any


@dataclass(frozen=True)
class Comparison:
    """Compares a tag with constants."""

    field: str
    operator: Operator
    values: tuple[Constant, ...] = ()
    lower_open: bool = False
    upper_open: bool = False


@dataclass(frozen=True)
class Member:
    """Member of `audiences/{id}`, `snapshots/{id}` or `lists/{id}`."""

    set: str


class Form(Enum):
    """What a test looks at."""

    EXISTS = "exists"
    RANGES = "ranges"
    MASK = "mask"
    TEXT_IN = "text_in"
    TEXT_CONTAINS = "text_contains"


@dataclass(frozen=True)
class Test:
    """A comparison bound to its tag, over stored values; `negative` turns the result round."""

    tag: Tag
    comparison: Comparison
    form: Form
    negative: bool
    ranges: Ranges = ()
    mask: int = 0
    texts: tuple[str, ...] = ()


Node = AllOf | AnyOf | Not | Comparison | Member
Checked = AllOf | AnyOf | Not | Test | Member
EVERYBODY = AllOf()


@dataclass(frozen=True)
class Problem:
    """A fault of a condition at a node."""

    reason: str
    path: str
    description: str


@dataclass
class _Checker:
    look: Callable[[str], Tag | None]
    day_of_data: Callable[[Tag], date]
    problems: list[Problem] = field(default_factory=list)

    def node(self, node: Node, path: str) -> Checked:
        match node:
            case AllOf(children):
                return AllOf(self.children(children, f"{path}.all_of"))
            case AnyOf(children):
                return AnyOf(self.children(children, f"{path}.any_of"))
            case Not(child):
                return Not(self.node(child, f"{path}.not"))
            case Member():
                return node
            case Comparison():
                return self.comparison(node, f"{path}.comparison") or EVERYBODY

    def children(self, nodes: Sequence["Node"], path: str) -> tuple["Checked", ...]:
        return tuple(self.node(child, f"{path}.conditions[{i}]") for i, child in enumerate(nodes))

    def add(self, reason: str, path: str, description: str) -> None:
        self.problems.append(Problem(reason, path, description))

    def comparison(self, node: Comparison, path: str) -> Test | None:
        tag = self.look(node.field)
        if tag is None:
            self.add("TAG_UNKNOWN", f"{path}.field", f"the catalogue holds no tag {node.field!r}")
            return None
        if node.operator not in ALLOWED[tag.type]:
            self.add(
                "CONDITION_TYPE_MISMATCH",
                f"{path}.operator",
                f"{node.operator.name.lower()} does not fit {tag.code}, which is a {tag.type.name.lower()}",
            )
            return None
        if not self._arity(node, path):
            return None
        positive = POSITIVE_OF.get(node.operator, node.operator)
        negative = positive != node.operator
        if positive == Operator.EXISTS:
            return Test(tag, node, Form.EXISTS, negative)
        stored: list[Any] = [
            self._constant(tag, value, f"{path}.values[{i}]") for i, value in enumerate(node.values)
        ]
        if any(value is None for value in stored):
            return None
        if tag.type == TagType.TEXT:
            form = Form.TEXT_CONTAINS if positive == Operator.CONTAINS else Form.TEXT_IN
            return Test(tag, node, form, negative, texts=tuple(str(value) for value in stored))
        if tag.type == TagType.SET:
            mask = 0
            for value in stored:
                mask |= 1 << value
            return Test(tag, node, Form.MASK, negative, mask=mask)
        ranges = _ranges(positive, stored, node.lower_open, node.upper_open)
        if not ranges and not negative:
            self.add("CONDITION_IMPOSSIBLE", path, f"no value of {tag.code} can satisfy this")
            return None
        return Test(tag, node, Form.RANGES, negative, ranges=ranges)

    def _arity(self, node: Comparison, path: str) -> bool:
        count = len(node.values)
        if node.operator in (Operator.EXISTS, Operator.NOT_EXISTS):
            good, wanted = count == 0, "no value"
        elif node.operator == Operator.BETWEEN:
            good, wanted = count == 2, "two values"
        elif POSITIVE_OF.get(node.operator, node.operator) in (Operator.IN, Operator.CONTAINS):
            good, wanted = count >= 1, "one value or more"
        else:
            good, wanted = count == 1, "one value"
        if not good:
            what = f"{node.operator.name.lower()} takes {wanted}, not {count}"
            self.add("CONDITION_TYPE_MISMATCH", f"{path}.values", what)
        return good

    def _constant(self, tag: Tag, constant: Constant, path: str) -> Decimal | str | int | None:
        """A constant in the units of the stored values; None when it does not fit."""
        if constant.kind not in _KINDS[tag.type]:
            wanted = " or ".join(_KINDS[tag.type])
            what = f"{tag.code} is compared with {wanted}, not with {constant.kind}"
            self.add("CONDITION_TYPE_MISMATCH", path, what)
            return None
        if tag.type == TagType.NUMBER:
            if isinstance(constant.value, float) and not math.isfinite(constant.value):
                self.add("CONDITION_TYPE_MISMATCH", path, "must be a finite number")
                return None
            # repr gives the decimal that the planner wrote, not its binary neighbour.
            return Decimal(repr(constant.value)).scaleb(tag.decimals)
        if tag.type in (TagType.ENUMERATION, TagType.SET):
            position = tag.index.get(constant.value)
            if position is None:
                self.add("CONDITION_TYPE_MISMATCH", path, f"{tag.code} has no value {constant.value!r}")
            return position
        if tag.type == TagType.FLAG:
            return int(constant.value)
        if tag.type == TagType.DATE:
            return self._date(tag, str(constant.value), path)
        return str(constant.value)

    def _date(self, tag: Tag, text: str, path: str) -> int | None:
        offset = _OFFSET.fullmatch(text)
        if offset:
            return day_number(self.day_of_data(tag)) + int(offset.group(1))
        try:
            return day_number(date.fromisoformat(text))
        except ValueError:
            self.add("CONDITION_TYPE_MISMATCH", path, "must be a date YYYY-MM-DD or an offset such as -30d")
            return None


def _ranges(operator: Operator, stored: list[Any], lower_open: bool, upper_open: bool) -> Ranges:
    """Closed ranges of stored integers that satisfy a positive operator."""
    values = [Decimal(value) for value in stored]
    if operator in (Operator.EQ, Operator.IN, Operator.CONTAINS):
        return _within((_up(v, False), _down(v, False)) for v in values)
    if operator == Operator.LT:
        return _within([(LOWEST, _down(values[0], True))])
    if operator == Operator.LE:
        return _within([(LOWEST, _down(values[0], False))])
    if operator == Operator.GT:
        return _within([(_up(values[0], True), HIGHEST)])
    if operator == Operator.GE:
        return _within([(_up(values[0], False), HIGHEST)])
    return _within([(_up(values[0], lower_open), _down(values[1], upper_open))])


def _within(ranges: Any) -> Ranges:
    return merge((max(low, LOWEST), min(high, HIGHEST)) for low, high in ranges)


def _up(value: Decimal, is_open: bool) -> int:
    """The lowest integer at or above a bound, above it when the bound is open."""
    low = int(value.to_integral_value(ROUND_CEILING))
    return low + 1 if is_open and low == value else low


def _down(value: Decimal, is_open: bool) -> int:
    high = int(value.to_integral_value(ROUND_FLOOR))
    return high - 1 if is_open and high == value else high


def check(
    node: Node,
    look: Callable[[str], Tag | None],
    day_of_data: Callable[[Tag], date],
    path: str = "selection.condition",
) -> Checked:
    """Check a condition against the catalogue; every fault is named by the path of its node.

    `day_of_data(tag)` is the date from which offsets such as `-30d` count. errors.Invalid carries all
    faults, with the reason of the first: TAG_UNKNOWN, CONDITION_TYPE_MISMATCH or CONDITION_IMPOSSIBLE.
    """
    checker = _Checker(look, day_of_data)
    checked = checker.node(node, path)
    if checker.problems:
        first = checker.problems[0]
        raise errors.Invalid(
            f"the condition has a fault: {first.description}",
            reason=first.reason,
            fields=[(problem.path, problem.description) for problem in checker.problems],
        )
    return checked


def walk(node: Node | Checked) -> Iterator[Node | Checked]:
    """Every node of a tree, parents first."""
    yield node
    if isinstance(node, AllOf | AnyOf):
        for child in node.children:
            yield from walk(child)
    elif isinstance(node, Not):
        yield from walk(node.child)


def tags_of(node: Node) -> tuple[str, ...]:
    """Codes of the tags a condition names, each once, in order."""
    return tuple(dict.fromkeys(item.field for item in walk(node) if isinstance(item, Comparison)))


def sets_of(node: Node | Checked) -> tuple[str, ...]:
    """Names of the sets a condition refers to, each once, in order."""
    return tuple(dict.fromkeys(item.set for item in walk(node) if isinstance(item, Member)))
