"""Offers of pull touchpoints: who may be offered what, answered by membership tests, not by look-ups.

One Roaring bitmap a wave (activity, planned day, occurrence): the key of the touch follows from the
wave and the subscriber, so nothing is stored per offer.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from pyroaring import BitMap


class Wave(NamedTuple):
    """What the touches of a bitmap share."""

    planned_day: int
    activity: int
    occurrence: int


class Offers:
    """The offers of one touchpoint."""

    def __init__(self) -> None:
        self._waves: dict[int, dict[Wave, BitMap]] = {}

    def add(self, wave: Wave, ordinals: Iterable[int]) -> None:
        """Make offers available."""
        self._waves.setdefault(wave.activity, {}).setdefault(wave, BitMap()).update(ordinals)

    def remove(self, wave: Wave, ordinal: int) -> None:
        """An offer was taken up, turned down or withdrawn."""
        waves = self._waves.get(wave.activity, {})
        members = waves.get(wave)
        if members is not None:
            members.discard(ordinal)
            if not members:
                del waves[wave]

    def drop(self, activity: int) -> None:
        """Withdraw all offers of an activity."""
        self._waves.pop(activity, None)

    def size(self) -> int:
        """Offers available."""
        return sum(len(members) for waves in self._waves.values() for members in waves.values())

    def find(self, ordinal: int, rank: Callable[[int], tuple[object, ...] | None]) -> Iterator[Wave]:
        """Waves with an offer for the subscriber, best first, one an activity (its newest).

        `rank(activity)` orders activities, lowest first; None leaves one out.
        """
        ranked = []
        for activity, waves in self._waves.items():
            newest = max((wave for wave, members in waves.items() if ordinal in members), default=None)
            if newest is not None:
                place = rank(activity)
                if place is not None:
                    ranked.append((place, newest))
        ranked.sort()
        return iter(wave for _, wave in ranked)
