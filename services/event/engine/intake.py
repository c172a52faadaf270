"""From a producer's batch to the rows of each partition: check, translate, complete, split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.event.domain.sources import CELL_LIMIT
from services.event.engine.columns import LAYOUT, Ragged, Signals, column
from services.kit.partition import partitions_of

TEXT_LIMIT = 1000  # characters of a keyword, host, app or brand
SHOWN = 100  # refused rows named one by one


@dataclass(frozen=True)
class Refused:
    """A row that is not taken."""

    index: int
    field: str
    description: str


@dataclass
class Intake:
    """What became of a batch."""

    signals: Signals  # rows taken, ordinals instead of subscriber ids
    unknown: int
    refused_count: int
    refused: list[Refused] = field(default_factory=list)


class Directory:
    """Subscriber ids to ordinals, and home counties by ordinal: a copy that is replaced as a whole."""

    def __init__(self, ids: NDArray[np.int64], counties: NDArray[np.int32]) -> None:
        """Both by ordinal; an id of 0 is no subscriber."""
        self._ordinals = np.argsort(ids, kind="stable").astype(np.uint32)
        self._ids = ids[self._ordinals]
        self._homes = (counties // 100 * 100).astype(np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    def ordinals(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """(ordinal, whether the directory knows it) of each subscriber id."""
        if not len(self._ids):
            return np.zeros(len(ids), np.uint32), np.zeros(len(ids), bool)
        # Looking up in rising order reads the directory once from front to end.
        order = np.argsort(ids, kind="stable")
        at = np.empty(len(ids), np.int64)
        at[order] = np.minimum(np.searchsorted(self._ids, ids[order]), len(self._ids) - 1)
        return self._ordinals[at], (self._ids[at] == ids) & (ids != 0)

    def home_cities(self, ordinals: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Home cities of subscribers, adcodes."""
        return self._homes[ordinals]


class Cells:
    """Counties of the cells of the catalogue, by key."""

    def __init__(self, keys: NDArray[np.int64], counties: NDArray[np.int32]) -> None:
        """Keys in rising order."""
        self._keys, self._counties = keys, counties

    def counties(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """County adcodes, 0 where the cell is not known."""
        if not len(self._keys):
            return np.zeros(len(keys), np.int32)
        wide = keys.view(np.int64)
        at = np.minimum(np.searchsorted(self._keys, wide), len(self._keys) - 1)
        return np.where(self._keys[at] == wide, self._counties[at], 0).astype(np.int32)


def subscriber_ids(batch: Any) -> NDArray[np.int64]:
    """The ids of a SignalBatch; Ragged when the column is cut off."""
    if len(batch.subscriber_ids) % 8:
        raise Ragged("subscriber_ids", len(batch.subscriber_ids) / 8, len(batch.subscriber_ids) // 8)
    return np.frombuffer(batch.subscriber_ids, "<i8")


def take_in(batch: Any, directory: Directory, cells: Cells) -> Intake:
    """Check a SignalBatch row by row and translate it. Ragged when its columns differ in length."""
    ids = subscriber_ids(batch)
    rows = len(ids)
    columns = {name: column(name, getattr(batch, name), rows) for name in LAYOUT if name != "ordinals"}
    good, refused = _check(columns, list(batch.texts))
    ordinals, known = directory.ordinals(ids)
    taken = np.flatnonzero(good & known)
    signals = Signals(ordinals=ordinals, **columns, texts=list(batch.texts)).take(taken)
    _complete(signals, directory, cells)
    return Intake(signals, int((good & ~known).sum()), int(rows - good.sum()), refused)


def split(signals: Signals, partitions: int) -> list[tuple[int, Signals]]:
    """The rows of each partition that has any, in their order."""
    partition = partitions_of(signals.ordinals, partitions)
    found = []
    for number in np.unique(partition).tolist():
        found.append((number, signals.take(np.flatnonzero(partition == number))))
    return found


def _check(columns: dict[str, NDArray[Any]], texts: list[str]) -> tuple[NDArray[np.bool_], list[Refused]]:
    rows = len(columns["sources"])
    long = np.array([len(text) > TEXT_LIMIT for text in texts] + [False])
    faults: list[tuple[str, NDArray[np.bool_], str]] = [
        (
            "sources",
            (columns["sources"] < 1) | (columns["sources"] > 7),
            "is none of the seven sources",
        ),
        ("occurred_at", columns["occurred_at"] <= 0, "is no time"),
        ("roaming_types", columns["roaming_types"] > 4, "is no roaming type"),
        ("power_states", columns["power_states"] > 2, "is neither on nor off"),
        ("counties", columns["counties"] < 0, "is no adcode"),
        ("home_cities", columns["home_cities"] < 0, "is no adcode"),
        ("tac_cells", columns["tac_cells"] >= CELL_LIMIT, "is no cell"),
        ("source_tac_cells", columns["source_tac_cells"] >= CELL_LIMIT, "is no cell"),
    ]
    for name in ("text_indexes", "brand_indexes"):
        outside = (columns[name] < -1) | (columns[name] >= len(texts))
        faults.append((name, outside, "points outside of texts"))
        safe = np.where(outside, -1, columns[name])
        faults.append((name, long[safe], f"points to a text of more than {TEXT_LIMIT} characters"))
    good = np.ones(rows, bool)
    refused: list[Refused] = []
    for name, bad, description in faults:
        if not bad.any():
            continue
        new = bad & good
        good &= ~bad
        for index in np.flatnonzero(new)[:SHOWN].tolist():
            refused.append(Refused(index, name, f"{columns[name][index]} {description}"))
    refused.sort(key=lambda item: item.index)
    return good, refused[:SHOWN]


def _complete(signals: Signals, directory: Directory, cells: Cells) -> None:
    """What producers leave out and we know: the county of the cell, the home of the subscriber."""
    missing = np.flatnonzero((signals.counties == 0) & (signals.tac_cells != 0))
    if len(missing):
        counties = signals.counties.copy()
        counties[missing] = cells.counties(signals.tac_cells[missing])
        signals.counties = counties
    missing = np.flatnonzero(signals.home_cities == 0)
    if len(missing):
        homes = signals.home_cities.copy()
        homes[missing] = directory.home_cities(signals.ordinals[missing])
        signals.home_cities = homes
