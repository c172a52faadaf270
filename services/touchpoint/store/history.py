"""Reading touches with everything that was decided about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.kit import db
from services.touchpoint.domain.keys import TouchKey
from services.touchpoint.store import ledger, registry, tables


class TouchRow(NamedTuple):
    """A touch. `state` is of now, `entry_state` and `entry_reason` of its entry."""

    key: TouchKey
    slice_id: int
    position: int
    state: int
    reason: str
    entry_state: int
    entry_reason: str
    received_at: datetime
    page_id: str
    traceparent: str  # of the touch if it was sampled, else of its page


class StepRow(NamedTuple):
    """One step of a touch."""

    step: int
    code: str
    at: datetime
    provider_message_id: str
    lease_id: int  # which lease in order, of a return to the queue


@dataclass(frozen=True)
class History:
    """A touch with its leases and steps, oldest first."""

    row: TouchRow
    leases: Sequence[ledger.LeaseItem]
    steps: Sequence[StepRow]


_SELECT = (
    "SELECT t.planned_day, t.activity_number, t.occurrence, t.touchpoint, t.ordinal, t.slice_id, t.position,"
    " get_byte(s.states, t.position) AS state, t.state AS entry_state, t.reason AS entry_reason,"
    " s.received_at, s.page_id, coalesce(c.traceparent, s.traceparent) AS traceparent"
    " FROM touch t JOIN slice s ON s.slice_id = t.slice_id"
    " LEFT JOIN touch_trace c ON c.slice_id = t.slice_id AND c.position = t.position"
)
_ONE = sa.text(
    _SELECT + " WHERE t.planned_day = :planned_day AND t.activity_number = :activity_number"
    " AND t.occurrence = :occurrence AND t.touchpoint = :touchpoint AND t.ordinal = :ordinal"
)
_AT = sa.text(
    _SELECT + " JOIN unnest(CAST(:slices AS bigint[]), CAST(:positions AS int[])) AS p (slice_id, position)"
    " ON p.slice_id = t.slice_id AND p.position = t.position"
    " WHERE (t.planned_day, t.activity_number, t.occurrence, t.touchpoint, t.ordinal) IN"
    " (SELECT s2.planned_day, s2.activity_number, s2.occurrence, s2.touchpoint, :ordinal FROM slice s2"
    " WHERE s2.slice_id = ANY(CAST(:slices AS bigint[])))"
)


def touch(tx: db.Connection, key: TouchKey) -> History | None:
    """One touch by its key; None when nobody knows it."""
    row = tx.execute(_ONE, key._asdict()).one_or_none()
    return None if row is None else _history(tx, [_made(row)])[0]


def of_subscriber(tx: db.Connection, ordinal: int, number: int) -> list[History]:
    """Everything decided about a subscriber, of one activity or (0) of all, newest first."""
    places = registry.touches_of(tx, ordinal, number)
    if not places:
        return []
    rows = tx.execute(
        _AT, {"slices": [p[0] for p in places], "positions": [p[1] for p in places], "ordinal": ordinal}
    )
    found = _history(tx, [_made(row) for row in rows])
    return sorted(found, key=lambda one: (one.row.received_at, one.row.slice_id), reverse=True)


def touches(
    tx: db.Connection, number: int, touchpoint: int, after: Sequence[int] | None, limit: int
) -> list[TouchRow]:
    """Touches of an activity beyond a key, in the order of keys; with the reason of entry or end."""
    conditions = ["t.activity_number = :number"]
    values: dict[str, Any] = {"number": number, "limit": limit}
    if touchpoint:
        conditions.append("t.touchpoint = :touchpoint")
        values["touchpoint"] = touchpoint
    if after is not None:
        conditions.append(
            "(t.planned_day, t.activity_number, t.occurrence, t.touchpoint, t.ordinal)"
            " > (:k0, :k1, :k2, :k3, :k4)"
        )
        values |= {f"k{i}": value for i, value in enumerate(after)}
    query = (
        _SELECT
        + " WHERE "
        + " AND ".join(conditions)
        + " ORDER BY t.planned_day, t.activity_number, t.occurrence, t.touchpoint, t.ordinal LIMIT :limit"
    )
    rows = [_made(row) for row in tx.execute(sa.text(query), values)]
    return [history.row._replace(reason=_reason(history)) for history in _history(tx, rows)]


def _history(tx: db.Connection, rows: Sequence[TouchRow]) -> list[History]:
    """The rows with their leases and steps."""
    ids = {row.slice_id for row in rows}
    if not ids:
        return []
    leases: dict[int, list[ledger.LeaseItem]] = {}
    for item in ledger.lease_items(tx, slice_ids=ids):
        leases.setdefault(item.slice_id, []).append(item)
    outcome = tables.outcome
    steps: dict[tuple[int, int], list[StepRow]] = {}
    query = sa.select(outcome).where(
        outcome.c.planned_day.in_({row.key.planned_day for row in rows}),
        sa.tuple_(outcome.c.slice_id, outcome.c.position).in_([(row.slice_id, row.position) for row in rows]),
    )
    for step in tx.execute(query.order_by(outcome.c.at, outcome.c.step)):
        steps.setdefault((step.slice_id, step.position), []).append(
            StepRow(step.step, step.code, step.at, step.provider_message_id or "", step.lease_id)
        )
    return [
        History(
            row,
            [item for item in leases.get(row.slice_id, ()) if row.position in item.positions],
            steps.get((row.slice_id, row.position), ()),
        )
        for row in rows
    ]


def _reason(history: History) -> str:
    """Why the touch is where it is: the rule of its entry, or what ended it."""
    ends = [step.code for step in history.steps if step.step <= 11]
    return ends[-1] if ends else history.row.entry_reason


def _made(row: Any) -> TouchRow:
    key = TouchKey(row.planned_day, row.activity_number, row.occurrence, row.touchpoint, row.ordinal)
    return TouchRow(
        key,
        row.slice_id,
        row.position,
        row.state,
        row.entry_reason,
        row.entry_state,
        row.entry_reason,
        row.received_at,
        row.page_id,
        row.traceparent,
    )
