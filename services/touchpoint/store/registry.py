"""Activities, policy, do-not-disturb, opt-outs, replies, trace budgets."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.kit import db
from services.touchpoint.domain.states import TOUCHED
from services.touchpoint.store import tables


class ActivityRow(NamedTuple):
    """An activity as stored; `settings` is {touchpoint: (lane, enabled)}."""

    number: int
    state: int
    state_version: int
    launched: bytes
    settings: dict[int, tuple[int, bool]]


def save_launch(tx: db.Connection, number: int, launched: bytes, lanes: dict[int, int]) -> None:
    """Write a launched activity. Settings that an operator changed keep his change."""
    tx.execute(
        insert(tables.activity)
        .values(activity_number=number, state=1, state_version=0, launched=launched)
        .on_conflict_do_update(index_elements=["activity_number"], set_={"launched": launched})
    )
    if lanes:
        tx.execute(
            insert(tables.setting).on_conflict_do_nothing(),
            [
                {"activity_number": number, "touchpoint": touchpoint, "lane": lane, "enabled": True}
                for touchpoint, lane in sorted(lanes.items())
            ],
        )


def set_state(tx: db.Connection, number: int, state: int, version: int) -> bool:
    """Write a newer state; False when it is not newer or the activity is not known."""
    return bool(
        tx.execute(
            sa.update(tables.activity)
            .where(tables.activity.c.activity_number == number, tables.activity.c.state_version < version)
            .values(state=state, state_version=version)
        ).rowcount
    )


def update_setting(
    tx: db.Connection, number: int, touchpoint: int, lane: int | None, enabled: bool | None
) -> bool:
    """Change lane or switch of an entry; False when there is none."""
    # The row of the activity serialises this with leases.
    tx.execute(
        sa.select(tables.activity).where(tables.activity.c.activity_number == number).with_for_update()
    )
    values: dict[str, Any] = {}
    if lane is not None:
        values["lane"] = lane
    if enabled is not None:
        values["enabled"] = enabled
    if not values:
        values["touchpoint"] = touchpoint
    return bool(
        tx.execute(
            sa.update(tables.setting)
            .where(tables.setting.c.activity_number == number, tables.setting.c.touchpoint == touchpoint)
            .values(**values)
        ).rowcount
    )


def activities(tx: db.Connection) -> list[ActivityRow]:
    """Every activity."""
    settings: dict[int, dict[int, tuple[int, bool]]] = {}
    for row in tx.execute(sa.select(tables.setting)):
        settings.setdefault(row.activity_number, {})[row.touchpoint] = (row.lane, row.enabled)
    return [
        ActivityRow(
            row.activity_number,
            row.state,
            row.state_version,
            bytes(row.launched),
            settings.get(row.activity_number, {}),
        )
        for row in tx.execute(sa.select(tables.activity).order_by(tables.activity.c.activity_number))
    ]


def running(tx: db.Connection, numbers: Collection[int]) -> dict[int, tuple[int, frozenset[int]]]:
    """(state, touchpoints switched on) of activities, locked against a change until this transaction ends."""
    query = sa.select(tables.activity.c.activity_number, tables.activity.c.state).where(
        tables.activity.c.activity_number.in_(list(numbers))
    )
    states = {
        row.activity_number: row.state
        for row in tx.execute(query.order_by(tables.activity.c.activity_number).with_for_update(read=True))
    }
    on: dict[int, set[int]] = {}
    enabled = sa.select(tables.setting.c.activity_number, tables.setting.c.touchpoint).where(
        tables.setting.c.activity_number.in_(list(numbers)), tables.setting.c.enabled
    )
    for number, touchpoint in tx.execute(enabled):
        on.setdefault(number, set()).add(touchpoint)
    return {number: (state, frozenset(on.get(number, ()))) for number, state in states.items()}


def policy(tx: db.Connection, *, lock: bool = False) -> tuple[int, bytes, datetime] | None:
    """(version, body, time) of the stored policy, None while the default is in force."""
    query = sa.select(tables.policy)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else (row.version, bytes(row.body), row.at)


def save_policy(tx: db.Connection, version: int, body: bytes, at: datetime) -> None:
    """Replace the policy."""
    values = {"version": version, "body": body, "at": at}
    tx.execute(
        insert(tables.policy)
        .values(one=True, **values)
        .on_conflict_do_update(index_elements=["one"], set_=values)
    )


def do_not_disturb(tx: db.Connection) -> list[tuple[int, int, str]]:
    """(ordinal, touchpoint, marketing type) of every entry."""
    dnd = tables.do_not_disturb.c
    return [tuple(row) for row in tx.execute(sa.select(dnd.ordinal, dnd.touchpoint, dnd.marketing_type))]  # type: ignore[misc]


def add_do_not_disturb(
    tx: db.Connection, rows: Iterable[tuple[int, int, str]], creator: str, at: datetime
) -> int:
    """Add entries; how many are new."""
    values = [
        {"ordinal": ordinal, "touchpoint": touchpoint, "marketing_type": kind, "creator": creator, "at": at}
        for ordinal, touchpoint, kind in sorted(set(rows))
    ]
    if not values:
        return 0
    # Counted by what comes back: of an INSERT the driver does not tell how many rows it wrote.
    statement = insert(tables.do_not_disturb).on_conflict_do_nothing()
    return len(tx.execute(statement.returning(tables.do_not_disturb.c.ordinal), values).all())


def remove_do_not_disturb(tx: db.Connection, rows: Iterable[tuple[int, int, str]]) -> int:
    """Remove entries; how many were there."""
    removed = 0
    dnd = tables.do_not_disturb
    for ordinal, touchpoint, kind in sorted(set(rows)):
        removed += tx.execute(
            sa.delete(dnd).where(
                dnd.c.ordinal == ordinal, dnd.c.touchpoint == touchpoint, dnd.c.marketing_type == kind
            )
        ).rowcount
    return removed


def opt_outs(tx: db.Connection) -> list[int]:
    """Ordinals that opted out by reply."""
    return list(tx.execute(sa.select(tables.opt_out.c.ordinal)).scalars())


def add_opt_out(tx: db.Connection, ordinal: int, at: datetime, reply_id: str) -> None:
    """A subscriber refused by reply."""
    tx.execute(
        insert(tables.opt_out).values(ordinal=ordinal, at=at, reply_id=reply_id).on_conflict_do_nothing()
    )


def remove_opt_outs(tx: db.Connection, ordinals: Collection[int]) -> None:
    """Subscribers came back: their consent was recorded anew."""
    tx.execute(sa.delete(tables.opt_out).where(tables.opt_out.c.ordinal.in_(list(ordinals))))


def replies(tx: db.Connection, ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """(kind, activity) of replies that were taken before."""
    query = sa.select(tables.reply).where(tables.reply.c.reply_id.in_(list(ids)))
    return {row.reply_id: (row.kind, row.activity_number) for row in tx.execute(query)}


def claim_reply(tx: db.Connection, values: dict[str, Any]) -> bool:
    """Record a reply; False when it was there."""
    statement = insert(tables.reply).values(**values).on_conflict_do_nothing()
    return tx.execute(statement.returning(tables.reply.c.reply_id)).first() is not None


class Contacted(NamedTuple):
    """A touch that reached, or may have reached, a subscriber."""

    ordinal: int
    planned_day: int
    activity: int
    occurrence: int
    touchpoint: int
    slice_id: int
    position: int
    state: int
    lease_id: int  # the newest; 0 for an offer


_TOUCHES_OF = (
    "SELECT t.ordinal, w.planned_day, w.activity_number AS activity, w.occurrence, w.touchpoint, t.slice_id,"
    " t.position FROM unnest(CAST(:ordinals AS bigint[])) AS o (ordinal)"
    " CROSS JOIN (SELECT * FROM wave WHERE {condition}) AS w"
    " JOIN touch t ON t.planned_day = w.planned_day AND t.activity_number = w.activity_number"
    " AND t.occurrence = w.occurrence AND t.touchpoint = w.touchpoint AND t.ordinal = o.ordinal"
)
_CONTACTED = sa.text(
    "SELECT f.*, get_byte(s.states, f.position) AS state,"
    " coalesce((SELECT max(i.lease_id) FROM lease_item i WHERE i.slice_id = f.slice_id), 0) AS lease_id"
    " FROM ("
    + _TOUCHES_OF.format(condition="planned_day >= :since")
    + ") AS f JOIN slice s ON s.slice_id = f.slice_id"
    " WHERE get_byte(s.states, f.position) = ANY(CAST(:touched AS int[]))"
)


def contacted(tx: db.Connection, ordinals: Collection[int], since_day: int) -> dict[int, list[Contacted]]:
    """What reached subscribers since a planned day, by ordinal, newest first."""
    made: dict[int, list[Contacted]] = {}
    values = {"ordinals": list(ordinals), "since": since_day, "touched": [int(state) for state in TOUCHED]}
    for row in tx.execute(_CONTACTED, values):
        made.setdefault(row.ordinal, []).append(Contacted(*row))
    for found in made.values():
        found.sort(key=lambda item: (item.lease_id, item.planned_day, item.slice_id), reverse=True)
    return made


_EVERY = sa.text(_TOUCHES_OF.format(condition=":number = 0 OR activity_number = :number"))


def touches_of(tx: db.Connection, ordinal: int, number: int) -> list[tuple[int, int]]:
    """(slice id, position) of a subscriber's touches, of one activity or (0) of all."""
    return [
        (row.slice_id, row.position) for row in tx.execute(_EVERY, {"ordinals": [ordinal], "number": number})
    ]


def traces(tx: db.Connection, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Trace contexts of sampled touches by (slice id, position)."""
    table = tables.touch_trace
    if not places:
        return {}
    query = sa.select(table).where(table.c.slice_id.in_({slice_id for slice_id, _ in places}))
    wanted = set(places)
    return {
        (row.slice_id, row.position): row.traceparent
        for row in tx.execute(query)
        if (row.slice_id, row.position) in wanted
    }


def add_traces(tx: db.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Remember the traces of sampled touches."""
    if rows:
        tx.execute(insert(tables.touch_trace).on_conflict_do_nothing(), list(rows))


def trace_counts(tx: db.Connection) -> dict[tuple[int, int, bool], int]:
    """Sampled touches by (activity, planned day, failed)."""
    table = tables.touch_trace.c
    query = sa.select(table.activity_number, table.planned_day, table.failed, sa.func.count()).group_by(
        table.activity_number, table.planned_day, table.failed
    )
    return {(row[0], row[1], row[2]): row[3] for row in tx.execute(query)}


def traced_slices(tx: db.Connection) -> list[int]:
    """Slices with a sampled touch."""
    return list(tx.execute(sa.select(tables.touch_trace.c.slice_id).distinct()).scalars())
