"""Control group and list split (CMP-13, AUD-28): a hash decides, so that every repeat agrees.

For an activity named N and a subscriber's ordinal o:

    seed = the first 8 bytes of SHA-256(N), little-endian
    h    = splitmix64 finaliser of (seed + (o + 1) * 0x9E3779B97F4A7C15) modulo 2**64
    o is control                 when (h >> 32)       <  floor(control_percent / 100 * 2**32)
    o is in the first group k    where (h & 0xFFFFFFFF) < floor((p1 + ... + pk) / 100 * 2**32)

The two halves of h are independent, so the groups of a split have the same share of control.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from services.campaign.domain.model import Split

_CHUNK = 1 << 20  # ordinals at a time: bounds memory, fits the cache
_FULL = 1 << 32

Ordinals = NDArray[np.uint32]


def seed_of(activity_name: str) -> int:
    """The seed of an activity `campaigns/{id}/activities/{id}`."""
    return int.from_bytes(hashlib.sha256(activity_name.encode()).digest()[:8], "little")


def hashes(seed: int, ordinals: Ordinals) -> NDArray[np.uint64]:
    """h of each ordinal."""
    h = ordinals.astype(np.uint64)
    h += np.uint64(1)
    h *= np.uint64(0x9E3779B97F4A7C15)
    h += np.uint64(seed)
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return h


def is_control(hashed: NDArray[np.uint64], percent: float) -> NDArray[np.bool_]:
    """Which of the hashed ordinals are kept apart."""
    return (hashed >> np.uint64(32)) < np.uint64(_threshold(percent))


def groups_of(hashed: NDArray[np.uint64], splits: Sequence[Split]) -> NDArray[np.int16]:
    """Index of the group of each hashed ordinal, -1 for none; without splits everyone is in group 0."""
    if not splits:
        return np.zeros(len(hashed), np.int16)
    bounds = np.array([_threshold(total) for total in np.cumsum([s.percent for s in splits])], np.uint64)
    found = np.searchsorted(bounds, hashed & np.uint64(_FULL - 1), side="right")
    return np.where(found == len(splits), -1, found).astype(np.int16)


def serving(splits: Sequence[Split], touchpoint: int) -> list[int]:
    """Indexes of the groups that a touchpoint serves; [0] when there is no split."""
    if not splits:
        return [0]
    return [index for index, split in enumerate(splits) if split.serves(touchpoint)]


def group_name(splits: Sequence[Split], index: int) -> str:
    """Name of a group; empty when there is no split."""
    return splits[index].group if splits else ""


def divide(
    members: BitMap, seed: int, control_percent: float, splits: Sequence[Split]
) -> tuple[BitMap, dict[int, BitMap]]:
    """(control, {group index: its members after control}) of a set of ordinals."""
    control = BitMap()
    groups = {index: BitMap() for index in range(len(splits) or 1)}
    for ordinals in _chunks(members):
        hashed = hashes(seed, ordinals)
        apart = is_control(hashed, control_percent)
        control |= BitMap(ordinals[apart])
        rest, rest_hashed = ordinals[~apart], hashed[~apart]
        index_of = groups_of(rest_hashed, splits)
        for index, group in groups.items():
            group |= BitMap(rest[index_of == index])
    return control, groups


def _threshold(percent: float) -> int:
    return min(_FULL, int(percent / 100 * _FULL))


def _chunks(members: BitMap) -> list[Ordinals]:
    everyone = np.asarray(members.to_array(), dtype=np.uint32)
    return [everyone[start : start + _CHUNK] for start in range(0, len(everyone), _CHUNK)]
