"""Customer lists, suppression lists and the evidence of their changes in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert

from services.audience.store import tables
from services.kit import db, errors

Ordinals = NDArray[np.integer]


def insert_list(tx: db.Connection, values: dict[str, Any]) -> sa.Row[Any]:
    """Write a new customer list; Exists when its id is taken."""
    statement = insert(tables.customer_list).values(**values).on_conflict_do_nothing(index_elements=["id"])
    row = tx.execute(statement.returning(tables.customer_list)).one_or_none()
    if row is None:
        raise errors.Exists(f"there is a list {values['id']} already", metadata={"id": values["id"]})
    return row


def customer_list(tx: db.Connection, list_id: str, *, lock: bool = False) -> sa.Row[Any]:
    """Read a customer list; NotFound."""
    query = sa.select(tables.customer_list).where(tables.customer_list.c.id == list_id)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise errors.NotFound(f"there is no list {list_id}", metadata={"name": f"lists/{list_id}"})
    return row


def customer_lists(tx: db.Connection, before: int | None, limit: int) -> Sequence[sa.Row[Any]]:
    """Customer lists, newest first, from below a number on."""
    query = sa.select(tables.customer_list).order_by(tables.customer_list.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(tables.customer_list.c.number < before)
    return tx.execute(query).all()


def add_list_members(tx: db.Connection, list_id: str, ordinals: Ordinals, now: datetime) -> tuple[int, int]:
    """Add members to a list; returns how many were new, and the size of the list now."""
    current = customer_list(tx, list_id, lock=True)
    statement = sa.text(
        "INSERT INTO customer_list_member (list_id, ordinal)"
        " SELECT :id, u FROM unnest(CAST(:ordinals AS integer[])) AS u ON CONFLICT DO NOTHING"
    )
    added = tx.execute(statement, {"id": list_id, "ordinals": ordinals.tolist()}).rowcount
    if added:
        table = tables.customer_list
        values = {"size": current.size + added, "version": current.version + 1, "update_time": now}
        tx.execute(sa.update(table).where(table.c.id == list_id).values(**values))
    return added, current.size + added


def list_members(tx: db.Connection, list_id: str) -> NDArray[np.uint32]:
    """Ordinals of a customer list."""
    query = sa.text("SELECT ordinal FROM customer_list_member WHERE list_id = :id")
    return np.fromiter(tx.execute(query, {"id": list_id}).scalars(), dtype=np.uint32)


@dataclass(frozen=True)
class SuppressionDelta:
    """Members that entered and left one list in one version."""

    version: int
    list: int
    added: NDArray[np.uint32]
    removed: NDArray[np.uint32]


@dataclass(frozen=True)
class Evidence:
    """Why a suppression list changes, on whose word and when."""

    reason: str
    source: str
    actor: str
    time: datetime


_ADD = sa.text(
    "INSERT INTO suppression_member (list, ordinal)"
    " SELECT :list, u FROM unnest(CAST(:ordinals AS integer[])) AS u ON CONFLICT DO NOTHING RETURNING ordinal"
)
_REMOVE = sa.text(
    "DELETE FROM suppression_member WHERE list = :list AND ordinal = ANY(CAST(:ordinals AS integer[]))"
    " RETURNING ordinal"
)
_CHANGES = sa.text(
    "SELECT version, list, ordinal, added FROM suppression_change WHERE version > :version"
    " ORDER BY version, ordinal"
)


def change_suppression(
    tx: db.Connection, suppression_list: int, add: Ordinals, remove: Ordinals, why: Evidence
) -> SuppressionDelta | None:
    """Change a list and keep the evidence; None when nobody entered or left.

    Versions have no gap: the next one is taken first, so writers run one after the other, and given
    back when there was nothing to do.
    """
    step = tx.begin_nested()
    version = tables.next_version(tx, "suppression", why.time)

    def apply(statement: sa.TextClause, ordinals: Ordinals) -> NDArray[np.uint32]:
        rows = tx.execute(statement, {"list": suppression_list, "ordinals": ordinals.tolist()})
        return np.sort(np.array(rows.scalars().all(), dtype=np.uint32))

    left, entered = apply(_REMOVE, remove), apply(_ADD, add)
    if not len(left) and not len(entered):
        step.rollback()
        return None
    step.commit()
    ordinals = np.concatenate([entered, left])
    count = len(ordinals)
    db.copy_columns(
        tx,
        "suppression_change",
        {
            "version": np.full(count, version, dtype=np.int64),
            "ordinal": ordinals,
            "list": np.full(count, suppression_list, dtype=np.int16),
            "added": np.arange(count) < len(entered),
            "reason": [why.reason] * count,
            "source": [why.source] * count,
            "actor": [why.actor] * count,
            "time": [why.time.isoformat()] * count,
        },
    )
    return SuppressionDelta(version, suppression_list, entered, left)


def suppression_members(tx: db.Connection) -> dict[int, NDArray[np.uint32]]:
    """Members of every list."""
    query = sa.text("SELECT list, array_agg(ordinal) AS ordinals FROM suppression_member GROUP BY list")
    return {row.list: np.array(row.ordinals, dtype=np.uint32) for row in tx.execute(query)}


def suppression_since(tx: db.Connection, version: int) -> list[SuppressionDelta]:
    """Changes after a version, in their order."""
    deltas: dict[int, tuple[int, list[int], list[int]]] = {}
    for row in tx.execute(_CHANGES, {"version": version}):
        _, entered, left = deltas.setdefault(row.version, (row.list, [], []))
        (entered if row.added else left).append(row.ordinal)
    return [
        SuppressionDelta(v, kind, np.array(entered, dtype=np.uint32), np.array(left, dtype=np.uint32))
        for v, (kind, entered, left) in deltas.items()
    ]
