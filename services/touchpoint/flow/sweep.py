"""What time does to touches: windows open and close, touches expire, activities end, reports fail to come.

Each function does one bounded step and returns how many slices it changed; a job calls it again until
there is nothing left.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from services.kit import db
from services.touchpoint.domain import reasons
from services.touchpoint.domain.activity import Activity, Setting
from services.touchpoint.domain.states import State
from services.touchpoint.engine.leases import Lease
from services.touchpoint.engine.queue import Piece
from services.touchpoint.flow.centre import Centre, piece_of
from services.touchpoint.flow.moves import Moves
from services.touchpoint.store import ledger, slices

_STEP = 50  # slices a transaction

Pairs = list[tuple[int, int]]


def _pairs(centre: Centre, choose: Callable[[Activity, Setting], bool]) -> Pairs:
    return [
        (activity.number, touchpoint)
        for activity in centre.activities.values()
        for touchpoint, setting in activity.settings.items()
        if choose(activity, setting)
    ]


async def keep_windows(centre: Centre) -> int:
    """Held touches are queued when their window opens; queued ones are held when it closes."""
    now = centre.now()
    push = _pairs(centre, lambda a, s: s.push and not a.over(s.touchpoint, now.day))
    opened = [
        p
        for p in push
        if centre.activities[p[0]].sendable(centre.activities[p[0]].settings[p[1]], centre.policy, now)
    ]
    closed = [p for p in push if p not in set(opened)]

    def work(tx: db.Connection) -> tuple[list[Piece], int]:
        opening = slices.find(tx, "held > 0", opened, _STEP)
        closing = slices.find(tx, "queued > 0", closed, _STEP)
        if not opening and not closing:
            return [], 0
        ledger.check_owner(tx, centre.epoch)
        locked = slices.lock(tx, {*opening, *closing})
        moves = Moves(tx, locked, now.micros, centre.partitions)
        pieces = []
        for slice_id in opening:
            item = locked[slice_id]
            held = item.positions(State.HELD)
            if item.expires is not None:  # what is over is left to `expire`
                held = held[(item.expires[held] == 0) | (item.expires[held] > now.micros)]
            for position in held.tolist():
                moves.to(item, position, State.QUEUED)
            if len(held):
                pieces.append(piece_of(item, held))
        for slice_id in closing:
            for position in locked[slice_id].positions(State.QUEUED).tolist():
                moves.to(locked[slice_id], position, State.HELD)
        moves.flush()
        return pieces, len(opening) + len(closing)

    pieces, changed = await centre.written(work)
    for number, touchpoint in closed:
        centre.queues[touchpoint].drop(number)
    centre.enqueue(pieces)
    return changed


async def expire(centre: Centre) -> int:
    """Held and queued touches past their time settle as expired."""
    now = centre.now()

    def work(tx: db.Connection) -> tuple[int, list[tuple[str, int, str]]]:
        found = slices.find_expired(tx, now.micros, _STEP)
        if not found:
            return 0, []
        locked = slices.lock(tx, found)
        moves = Moves(tx, locked, now.micros, centre.partitions)
        for item in locked.values():
            for position in item.positions(State.HELD, State.QUEUED).tolist():
                if 0 < item.expires_of(position) <= now.micros:
                    moves.to(item, position, State.EXPIRED, reason=reasons.TIME_TO_LIVE)
            item.changed = True  # its next expiry moves on
        moves.flush(centre.tracing.slices)
        return len(found), moves.settled_traces

    changed, traces = await centre.written(work)
    if changed:
        for queue in centre.queues.values():
            queue.expire(now.micros)
    _trace(centre, traces)
    return changed


async def end_activities(centre: Centre) -> int:
    """What waits for an activity that has ended, or whose period is over, is cancelled."""
    now = centre.now()
    over = _pairs(centre, lambda a, s: a.over(s.touchpoint, now.day))

    def work(tx: db.Connection) -> tuple[int, list[tuple[str, int, str]]]:
        found = slices.find(tx, "(waiting + held + queued + shown) > 0", over, _STEP)
        if not found:
            return 0, []
        locked = slices.lock(tx, found)
        moves = Moves(tx, locked, now.micros, centre.partitions)
        for item in locked.values():
            for position in item.positions(State.WAITING, State.HELD, State.QUEUED).tolist():
                moves.to(item, position, State.CANCELLED, reason=reasons.ACTIVITY_ENDED)
            moves.end(item)
        moves.flush(centre.tracing.slices)
        return len(found), moves.settled_traces

    changed, traces = await centre.written(work)
    for number, touchpoint in over:
        if touchpoint in centre.queues:
            centre.queues[touchpoint].drop(number)
        else:
            centre.offers[touchpoint].drop(number)
    _trace(centre, traces)
    return changed


async def give_up_receipts(centre: Centre) -> int:
    """Touches in flight for longer than the policy waits settle as unknown; a late receipt may amend them."""
    now = centre.now()
    before = now.micros - round(centre.policy.receipt_hours * 3_600_000_000)

    def work(tx: db.Connection) -> tuple[int, list[tuple[str, int, str]]]:
        found = slices.find_silent(tx, before, _STEP)
        if not found:
            return 0, []
        locked = slices.lock(tx, found)
        moves = Moves(tx, locked, now.micros, centre.partitions)
        for item in locked.values():
            since = ledger.silent_since(tx, item, item.positions(State.INFLIGHT).tolist())
            item.inflight_since = min((at for at in since.values() if at > before), default=None)
            for position, at in since.items():
                if at <= before:
                    moves.to(item, position, State.UNKNOWN, reason=reasons.RECEIPT_TIMEOUT)
            item.changed = True
        moves.flush(centre.tracing.slices)
        return len(found), moves.settled_traces

    changed, traces = await centre.written(work)
    _trace(centre, traces)
    return changed


async def take_back_leases(centre: Centre) -> int:
    """Leases neither reported nor extended: idempotent ones return to the queue, others are unknown."""
    centre.sessions.close_silent(time.monotonic())
    late = centre.leases.late(time.monotonic())
    for lease in late:
        pieces, traces = await centre.written(partial(_take_back, centre=centre, lease=lease))
        count = len(lease.items)
        centre.leases.end(lease.id)
        centre.enqueue(pieces)
        _trace(centre, traces)
        centre.service.log.warning("lease %d of %s ran out with %d touches", lease.id, lease.adapter, count)
    return len(late)


def _take_back(
    tx: db.Connection, centre: Centre, lease: Lease
) -> tuple[list[Piece], list[tuple[str, int, str]]]:
    ledger.check_owner(tx, centre.epoch)
    items = list(lease.items.values())
    locked = slices.lock(tx, {held.slice_id for held in items})
    moves = Moves(tx, locked, centre.service.clock.micros(), centre.partitions)
    returned: dict[int, list[int]] = {}
    for held in items:
        item = locked[held.slice_id]
        if item.states[held.position] != State.LEASED:
            continue
        if lease.idempotent:
            moves.give_back(item, held.position, reasons.LEASE_LOST)
            returned.setdefault(held.slice_id, []).append(held.position)
        else:
            moves.to(item, held.position, State.UNKNOWN, reason=reasons.LEASE_LOST)
    moves.flush(centre.tracing.slices)
    return [piece_of(locked[i], np.array(rows)) for i, rows in returned.items()], moves.settled_traces


def _trace(centre: Centre, traces: list[tuple[str, int, str]]) -> None:
    for traceparent, outcome, code in traces:
        centre.tracing.settled(traceparent, outcome, code)
