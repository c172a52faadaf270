"""A copy of columns that another service owns: append-only rows by ordinal, versioned, grown in place."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# (first ordinal of the block, {column: values}, version reached once this block is applied)
Block = tuple[int, Mapping[str, NDArray[Any]], int]
Fetch = Callable[[int], AsyncIterator[Block]]


class ColumnReplica:
    """Columns copied from their owner. `fetch(from_version)` yields the blocks changed since then.

    `fetch` is an async generator; a gap or a first start is version 0, which yields everything. Views
    given out by `column` stay valid; after a refresh ask again to see more rows.
    """

    def __init__(self, fetch: Fetch, columns: Mapping[str, DTypeLike]) -> None:
        self.version = 0
        self.rows = 0
        self._fetch = fetch
        self._columns = {name: np.zeros(0, dtype) for name, dtype in columns.items()}

    def __len__(self) -> int:
        return self.rows

    def column(self, name: str) -> NDArray[Any]:
        """A read-only view of all rows of a column; row = ordinal. Ordinals never filled are zero."""
        view = self._columns[name][: self.rows]
        view.flags.writeable = False
        return view

    async def refresh(self) -> bool:
        """Bring the copy up to date; True when it changed."""
        before = self.version
        async for start, values, version in self._fetch(self.version):
            self._apply(start, values)
            # A block is a resume point of its own: an interrupted copy goes on from here.
            self.version = max(self.version, version)
        return self.version != before

    def _apply(self, start: int, values: Mapping[str, NDArray[Any]]) -> None:
        missing = self._columns.keys() - values.keys()
        if missing:
            raise ValueError(f"a block lacks the columns {sorted(missing)}")
        lengths = {len(values[name]) for name in self._columns}
        if len(lengths) != 1:
            raise ValueError("the columns of a block differ in length")
        end = start + lengths.pop()
        self._grow(end)
        for name, column in self._columns.items():
            column[start:end] = values[name]
        self.rows = max(self.rows, end)

    def _grow(self, rows: int) -> None:
        capacity = len(next(iter(self._columns.values()))) if self._columns else 0
        if rows <= capacity:
            return
        capacity = max(rows, capacity + capacity // 2, 1024)
        for name, column in self._columns.items():
            wider = np.zeros(capacity, column.dtype)
            wider[: self.rows] = column[: self.rows]
            self._columns[name] = wider
