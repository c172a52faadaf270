"""Populations as packed bitmaps in one array, so that pairs of (population, ordinal) are tested by gather."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

_LEAST = 1 << 16


def members_of(roaring: bytes) -> NDArray[np.uint32]:
    """The ordinals in a portable Roaring bitmap; ValueError when it is none."""
    try:
        return np.asarray(BitMap.deserialize(roaring).to_array(), np.uint32)
    except Exception as problem:
        raise ValueError(f"not a Roaring bitmap: {problem}") from None


class Populations:
    """Bitmaps by digest, shared by the partitions of a process; each is held as long as somebody uses it.

    A population takes one bit for every ordinal up to its highest.
    """

    def __init__(self) -> None:
        self._bits = np.zeros(_LEAST, np.uint8)
        self._end = 1  # byte 0 stays zero: it answers for ordinals beyond a population
        self._where: dict[str, tuple[int, int]] = {}  # digest -> (first byte, bytes)
        self._users: dict[str, int] = {}
        self._free: list[tuple[int, int]] = []  # (bytes, first byte)

    def __contains__(self, digest: str) -> bool:
        return digest in self._where

    def __len__(self) -> int:
        return len(self._where)

    @property
    def memory(self) -> int:
        """Bytes that the bitmaps take."""
        return len(self._bits)

    def add(self, digest: str, members: NDArray[np.uint32]) -> None:
        """Keep a set of ordinals under the digest of its bitmap."""
        if digest in self._where:
            return
        length = int(members.max()) // 8 + 1 if len(members) else 0
        start = self._room(length)
        flags = np.zeros(length * 8, np.uint8)
        flags[members] = 1
        self._bits[start : start + length] = np.packbits(flags, bitorder="little")
        self._where[digest] = (start, length)
        self._users.setdefault(digest, 0)

    def hold(self, digest: str) -> None:
        """One more user of the bitmap."""
        self._users[digest] = self._users.get(digest, 0) + 1

    def release(self, digest: str) -> None:
        """One user less; the last one frees its memory for others."""
        left = self._users.get(digest, 0) - 1
        self._users[digest] = left
        if left <= 0:
            del self._users[digest]
            start, length = self._where.pop(digest, (0, 0))
            if length:
                self._free.append((length, start))
                self._free.sort()

    def place(self, digest: str) -> tuple[int, int]:
        """(first byte, bytes) of a bitmap, as `test` takes them."""
        return self._where[digest]

    def test(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int64], ordinals: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Whether each ordinal is in the population that lies at (start, length)."""
        byte = (ordinals >> np.uint32(3)).astype(np.int64)
        at = np.where(byte < lengths, starts + byte, 0)
        return np.asarray((self._bits[at] >> (ordinals & np.uint32(7)).astype(np.uint8)) & 1, dtype=bool)

    def _room(self, length: int) -> int:
        for i, (free, start) in enumerate(self._free):
            if free >= length > free // 2:
                del self._free[i]
                if free > length:
                    self._free.append((free - length, start + length))
                    self._free.sort()
                return start
        start, self._end = self._end, self._end + length
        if self._end > len(self._bits):
            wider = np.zeros(max(self._end, len(self._bits) * 3 // 2), np.uint8)
            wider[:start] = self._bits[:start]
            self._bits = wider
        return start
