"""The ledger: keys, outcomes, leases and counters."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert

from services.kit import db, errors
from services.touchpoint.domain.keys import TouchKey
from services.touchpoint.domain.states import Step
from services.touchpoint.store import tables
from services.touchpoint.store.slices import Slice

CounterKey = tuple[int, int, str, str]  # activity number, touchpoint, counter, reason

_PARTITION_LOCK = 0x70C4


def ensure_days(tx: db.Connection, days: Iterable[int]) -> None:
    """Make the partitions of planned days. In a transaction of its own, before the first page of a day."""
    for day in sorted(set(days)):
        tx.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PARTITION_LOCK})
        for table in ("touch", "outcome"):
            name = f"{table}_{day}"
            if tx.execute(sa.text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
                # Attaching takes a weaker lock than creating in place: readers and writers go on.
                tx.execute(sa.text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
                tx.execute(sa.text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ({int(day)})"))


_STAGE = sa.text(
    "CREATE TEMP TABLE IF NOT EXISTS touch_stage (planned_day int, activity_number bigint, occurrence bigint,"
    " touchpoint smallint, ordinal bigint, slice_id bigint, position int, state smallint, reason text)"
    " ON COMMIT DELETE ROWS"
)
_TAKE = sa.text(
    "INSERT INTO touch (planned_day, activity_number, occurrence, touchpoint, ordinal, slice_id, position,"
    " state, reason) SELECT * FROM touch_stage ON CONFLICT DO NOTHING"
)
_REPEATED = sa.text(
    "SELECT s.slice_id, s.position FROM touch_stage s"
    " JOIN touch t USING (planned_day, activity_number, occurrence, touchpoint, ordinal)"
    " WHERE t.slice_id <> s.slice_id"
)


@dataclass
class Entry:
    """A slice on entry with the reasons of its rows; rows in state NONE get no touch."""

    slice: Slice
    reasons: NDArray[np.uint8]
    reason_names: list[str]


def enter(tx: db.Connection, entries: Sequence[Entry]) -> dict[int, list[int]]:
    """Write the touches of new slices; the rows whose key was there already, by slice id."""
    columns: dict[str, list[NDArray[Any]]] = {}
    reasons: list[str] = []
    for entry in entries:
        item = entry.slice
        rows = np.flatnonzero(item.columns)
        for name, values in (
            ("planned_day", np.full(len(rows), item.planned_day)),
            ("activity_number", np.full(len(rows), item.activity)),
            ("occurrence", np.full(len(rows), item.occurrence)),
            ("touchpoint", np.full(len(rows), item.touchpoint)),
            ("ordinal", item.ordinals[rows]),
            ("slice_id", np.full(len(rows), item.slice_id)),
            ("position", rows),
            ("state", item.columns[rows]),
        ):
            columns.setdefault(name, []).append(values)
        names = np.array(entry.reason_names, object)
        reasons += names[entry.reasons[rows]].tolist()
    tx.execute(_STAGE)
    staged = db.copy_columns(
        tx,
        "touch_stage",
        {**{name: np.concatenate(parts) for name, parts in columns.items()}, "reason": reasons},
    )
    repeated: dict[int, list[int]] = {}
    if staged and tx.execute(_TAKE).rowcount < staged:
        for slice_id, position in tx.execute(_REPEATED):
            repeated.setdefault(slice_id, []).append(position)
    return repeated


def note_waves(tx: db.Connection, slices: Iterable[Slice]) -> None:
    """Remember which (day, activity, occurrence, touchpoint) have touches."""
    rows = {(item.planned_day, item.activity, item.occurrence, item.touchpoint) for item in slices}
    if rows:
        names = ("planned_day", "activity_number", "occurrence", "touchpoint")
        values = [dict(zip(names, row, strict=True)) for row in sorted(rows)]
        tx.execute(insert(tables.wave).on_conflict_do_nothing(), values)


class Place(NamedTuple):
    """Where a touch lies."""

    slice_id: int
    position: int


_PLACES = sa.text(
    "SELECT k.n, t.slice_id, t.position FROM unnest(CAST(:days AS int[]), CAST(:activities AS bigint[]),"
    " CAST(:occurrences AS bigint[]), CAST(:touchpoints AS int[]), CAST(:ordinals AS bigint[]))"
    " WITH ORDINALITY AS k (planned_day, activity_number, occurrence, touchpoint, ordinal, n)"
    " JOIN touch t USING (planned_day, activity_number, occurrence, touchpoint, ordinal)"
)


def places(tx: db.Connection, keys: Sequence[TouchKey]) -> dict[TouchKey, Place]:
    """Where touches lie; keys that nobody knows are left out."""
    if not keys:
        return {}
    columns = list(zip(*keys, strict=True))
    found = tx.execute(
        _PLACES,
        {
            "days": list(columns[0]),
            "activities": list(columns[1]),
            "occurrences": list(columns[2]),
            "touchpoints": list(columns[3]),
            "ordinals": list(columns[4]),
        },
    )
    return {keys[n - 1]: Place(slice_id, position) for n, slice_id, position in found}


_BY_PROVIDER = sa.text(
    "SELECT provider_message_id, slice_id, position FROM outcome"
    " WHERE provider_message_id = ANY(CAST(:ids AS text[])) ORDER BY at"
)


def places_by_provider(tx: db.Connection, ids: Collection[str]) -> dict[str, list[Place]]:
    """Touches by the provider's message id, oldest first."""
    made: dict[str, list[Place]] = {}
    if ids:
        for provider_id, slice_id, position in tx.execute(_BY_PROVIDER, {"ids": list(ids)}):
            made.setdefault(provider_id, []).append(Place(slice_id, position))
    return made


class OutcomeRow(NamedTuple):
    """One step of one touch. `at` in micros."""

    planned_day: int
    slice_id: int
    position: int
    step: int
    lease_id: int
    previous: int
    code: str
    at: int
    provider_message_id: str | None


def append_outcomes(tx: db.Connection, rows: Sequence[OutcomeRow]) -> None:
    """Append steps."""
    if rows:
        columns: dict[str, Any] = dict(zip(OutcomeRow._fields, zip(*rows, strict=True), strict=True))
        for name in ("planned_day", "slice_id", "position", "step", "lease_id", "previous"):
            columns[name] = np.array(columns[name], np.int64)
        columns["at"] = np.array(columns["at"], np.int64).view("datetime64[us]")
        db.copy_columns(tx, "outcome", columns)


_COUNT = sa.text(
    "INSERT INTO counter (activity_number, touchpoint, counter, reason, n)"
    " SELECT * FROM unnest(CAST(:activities AS bigint[]), CAST(:touchpoints AS int[]),"
    " CAST(:counters AS text[]), CAST(:reasons AS text[]), CAST(:deltas AS bigint[]))"
    " ON CONFLICT (activity_number, touchpoint, counter, reason) DO UPDATE SET n = counter.n + excluded.n"
)


def count(tx: db.Connection, deltas: Mapping[CounterKey, int]) -> None:
    """Add to the counters, in one order for everybody."""
    rows = sorted((key, delta) for key, delta in deltas.items() if delta)
    if rows:
        tx.execute(
            _COUNT,
            {
                "activities": [key[0] for key, _ in rows],
                "touchpoints": [key[1] for key, _ in rows],
                "counters": [key[2] for key, _ in rows],
                "reasons": [key[3] for key, _ in rows],
                "deltas": [delta for _, delta in rows],
            },
        )


def counters(tx: db.Connection, numbers: Collection[int] = ()) -> list[tuple[int, int, str, str, int]]:
    """(activity, touchpoint, counter, reason, n) of some activities, or of all."""
    query = sa.select(tables.counter).order_by(*tables.counter.primary_key)
    if numbers:
        query = query.where(tables.counter.c.activity_number.in_(list(numbers)))
    return [tuple(row) for row in tx.execute(query)]  # type: ignore[misc]


def begin_lease(
    tx: db.Connection,
    adapter: str,
    idempotent: bool,
    at: datetime,
    day: int,
    items: Sequence[tuple[int, NDArray[np.uint16], dict[str, list[str]] | None]],
) -> int:
    """Write a lease with its rows, (slice id, positions, variables as sent); returns its id."""
    lease_id = int(tx.execute(sa.select(sa.func.nextval(tables.lease_ids.name))).scalar_one())
    tx.execute(
        tables.lease.insert(),
        {"lease_id": lease_id, "adapter": adapter, "idempotent": idempotent, "leased_at": at, "day": day},
    )
    tx.execute(
        tables.lease_item.insert(),
        [
            {
                "slice_id": slice_id,
                "lease_id": lease_id,
                "positions": positions.astype(np.uint16).tobytes(),
                "variables": variables,
            }
            for slice_id, positions, variables in items
        ],
    )
    return lease_id


class LeaseItem(NamedTuple):
    """Rows of a slice under one lease."""

    lease_id: int
    slice_id: int
    positions: NDArray[np.uint16]
    adapter: str
    idempotent: bool
    leased_at: datetime
    day: int
    variables: dict[str, list[str]] | None


def lease_items(
    tx: db.Connection,
    *,
    slice_ids: Collection[int] | None = None,
    since_day: int | None = None,
    after: tuple[int, int] | None = None,
    limit: int | None = None,
) -> list[LeaseItem]:
    """Rows under lease, oldest lease first: of some slices, or of leases since a day."""
    item, lease = tables.lease_item, tables.lease
    query = (
        sa.select(item, lease.c.adapter, lease.c.idempotent, lease.c.leased_at, lease.c.day)
        .join(lease, lease.c.lease_id == item.c.lease_id)
        .order_by(item.c.lease_id, item.c.slice_id)
    )
    if slice_ids is not None:
        query = query.where(item.c.slice_id.in_(list(slice_ids)))
    if since_day is not None:
        query = query.where(lease.c.day >= since_day)
    if after is not None:
        query = query.where(
            sa.tuple_(item.c.lease_id, item.c.slice_id)
            > sa.tuple_(sa.literal(after[0]), sa.literal(after[1]))
        )
    if limit is not None:
        query = query.limit(limit)
    return [
        LeaseItem(
            row.lease_id,
            row.slice_id,
            np.frombuffer(row.positions, np.uint16),
            row.adapter,
            row.idempotent,
            row.leased_at,
            row.day,
            row.variables,
        )
        for row in tx.execute(query)
    ]


def silent_since(tx: db.Connection, item: Slice, positions: Collection[int]) -> dict[int, int]:
    """Micros at which the provider took each of the touches."""
    outcome = tables.outcome
    query = sa.select(outcome.c.position, outcome.c.at).where(
        outcome.c.planned_day == item.planned_day,
        outcome.c.slice_id == item.slice_id,
        outcome.c.step == Step.PROVIDER_ACCEPTED,
        outcome.c.position.in_(list(positions)),
    )
    return {position: round(at.timestamp() * 1_000_000) for position, at in tx.execute(query)}


def add_refunds(tx: db.Connection, packed: Sequence[bytes]) -> None:
    """Slots to give back in Redis."""
    if packed:
        tx.execute(tables.refund.insert(), {"keys": b"".join(packed)})


def refunds(tx: db.Connection, limit: int = 50) -> list[tuple[int, bytes]]:
    """(id, packed keys) of slots to give back, oldest first."""
    query = sa.select(tables.refund).order_by(tables.refund.c.refund_id).limit(limit)
    return [(row.refund_id, bytes(row.keys)) for row in tx.execute(query)]


def forget_refunds(tx: db.Connection, ids: Collection[int]) -> None:
    """They were given back."""
    tx.execute(sa.delete(tables.refund).where(tables.refund.c.refund_id.in_(list(ids))))


def take_over(tx: db.Connection) -> tuple[int, str]:
    """Become the owner of the queues: (epoch, generation of the caps)."""
    row = tx.execute(
        sa.update(tables.owner).values(epoch=tables.owner.c.epoch + 1).returning(*tables.owner.c)
    ).one()
    return row.epoch, row.cap_generation


def check_owner(tx: db.Connection, epoch: int) -> None:
    """errors.Precondition when another process owns the queues now."""
    current = tx.execute(sa.select(tables.owner.c.epoch)).scalar_one()
    if current != epoch:
        raise errors.Precondition(f"the queues are owned by epoch {current}, this is {epoch}")


def set_cap_generation(tx: db.Connection, generation: str) -> None:
    """Remember the generation of the caps that is in force."""
    tx.execute(sa.update(tables.owner).values(cap_generation=generation))
