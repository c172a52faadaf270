"""Sets of ordinals: boolean masks inside the engine, portable Roaring outside."""

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

Mask = NDArray[np.bool_]


def from_mask(mask: Mask) -> BitMap:
    """The ordinals at which a mask is true."""
    return from_ordinals(np.flatnonzero(mask))


def from_ordinals(ordinals: NDArray[np.integer]) -> BitMap:
    """A bitmap of ordinals."""
    return BitMap(np.ascontiguousarray(ordinals, dtype=np.uint32))


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
