"""The vectorised executor: a checked condition over columns, 131,072 ordinals at a time.

A block of narrow codes and its masks stay in the second-level cache, so a selection costs little more
than reading its columns once. Rows beyond the end of a column have no value.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.audience.domain.condition import AllOf, AnyOf, Checked, Form, Member, Not, Test
from services.audience.domain.region import EVERYWHERE, Ranges, merge
from services.audience.engine.bitmap import Mask
from services.audience.engine.columns import Column

BLOCK = 131_072
_MANY = 4  # more ranges than this are looked up in a table

Codes = NDArray[np.integer]
T = TypeVar("T")

_PARALLEL_BLOCKS = 8
_CORES = min(8, os.cpu_count() or 1)
_THREADS = ThreadPoolExecutor(_CORES, thread_name_prefix="select")


@dataclass(frozen=True)
class Constant:
    """Everybody or nobody."""

    result: bool
    cost: int = 0


@dataclass(frozen=True)
class Range:
    """Codes in one closed range; the missing code is never inside."""

    codes: Codes
    low: int
    high: int
    negative: bool
    cost: int


@dataclass(frozen=True)
class Table:
    """Codes looked up in a table: of all codes of a narrow type, or of the bounds of ranges."""

    codes: Codes
    table: Mask | None
    lows: Codes
    highs: Codes
    negative: bool
    cost: int


@dataclass(frozen=True)
class Bits:
    """Masks that share a bit with `mask`."""

    codes: Codes
    mask: int
    negative: bool
    cost: int


@dataclass(frozen=True)
class Present:
    """Codes other than `missing`."""

    codes: Codes
    missing: int
    negative: bool
    cost: int


@dataclass(frozen=True)
class Given:
    """A set known before: one boolean an ordinal."""

    mask: Mask
    cost: int = 1


@dataclass(frozen=True)
class All:
    """Every child, the cheapest first."""

    children: tuple["Step", ...]
    cost: int


@dataclass(frozen=True)
class Any:
    """One child at least."""

    children: tuple["Step", ...]
    cost: int


@dataclass(frozen=True)
class Negation:
    """The complement."""

    child: "Step"
    cost: int


Leaf = Range | Table | Bits | Present
Step = Constant | Leaf | Given | All | Any | Negation


def build(node: Checked, column_of: Callable[[Test], Column], mask_of: Callable[[str], Mask]) -> Step:
    """The steps of a condition over the columns of its tags and the masks of its sets."""
    match node:
        case AllOf(children):
            return both([build(child, column_of, mask_of) for child in children])
        case AnyOf(children):
            steps = [build(child, column_of, mask_of) for child in children]
            if not steps:
                return Constant(False)
            ordered = sorted(steps, key=lambda step: step.cost)
            return Any(tuple(ordered), sum(step.cost for step in steps)) if len(steps) > 1 else steps[0]
        case Not(child):
            step = build(child, column_of, mask_of)
            return Negation(step, step.cost)
        case Member(name):
            return Given(mask_of(name))
        case Test():
            return _test(node, column_of(node))


def both(steps: list[Step]) -> Step:
    """All of the steps, the cheapest first; everybody when there is none."""
    wanted = [step for step in steps if step != Constant(True)]
    if not wanted:
        return Constant(True)
    if len(wanted) == 1:
        return wanted[0]
    return All(tuple(sorted(wanted, key=lambda step: step.cost)), sum(step.cost for step in wanted))


def in_ranges(codes: Codes, missing: int | None, ranges: Ranges, negative: bool = False) -> Step:
    """Codes within closed ranges; `missing` lies at an end of the type and in no range."""
    info = np.iinfo(codes.dtype)
    lowest, highest = int(info.min), int(info.max)
    if missing == lowest:
        lowest += 1
    elif missing == highest:
        highest -= 1
    kept = merge((max(low, lowest), min(high, highest)) for low, high in ranges)
    width = codes.dtype.itemsize
    if not kept:
        return Constant(negative)
    if len(kept) == 1:
        return Range(codes, *kept[0], negative, width)
    if len(kept) <= _MANY:
        step: Step = Any(
            tuple(Range(codes, low, high, False, width) for low, high in kept), width * len(kept)
        )
        return Negation(step, step.cost) if negative else step
    lows = np.array([low for low, _ in kept], dtype=codes.dtype)
    highs = np.array([high for _, high in kept], dtype=codes.dtype)
    table = None
    if info.bits <= 16 and info.min == 0:
        table = np.zeros(int(info.max) + 1, dtype=np.bool_)
        for low, high in kept:
            table[low : high + 1] = True
    return Table(codes, table, lows, highs, negative, 4 * width)


def in_regions(counties: Codes, ranges: Ranges) -> Step:
    """Subscribers whose home lies in the regions."""
    return Constant(True) if ranges == EVERYWHERE else in_ranges(counties, None, ranges)


def _test(test: Test, column: Column) -> Step:
    codes, missing = column.codes, column.missing
    width = codes.dtype.itemsize
    match test.form:
        case Form.EXISTS:
            return Present(codes, missing, test.negative, width)
        case Form.RANGES:
            return in_ranges(codes, missing, test.ranges, test.negative)
        case Form.MASK:
            kept = test.mask & int(np.iinfo(codes.dtype).max)
            return Bits(codes, kept, test.negative, width) if kept else Constant(test.negative)
        case Form.TEXT_IN:
            wanted = set(test.texts)
            found = [i for i, text in enumerate(column.texts) if text in wanted]
            return in_ranges(codes, missing, merge((i, i) for i in found), test.negative)
        case Form.TEXT_CONTAINS:
            parts = test.texts
            found = [i for i, text in enumerate(column.texts) if any(part in text for part in parts)]
            return in_ranges(codes, missing, merge((i, i) for i in found), test.negative)


def select(step: Step, count: int, start: int = 0) -> Mask:
    """The result for the ordinals from `start` to `count - 1`."""
    result = np.empty(max(0, count - start), dtype=np.bool_)

    def part(first: int, last: int) -> None:
        scratch: list[Mask] = []
        for low in range(first, last, BLOCK):
            high = min(last, low + BLOCK)
            _run(step, low, high, result[low - start : high - start], scratch, 0)

    _in_parts(part, start, count)
    return result


def count_of(step: Step, count: int) -> int:
    """How many of the first `count` ordinals satisfy a condition."""

    def part(first: int, last: int) -> int:
        total, buffer = 0, np.empty(BLOCK, dtype=np.bool_)
        scratch: list[Mask] = []
        for low in range(first, last, BLOCK):
            high = min(last, low + BLOCK)
            out = buffer[: high - low]
            _run(step, low, high, out, scratch, 0)
            total += int(np.count_nonzero(out))
        return total

    return sum(_in_parts(part, 0, count))


def _in_parts(work: Callable[[int, int], T], start: int, count: int) -> list[T]:
    """Run `work(first, last)` over [start, count), on all cores where it is long; numpy gives up the lock."""
    blocks = -(-(count - start) // BLOCK)
    if blocks < _PARALLEL_BLOCKS or _CORES == 1:
        return [work(start, count)]
    step = -(-blocks // _CORES) * BLOCK
    parts = [(low, min(low + step, count)) for low in range(start, count, step)]
    others = [_THREADS.submit(work, *part) for part in parts[1:]]
    return [work(*parts[0]), *(other.result() for other in others)]


def one(step: Step, ordinal: int) -> bool:
    """The result for one ordinal."""
    out = np.empty(1, dtype=np.bool_)
    _run(step, ordinal, ordinal + 1, out, [], 0)
    return bool(out[0])


def _run(step: Step, low: int, high: int, out: Mask, scratch: list[Mask], depth: int) -> None:
    """Write the result of `step` for the ordinals [low, high) into `out`."""
    match step:
        case All(children):
            _run(children[0], low, high, out, scratch, depth + 1)
            other = _buffer(scratch, depth)[: high - low]
            for child in children[1:]:
                if not out.any():
                    return
                _run(child, low, high, other, scratch, depth + 1)
                np.logical_and(out, other, out=out)
        case Any(children):
            _run(children[0], low, high, out, scratch, depth + 1)
            other = _buffer(scratch, depth)[: high - low]
            for child in children[1:]:
                _run(child, low, high, other, scratch, depth + 1)
                np.logical_or(out, other, out=out)
        case Negation(child):
            _run(child, low, high, out, scratch, depth)
            np.logical_not(out, out=out)
        case Constant(result):
            out.fill(result)
        case Given(mask):
            known = min(high, len(mask)) - low
            out.fill(False)
            if known > 0:
                out[:known] = mask[low : low + known]
        case _:
            known = min(high, len(step.codes)) - low
            if known < high - low:
                out.fill(step.negative)
                if known <= 0:
                    return
            _leaf(step, step.codes[low : low + known], out[:known])


def _leaf(step: Leaf, codes: Codes, out: Mask) -> None:
    match step:
        case Range(_, low, high):
            _range(codes, low, high, out)
        case Table(_, table, lows, highs):
            if table is not None:
                np.take(table, codes, out=out, mode="clip")
            else:
                place = np.searchsorted(lows, codes, side="right") - 1
                np.less_equal(codes, highs[place], out=out)
                np.logical_and(out, place >= 0, out=out)
        case Bits(_, mask):
            np.not_equal(np.bitwise_and(codes, codes.dtype.type(mask)), 0, out=out)
        case Present(_, missing):
            np.not_equal(codes, codes.dtype.type(missing), out=out)
    if step.negative:
        np.logical_not(out, out=out)


def _range(codes: Codes, low: int, high: int, out: Mask) -> None:
    info = np.iinfo(codes.dtype)
    kind = codes.dtype.type
    if low == high:
        np.equal(codes, kind(low), out=out)
    elif high == info.max:
        np.greater_equal(codes, kind(low), out=out)
    elif low == info.min:
        np.less_equal(codes, kind(high), out=out)
    else:
        # One subtraction that wraps round and one comparison instead of two comparisons and an and.
        bits = np.dtype(f"u{codes.dtype.itemsize}").type
        shifted = np.subtract(codes.view(bits), bits(low & (2**info.bits - 1)))
        np.less_equal(shifted, bits(high - low), out=out)


def _buffer(scratch: list[Mask], depth: int) -> Mask:
    while len(scratch) <= depth:
        scratch.append(np.empty(BLOCK, dtype=np.bool_))
    return scratch[depth]
