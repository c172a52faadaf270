"""Audiences, snapshots and the record of looks in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.audience.store import tables
from services.kit import db, errors, resource


def insert_audience(tx: db.Connection, values: dict[str, Any]) -> sa.Row[Any]:
    """Write a new audience; Exists when its id is taken."""
    statement = insert(tables.audience).values(**values).on_conflict_do_nothing(index_elements=["id"])
    row = tx.execute(statement.returning(tables.audience)).one_or_none()
    if row is None:
        raise errors.Exists(f"there is an audience {values['id']} already", metadata={"id": values["id"]})
    return row


def audience(tx: db.Connection, audience_id: str, *, lock: bool = False) -> sa.Row[Any]:
    """Read an audience; NotFound."""
    query = sa.select(tables.audience).where(tables.audience.c.id == audience_id)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise errors.NotFound(
            f"there is no audience {audience_id}", metadata={"name": f"audiences/{audience_id}"}
        )
    return row


def audiences(tx: db.Connection, before: int | None, limit: int) -> Sequence[sa.Row[Any]]:
    """Audiences, newest first, from below a number on."""
    query = sa.select(tables.audience).order_by(tables.audience.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(tables.audience.c.number < before)
    return tx.execute(query).all()


def update_audience(tx: db.Connection, audience_id: str, etag: str, values: dict[str, Any]) -> sa.Row[Any]:
    """Change an audience; Conflict (ETAG_STALE) when the etag is not the current one."""
    current = audience(tx, audience_id, lock=True)
    resource.check_etag(etag, current.version)
    statement = sa.update(tables.audience).where(tables.audience.c.id == audience_id)
    changed = statement.values(**values, version=current.version + 1).returning(tables.audience)
    return tx.execute(changed).one()


def delete_audience(tx: db.Connection, audience_id: str, etag: str) -> None:
    """Remove an audience; its snapshots stay."""
    resource.check_etag(etag, audience(tx, audience_id, lock=True).version)
    tx.execute(sa.delete(tables.audience).where(tables.audience.c.id == audience_id))


def insert_snapshot(tx: db.Connection, values: dict[str, Any]) -> sa.Row[Any] | None:
    """Write a snapshot; None when its request was answered by somebody else meanwhile."""
    statement = insert(tables.snapshot).values(**values).on_conflict_do_nothing(constraint="snapshot_request")
    return tx.execute(statement.returning(tables.snapshot)).one_or_none()


def snapshot(tx: db.Connection, snapshot_id: str) -> sa.Row[Any]:
    """Read a snapshot; NotFound."""
    row = tx.execute(sa.select(tables.snapshot).where(tables.snapshot.c.id == snapshot_id)).one_or_none()
    if row is None:
        raise errors.NotFound(
            f"there is no snapshot {snapshot_id}", metadata={"name": f"snapshots/{snapshot_id}"}
        )
    return row


def snapshot_of_request(tx: db.Connection, actor: str, request_id: str) -> sa.Row[Any] | None:
    """The snapshot that a request made."""
    table = tables.snapshot
    query = sa.select(table).where(table.c.actor == actor, table.c.request_id == request_id)
    return tx.execute(query).one_or_none()


def note_look(
    tx: db.Connection, actor: str, method: str, detail: str, subscribers: int, now: datetime
) -> None:
    """Record that somebody looked at customers."""
    tx.execute(
        sa.insert(tables.look).values(
            actor=actor, method=method, detail=detail, subscribers=subscribers, time=now
        )
    )
