"""One hash for everything that is split by subscriber: subjects, state, cap keys."""

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray


def partition_of(key: int, count: int) -> int:
    """The partition (0 .. count-1) of a 64-bit key: crc32 of its 8 little-endian bytes modulo `count`."""
    return zlib.crc32((key & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")) % count


def partitions_of(keys: ArrayLike, count: int) -> NDArray[np.uint8 | np.uint16]:
    """`partition_of` of each element of an integer array, vectorised."""
    wide = np.ascontiguousarray(np.asarray(keys).astype(np.int64, copy=False)).view(np.uint64)
    crc = np.full(wide.shape, 0xFFFFFFFF, dtype=np.uint32)
    for shift in range(0, 64, 8):
        byte = ((wide >> np.uint64(shift)) & np.uint64(0xFF)).astype(np.uint32)
        crc = _TABLE[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    result = (crc ^ np.uint32(0xFFFFFFFF)) % np.uint32(count)
    return result.astype(np.uint8 if count <= 256 else np.uint16)


def token(partition: int) -> str:
    """The subject token and key tag of a partition: 7 -> `p07`."""
    return f"p{partition:02d}"


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(0xEDB88320), table >> np.uint32(1))
    return table


_TABLE = _table()
