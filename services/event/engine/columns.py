"""A batch of signals as columns, and the time zone of the region applied to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

# Columns of the contract with their types on the wire; ordinals, sources and times are always there.
LAYOUT: dict[str, np.dtype[Any]] = {
    "ordinals": np.dtype("<u4"),
    "sources": np.dtype("u1"),
    "occurred_at": np.dtype("<i8"),
    "tac_cells": np.dtype("<u8"),
    "source_tac_cells": np.dtype("<u8"),
    "counties": np.dtype("<i4"),
    "home_cities": np.dtype("<i4"),
    "roaming_types": np.dtype("u1"),
    "power_states": np.dtype("u1"),
    "imeis": np.dtype("<u8"),
    "text_indexes": np.dtype("<i4"),
    "brand_indexes": np.dtype("<i4"),
}
NEEDED = ("ordinals", "sources", "occurred_at")


class Ragged(ValueError):
    """A column whose length is not that of the batch; `column` names it."""

    def __init__(self, column: str, rows: float, wanted: int) -> None:
        super().__init__(f"{column} holds {rows:g} values, the batch has {wanted} rows")
        self.column = column


def column(name: str, data: bytes, rows: int) -> NDArray[Any]:
    """A column from its bytes; absent optional ones are missing in every row. Ragged when it does not fit."""
    kind = LAYOUT[name]
    if not data and name not in NEEDED:
        missing = -1 if name.endswith("_indexes") else 0
        return np.full(rows, missing, kind) if missing else np.zeros(rows, kind)
    if len(data) != rows * kind.itemsize:
        raise Ragged(name, len(data) / kind.itemsize, rows)
    return np.frombuffer(data, kind)


@dataclass
class Signals:
    """Signals in columns of one length, in the order in which they came."""

    ordinals: NDArray[np.uint32]
    sources: NDArray[np.uint8]
    occurred_at: NDArray[np.int64]  # microseconds since 1970, UTC
    tac_cells: NDArray[np.uint64]  # tac << 32 | cell_id, 0 is missing
    source_tac_cells: NDArray[np.uint64]
    counties: NDArray[np.int32]  # adcodes, 0 is missing
    home_cities: NDArray[np.int32]
    roaming_types: NDArray[np.uint8]  # 0 is missing
    power_states: NDArray[np.uint8]
    imeis: NDArray[np.uint64]
    text_indexes: NDArray[np.int32]  # into texts, -1 is missing
    brand_indexes: NDArray[np.int32]
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ordinals)

    @classmethod
    def of(cls, message: Any) -> Signals:
        """From a message with the columns of SignalReceived; ValueError when they do not fit."""
        rows = len(message.ordinals) // 4
        made = cls(
            **{name: column(name, getattr(message, name), rows) for name in LAYOUT},
            texts=list(message.texts),
        )
        for name in ("text_indexes", "brand_indexes"):
            values = getattr(made, name)
            if rows and (values.max() >= len(made.texts) or values.min() < -1):
                raise ValueError(f"{name} points outside of the texts")
        return made

    @classmethod
    def join(cls, parts: Sequence[Signals]) -> Signals:
        """Several batches as one, in order."""
        if len(parts) == 1:
            return parts[0]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in LAYOUT}
        texts: list[str] = []
        start = 0
        for part in parts:
            if texts and part.texts:
                for name in ("text_indexes", "brand_indexes"):
                    values = joined[name][start : start + len(part)]
                    values[values >= 0] += len(texts)
            texts += part.texts
            start += len(part)
        return cls(**joined, texts=texts)

    def part(self, start: int, end: int) -> Signals:
        """The rows from start to end, with only the texts they use."""
        return self.take(np.arange(start, end))

    def take(self, rows: NDArray[np.integer]) -> Signals:
        """The given rows, with only the texts they use."""
        made = {name: getattr(self, name)[rows] for name in LAYOUT}
        used = np.unique(np.concatenate([made["text_indexes"], made["brand_indexes"]]))
        used = used[used >= 0]
        if len(used):
            place = np.full(len(self.texts) + 1, -1, np.int32)  # the last one serves -1
            place[used] = np.arange(len(used), dtype=np.int32)
            for name in ("text_indexes", "brand_indexes"):
                made[name] = place[made[name]]
        return Signals(**made, texts=[self.texts[i] for i in used.tolist()])

    def encode(self) -> dict[str, Any]:
        """The fields of a SignalReceived; columns without any value stay absent."""
        made: dict[str, Any] = {}
        for name, kind in LAYOUT.items():
            values = getattr(self, name)
            absent = (values < 0).all() if name.endswith("_indexes") else not values.any()
            if name in NEEDED or not absent:
                made[name] = np.ascontiguousarray(values, kind).tobytes()
        if self.texts:
            made["texts"] = self.texts
        return made


assert [f.name for f in fields(Signals)] == [*LAYOUT, "texts"]


class LocalTime:
    """Hours, days and months of the region's time zone, for arrays of UTC microseconds."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._offsets: dict[int, int] = {}

    def local(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Local microseconds: as if local time were UTC."""
        if not len(at):
            return at
        hours = at // HOUR_US
        first, last = int(hours.min()), int(hours.max())
        if first == last:
            return at + self._offset(first)
        distinct, where = np.unique(hours, return_inverse=True)
        offsets = np.array([self._offset(int(hour)) for hour in distinct], np.int64)
        return np.asarray(at + offsets[where])

    def day_start(self, year: int, month: int, day: int) -> int:
        """UTC microseconds at which a local day begins."""
        at = datetime(year, month, day, tzinfo=self._zone)
        return int(at.timestamp()) * 1_000_000

    def _offset(self, hour: int) -> int:
        found = self._offsets.get(hour)
        if found is None:
            if len(self._offsets) > 100_000:
                self._offsets.clear()
            at = datetime.fromtimestamp(min(max(hour * 3600, -62_000_000_000), 250_000_000_000), UTC)
            delta = at.astimezone(self._zone).utcoffset()
            assert delta is not None
            found = self._offsets[hour] = int(delta.total_seconds()) * 1_000_000
        return found


def hours(local: NDArray[np.int64]) -> NDArray[np.int64]:
    """Hour of the day, 0 to 23."""
    return np.asarray((local // HOUR_US) % 24)


def days(local: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since 1970."""
    return np.asarray(local // DAY_US)


def months(local: NDArray[np.int64]) -> NDArray[np.int64]:
    """Contact periods: yyyymm."""
    count = (local // DAY_US).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return np.asarray((1970 + count // 12) * 100 + count % 12 + 1)
