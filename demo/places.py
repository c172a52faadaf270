"""Named places that the cases fence: stores, hospitals, stations, business districts, a village.

Names are real or typical; positions and outlines are generated near the seats of the districts.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import cache

import shapely
from shapely.geometry import Polygon

from demo import region
from demo.campuses import campuses

STORE, HOSPITAL, STATION, DISTRICT, VILLAGE = "store", "hospital", "station", "business_district", "village"

# Kind, name, county, radius of the outline in metres.
_HOHHOT = (
    (STORE, "沟通100新华大街营业厅", 150102, 320),
    (STORE, "沟通100哲里木路营业厅", 150102, 300),
    (STORE, "沟通100海拉尔东路营业厅", 150102, 300),
    (STORE, "沟通100中山西路营业厅", 150103, 320),
    (STORE, "沟通100通道北街营业厅", 150103, 300),
    (STORE, "沟通100钢铁路营业厅", 150103, 300),
    (STORE, "沟通100大学西街营业厅", 150105, 320),
    (STORE, "沟通100昭乌达路营业厅", 150105, 300),
    (STORE, "沟通100鄂尔多斯大街营业厅", 150105, 300),
    (STORE, "沟通100大南街营业厅", 150104, 320),
    (STORE, "沟通100锡林南路营业厅", 150104, 300),
    (STORE, "沟通100石羊桥路营业厅", 150104, 300),
    (HOSPITAL, "内蒙古自治区人民医院", 150105, 380),
    (HOSPITAL, "内蒙古医科大学附属医院", 150103, 380),
    (HOSPITAL, "内蒙古自治区国际蒙医医院", 150105, 400),
    (HOSPITAL, "呼和浩特市第一医院", 150104, 350),
    (HOSPITAL, "内蒙古自治区妇幼保健院", 150102, 330),
    (HOSPITAL, "内蒙古自治区中医医院", 150102, 330),
    (STATION, "呼和浩特站", 150102, 450),
    (STATION, "呼和浩特东站", 150102, 550),
    (STATION, "呼和浩特长途汽车站", 150103, 380),
    (STATION, "呼和浩特汽车客运东枢纽站", 150105, 380),
    (DISTRICT, "中山路商圈", 150103, 500),
    (DISTRICT, "维多利广场商圈", 150103, 450),
    (DISTRICT, "万达广场商圈", 150105, 500),
    (DISTRICT, "摩尔城商圈", 150102, 450),
    (DISTRICT, "大召商圈", 150104, 480),
    (DISTRICT, "金宇商圈", 150102, 420),
)
_VILLAGE = (VILLAGE, "头道坎村平房区", 150303, 900)
METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Place:
    """A place with an outline. `id` is stable; the outline holds base stations of its own."""

    id: str
    kind: str
    name: str
    county: int
    centre: tuple[float, float]
    radius_m: int
    outline: Polygon = field(repr=False)

    @property
    def city(self) -> int:
        """League or city of the place."""
        return self.county // 100 * 100

    @property
    def ring(self) -> list[tuple[float, float]]:
        """The outline as a closed ring of longitude and latitude, ready to be drawn."""
        return [(x, y) for x, y in self.outline.exterior.coords]


@cache
def places() -> tuple[Place, ...]:
    """All places: the fenced ones of Hohhot and Wuhai, and a store in every other county."""
    rng = random.Random(353642)
    land = region.load()
    wanted = [*_HOHHOT, _VILLAGE]
    served = {county for kind, _, county, _ in _HOHHOT if kind == STORE}
    wanted += [
        (STORE, f"{county.name}中心营业厅", county.adcode, 350)
        for county in land.counties
        if county.adcode not in served
    ]
    taken = [campus.outline.buffer(0.002) for campus in campuses()]
    found = []
    numbers: dict[tuple[str, int], int] = {}
    for kind, name, code, radius in wanted:
        county = land.county(code)
        outline = _outline(rng, county, radius, taken, reach=0.05 if kind == VILLAGE else 0.008)
        taken.append(outline.buffer(0.0008))
        number = numbers[kind, code] = numbers.get((kind, code), 0) + 1
        centre = (round(outline.centroid.x, 5), round(outline.centroid.y, 5))
        found.append(Place(f"{kind}-{code}-{number:02d}", kind, name, code, centre, radius, outline))
    return tuple(found)


def of_kind(*kinds: str, city: int | None = None) -> tuple[Place, ...]:
    """Places of some kinds, in one league or city or in all."""
    return tuple(place for place in places() if place.kind in kinds and city in (None, place.city))


def _outline(
    rng: random.Random, county: region.County, radius: int, taken: list[Polygon], reach: float
) -> Polygon:
    """An uneven octagon near the seat, inside the county, clear of the others."""
    while True:
        reach *= 1.04
        x, y = county.seat[0] + rng.gauss(0, reach) * 1.3, county.seat[1] + rng.gauss(0, reach)
        shrink = math.cos(math.radians(y))
        ring = []
        for step in range(8):
            angle = 2 * math.pi * (step + rng.uniform(-0.2, 0.2)) / 8
            away = radius * rng.uniform(0.85, 1.1) / METRES_PER_DEGREE
            ring.append((round(x + away * math.cos(angle) / shrink, 5), round(y + away * math.sin(angle), 5)))
        outline = Polygon(ring)
        if outline.is_valid and county.polygon.contains(outline):
            if not shapely.intersects(outline, taken).any():
                return outline
