"""Maps from 64-bit keys to dense rows, looked up and filled by the array instead of key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads dense and packed keys
_LEAST = 256

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]


def pack(high: NDArray[np.integer] | int, low: NDArray[np.integer]) -> Keys:
    """high << 32 | low as keys; both fit 32 bits."""
    wide = np.asarray(high).astype(np.uint64) << np.uint64(32)
    return np.asarray(wide | low.astype(np.uint64), dtype=np.uint64)


class Slots:
    """A hash table with open addressing: every key has a row, rows are numbered 0, 1, ... as they come."""

    def __init__(self, keys: Keys | None = None) -> None:
        self._table: Keys = np.full(_LEAST, _EMPTY)
        self._rows = np.zeros(_LEAST, np.int32)
        self._keys: Keys = np.zeros(_LEAST, np.uint64)
        self.size = 0
        if keys is not None and len(keys):
            self.place(keys)

    @property
    def keys(self) -> Keys:
        """The keys in the order of their rows."""
        return self._keys[: self.size]

    def find(self, keys: Keys) -> Rows:
        """The row of each key, -1 where there is none. Keys may repeat."""
        found = np.full(len(keys), -1, np.int64)
        if not self.size or not len(keys):
            return found
        mask = len(self._table) - 1
        at = self._hash(keys)
        here = self._table[at]
        hit = here == keys
        found[hit] = self._rows[at[hit]]
        left = np.flatnonzero(~hit & (here != _EMPTY))
        step = 0
        while len(left):
            step += 1  # growing steps: keys that meet once go different ways
            spots = at[left] = (at[left] + step) & mask
            here = self._table[spots]
            hit = here == keys[left]
            found[left[hit]] = self._rows[spots[hit]]
            left = left[~hit & (here != _EMPTY)]
        return found

    def place(self, keys: Keys) -> tuple[Rows, NDArray[np.bool_]]:
        """(row, whether it is new) of each key; new keys get the next rows. Keys must not repeat."""
        found = self.find(keys)
        new = found < 0
        fresh = keys[new]
        if len(fresh):
            self._reserve(self.size + len(fresh))
            rows = np.arange(self.size, self.size + len(fresh))
            self._keys[rows] = fresh
            self.size += len(fresh)
            self._insert(fresh, rows.astype(np.int32))
            found[new] = rows
        return found, new

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Forget the rows where `kept` is false; the others move up in order."""
        self.__init__(self.keys[kept].copy())  # type: ignore[misc]

    def _hash(self, keys: Keys) -> Rows:
        shift = np.uint64(64 - (len(self._table).bit_length() - 1))
        return ((keys * _FACTOR) >> shift).astype(np.int64)

    def _reserve(self, size: int) -> None:
        if size > len(self._keys):
            wider = np.zeros(max(size, 2 * len(self._keys)), np.uint64)
            wider[: self.size] = self.keys
            self._keys = wider
        if 2 * size > len(self._table):
            length = 1 << (4 * size - 1).bit_length() - 1
            self._table = np.full(length, _EMPTY)
            self._rows = np.zeros(length, np.int32)
            self._insert(self.keys, np.arange(self.size, dtype=np.int32))

    def _insert(self, keys: Keys, rows: NDArray[np.int32]) -> None:
        mask = len(self._table) - 1
        at = self._hash(keys)
        left = np.arange(len(keys))
        step = 0
        while len(left):
            spots = at[left]
            free = self._table[spots] == _EMPTY
            # Of several keys that want one place the last written gets it; the others go on.
            self._table[spots[free]] = keys[left[free]]
            won = free & (self._table[spots] == keys[left])
            self._rows[spots[won]] = rows[left[won]]
            left = left[~won]
            step += 1
            at[left] = (at[left] + step) & mask


class Table(Slots):
    """Slots with columns of values; `columns` maps a name to (type, width), width 0 being one value a row."""

    def __init__(self, columns: Mapping[str, tuple[DTypeLike, int]]) -> None:
        super().__init__()
        self._shape = dict(columns)
        self._values = {name: self._zeros(name, _LEAST) for name in self._shape}

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._shape)

    def column(self, name: str) -> NDArray[Any]:
        """The values of a column by row; writing to it changes them."""
        return self._values[name][: self.size]

    def place(self, keys: Keys) -> tuple[Rows, NDArray[np.bool_]]:
        """As Slots.place; the values of new rows are zero."""
        found, new = super().place(keys)
        for name, values in self._values.items():
            if len(values) < self.size:
                wider = self._zeros(name, max(self.size, 2 * len(values)))
                wider[: len(values)] = values
                self._values[name] = wider
        return found, new

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """As Slots.keep; values move with their rows."""
        values = {name: self.column(name)[kept] for name in self._shape}
        keys = self.keys[kept].copy()
        self.fill(keys, values)

    def fill(self, keys: Keys, values: Mapping[str, NDArray[Any]]) -> None:
        """Hold exactly these keys with these values."""
        Slots.__init__(self, keys)
        for name in self._shape:
            made = self._zeros(name, max(_LEAST, self.size))
            made[: self.size] = values[name]
            self._values[name] = made

    def _zeros(self, name: str, rows: int) -> NDArray[Any]:
        kind, width = self._shape[name]
        return np.zeros((rows, width) if width else rows, kind)
