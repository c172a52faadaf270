"""Where subscribers live, work and study, their numbers and ids. Generated; numbers lie in real segments.

The home league follows from the number: a permutation of all numbers of the region's China Mobile
segments gives each row another one, so leagues get subscribers in proportion to their segments, and no
number comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from demo import places, region, seeded, stations
from demo.campuses import campuses

# Hotlines printed in the text of a case (CMP-43); no subscriber of the demonstration has them.
RESERVED_PHONES = (18847363500, 13847328082)
STUDENT_SHARE = 0.07  # of all subscribers; above life, so that each campus has enough
STAFF_SHARE = 0.004
VILLAGE_SHARE = 0.25  # of 海南区's subscribers live in the fenced village of CMP-43
FIRST_ID = 1_000_000_000_000_000
ID_SPACE = 1 << 52  # ids stay exact in JSON numbers
STUDENT, STAFF = 0, 1
_KIND_WEIGHTS = {
    stations.TOWN: 6.0,
    stations.SMALL: 5.0,
    stations.RURAL: 1.5,
    stations.CAMPUS: 0.0,
    stations.PLACE: 0.0,
}
Index = NDArray[np.int32]


@dataclass(frozen=True)
class Homes:
    """Rows of subscribers. Cells are indexes into the network, campuses into `campuses()`, -1 is none."""

    subscriber_id: NDArray[np.int64]
    phone: NDArray[np.int64]
    city: Index
    county: Index
    home_cell: Index
    work_cell: Index
    campus: Index
    campus_role: Index


@dataclass(frozen=True)
class _Draws:
    """Cumulative weights for drawing a county of a city, a cell of a county, a campus of a city."""

    county_codes: Index
    county_cut: NDArray[np.float64]
    city_span: dict[int, tuple[float, float]]
    cells: Index
    cell_cut: NDArray[np.float64]
    cell_span: dict[int, tuple[float, float]]
    campus_cut: NDArray[np.float64]
    campus_order: Index
    campus_span: dict[int, tuple[float, float]]
    student_share: dict[int, float]


def _spans(
    keys: NDArray[np.integer], weights: NDArray[np.float64]
) -> tuple[NDArray, dict[int, tuple[float, float]]]:
    """Cumulative weights and, per key, where its rows begin and end in them; rows of a key are adjacent."""
    cut = np.cumsum(weights)
    spans = {}
    for key in dict.fromkeys(keys.tolist()):
        mine = np.flatnonzero(keys == key)
        spans[key] = (float(cut[mine[0]] - weights[mine[0]]), float(cut[mine[-1]]))
    return cut, spans


@cache
def _draws() -> _Draws:
    land, net, sites = region.load(), stations.network(), campuses()
    codes = land.county_codes
    county_cut, city_span = _spans(
        codes // 100 * 100, np.array([stations.town_weight(c) for c in land.counties])
    )
    weights = np.array([_KIND_WEIGHTS[int(kind)] for kind in net.station_kind[net.station]])
    (village,) = places.of_kind(places.VILLAGE)
    inside = net.cells_in(village.outline)
    rest = weights[(net.county == village.county)].sum() - weights[inside].sum()
    weights[inside] = rest * VILLAGE_SHARE / (1 - VILLAGE_SHARE) / len(inside)
    cell_order = np.argsort(net.county, kind="stable").astype(np.int32)
    cell_cut, cell_span = _spans(net.county[cell_order], weights[cell_order])
    campus_city = np.array([site.county // 100 * 100 for site in sites])
    campus_order = np.argsort(campus_city, kind="stable").astype(np.int32)
    students = np.array([float(site.students) for site in sites])
    campus_cut, campus_span = _spans(campus_city[campus_order], students[campus_order])
    numbers = region.segments().cities
    share = {}
    for city in campus_span:
        of_students = students[campus_city == city].sum() / students.sum()
        share[city] = STUDENT_SHARE * of_students / float((numbers == city).mean())
    return _Draws(
        codes,
        county_cut,
        city_span,
        cell_order,
        cell_cut,
        cell_span,
        campus_cut,
        campus_order,
        campus_span,
        share,
    )


def _pick(
    rng: np.random.Generator, keys: Index, cut: NDArray[np.float64], spans: dict[int, tuple[float, float]]
) -> NDArray[np.int64]:
    """Draws a row of each key by weight."""
    known = np.array(sorted(spans))
    bounds = np.array([spans[key] for key in known.tolist()])[np.searchsorted(known, keys)]
    spot = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * rng.random(len(keys))
    return np.minimum(np.searchsorted(cut, spot, side="right"), np.searchsorted(cut, bounds[:, 1]))


def phones(index: NDArray[np.integer], seed: int) -> tuple[NDArray[np.int64], Index]:
    """Number and home league of each row; distinct rows have distinct numbers."""
    numbers = region.segments()
    # The first indexes are kept for nobody and swapped with those that would get a reserved number.
    slot = seeded.permute(np.asarray(index) + len(RESERVED_PHONES), numbers.capacity, seed)
    spare = seeded.permute(np.arange(len(RESERVED_PHONES)), numbers.capacity, seed)
    kept = [_slot_of(phone, numbers) for phone in RESERVED_PHONES]
    free = [int(one) for one in spare if int(one) not in kept]
    for wanted in kept:
        if wanted not in spare:
            slot[slot == wanted] = free.pop()
    prefix = numbers.prefixes[slot // region.SEGMENT_SIZE].astype(np.int64)
    return prefix * region.SEGMENT_SIZE + slot % region.SEGMENT_SIZE, numbers.cities[
        slot // region.SEGMENT_SIZE
    ]


def _slot_of(phone: int, numbers: region.Segments) -> int:
    (segment,) = np.flatnonzero(numbers.prefixes == phone // region.SEGMENT_SIZE)
    return int(segment) * region.SEGMENT_SIZE + phone % region.SEGMENT_SIZE


def settle(rng: np.random.Generator, start: int, count: int, seed: int) -> Homes:
    """Gives rows `start` to `start + count - 1` a number, a home, a place to work and perhaps a campus."""
    draws, net = _draws(), stations.network()
    index = np.arange(start, start + count, dtype=np.int64)
    phone, city = phones(index, seed)
    county = draws.county_codes[_pick(rng, city, draws.county_cut, draws.city_span)].astype(np.int32)

    chance = np.array([draws.student_share.get(code, 0.0) for code in sorted(draws.city_span)])
    chance = chance[np.searchsorted(np.array(sorted(draws.city_span)), city)]
    roll = rng.random(count)
    role = np.full(count, -1, dtype=np.int32)
    role[roll < chance] = STUDENT
    role[(roll >= chance) & (roll < chance * (1 + STAFF_SHARE / STUDENT_SHARE))] = STAFF
    campus = np.full(count, -1, dtype=np.int32)
    there = np.flatnonzero(role >= 0)
    campus[there] = draws.campus_order[_pick(rng, city[there], draws.campus_cut, draws.campus_span)]
    site_county = np.array([site.county for site in campuses()], dtype=np.int32)
    county[there] = site_county[campus[there]]

    home = draws.cells[_pick(rng, county, draws.cell_cut, draws.cell_span)].astype(np.int32)
    # Three in ten work in another county of their league, the others near home; a third stays at home.
    work_county = np.where(
        rng.random(count) < 0.3,
        draws.county_codes[_pick(rng, city, draws.county_cut, draws.city_span)],
        county,
    ).astype(np.int32)
    work = draws.cells[_pick(rng, work_county, draws.cell_cut, draws.cell_span)].astype(np.int32)
    work[rng.random(count) < 0.34] = -1
    on_campus = _campus_cells(net, campus[there], rng)
    work[there] = on_campus
    students = role[there] == STUDENT
    home[there[students]] = _campus_cells(net, campus[there[students]], rng)
    return Homes(
        subscriber_id=FIRST_ID + seeded.permute_bits(index, 52, seed ^ 0x5D),
        phone=phone,
        city=city,
        county=county,
        home_cell=home,
        work_cell=work,
        campus=campus,
        campus_role=role,
    )


def _campus_cells(net: stations.Network, campus: Index, rng: np.random.Generator) -> Index:
    sizes = np.array([len(cells) for cells in net.cells_of_campus])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    flat = np.concatenate(net.cells_of_campus)
    return flat[starts[campus] + (rng.random(len(campus)) * sizes[campus]).astype(np.int64)].astype(np.int32)
