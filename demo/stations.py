"""Base stations and cells. Generated: a jittered grid inside the real boundaries, dense in towns.

Each station has three sectors; a cell is a sector, with its tracking area code (TAC, 16 bits) and
its E-UTRAN cell identity (28 bits: station number << 8 | sector). `tac_cell` is TAC << 32 | cell.
A cell lies where its station stands, so a polygon finds all three sectors or none (EVT-29, EVT-30).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from demo import places as named
from demo import region, seeded
from demo.campuses import campuses

SEED = 20180521
SECTORS = 3
FIRST_TAC = 0x2000
TACS_PER_COUNTY = 32
STATIONS_PER_TAC = 40
FIRST_STATION_NUMBER = 300_000
# What stands where; order matters to `Network.kind`.
KINDS = ("town", "village", "rural", "campus", "place")
TOWN, SMALL, RURAL, CAMPUS, PLACE = range(len(KINDS))
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """Stations and cells in columns. Cells are numbered 0 to count - 1, three in a row per station."""

    names: tuple[str, ...] = field(repr=False)
    station_lon: Floats
    station_lat: Floats
    station_county: NDArray[np.int32]
    station_kind: NDArray[np.int8]
    station_weak: NDArray[np.bool_]  # the signal is weak here: phones lose it and attach again (EVT-34)
    tac: NDArray[np.uint32]
    cell_id: NDArray[np.uint32]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.tac)

    @cached_property
    def tac_cell(self) -> NDArray[np.uint64]:
        """TAC << 32 | cell."""
        return self.tac.astype(np.uint64) << np.uint64(32) | self.cell_id.astype(np.uint64)

    @cached_property
    def station(self) -> NDArray[np.int32]:
        """Station of each cell."""
        return np.repeat(np.arange(len(self.names), dtype=np.int32), SECTORS)

    @cached_property
    def lon(self) -> Floats:
        """Longitude of each cell."""
        return np.repeat(self.station_lon, SECTORS)

    @cached_property
    def lat(self) -> Floats:
        """Latitude of each cell."""
        return np.repeat(self.station_lat, SECTORS)

    @cached_property
    def county(self) -> NDArray[np.int32]:
        """County of each cell."""
        return np.repeat(self.station_county, SECTORS)

    @cached_property
    def azimuth(self) -> NDArray[np.int16]:
        """Direction of each cell in degrees."""
        return np.tile(np.array([0, 120, 240], dtype=np.int16), len(self.names))

    def cell_name(self, cell: int) -> str:
        """Name of a cell: its station and sector."""
        return f"{self.names[cell // SECTORS]}-{cell % SECTORS + 1}"

    def cells_in(self, outline: shapely.Polygon) -> NDArray[np.int32]:
        """Cells whose station stands inside an outline or on it."""
        inside = shapely.intersects_xy(outline, self.station_lon, self.station_lat)
        return (np.flatnonzero(inside)[:, None] * SECTORS + np.arange(SECTORS)).ravel().astype(np.int32)

    @cached_property
    def cells_of_campus(self) -> tuple[NDArray[np.int32], ...]:
        """Cells inside each campus, in the order of `campuses()`."""
        return tuple(self.cells_in(campus.outline) for campus in campuses())

    @cached_property
    def cells_of_place(self) -> tuple[NDArray[np.int32], ...]:
        """Cells inside each place, in the order of `places()`."""
        return tuple(self.cells_in(place.outline) for place in named.places())


def _grid(rng: np.random.Generator, bounds: tuple[float, ...], spacing_km: float) -> tuple[Floats, Floats]:
    """A jittered triangular grid over a box: each point moved by up to 0.35 of the spacing."""
    west, south, east, north = bounds
    step_y = spacing_km / 110.9
    step_x = spacing_km / (111.3 * np.cos(np.radians((south + north) / 2)))
    xs = np.arange(west - step_x, east + step_x, step_x)
    ys = np.arange(south - step_y, north + step_y, step_y)
    x, y = np.meshgrid(xs, ys)
    x = x + (np.arange(len(ys)) % 2)[:, None] * step_x / 2
    jitter = rng.uniform(-0.35, 0.35, (2, *x.shape))
    return (x + jitter[0] * step_x).ravel(), (y + jitter[1] * step_y).ravel()


def _around(
    rng: np.random.Generator,
    outline: shapely.Geometry,
    centre: tuple[float, float],
    count: int,
    spacing_km: float,
) -> tuple[Floats, Floats]:
    """The `count` grid points inside an outline that lie nearest to a centre; sparser further out."""
    reach = spacing_km * np.sqrt(count) * 1.6 / 100
    while True:
        box = (centre[0] - reach * 1.3, centre[1] - reach, centre[0] + reach * 1.3, centre[1] + reach)
        x, y = _grid(rng, box, spacing_km)
        shrink = np.cos(np.radians(centre[1]))
        away = np.hypot((x - centre[0]) * shrink, y - centre[1])
        # Pulls the middle together: the core of a town is denser than its edge.
        pull = 0.55 + 0.45 * np.minimum(away / away.max(), 1.0)
        x, y = centre[0] + (x - centre[0]) * pull, centre[1] + (y - centre[1]) * pull
        inside = np.flatnonzero(shapely.contains_xy(outline, x, y))
        if len(inside) >= count:
            nearest = inside[np.argsort(away[inside], kind="stable")[:count]]
            return x[nearest], y[nearest]
        reach *= 1.5


def town_weight(county: region.County) -> float:
    """How many people live there, relative to others. Invented: urban districts weigh most."""
    if county.name.endswith("矿区") or county.area_km2 < 260:
        return 1.4
    if county.name.endswith("区"):
        return 5.0
    return 3.0 if county.name.endswith("市") else 1.8


def _county_points(rng: np.random.Generator, county: region.County) -> list[tuple[str, int, Floats, Floats]]:
    """Groups of stations of a county: name stem, kind, longitudes, latitudes."""
    groups = [
        (
            f"{county.name}城区",
            TOWN,
            *_around(rng, county.polygon, county.seat, int(16 * town_weight(county)), 0.7),
        )
    ]
    spread = county.polygon.buffer(-0.01)
    for number in range(1, 3 + int(min(4, county.area_km2 // 4000))):
        bounds = spread.bounds
        while True:
            spot = (rng.uniform(bounds[0], bounds[2]), rng.uniform(bounds[1], bounds[3]))
            if spread.contains(shapely.Point(spot)):
                break
        groups.append((f"{county.name}乡镇{number}", SMALL, *_around(rng, county.polygon, spot, 4, 1.1)))
    wanted = 6 + min(26, county.area_km2 / 900)
    x, y = _grid(rng, county.polygon.bounds, float(np.sqrt(county.area_km2 / wanted)))
    inside = shapely.contains_xy(county.polygon, x, y)
    groups.append((f"{county.name}野外", RURAL, x[inside], y[inside]))
    return groups


@cache
def network() -> Network:
    """The network of the region, always the same."""
    land = region.load()
    extra: dict[int, list[tuple[str, int, Floats, Floats]]] = {}
    for index, campus in enumerate(campuses()):
        rng = seeded.generator(SEED, 1, index)
        count = 4 + min(5, campus.students // 4000)
        group = (
            campus.name,
            CAMPUS,
            *_around(rng, campus.outline.buffer(-0.0004), campus.centre, count, 0.22),
        )
        extra.setdefault(campus.county, []).append(group)
    for index, place in enumerate(named.places()):
        rng = seeded.generator(SEED, 2, index)
        count = 4 if place.kind == named.VILLAGE else 3 if place.radius_m >= 400 else 2
        inner = place.outline.buffer(-0.0004)
        group = (place.name, PLACE, *_around(rng, inner, place.centre, count, place.radius_m / 2200))
        extra.setdefault(place.county, []).append(group)

    names: list[str] = []
    lons, lats, counties, kinds, tacs = [], [], [], [], []
    for number, county in enumerate(land.counties):
        rng = seeded.generator(SEED, 3, county.adcode)
        groups = _county_points(rng, county) + extra.get(county.adcode, [])
        stems = [f"{stem}{serial:03d}站" for stem, _, x, _ in groups for serial in range(1, len(x) + 1)]
        lon = np.concatenate([x for _, _, x, _ in groups]).round(5)
        lat = np.concatenate([y for _, _, _, y in groups]).round(5)
        kind = np.concatenate([np.full(len(x), kind, dtype=np.int8) for _, kind, x, _ in groups])
        # Tracking areas are compact: stripes of longitude, cut by latitude.
        areas = max(1, -(-len(lon) // STATIONS_PER_TAC))
        stripes = max(1, int(np.sqrt(areas)))
        by_lon = np.argsort(lon, kind="stable")
        order = np.concatenate(
            [part[np.argsort(lat[part], kind="stable")] for part in np.array_split(by_lon, stripes)]
        )
        tac = np.empty(len(lon), dtype=np.uint32)
        tac[order] = FIRST_TAC + number * TACS_PER_COUNTY + np.arange(len(lon)) * areas // len(lon)
        names += stems
        lons.append(lon)
        lats.append(lat)
        kinds.append(kind)
        tacs.append(tac)
        counties.append(np.full(len(lon), county.adcode, dtype=np.int32))
    kind = np.concatenate(kinds)
    total = len(names)
    weak = (seeded.unit(np.arange(total), SEED, 4) < 0.06) & np.isin(kind, (SMALL, RURAL))
    numbers = np.repeat(
        np.arange(FIRST_STATION_NUMBER, FIRST_STATION_NUMBER + total, dtype=np.uint32), SECTORS
    )
    return Network(
        names=tuple(names),
        station_lon=np.concatenate(lons),
        station_lat=np.concatenate(lats),
        station_county=np.concatenate(counties),
        station_kind=kind,
        station_weak=weak,
        tac=np.repeat(np.concatenate(tacs), SECTORS),
        cell_id=numbers << np.uint32(8) | np.tile(np.arange(1, SECTORS + 1, dtype=np.uint32), total),
    )
