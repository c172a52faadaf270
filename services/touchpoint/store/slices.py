"""Slices: pages as taken in, with one byte of state a touch."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from services.kit import db
from services.touchpoint.domain.states import State
from services.touchpoint.store.tables import slice_, slice_ids

LEASES_MASK = 0x7F
CLICKED = 0x80


@dataclass
class Slice:
    """A slice in hand. `states` and `marks` are written back by `save`; all columns have one length."""

    slice_id: int
    page_id: str
    planned_day: int
    activity: int
    occurrence: int
    touchpoint: int
    group: str
    ordinals: NDArray[np.uint32]
    states: bytearray
    marks: bytearray
    expires: NDArray[np.int64] | None
    received_at: datetime
    traceparent: str = ""
    inflight_since: int | None = None
    ended: bool = False  # nothing is offered any more
    changed: bool = field(default=False, compare=False)

    @property
    def columns(self) -> NDArray[np.uint8]:
        """The states as a column that writes through."""
        return np.frombuffer(self.states, np.uint8)

    def positions(self, *states: State) -> NDArray[np.intp]:
        """Positions of the rows in one of the states."""
        column = self.columns
        hit = column == states[0]
        for state in states[1:]:
            hit |= column == state
        return np.flatnonzero(hit)

    def expires_of(self, position: int) -> int:
        """Micros at which a touch expires, 0 for never."""
        return 0 if self.expires is None else int(self.expires[position])

    def tallies(self) -> dict[str, Any]:
        """The columns derived from the states."""
        counts = np.bincount(self.columns, minlength=20)
        queued, held = int(counts[State.QUEUED]), int(counts[State.HELD])
        next_expiry = None
        if self.expires is not None and queued + held:
            pending = self.expires[self.positions(State.QUEUED, State.HELD)]
            pending = pending[pending > 0]
            next_expiry = int(pending.min()) if len(pending) else None
        inflight = int(counts[State.INFLIGHT])
        made = {
            "waiting": int(counts[State.WAITING]),
            "held": held,
            "queued": queued,
            "leased": int(counts[State.LEASED]),
            "inflight": inflight,
            "shown": 0 if self.ended else int(counts[State.SHOWN]),
            "next_expiry": next_expiry,
            "inflight_since": self.inflight_since if inflight else None,
        }
        made["live"] = any(
            made[name] for name in ("waiting", "held", "queued", "leased", "inflight", "shown")
        )
        return made


def next_ids(tx: db.Connection, count: int) -> list[int]:
    """Fresh slice ids, ascending."""
    rows = sa.select(sa.func.nextval(slice_ids.name)).select_from(sa.func.generate_series(1, count).alias())
    return sorted(tx.execute(rows).scalars())


def insert(tx: db.Connection, slices: Sequence[Slice]) -> None:
    """Write new slices."""
    tallies = [item.tallies() for item in slices]
    db.copy_columns(
        tx,
        "slice",
        {
            "slice_id": [item.slice_id for item in slices],
            "page_id": [item.page_id for item in slices],
            "planned_day": [item.planned_day for item in slices],
            "activity_number": [item.activity for item in slices],
            "occurrence": [item.occurrence for item in slices],
            "touchpoint": [item.touchpoint for item in slices],
            "group_name": [item.group for item in slices],
            "ordinals": [item.ordinals.tobytes() for item in slices],
            "expires": [None if item.expires is None else item.expires.tobytes() for item in slices],
            "states": [bytes(item.states) for item in slices],
            "marks": [bytes(item.marks) for item in slices],
            "received_at": [item.received_at.isoformat() for item in slices],
            "traceparent": [item.traceparent for item in slices],
            **{name: [tally[name] for tally in tallies] for name in tallies[0]},
        },
    )


_SAVE = sa.text(
    "UPDATE slice SET states = v.states, marks = v.marks, waiting = v.waiting, held = v.held,"
    " queued = v.queued, leased = v.leased, inflight = v.inflight, shown = v.shown,"
    " next_expiry = v.next_expiry, inflight_since = v.inflight_since, live = v.live"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS bytea[]), CAST(:marks AS bytea[]),"
    " CAST(:waiting AS int[]), CAST(:held AS int[]), CAST(:queued AS int[]), CAST(:leased AS int[]),"
    " CAST(:inflight AS int[]), CAST(:shown AS int[]), CAST(:next_expiry AS bigint[]),"
    " CAST(:inflight_since AS bigint[]), CAST(:live AS boolean[]))"
    " AS v (id, states, marks, waiting, held, queued, leased, inflight, shown, next_expiry,"
    " inflight_since, live)"
    " WHERE slice.slice_id = v.id"
)


def save(tx: db.Connection, slices: Iterable[Slice]) -> None:
    """Write back the slices that changed."""
    changed = [item for item in slices if item.changed]
    if not changed:
        return
    tallies = [item.tallies() for item in changed]
    tx.execute(
        _SAVE,
        {
            "ids": [item.slice_id for item in changed],
            "states": [bytes(item.states) for item in changed],
            "marks": [bytes(item.marks) for item in changed],
            **{name: [tally[name] for tally in tallies] for name in tallies[0]},
        },
    )


def lock(tx: db.Connection, ids: Collection[int]) -> dict[int, Slice]:
    """The slices, locked in the order of their ids."""
    query = sa.select(slice_).where(slice_.c.slice_id == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.BigInteger))))
    return {
        row.slice_id: _made(row) for row in tx.execute(query.order_by(slice_.c.slice_id).with_for_update())
    }


def read(tx: db.Connection, ids: Collection[int]) -> dict[int, Slice]:
    """The slices, without a lock."""
    query = sa.select(slice_).where(slice_.c.slice_id == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.BigInteger))))
    return {row.slice_id: _made(row) for row in tx.execute(query)}


def live(tx: db.Connection, after: int, limit: int) -> list[Slice]:
    """Live slices beyond an id, in order: the queue is rebuilt from these."""
    query = sa.select(slice_).where(slice_.c.live, slice_.c.slice_id > after).order_by(slice_.c.slice_id)
    return [_made(row) for row in tx.execute(query.limit(limit))]


def find(tx: db.Connection, condition: str, pairs: Collection[tuple[int, int]], limit: int) -> list[int]:
    """Ids of live slices of (activity, touchpoint) pairs that satisfy a condition on their tallies."""
    if not pairs:
        return []
    query = sa.text(
        "SELECT slice_id FROM slice WHERE live AND " + condition + " AND (activity_number, touchpoint) IN"
        " (SELECT * FROM unnest(CAST(:activities AS bigint[]), CAST(:touchpoints AS int[])))"
        " ORDER BY slice_id LIMIT :limit"
    )
    return list(
        tx.execute(
            query,
            {"activities": [a for a, _ in pairs], "touchpoints": [t for _, t in pairs], "limit": limit},
        ).scalars()
    )


def find_expired(tx: db.Connection, now: int, limit: int) -> list[int]:
    """Ids of live slices with held or queued touches past their time."""
    query = sa.select(slice_.c.slice_id).where(slice_.c.live, slice_.c.next_expiry <= now)
    return list(tx.execute(query.order_by(slice_.c.slice_id).limit(limit)).scalars())


def find_silent(tx: db.Connection, before: int, limit: int) -> list[int]:
    """Ids of live slices with touches in flight since before a time."""
    query = sa.select(slice_.c.slice_id).where(
        slice_.c.live, slice_.c.inflight > 0, slice_.c.inflight_since <= before
    )
    return list(tx.execute(query.order_by(slice_.c.slice_id).limit(limit)).scalars())


def _made(row: Any) -> Slice:
    return Slice(
        slice_id=row.slice_id,
        page_id=row.page_id,
        planned_day=row.planned_day,
        activity=row.activity_number,
        occurrence=row.occurrence,
        touchpoint=row.touchpoint,
        group=row.group_name,
        ordinals=np.frombuffer(row.ordinals, np.uint32),
        states=bytearray(row.states),
        marks=bytearray(row.marks),
        expires=None if row.expires is None else np.frombuffer(row.expires, np.int64),
        received_at=row.received_at,
        traceparent=row.traceparent,
        inflight_since=row.inflight_since,
    )
