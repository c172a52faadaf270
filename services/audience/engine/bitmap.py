"""Sets of ordinals: boolean masks inside the engine, portable Roaring outside.

A mask of 65,536 booleans, packed, is byte for byte what Roaring calls a bitset container, so a mask
becomes a bitmap without a look at single ordinals.
"""

import struct
from array import array

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

Mask = NDArray[np.bool_]

_CONTAINER = 65_536  # ordinals of a container
_ARRAY_LIMIT = 4096  # up to so many members a container lists them
_COOKIE = 12346  # of the portable format without run containers


def from_mask(mask: Mask) -> BitMap:
    """The ordinals at which a mask is true."""
    return BitMap.deserialize(_portable(mask))


def from_ordinals(ordinals: NDArray[np.integer]) -> BitMap:
    """A bitmap of ordinals."""
    return BitMap(array("I", np.ascontiguousarray(ordinals, dtype=np.uint32).tobytes()))


def to_array(bitmap: BitMap) -> NDArray[np.uint32]:
    """Ordinals in ascending order."""
    return np.frombuffer(bitmap.to_array(), dtype=np.uint32)


def to_mask(bitmap: BitMap, count: int) -> Mask:
    """A mask over the first `count` ordinals; members beyond it are left out."""
    mask = np.zeros(count, dtype=np.bool_)
    ordinals = to_array(bitmap)
    mask[ordinals[: np.searchsorted(ordinals, count)]] = True
    return mask


def serialize(bitmap: BitMap) -> bytes:
    """Portable Roaring, run-length where that is shorter."""
    bitmap.run_optimize()
    return bytes(bitmap.serialize())


def deserialize(data: bytes) -> BitMap:
    """The bitmap of portable Roaring bytes."""
    return BitMap.deserialize(data)


def take_out(mask: Mask, bitmap: BitMap) -> int:
    """Clear the members of `bitmap` in `mask`; returns how many were set."""
    ordinals = to_array(bitmap)
    ordinals = ordinals[: np.searchsorted(ordinals, len(mask))]
    hit = mask[ordinals]
    mask[ordinals[hit]] = False
    return int(np.count_nonzero(hit))


def _portable(mask: Mask) -> bytes:
    """A mask in the portable format: cookie, containers, key and size of each, offsets, bodies."""
    keys, containers = [], []
    for low in range(0, len(mask), _CONTAINER):
        part = mask[low : low + _CONTAINER]
        size = int(np.count_nonzero(part))
        if not size:
            continue
        if size > _ARRAY_LIMIT:
            body = np.packbits(part, bitorder="little").tobytes().ljust(_CONTAINER // 8, b"\0")
        else:
            body = np.flatnonzero(part).astype("<u2").tobytes()
        keys.append((low // _CONTAINER, size - 1))
        containers.append(body)
    head = struct.pack("<II", _COOKIE, len(keys)) + b"".join(struct.pack("<HH", *key) for key in keys)
    offset, offsets = len(head) + 4 * len(keys), []
    for body in containers:
        offsets.append(offset)
        offset += len(body)
    return head + struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(containers)
