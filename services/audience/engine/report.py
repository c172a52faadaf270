"""Distributions of many attributes over a selection in one pass.

Numbers are first turned into bands of one byte, which are kept; then two narrow attributes are counted
at a time under one joint code, block by block.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.audience.engine.bitmap import Mask
from services.audience.engine.columns import Codes, Column
from services.audience.engine.execute import BLOCK

_JOINT = 16_384  # joint codes of two attributes: their counts stay in the cache
_KEPT = 96  # banded columns kept in memory
_SAMPLE = 100_000

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Attribute:
    """Codes 0 to `size - 1` by ordinal, `size - 1` for no value."""

    codes: NDArray[np.unsignedinteger]
    size: int


class Bands:
    """Columns as attributes: enumerations as they are, numbers cut into bands; the latest are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, tuple[int, ...]], tuple[Column, Attribute]] = OrderedDict()
        self._lock = threading.Lock()

    def enumeration(self, column: Column, values: int) -> Attribute:
        """The attribute of an enumeration or flag with so many values."""
        return self._get(column, (), lambda: _coded(column, values))

    def number(self, column: Column, bounds: Sequence[int]) -> Attribute:
        """The attribute of a number cut at `bounds`: band 0 lies below the first."""
        return self._get(column, tuple(bounds), lambda: _banded(column, bounds))

    def _get(self, column: Column, bounds: tuple[int, ...], make: Callable[[], Attribute]) -> Attribute:
        key = (id(column), bounds)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept[1]
        made = make()
        with self._lock:
            # The column is kept with it, so that its identity is not given to another one.
            self._kept[key] = (column, made)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made


def quantile_bounds(column: Column, bands: int = 6) -> tuple[int, ...]:
    """Bounds that cut a number into about equal parts, from an even sample."""
    step = max(1, len(column.codes) // _SAMPLE)
    sample = column.codes[::step]
    sample = sample[sample != column.missing]
    if not len(sample):
        return ()
    cuts = np.quantile(sample, np.linspace(0, 1, bands + 1)[1:-1], method="nearest")
    lowest = int(sample.min())
    return tuple(sorted({int(cut) for cut in cuts if cut > lowest}))


def count(attributes: Sequence[Attribute], mask: Mask) -> list[Counts]:
    """Counts of each attribute's codes over a mask; ordinals beyond a column have no value."""
    totals = [np.zeros(attribute.size, dtype=np.int64) for attribute in attributes]
    pairs = _pairs(attributes)
    joint = [np.zeros(_size(attributes, pair), dtype=np.int64) for pair in pairs]
    for low in range(0, len(mask), BLOCK):
        chosen = np.flatnonzero(mask[low : low + BLOCK])
        if not len(chosen):
            continue
        whole = len(chosen) == BLOCK
        for number, pair in enumerate(pairs):
            code = _block(attributes[pair[0]], low, chosen, whole)
            if len(pair) == 2:
                other = attributes[pair[1]]
                wide = np.multiply(code, np.uint16(other.size), dtype=np.uint16)
                code = np.add(wide, _block(other, low, chosen, whole), out=wide)
            joint[number] += np.bincount(code, minlength=len(joint[number]))
    for number, pair in enumerate(pairs):
        if len(pair) == 1:
            totals[pair[0]] = joint[number]
        else:
            table = joint[number].reshape(attributes[pair[0]].size, attributes[pair[1]].size)
            totals[pair[0]], totals[pair[1]] = table.sum(axis=1), table.sum(axis=0)
    return totals


def count_set(column: Column, values: int, mask: Mask) -> Counts:
    """How many of a mask hold each code of a set: masks are counted byte by byte, then by bit."""
    width = column.codes.dtype.itemsize
    by_byte = np.zeros((width, 256), dtype=np.int64)
    for codes in _chosen(column, mask):
        bytes_ = codes.astype(codes.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(-1, width)
        for place in range(width):
            by_byte[place] += np.bincount(bytes_[:, place], minlength=256)
    bits = np.arange(256)[:, None] >> np.arange(8) & 1  # which bits each byte has
    return (by_byte @ bits).reshape(-1)[:values]


def mean(column: Column, mask: Mask) -> float:
    """Mean of the stored values of those of a mask who have one; 0 when nobody has."""
    total, number = 0, 0
    for codes in _chosen(column, mask):
        missing = int(np.count_nonzero(codes == column.missing))
        total += int(codes.sum(dtype=np.int64)) - missing * column.missing
        number += len(codes) - missing
    return total / number if number else 0.0


def _chosen(column: Column, mask: Mask) -> Iterator[Codes]:
    """The codes of a mask, block by block."""
    for low in range(0, min(len(mask), len(column.codes)), BLOCK):
        codes = column.codes[low : low + BLOCK]
        yield codes.take(np.flatnonzero(mask[low : low + len(codes)]), mode="clip")


def _coded(column: Column, values: int) -> Attribute:
    codes = column.codes
    narrow = np.uint8 if values < 256 else np.uint16 if values < 65_536 else np.uint32
    made: NDArray[np.unsignedinteger] = np.where(codes == column.missing, values, codes).astype(narrow)
    return Attribute(made, values + 1)


def _banded(column: Column, bounds: Sequence[int]) -> Attribute:
    made = np.empty(len(column.codes), dtype=np.uint8)
    cuts = np.array(bounds, dtype=np.int64)
    for low in range(0, len(made), BLOCK):
        codes = column.codes[low : low + BLOCK]
        bands = np.zeros(len(codes), dtype=np.uint8)
        # A handful of comparisons in the cache is faster than a binary search for each value.
        for cut in cuts.tolist():
            bands += codes >= cut
        bands[codes == column.missing] = len(bounds) + 1
        made[low : low + BLOCK] = bands
    return Attribute(made, len(bounds) + 2)


def _pairs(attributes: Sequence[Attribute]) -> list[tuple[int, ...]]:
    """Attributes two by two, the largest with the smallest, as long as their joint codes are few."""
    order = sorted(range(len(attributes)), key=lambda i: attributes[i].size)
    pairs: list[tuple[int, ...]] = []
    while order:
        large = order.pop()
        if order and attributes[large].size * attributes[order[0]].size <= _JOINT:
            pairs.append((large, order.pop(0)))
        else:
            pairs.append((large,))
    return pairs


def _size(attributes: Sequence[Attribute], pair: tuple[int, ...]) -> int:
    size = 1
    for index in pair:
        size *= attributes[index].size
    return size


def _block(
    attribute: Attribute, low: int, chosen: NDArray[np.intp], whole: bool
) -> NDArray[np.unsignedinteger]:
    codes = attribute.codes[low : low + BLOCK]
    if whole and len(codes) == BLOCK:
        return codes
    if low + int(chosen[-1]) < len(attribute.codes):
        return codes.take(chosen, mode="clip")
    gap = attribute.codes.dtype.type(attribute.size - 1)
    known = chosen[: np.searchsorted(chosen, len(codes))]
    result = np.full(len(chosen), gap, dtype=attribute.codes.dtype)
    result[: len(known)] = codes[known]
    return result
