"""Subscribers of the demonstration, in chunks. Everything about them is generated.

    for chunk in generate(200_000, seed=1):
        chunk.subscriber_id, chunk.phone, chunk.county   # identity
        chunk.column("monthly_spend")                    # values of a tag, as the platform takes them
        chunk.suppressed["block"]                        # members of the lists

Chunk k depends on the seed and k only, so 10 million rows take no more memory than 200,000, and the
first rows are the same for every larger n that fills their chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from demo import behaviour, homes, models, profiles, seeded, tags, vocabulary

CHUNK = 200_000
DEFAULT_COUNT = 200_000
DEFAULT_SEED = 20180521
DEMO_DAY = date(2020, 9, 16)  # a Wednesday inside the dates of CAM-32
MISSING = np.iinfo(np.int32).min  # a missing number or date as stored
# The caliber of AUD-30 in stored units: fen, hundredths of a MB, hundredths of a minute.
SPEND_BOUNDS, TRAFFIC_BOUNDS, MINUTE_BOUNDS = (2800, 3800), (20_000, 30_000), (5_000, 7_000)
PLANTED_PER_BOUND = 24
# Spans that lie inside the caliber, for the two criteria that a planted subscriber does not test.
_INSIDE = ((2850, 3750), (20_500, 29_500), (5_100, 6_900))


@dataclass(frozen=True)
class Population:
    """A chunk of subscribers. Row i of the chunk is row `start + i` of the population.

    `stored` holds each tag by code: numbers as integers of 10^-decimals, dates as days since 1970-01-01
    (both `MISSING` when missing), enumerations as int32 index (-1), flags as uint8 (255), sets as uint64
    masks, texts as index into `texts` (-1).
    """

    start: int
    identity: homes.Homes
    stored: dict[str, NDArray]
    texts: dict[str, tuple[str, ...]]
    # Members of the lists: block, red, sensitive, opt_out, no_consent, minor, no_location_consent.
    suppressed: dict[str, NDArray[np.bool_]]
    sensitive_reason: NDArray[np.int8]  # index into vocabulary.SENSITIVE_REASONS, -1 when not sensitive
    churned: NDArray[np.bool_]  # the drawn truth behind churn_score; not a tag
    # 0, or 1 to 6: planted on spend 28, 38, traffic 200, 300, minutes 50, 70.
    planted: NDArray[np.int8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.identity.phone)

    @property
    def subscriber_id(self) -> NDArray[np.int64]:
        """BSS ids: distinct, not dense, below 2^53."""
        return self.identity.subscriber_id

    @property
    def phone(self) -> NDArray[np.int64]:
        """Numbers: distinct, in China Mobile segments of the home league."""
        return self.identity.phone

    @property
    def city(self) -> NDArray[np.int32]:
        """Home league or city."""
        return self.identity.city

    @property
    def county(self) -> NDArray[np.int32]:
        """Home county or banner."""
        return self.identity.county

    def column(self, code: str) -> NDArray:
        """Values of a tag as `LoadTagValues` takes them.

        Number: float64 in its unit, NaN when missing, exact at two decimals. Enumeration: int32 index, -1.
        Flag: uint8, 255. Date: int32 days, minimum when missing. Set: uint64 mask.
        Text: object, "" when missing.
        """
        tag, stored = tags.by_code()[code], self.stored[code]
        if tag.type == tags.NUMBER:
            values = stored / float(10**tag.decimals)
            values[stored == MISSING] = np.nan
            return np.asarray(values)
        if tag.type == tags.TEXT:
            return np.array([*self.texts[code], ""], dtype=object)[stored]
        return stored

    def caliber(self) -> NDArray[np.bool_]:
        """Who fits AUD-30: 28 < spend < 38 yuan, 200 <= traffic <= 300 MB, 50 <= minutes <= 70."""
        spend, traffic = self.stored["monthly_spend"], self.stored["monthly_traffic"]
        minutes = self.stored["outgoing_minutes"]
        fits = (SPEND_BOUNDS[0] < spend) & (spend < SPEND_BOUNDS[1])
        fits &= (TRAFFIC_BOUNDS[0] <= traffic) & (traffic <= TRAFFIC_BOUNDS[1])
        return np.asarray(fits & (MINUTE_BOUNDS[0] <= minutes) & (minutes <= MINUTE_BOUNDS[1]))


def generate(
    count: int = DEFAULT_COUNT, seed: int = DEFAULT_SEED, as_of: date = DEMO_DAY
) -> Iterator[Population]:
    """Generates `count` subscribers as they stand on the day `as_of`, in chunks of 200,000."""
    if not 1 <= count <= 10_000_000:
        raise ValueError("count must be 1 to 10,000,000")
    for start in range(0, count, CHUNK):
        yield chunk(start, min(CHUNK, count - start), seed, as_of)


def chunk(start: int, count: int, seed: int, as_of: date) -> Population:
    """One chunk; `start` is a multiple of CHUNK."""
    rng = seeded.generator(seed, 11, start // CHUNK)
    place = homes.settle(rng, start, count, seed)
    drawn = behaviour.draw(rng, count)
    who = profiles.people(rng, place, drawn, as_of)
    spend, minutes = drawn.spend_fen, drawn.minutes_hundredths
    traffic = behaviour.traffic_hundredths(
        rng, spend, who["age"], (drawn.internet == 0) & (place.campus_role != homes.STUDENT), drawn.streaming
    )
    planted = _plant(rng, place.campus_role < 0, start == 0, (spend, traffic, minutes))
    stored = profiles.usage(rng, place, drawn, who, (spend, traffic, minutes), as_of)
    stored.update(who)
    stored.update(profiles.campus(rng, place, stored, as_of))

    # What the models read: tags in their units, and whether the terminal takes two cards.
    view = {code: _plain(code, values) for code, values in stored.items()}
    view["dual_sim"] = np.array([item.dual_sim for item in vocabulary.TERMINALS], dtype=float)[
        stored["terminal_model"]
    ]
    stored.update(models.scores(view))
    level = np.searchsorted([35, 60], stored["churn_score"], side="right").astype(np.int32)
    stored["churn_level"] = level
    today = profiles.days(as_of)
    stored["scenarios"] = models.scenarios(view, level, today)

    suppressed, reason = _lists(rng, stored)
    return Population(
        start=start,
        identity=place,
        stored={tag.code: _typed(tag, stored[tag.code]) for tag in tags.catalogue()},
        texts={"salutation": tags.SALUTATIONS},
        suppressed=suppressed,
        sensitive_reason=reason,
        churned=drawn.churned,
        planted=planted,
    )


def _plant(
    rng: np.random.Generator, free: NDArray[np.bool_], first: bool, measures: tuple[NDArray, NDArray, NDArray]
) -> NDArray[np.int8]:
    """Puts subscribers of the first chunk exactly on each bound of AUD-30, the other two criteria inside."""
    planted = np.zeros(len(free), dtype=np.int8)
    if not first:
        return planted
    each = min(PLANTED_PER_BOUND, int(free.sum()) // 12)
    chosen = rng.permutation(np.flatnonzero(free))[: each * 6].reshape(6, each)
    bounds = (SPEND_BOUNDS, TRAFFIC_BOUNDS, MINUTE_BOUNDS)
    for turn, rows in enumerate(chosen):
        for measure, values in enumerate(measures):
            values[rows] = rng.integers(*_INSIDE[measure], len(rows))
        measures[turn // 2][rows] = bounds[turn // 2][turn % 2]
        planted[rows] = turn + 1
    return planted


def _plain(code: str, values: NDArray) -> NDArray[np.float64]:
    """A tag in its unit with NaN where missing; an enumeration keeps its index."""
    tag = tags.by_code()[code]
    plain = values / float(10**tag.decimals)
    if tag.type in (tags.NUMBER, tags.DATE):
        plain[values == MISSING] = np.nan
    return np.asarray(plain)


_DTYPES = {
    tags.NUMBER: np.int32,
    tags.ENUMERATION: np.int32,
    tags.FLAG: np.uint8,
    tags.DATE: np.int32,
    tags.SET: np.uint64,
    tags.TEXT: np.int32,
}


def _typed(tag: tags.Tag, values: NDArray) -> NDArray:
    return np.ascontiguousarray(values, dtype=_DTYPES[tag.type])


def _lists(
    rng: np.random.Generator, stored: dict[str, NDArray]
) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.int8]]:
    """Suppression lists and consent. Who complains more is more often blocked or sensitive."""
    count = len(stored["age"])
    calls = stored["hotline_calls"]
    sensitive = rng.random(count) < 0.004 + 0.003 * (calls >= 4)
    reason = np.where(sensitive, rng.integers(0, len(vocabulary.SENSITIVE_REASONS), count), -1).astype(
        np.int8
    )
    lists = {
        "block": rng.random(count) < 0.006 + 0.01 * (calls >= 4),
        "red": rng.random(count) < 0.0012,
        "sensitive": sensitive,
        "opt_out": rng.random(count) < 0.004,
        "no_consent": stored["marketing_consent"] == 0,
        "minor": stored["is_minor"] == 1,
        "no_location_consent": stored["location_consent"] == 0,
    }
    return lists, reason
