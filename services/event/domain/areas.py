"""Outlines and outlets become lists of cells (EVT-20 to EVT-22, EVT-29 to EVT-31)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from services.event.domain.model import (
    All,
    AnyOf,
    Area,
    Comparison,
    Condition,
    Every,
    Expression,
    Not,
    Operator,
    Rule,
)
from services.kit import errors

EARTH_METRES = 6_371_008.8
AREA_EMPTY = "AREA_EMPTY"


@dataclass(frozen=True)
class Stations:
    """Where the cells are: keys (tac << 32 | cell_id) in rising order with their positions in degrees."""

    keys: NDArray[np.int64]
    longitudes: NDArray[np.float64]
    latitudes: NDArray[np.float64]

    @classmethod
    def none(cls) -> Stations:
        """An empty catalogue."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Outlet:
    """A channel with its position in degrees and the range of its residents."""

    code: str
    longitude: float
    latitude: float
    range_metres: int


def cells_inside(stations: Stations, areas: Iterable[Area]) -> NDArray[np.int64]:
    """Keys of the cells whose station lies in one of the outlines or on its edge."""
    inside = np.zeros(len(stations.keys), dtype=bool)
    for area in areas:
        outline: BaseGeometry = shapely.Polygon(area.corners)
        if not outline.is_valid:
            outline = shapely.make_valid(outline)  # lines drawn by hand cross each other
        west, south, east, north = outline.bounds
        near = np.flatnonzero(
            (stations.longitudes >= west)
            & (stations.longitudes <= east)
            & (stations.latitudes >= south)
            & (stations.latitudes <= north)
            & ~inside
        )
        shapely.prepare(outline)
        hit = shapely.intersects_xy(outline, stations.longitudes[near], stations.latitudes[near])
        inside[near[hit]] = True
    return stations.keys[inside]


def cells_around(stations: Stations, outlets: Iterable[Outlet]) -> NDArray[np.int64]:
    """Keys of the cells whose station lies within the range of one of the outlets."""
    inside = np.zeros(len(stations.keys), dtype=bool)
    longitudes, latitudes = np.radians(stations.longitudes), np.radians(stations.latitudes)
    for outlet in outlets:
        longitude, latitude = np.radians(outlet.longitude), np.radians(outlet.latitude)
        half = (
            np.sin((latitudes - latitude) / 2) ** 2
            + np.cos(latitude) * np.cos(latitudes) * np.sin((longitudes - longitude) / 2) ** 2
        )
        inside |= 2 * EARTH_METRES * np.arcsin(np.sqrt(np.minimum(1, half))) <= outlet.range_metres
    return stations.keys[inside]


def with_areas(
    expression: Expression,
    stations: Stations,
    written: frozenset[frozenset[int]] = frozenset(),
    path: str = "definition.expression",
) -> Expression:
    """The expression with the cells of each rule's areas added to its condition.

    `written` are the lists an earlier save has added: they are taken out first, so that an outline that
    was moved or removed leaves nothing behind. errors.Invalid, reason AREA_EMPTY, where no station is.
    """
    if isinstance(expression, Rule):
        return _with_areas(expression, stations, written, f"{path}.rule")
    word = "all_of" if isinstance(expression, Every) else "any_of"
    children = tuple(
        with_areas(child, stations, written, f"{path}.{word}.expressions[{i}]")
        for i, child in enumerate(expression.children)
    )
    return replace(expression, children=children)


def _with_areas(rule: Rule, stations: Stations, written: frozenset[frozenset[int]], path: str) -> Rule:
    parts = _parts(rule.condition)
    kept = [part for part in parts if _cell_list(part) not in written]
    if rule.areas:
        keys = cells_inside(stations, rule.areas)
        if not len(keys):
            raise errors.Invalid(
                "no station lies in the drawn area",
                reason=AREA_EMPTY,
                fields=[(f"{path}.areas", "holds no station of the catalogue")],
            )
        kept.append(Comparison("tac_cell", Operator.IN, tuple(keys.tolist())))
    elif len(kept) == len(parts):
        return rule
    return replace(rule, condition=kept[0] if len(kept) == 1 else All(tuple(kept)))


def lists_written(expression: Expression) -> frozenset[frozenset[int]]:
    """The lists of cells that a saved expression holds for the areas of its rules."""
    if isinstance(expression, Rule):
        if not expression.areas:
            return frozenset()
        last = _cell_list(_parts(expression.condition)[-1])
        return frozenset() if last is None else frozenset({last})
    return frozenset().union(*(lists_written(child) for child in expression.children))


def _parts(condition: Condition) -> list[Condition]:
    return list(condition.children) if isinstance(condition, All) else [condition]


def _cell_list(condition: Condition) -> frozenset[int] | None:
    if (
        isinstance(condition, Comparison)
        and condition.attribute == "tac_cell"
        and condition.operator is Operator.IN
    ):
        return frozenset(int(value) for value in condition.values if not isinstance(value, str))
    return None


def outlets_of(expression: Expression) -> frozenset[str]:
    """Codes of the outlets that an expression names."""
    if isinstance(expression, Rule):
        return frozenset(_outlets_in(expression.condition))
    return frozenset().union(*(outlets_of(child) for child in expression.children))


def _outlets_in(condition: Condition) -> Iterable[str]:
    if isinstance(condition, Comparison):
        return [str(value).strip() for value in condition.values] if condition.attribute == "outlet" else []
    if isinstance(condition, Not):
        return _outlets_in(condition.child)
    if isinstance(condition, All | AnyOf):
        return [code for child in condition.children for code in _outlets_in(child)]
    return []


Resolve = Callable[[tuple[str, ...], str], tuple[int, ...]]


def with_outlets(expression: Expression, resolve: Resolve, path: str = "definition.expression") -> Expression:
    """The expression with outlets replaced by the cells around them; `resolve(codes, path)` gives those."""
    if isinstance(expression, Rule):
        where = f"{path}.rule.condition"
        return replace(expression, condition=_resolved(expression.condition, resolve, where))
    word = "all_of" if isinstance(expression, Every) else "any_of"
    children = tuple(
        with_outlets(child, resolve, f"{path}.{word}.expressions[{i}]")
        for i, child in enumerate(expression.children)
    )
    return replace(expression, children=children)


_NEGATIVE = (Operator.NE, Operator.NOT_IN, Operator.NOT_CONTAINS)


def _resolved(condition: Condition, resolve: Resolve, path: str) -> Condition:
    if isinstance(condition, Comparison) and condition.attribute == "outlet":
        codes = tuple(str(value).strip() for value in condition.values)
        operator = Operator.NOT_IN if condition.operator in _NEGATIVE else Operator.IN
        return Comparison("tac_cell", operator, resolve(codes, f"{path}.comparison.values"))
    if isinstance(condition, Not):
        return Not(_resolved(condition.child, resolve, f"{path}.not"))
    if isinstance(condition, All | AnyOf):
        word = "all_of" if isinstance(condition, All) else "any_of"
        return type(condition)(
            tuple(
                _resolved(child, resolve, f"{path}.{word}.conditions[{i}]")
                for i, child in enumerate(condition.children)
            )
        )
    return condition


def cells_of_outlets(
    codes: Sequence[str], known: dict[str, Outlet], stations: Stations, path: str
) -> tuple[int, ...]:
    """Cells around the named outlets; errors.Invalid names one that is unknown or has no station around."""
    for i, code in enumerate(codes):
        if code not in known:
            raise errors.Invalid(
                f"there is no outlet {code!r}",
                fields=[(f"{path}[{i}]", "no such outlet is in the catalogue")],
            )
    keys = cells_around(stations, [known[code] for code in codes])
    if not len(keys):
        raise errors.Invalid(
            "no station lies within the range of the outlets",
            reason=AREA_EMPTY,
            fields=[(path, "no station lies within their range")],
        )
    return tuple(keys.tolist())
