"""Inner Mongolia: leagues and cities, counties and banners with their boundaries, number segments.

Real data (demo/data/README.md). Codes are GB/T 2260, coordinates WGS-84 degrees, longitude first.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import MultiPolygon, Polygon

DATA = Path(__file__).parent / "data"
PROVINCE = 150000
SEGMENT_SIZE = 10_000  # numbers of one 7-digit segment


@dataclass(frozen=True)
class League:
    """A league or a city at prefecture level (盟市)."""

    adcode: int
    name: str
    name_en: str
    kind: str  # "city" or "league"
    area_code: str


@dataclass(frozen=True)
class County:
    """A county, banner, district or county-level city (旗县区)."""

    adcode: int
    name: str
    parent: int
    area_km2: float
    seat: tuple[float, float]
    polygon: MultiPolygon = field(repr=False)

    @property
    def is_urban(self) -> bool:
        """A district of a city or a city of its own."""
        return self.name.endswith(("区", "市"))


class Region:
    """The region with its look-ups. `county_at` answers 0 outside it."""

    def __init__(self, leagues: tuple[League, ...], counties: tuple[County, ...]) -> None:
        self.leagues = leagues
        self.counties = counties
        self.county_codes = np.array([county.adcode for county in counties], dtype=np.int32)
        self._leagues = {league.adcode: league for league in leagues}
        self._counties = {county.adcode: county for county in counties}
        self._tree = shapely.STRtree([county.polygon for county in counties])

    def league(self, adcode: int) -> League:
        """The league or city with this code; KeyError when there is none."""
        return self._leagues[adcode]

    def county(self, adcode: int) -> County:
        """The county with this code; KeyError when there is none."""
        return self._counties[adcode]

    def counties_of(self, league: int) -> tuple[County, ...]:
        """The counties of a league or city."""
        return tuple(county for county in self.counties if county.parent == league)

    def league_polygon(self, adcode: int) -> shapely.Geometry:
        """The outline of a league or city: the union of its counties."""
        return shapely.union_all([county.polygon for county in self.counties_of(adcode)])

    def locate(self, lon: float, lat: float) -> int:
        """The county at a point, 0 outside the region. A point on a border belongs to the lower code."""
        return int(self.locate_many([lon], [lat])[0])

    def locate_many(self, lons: ArrayLike, lats: ArrayLike) -> NDArray[np.int32]:
        """The counties at many points, 0 outside the region."""
        x = np.asarray(lons, dtype=float)
        points = shapely.points(x, np.asarray(lats, dtype=float))
        found = np.full(len(x), np.iinfo(np.int32).max, dtype=np.int32)
        inputs, counties = self._tree.query(points, predicate="intersects")
        np.minimum.at(found, inputs, self.county_codes[counties])
        found[found == np.iinfo(np.int32).max] = 0
        return found


@dataclass(frozen=True)
class Segments:
    """The 7-digit segments of one carrier: `prefixes[i]` belongs to `cities[i]`."""

    prefixes: NDArray[np.int32]
    cities: NDArray[np.int32]

    @property
    def capacity(self) -> int:
        """How many numbers the segments hold."""
        return len(self.prefixes) * SEGMENT_SIZE

    def city_of(self, phones: ArrayLike) -> NDArray[np.int32]:
        """Home league or city of numbers, 0 where the segment is unknown."""
        prefixes = np.asarray(phones, dtype=np.int64) // SEGMENT_SIZE
        order = np.argsort(self.prefixes)
        spot = np.minimum(np.searchsorted(self.prefixes, prefixes, sorter=order), len(order) - 1)
        hit = self.prefixes[order[spot]] == prefixes
        return np.where(hit, self.cities[order[spot]], 0).astype(np.int32)


@cache
def load() -> Region:
    """The region of the demonstration."""
    document = json.loads((DATA / "region.json").read_text("utf-8"))
    leagues = tuple(League(**row) for row in document["leagues"])
    counties = tuple(
        County(
            adcode=row["adcode"],
            name=row["name"],
            parent=row["parent"],
            area_km2=row["area_km2"],
            seat=(row["seat"][0], row["seat"][1]),
            polygon=MultiPolygon([Polygon(rings[0], rings[1:]) for rings in row["polygons"]]),
        )
        for row in document["counties"]
    )
    return Region(leagues, counties)


@cache
def segments(carrier: str = "mobile") -> Segments:
    """Segments of a carrier: `mobile`, `unicom` or `telecom`."""
    prefixes: list[int] = []
    cities: list[int] = []
    with (DATA / "segments.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["carrier"] == carrier:
                run = range(int(row["first"]), int(row["last"]) + 1)
                prefixes.extend(run)
                cities.extend([int(row["adcode"])] * len(run))
    if not prefixes:
        raise ValueError(f"unknown carrier {carrier!r}")
    return Segments(np.array(prefixes, dtype=np.int32), np.array(cities, dtype=np.int32))
