"""What the platform says at the end of the day, through the same APIs that everybody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from demo.cases import Case
from demo.door import Door
from demo.planning import Planned
from demo.recompute.expected import Row


@dataclass
class Results:
    """Rows by (case, touchpoint); evaluation's funnels and reports beside them."""

    rows: dict[tuple[str, str], Row]
    imbalance: dict[tuple[str, str], int]  # as the ledger reports it
    funnels: dict[tuple[str, str], dict[str, Any]]
    lifts: dict[str, dict[str, Any]]
    reports: dict[str, int]  # of the campus case: level -> rows


async def gather(door: Door, planned: dict[str, Planned]) -> Results:
    """Reads counters, progress, funnels and reports."""
    counters = await door.get("operator", "/touchpoint/v1/counters")
    funnels = await door.get("analyst", "/evaluation/v1/funnels")
    found = Results({}, {}, {}, {}, {})
    for item in planned.values():
        progress = await door.get("analyst", f"/campaign/v1/{item.case.activity}:progress")
        of_touchpoint = {row["touchpoint"]: row for row in progress["touchpoints"]}
        for setting in item.case.settings:
            key = (item.case.case, setting.touchpoint)
            name = f"TOUCHPOINT_{setting.touchpoint.upper()}"
            own = _one(counters["counters"], item.number, name)
            funnel = _one(funnels["funnels"], item.number, name, date="")
            found.rows[key] = _row(item.case, progress, of_touchpoint[name], own, funnel)
            found.imbalance[key] = int(own["imbalance"]) if own else 0
            found.funnels[key] = funnel or {}
        report = await door.get("analyst", f"/evaluation/v1/activities/{item.number}/report")
        found.lifts[item.case.case] = report["lift"]
        if item.case.school:
            for level in ("PROVINCE", "CITY", "COUNTY", "CAMPUS"):
                found.reports[level.lower()] = len(
                    (
                        await door.get(
                            "campus",
                            f"/evaluation/v1/activities/{item.number}/report",
                            level=f"REGION_LEVEL_{level}",
                        )
                    )["rows"]
                )
    return found


def _one(rows: list[dict[str, Any]], number: int, touchpoint: str, **more: str) -> dict[str, Any] | None:
    for row in rows:
        if (
            row["activityNumber"] == number
            and row["touchpoint"] == touchpoint
            and all(row[key] == value for key, value in more.items())
        ):
            return row
    return None


def reasons(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Reason counts as a plain mapping without zeros."""
    return {row["reason"]: int(row["count"]) for row in rows if int(row["count"])}


def _row(
    case: Case,
    progress: dict[str, Any],
    planned: dict[str, Any],
    ledger: dict[str, Any] | None,
    funnel: dict[str, Any] | None,
) -> Row:
    row = Row(
        target=int(planned["target"]),
        control=int(planned["control"]),
        excluded=reasons(planned["excluded"]),
        unplanned=int(planned["unplanned"]),
        handed=int(planned["handed"]),
        population=int(progress["population"]),
        population_control=int(planned["populationControl"]),
        orders=int(funnel["orders"]) if funnel else 0,
    )
    if ledger is not None:
        for name in ("received", "waiting", "held", "queued", "leased", "cancelled", "clicks", "replies"):
            setattr(row, name, int(ledger[name]))
        row.suppressed, row.settled = reasons(ledger["suppressed"]), reasons(ledger["settled"])
    return row
