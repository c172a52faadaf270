"""What all methods share: the school of a call, its scope, the audit trail."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.campus.store import schools
from services.kit import clock, db, errors, resource
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.bus import Bus

Spans = list[tuple[int, int]]


@dataclass
class Base:
    """The parts the servicer works with; `lists`, `directory` and `cells` are stubs of audience and event."""

    service: Service
    database: db.Database
    bus: Bus
    lists: Any
    directory: Any
    cells: Any

    @property
    def clock(self) -> clock.Clock:
        """The business clock."""
        return self.service.clock

    @property
    def current_year(self) -> int:
        """The business year in the region."""
        return self.service.clock.today(self.service.runtime.timezone).year

    def note(self, tx: db.Connection, school_id: str, actor: Actor, action: str, detail: object) -> None:
        """One line of the audit trail (CAM-68): fields with old and new values, or counts."""
        text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"), default=str)
        schools.note(tx, school_id, self.clock.now(), actor.subject, action, text)


def school_id(name: str, field: str = "name") -> str:
    """The code in `schools/{code}`."""
    return resource.parse(name, "schools", field)


def found(tx: db.Connection, code: str, actor: Actor, lock: bool = False) -> Any:
    """The row of a school in the actor's scope with its newest content; NotFound or Denied."""
    row = schools.get(tx, code, lock)
    if row is None:
        raise errors.NotFound(f"there is no school {code}", metadata={"school": code})
    require_scope(actor, code, row.county)
    return row


def in_force(tx: db.Connection, code: str, actor: Actor, lock: bool = False) -> tuple[Any, dict[str, Any]]:
    """The row and the approved content; Precondition, SCHOOL_NOT_APPROVED, while no version is in force."""
    row = found(tx, code, actor, lock)
    if row.approved is None:
        raise errors.Precondition(
            f"school {code} has not passed its review",
            reason="SCHOOL_NOT_APPROVED",
            metadata={"school": code},
        )
    content = row.content if row.approved == row.newest else schools.version(tx, code, row.approved).content
    return row, content


def require_scope(actor: Actor, code: str, county: int) -> None:
    """Denied, REGION_OUT_OF_SCOPE, unless the school lies in the actor's regions and campuses."""
    actor.require_region(county)
    if actor.campuses and code not in schools_of(actor):
        raise errors.Denied(
            f"school {code} is outside your data scope",
            reason="REGION_OUT_OF_SCOPE",
            metadata={"school": code},
        )


def schools_of(actor: Actor) -> Sequence[str]:
    """Codes of the schools whose campuses the actor is confined to; empty for no confinement."""
    return sorted({campus[:10] for campus in actor.campuses})


def spans_of(actor: Actor) -> Spans | None:
    """County codes that the actor may see, None for all."""
    return None if actor.whole_province else [span(region) for region in actor.regions]


def span(region: int) -> tuple[int, int]:
    """Lowest and highest county code in a region (GB/T 2260): 150100 -> (150100, 150199)."""
    if region % 10000 == 0:
        return region, region + 9999
    return (region, region + 99) if region % 100 == 0 else (region, region)
