"""Conditions and event expressions in the JSON form of the contracts, short to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]


def value(constant: bool | int | float | str) -> Json:
    """A typed constant."""
    if isinstance(constant, bool):
        return {"flag": constant}
    if isinstance(constant, str):
        return {"text": constant}
    return {"number": constant}


def compare(field: str, operator: str, *values: bool | int | float | str, **bounds: bool) -> Json:
    """`compare("monthly_spend", "between", 28, 38, lower_open=True)`."""
    leaf: Json = {"field": field, "operator": f"OPERATOR_{operator.upper()}"}
    if values:
        leaf["values"] = [value(item) for item in values]
    return {"comparison": leaf | bounds}


def cells(keys: Iterable[int]) -> Json:
    """The current cell is one of the keys, which need all 64 bits."""
    values = [{"id": str(key)} for key in keys]
    return {"comparison": {"field": "tac_cell", "operator": "OPERATOR_IN", "values": values}}


def all_of(*children: Json) -> Json:
    """并."""
    return {"all_of": {"conditions": list(children)}}


def member_of(name: str) -> Json:
    """In a set of subscribers."""
    return {"membership": {"set": name}}


def rule(source: str, condition: Json | None = None, **more: Any) -> Json:
    """One rule of an event expression on `location`, `app_use` ..."""
    made: Json = {"source": f"SOURCE_{source.upper()}", **more}
    if condition is not None:
        made["condition"] = condition
    return {"rule": made}


def polygon(ring: Sequence[tuple[float, float]]) -> Json:
    """An outline of (longitude, latitude) corners; a closed ring loses its last corner."""
    corners = ring[:-1] if ring[0] == ring[-1] else ring
    return {"points": [{"longitude": x, "latitude": y} for x, y in corners]}
