"""What the players of a day need of every subscriber: about 50 bytes a row, 10 million fit in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from demo.subscribers import Population


@dataclass(frozen=True)
class People:
    """Columns over all rows of a population, in its order. Cells, campuses and terminals are indexes."""

    subscriber_id: NDArray[np.int64]
    phone: NDArray[np.int64]
    city: NDArray[np.int32]
    county: NDArray[np.int32]
    home_cell: NDArray[np.int32]
    work_cell: NDArray[np.int32]  # -1: does not go out to work
    campus: NDArray[np.int16]  # index into campuses(), -1 is none
    campus_role: NDArray[np.int8]  # homes.STUDENT, homes.STAFF, -1
    apps: NDArray[np.uint32]  # bits over vocabulary.APPS
    terminal: NDArray[np.int16]  # index into vocabulary.TERMINALS

    def __len__(self) -> int:
        return len(self.phone)

    @classmethod
    def of(cls, chunks: Iterable[Population]) -> People:
        """Collects the columns from chunks, letting go of each chunk."""
        parts: dict[str, list[NDArray]] = {field.name: [] for field in fields(cls)}
        for chunk in chunks:
            rows = chunk.identity
            parts["subscriber_id"].append(rows.subscriber_id)
            parts["phone"].append(rows.phone)
            parts["city"].append(rows.city)
            parts["county"].append(rows.county)
            parts["home_cell"].append(rows.home_cell)
            parts["work_cell"].append(rows.work_cell)
            parts["campus"].append(rows.campus.astype(np.int16))
            parts["campus_role"].append(rows.campus_role.astype(np.int8))
            parts["apps"].append(chunk.stored["apps"].astype(np.uint32))
            parts["terminal"].append(chunk.stored["terminal_model"].astype(np.int16))
        return cls(**{name: np.concatenate(columns) for name, columns in parts.items()})
