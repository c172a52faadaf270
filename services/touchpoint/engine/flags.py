"""One byte a subscriber: the suppression lists that hold him, looked up for whole columns."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap


class Flags:
    """Bits by ordinal. Ordinals beyond the end have none."""

    def __init__(self) -> None:
        self._bits = np.zeros(0, np.uint8)

    def of(self, ordinals: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The bits of each ordinal."""
        if len(ordinals) == 0 or int(ordinals.max()) >= len(self._bits):
            self._grow(int(ordinals.max()) + 1 if len(ordinals) else 0)
        return self._bits[ordinals]

    def one(self, ordinal: int) -> int:
        """The bits of one ordinal."""
        return int(self._bits[ordinal]) if ordinal < len(self._bits) else 0

    def set(self, bit: int, ordinals: NDArray[np.uint32]) -> None:
        """Enter a list."""
        if len(ordinals):
            self._grow(int(ordinals.max()) + 1)
            self._bits[ordinals] |= np.uint8(bit)

    def clear(self, bit: int, ordinals: NDArray[np.uint32]) -> None:
        """Leave a list."""
        known = ordinals[ordinals < len(self._bits)]
        self._bits[known] &= np.uint8(0xFF ^ bit)

    def replace(self, lists: Iterable[tuple[int, NDArray[np.uint32]]]) -> None:
        """Take whole lists in place of all that was there."""
        self._bits[:] = 0
        for bit, ordinals in lists:
            self.set(bit, ordinals)

    def _grow(self, size: int) -> None:
        if size > len(self._bits):
            wider = np.zeros(max(size, 2 * len(self._bits), 1024), np.uint8)
            wider[: len(self._bits)] = self._bits
            self._bits = wider


class DoNotDisturb:
    """Subscribers by touchpoint and marketing type; touchpoint 0 and type "" stand for all."""

    def __init__(self) -> None:
        self._sets: dict[tuple[int, str], BitMap] = {}

    def add(self, ordinal: int, touchpoint: int, marketing_type: str) -> None:
        """Enter one subscriber."""
        self._sets.setdefault((touchpoint, marketing_type), BitMap()).add(ordinal)

    def remove(self, ordinal: int, touchpoint: int, marketing_type: str) -> None:
        """Take one subscriber off."""
        self._sets.get((touchpoint, marketing_type), BitMap()).discard(ordinal)

    def of(self, ordinals: NDArray[np.uint32], touchpoint: int, marketing_type: str) -> NDArray[np.bool_]:
        """Whether each subscriber refuses this type at this touchpoint."""
        hit = np.zeros(len(ordinals), np.bool_)
        for key in {(touchpoint, marketing_type), (touchpoint, ""), (0, marketing_type), (0, "")}:
            members = self._sets.get(key)
            if members:
                found = members & BitMap(ordinals)
                if found:
                    hit |= np.isin(ordinals, np.array(found, np.uint32))
        return hit

    def one(self, ordinal: int, touchpoint: int, marketing_type: str) -> bool:
        """Whether one subscriber refuses."""
        keys = {(touchpoint, marketing_type), (touchpoint, ""), (0, marketing_type), (0, "")}
        return any(ordinal in self._sets[key] for key in keys if key in self._sets)
