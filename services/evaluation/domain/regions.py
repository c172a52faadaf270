"""Region codes (GB/T 2260): which lie in which, and how a county rolls up (EVA-15)."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Level(IntEnum):
    """Levels of a report, numbered as in the contract."""

    PROVINCE = 1
    CITY = 2
    COUNTY = 3
    CAMPUS = 4


def covers(region: int, adcode: int) -> bool:
    """True when `adcode` is `region` or lies in it: 150100 covers 150102."""
    low, high = span(region)
    return low <= adcode <= high


def span(region: int) -> tuple[int, int]:
    """Lowest and highest code that lies in `region`: 150100 -> (150100, 150199)."""
    if region % 10000 == 0:
        return region, region + 9999
    if region % 100 == 0:
        return region, region + 99
    return region, region


def spans(regions: Sequence[int]) -> list[tuple[int, int]]:
    """The spans of several regions."""
    return [span(region) for region in regions]


def within(counties: NDArray[Any], allowed: Sequence[tuple[int, int]] | None) -> NDArray[np.bool_]:
    """For each county whether it lies in one of the spans; None allows all."""
    if allowed is None:
        return np.ones(len(counties), bool)
    inside = np.zeros(len(counties), bool)
    for low, high in allowed:
        inside |= (counties >= low) & (counties <= high)
    return inside


def rolled_up(counties: NDArray[Any], level: Level) -> NDArray[Any]:
    """The region of each county at `level`; 0 stays 0 (home not known)."""
    if level is Level.PROVINCE:
        return counties // 10000 * 10000
    if level is Level.CITY:
        return counties // 100 * 100
    return counties


def concerns(region: int, regions: Sequence[int]) -> bool:
    """True when something done in `region` matters to an actor of `regions`: it lies there, or above."""
    return any(covers(own, region) or covers(region, own) for own in regions)
