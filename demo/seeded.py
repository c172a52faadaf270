"""Randomness as a function of its arguments: the same key, the same value, whatever was asked before."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_ODD = 0xD1342543DE82EF95
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)


def mix(values: NDArray[np.integer] | int, *salts: int) -> U64:
    """Hashes each value with the salts to 64 even bits."""
    state = np.atleast_1d(np.asarray(values)).astype(np.uint64)
    state += np.uint64(_fold(salts))
    for _ in range(2):
        state ^= state >> np.uint64(30)
        state *= _A
        state ^= state >> np.uint64(27)
        state *= _B
        state ^= state >> np.uint64(31)
    return state


@lru_cache(maxsize=4096)
def _fold(salts: tuple[int, ...]) -> int:
    """One word out of the salts, by the same steps on plain integers."""
    word = 0
    for salt in salts:
        word = (word + salt * _ODD + _GOLDEN) & _WORD
        word = (word ^ (word >> 30)) * int(_A) & _WORD
        word = (word ^ (word >> 27)) * int(_B) & _WORD
        word ^= word >> 31
    return word


def unit(values: NDArray[np.integer] | int, *salts: int) -> NDArray[np.float64]:
    """Hashes each value with the salts to [0, 1)."""
    return (mix(values, *salts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(limit: NDArray[np.integer] | int, values: NDArray[np.integer], *salts: int) -> NDArray[np.int64]:
    """Hashes each value with the salts to [0, limit)."""
    return (unit(values, *salts) * limit).astype(np.int64)


def permute(index: NDArray[np.integer], size: int, seed: int) -> NDArray[np.int64]:
    """A bijection of [0, size) that looks random: distinct indexes give distinct results.

    A four-round Feistel network over the next even power of two; results beyond `size` walk on.
    """
    bits = (max(size - 1, 1).bit_length() + 1) // 2 * 2
    result = np.asarray(index, dtype=np.int64).copy()
    walking = np.arange(result.size)
    while walking.size:
        result[walking] = permute_bits(result[walking], bits, seed)
        walking = walking[result[walking] >= size]
    return result


def permute_bits(index: NDArray[np.integer], bits: int, seed: int) -> NDArray[np.int64]:
    """A bijection of [0, 2^bits); `bits` is even."""
    half = np.uint64(bits // 2)
    mask = np.uint64((1 << bits // 2) - 1)
    state = np.asarray(index).astype(np.uint64)
    left, right = state >> half, state & mask
    for turn in range(4):
        left, right = right, left ^ (mix(right, seed, turn) & mask)
    return (left << half | right).astype(np.int64)


def generator(*key: int) -> np.random.Generator:
    """A generator of its own for a key."""
    return np.random.default_rng(np.random.SeedSequence(key))
