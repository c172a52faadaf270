"""The copy of the subscriber directory: ordinal -> home county and number, subscriber_id -> ordinal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.kit.replica import Block, ColumnReplica

# A chunk of the owner's stream: version, ordinals, subscriber ids, numbers, counties.
Chunk = tuple[int, NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
# stream(start_ordinal, since_version) yields the chunks.
Stream = Callable[[int, int], AsyncIterator[Chunk]]


class Directory:
    """Copied from the audience service; versioned; refreshed when it announces a change."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._copy = ColumnReplica(
            self._fetch, {"subscriber_id": np.int64, "county": np.int32, "numbered": np.bool_}
        )
        self._lock = asyncio.Lock()
        self._by_id: tuple[int, NDArray[Any], NDArray[Any]] = (
            -1,
            np.zeros(0, np.int64),
            np.zeros(0, np.uint32),
        )

    def __len__(self) -> int:
        return len(self._copy)

    @property
    def version(self) -> int:
        """Version of the directory that the copy holds; 0 before the first refresh."""
        return self._copy.version

    @property
    def counties(self) -> NDArray[Any]:
        """Home county of each ordinal, int32; 0 when not known."""
        return self._copy.column("county")

    @property
    def numbered(self) -> NDArray[Any]:
        """Whether each ordinal has a number today (EVA-19)."""
        return self._copy.column("numbered")

    def county_of(self, ordinals: NDArray[Any]) -> NDArray[np.int32]:
        """Home counties of some ordinals; 0 for one the copy does not know."""
        counties = self.counties
        known = ordinals < len(counties)
        found = np.zeros(len(ordinals), np.int32)
        found[known] = counties[ordinals[known]]
        return found

    def ordinals_of(self, subscriber_ids: ArrayLike) -> NDArray[np.int64]:
        """Ordinals of some BSS ids, -1 for one the copy does not know."""
        wanted = np.asarray(subscriber_ids, np.int64)
        version, ids, order = self._by_id
        if version != self.version:
            column = self._copy.column("subscriber_id")
            order = np.argsort(column, kind="stable")
            ids = column[order]
            self._by_id = (self.version, ids, order)
        found = np.full(len(wanted), -1, np.int64)
        if len(ids):
            at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
            hit = (ids[at] == wanted) & (wanted != 0)
            found[hit] = order[at[hit]]
        return found

    async def refresh(self) -> bool:
        """Follow the owner; True when something changed."""
        async with self._lock:
            return await self._copy.refresh()

    async def cover(self, highest: int) -> None:
        """Refresh when an ordinal up to `highest` is not known yet."""
        if highest >= len(self._copy):
            await self.refresh()

    async def _fetch(self, since: int) -> AsyncIterator[Block]:
        """Blocks of consecutive ordinals; the version is reached with the last of them."""
        reached, end = since, 0
        async for version, ordinals, ids, numbers, counties in self._stream(
            len(self._copy) if since else 0, since
        ):
            reached = max(reached, version)
            breaks = np.flatnonzero(np.diff(ordinals.astype(np.int64)) != 1) + 1
            for run in np.split(np.arange(len(ordinals)), breaks):
                if len(run):
                    block = {
                        "subscriber_id": ids[run],
                        "county": counties[run],
                        "numbered": numbers[run] != 0,
                    }
                    yield int(ordinals[run[0]]), block, since
                    end = max(end, int(ordinals[run[-1]]) + 1)
        if reached != since:
            nothing: dict[str, NDArray[Any]] = {
                "subscriber_id": np.zeros(0, np.int64),
                "county": np.zeros(0, np.int32),
                "numbered": np.zeros(0, np.bool_),
            }
            yield end, nothing, reached
