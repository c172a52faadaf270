"""The 53 schools of the region (real list) and their campuses (generated sites, outlines and sizes)."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache

from shapely.geometry import Polygon

from demo import region


@dataclass(frozen=True)
class School:
    """A school as the Ministry of Education lists it."""

    code: str
    name: str
    city: int
    level: str  # 本科 undergraduate, 专科 junior college
    authority: str
    nature: str  # 公办 public, 民办 private

    @property
    def years(self) -> int:
        """Usual duration of study (CAM-48): medicine five, bachelor four, junior college three."""
        if self.level == "专科":
            return 3
        return 5 if "医科" in self.name else 4


@dataclass(frozen=True)
class Campus:
    """A site of a school. Everything but the school is generated."""

    code: int  # ten digits of the school and two of the site
    school: School
    site: str
    county: int
    centre: tuple[float, float]
    outline: Polygon = field(repr=False)
    students: int
    freshmen: int
    staff: int

    @property
    def name(self) -> str:
        """School and site."""
        return self.school.name + self.site

    @property
    def ring(self) -> list[tuple[float, float]]:
        """The outline as a closed ring of longitude and latitude, ready to be drawn."""
        return [(x, y) for x, y in self.outline.exterior.coords]


@cache
def schools() -> tuple[School, ...]:
    """All schools, by code."""
    with (region.DATA / "schools.csv").open(encoding="utf-8") as file:
        rows = [School(city=int(row.pop("city")), **row) for row in csv.DictReader(file)]
    return tuple(sorted(rows, key=lambda school: school.code))


@cache
def campuses() -> tuple[Campus, ...]:
    """All campuses, by code."""
    by_code = {school.code: school for school in schools()}
    rows = []
    with (region.DATA / "campuses.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            ring = [tuple(map(float, point.split(","))) for point in row["outline"].split()]
            rows.append(
                Campus(
                    code=int(row["campus"]),
                    school=by_code[row["school"]],
                    site=row["name"],
                    county=int(row["county"]),
                    centre=(float(row["lon"]), float(row["lat"])),
                    outline=Polygon(ring),
                    students=int(row["students"]),
                    freshmen=int(row["freshmen"]),
                    staff=int(row["staff"]),
                )
            )
    return tuple(sorted(rows, key=lambda campus: campus.code))
