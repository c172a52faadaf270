"""Leasing: check again, reserve contact slots, commit the lease, and only then hand the touches over."""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from iop.adapter.v1 import adapter_pb2
from numpy.typing import NDArray

from services.kit import db, errors
from services.kit.clock import from_micros
from services.touchpoint.domain import catalogue, keys, reasons, template
from services.touchpoint.domain.activity import Activity, ActivityState
from services.touchpoint.domain.policy import Moment
from services.touchpoint.domain.states import HOLDS_SLOT, State
from services.touchpoint.domain.suppression import reason_of
from services.touchpoint.engine.caps import Contacts, GenerationLost
from services.touchpoint.engine.leases import Held, Lease, Session
from services.touchpoint.engine.queue import Piece
from services.touchpoint.flow.centre import Centre, piece_of
from services.touchpoint.flow.moves import Moves
from services.touchpoint.store import ledger, registry, slices


@dataclass
class _Checked:
    """A piece with the decision on each of its rows: "" to send, else the reason against it."""

    piece: Piece
    activity: Activity
    against: list[str]
    variables: dict[str, list[str]] = field(default_factory=dict)
    phones: NDArray[np.int64] | None = None


@dataclass
class _Sent:
    """Rows of a piece that were leased."""

    checked: _Checked
    rows: list[int]


async def lease(
    centre: Centre, session: Session, wanted: int, wait_s: float
) -> adapter_pb2.LeaseTouchesResponse:
    """Up to `wanted` touches for the session; waits up to `wait_s` seconds for the first."""
    until = time.monotonic() + wait_s
    while True:
        coming = centre.next_work()
        attempt = asyncio.ensure_future(_try(centre, session, wanted))
        try:
            answer = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            # Nobody will get what is being leased: give it back, it was never handed over.
            centre.later(_never_handed(centre, attempt))
            raise
        if answer is not None:
            answer.now.FromMicroseconds(centre.service.clock.micros())
            return answer
        left = until - time.monotonic()
        if left <= 0:
            nothing = adapter_pb2.LeaseTouchesResponse()
            nothing.now.FromMicroseconds(centre.service.clock.micros())
            return nothing
        try:
            # The business clock may open a window without a word; hence the second look.
            await asyncio.wait_for(coming.wait(), min(left, _pause(centre, session)))
        except TimeoutError:
            pass


async def _never_handed(
    centre: Centre, attempt: "asyncio.Future[adapter_pb2.LeaseTouchesResponse | None]"
) -> None:
    answer = await attempt
    if answer is not None:
        await give_back(centre, int(answer.lease), "not handed over")


async def give_back(centre: Centre, lease_id: int, code: str) -> None:
    """End a lease whose touches were certainly not sent: they return to the queue."""
    found = centre.leases.get(lease_id)
    if found is None:
        return
    items = list(found.items.values())

    def work(tx: db.Connection) -> list[Piece]:
        locked = slices.lock(tx, {held.slice_id for held in items})
        moves = Moves(tx, locked, centre.service.clock.micros(), centre.partitions)
        returned: dict[int, list[int]] = {}
        for held in items:
            item = locked[held.slice_id]
            if item.states[held.position] == State.LEASED:
                moves.give_back(item, held.position, code)
                returned.setdefault(held.slice_id, []).append(held.position)
        moves.flush()
        return [piece_of(locked[slice_id], positions) for slice_id, positions in returned.items()]

    pieces = await centre.written(work)
    centre.leases.end(lease_id)
    centre.enqueue(pieces)


def _pause(centre: Centre, session: Session) -> float:
    due = [centre.queues[t].next_delayed() for t in session.touchpoints if t in centre.queues]
    soon = min((at for at in due if at is not None), default=None)
    return 0.5 if soon is None else max(0.01, min(0.5, soon - time.monotonic()))


async def _try(centre: Centre, session: Session, wanted: int) -> adapter_pb2.LeaseTouchesResponse | None:
    """One attempt; None when there is nothing to lease now."""
    if not centre.copies.ready:
        return None
    while True:
        now = centre.now()
        allowed = session.allowed(min(wanted, session.max_batch), time.monotonic())
        pieces = _take(centre, session, allowed, now)
        if not pieces:
            return None
        count = sum(map(len, pieces))
        centre.in_hand += count
        centre.reserving += 1
        try:
            checked = await _check(centre, pieces, now)
            lease_id, sent, kept, traces = await centre.written(
                partial(_commit, centre=centre, session=session, checked=checked, now=now)
            )
        except BaseException as problem:
            _put_back(centre, pieces)
            if isinstance(problem, errors.Precondition):
                centre.lost_ownership(problem)
            if isinstance(problem, GenerationLost):
                centre.caps.generation = ""  # the job rebuilds; capped work waits
                return None
            raise
        finally:
            centre.in_hand -= count
            centre.reserving -= 1
        _put_back(centre, kept)
        if sent:
            return _answer(centre, session, lease_id, sent, traces, now)
        if kept:
            return None


def _take(centre: Centre, session: Session, wanted: int, now: Moment) -> list[Piece]:
    pieces: list[Piece] = []
    for touchpoint in session.touchpoints:
        queue = centre.queues.get(touchpoint)
        if queue is None or wanted <= 0:
            continue
        admitted = centre.leasable(touchpoint, now)
        if centre.policy.caps and not centre.caps.generation:
            admitted = _uncapped_only(centre, touchpoint, now)
        got = queue.take(wanted, admitted, time.monotonic())
        wanted -= sum(map(len, got))
        pieces += got
    return pieces


def _uncapped_only(centre: Centre, touchpoint: int, now: Moment) -> Any:
    """While contact counts may be missing, only what no cap concerns goes out."""
    push = touchpoint in catalogue.PUSH

    def admitted(number: int) -> bool:
        activity = centre.activities.get(number)
        return (
            activity is not None
            and activity.leasable(touchpoint, centre.policy, now)
            and not centre.policy.capped(touchpoint, push, activity.marketing_type)
        )

    return admitted


def _put_back(centre: Centre, pieces: list[Piece]) -> None:
    by_touchpoint: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_touchpoint.setdefault(piece.touchpoint, []).append(piece)
    for touchpoint, group in by_touchpoint.items():
        centre.queues[touchpoint].put_back(group, lambda number, t=touchpoint: centre.lane(number, t))  # type: ignore[misc]


async def _check(centre: Centre, pieces: list[Piece], now: Moment) -> list[_Checked]:
    """What was checked on entry, once more; then template variables and contact caps."""
    made = []
    for piece in pieces:
        activity = centre.activities[piece.activity]
        setting = activity.settings[piece.touchpoint]
        against = [""] * len(piece)
        hit = centre.flags.of(piece.ordinals) & setting.suppression
        for row in np.flatnonzero(hit).tolist():
            against[row] = reason_of(int(hit[row]))
        disturbed = centre.do_not_disturb.of(piece.ordinals, piece.touchpoint, activity.marketing_type)
        phones = centre.copies.directory.phones_of(piece.ordinals)
        for row in np.flatnonzero(disturbed | (phones == 0)).tolist():
            against[row] = against[row] or (reasons.DO_NOT_DISTURB if disturbed[row] else reasons.NO_PHONE)
        if piece.expires is not None:
            for row in np.flatnonzero((piece.expires > 0) & (piece.expires <= now.micros)).tolist():
                against[row] = against[row] or reasons.TIME_TO_LIVE
        made.append(_Checked(piece, activity, against, phones=phones))
    await _fill_in(centre, made)
    await _reserve(centre, made, now)
    return made


async def _fill_in(centre: Centre, checked: list[_Checked]) -> None:
    """Template variables, one call an activity's setting."""
    groups: dict[tuple[int, int], list[_Checked]] = {}
    for item in checked:
        if item.activity.settings[item.piece.touchpoint].variables:
            groups.setdefault((item.piece.activity, item.piece.touchpoint), []).append(item)
    for (_, touchpoint), items in groups.items():
        tags = items[0].activity.settings[touchpoint].variables
        ordinals = np.concatenate([item.piece.ordinals for item in items])
        try:
            columns = await centre.copies.variables(ordinals, tags)
        except (errors.Invalid, errors.NotFound) as problem:
            centre.service.log.error(
                "the words of activity %s cannot be filled in: %s", items[0].activity.name, problem
            )
            for item in items:
                item.against = [reason or reasons.TEMPLATE_INVALID for reason in item.against]
            continue
        start = 0
        for item in items:
            end = start + len(item.piece)
            item.variables = {tag: columns[tag][start:end] for tag in tags}
            start = end


async def _reserve(centre: Centre, checked: list[_Checked], now: Moment) -> None:
    """Reserve contact slots for what is still to be sent, all touches of one touchpoint and type at once."""
    groups: dict[tuple[int, str], list[tuple[_Checked, list[int]]]] = {}
    for item in checked:
        kind, touchpoint = item.activity.marketing_type, item.piece.touchpoint
        if centre.policy.capped(touchpoint, touchpoint in catalogue.PUSH, kind):
            rows = [row for row, reason in enumerate(item.against) if not reason]
            groups.setdefault((touchpoint, kind), []).append((item, rows))
    for (touchpoint, kind), members in groups.items():
        ordinals = [item.piece.ordinals[rows] for item, rows in members]
        packed = [
            keys.pack_page(
                item.piece.planned_day, item.piece.activity, item.piece.occurrence, touchpoint, column
            )
            for (item, _), column in zip(members, ordinals, strict=True)
        ]
        asked = Contacts(
            np.concatenate(packed), np.concatenate(ordinals), touchpoint, touchpoint in catalogue.PUSH, kind
        )
        full = await centre.caps.reserve(asked, centre.policy.caps, keys.day_number(now.day))
        places = [(item, row) for item, rows in members for row in rows]
        for (item, row), cap in zip(places, full.tolist(), strict=True):
            if cap:
                item.against[row] = reasons.CONTACT_CAP


def _commit(
    tx: db.Connection, centre: Centre, session: Session, checked: list[_Checked], now: Moment
) -> tuple[int, list[_Sent], list[Piece], dict[tuple[int, int], str]]:
    """Write the lease: (its id, rows leased, pieces to keep in the queue, traces of sampled touches)."""
    ledger.check_owner(tx, centre.epoch)
    # Locked: a pause that was committed before this is seen here; one that comes later recalls.
    running = registry.running(tx, {item.piece.activity for item in checked})
    kept: list[Piece] = []
    going: list[_Checked] = []
    for item in checked:
        state, touchpoints = running.get(item.piece.activity, (0, frozenset()))
        may = state == ActivityState.RUNNING and item.piece.touchpoint in touchpoints
        (going.append(item) if may else kept.append(item.piece))
    locked = slices.lock(tx, {item.piece.slice_id for item in going})
    moves = Moves(tx, locked, now.micros, centre.partitions)
    sent: list[_Sent] = []
    for item in going:
        row_slice = locked[item.piece.slice_id]
        leased: list[int] = []
        for row, position in enumerate(item.piece.positions.tolist()):
            state = row_slice.states[position]
            if state != State.QUEUED:
                # The hint was stale; a slot taken for it is of use to nobody unless it holds one.
                if state not in HOLDS_SLOT:
                    moves.refund(row_slice, position)
            elif not item.against[row]:
                leased.append(row)
            elif item.against[row] == reasons.TIME_TO_LIVE:
                moves.to(row_slice, position, State.EXPIRED, reason=reasons.TIME_TO_LIVE)
            else:
                moves.to(row_slice, position, State.SUPPRESSED, reason=item.against[row])
        if leased:
            moves.lease(row_slice, item.piece.positions[leased].astype(np.intp))
            sent.append(_Sent(item, leased))
    lease_id = 0
    if sent:
        lease_id = ledger.begin_lease(
            tx,
            session.adapter,
            session.idempotent,
            from_micros(now.micros),
            keys.day_number(now.day),
            _items(sent),
        )
    moves.flush(centre.tracing.slices)
    watched = [
        (one.checked.piece.slice_id, int(one.checked.piece.positions[row]))
        for one in sent
        if one.checked.piece.slice_id in centre.tracing.slices
        for row in one.rows
    ]
    return lease_id, sent, kept, registry.traces(tx, watched)


def _items(sent: list[_Sent]) -> list[tuple[int, NDArray[np.uint16], dict[str, list[str]] | None]]:
    """Rows of the lease, one a slice: pieces of one slice are joined."""
    joined: dict[int, tuple[list[NDArray[np.uint16]], dict[str, list[str]]]] = {}
    for one in sent:
        positions, variables = joined.setdefault(one.checked.piece.slice_id, ([], {}))
        positions.append(one.checked.piece.positions[one.rows])
        for tag, values in one.checked.variables.items():
            variables.setdefault(tag, []).extend(values[row] for row in one.rows)
    return [
        (slice_id, np.concatenate(positions), variables or None)
        for slice_id, (positions, variables) in joined.items()
    ]


def _answer(
    centre: Centre,
    session: Session,
    lease_id: int,
    sent: list[_Sent],
    traces: dict[tuple[int, int], str],
    now: Moment,
) -> adapter_pb2.LeaseTouchesResponse:
    """The committed lease as the adapter gets it."""
    answer = adapter_pb2.LeaseTouchesResponse(lease=str(lease_id))
    begun = Lease(
        lease_id, session.adapter, session.idempotent, time.monotonic() + centre.limits.lease_seconds
    )
    for one in sent:
        piece, activity = one.checked.piece, one.checked.activity
        setting = activity.settings[piece.touchpoint]
        closes = centre.policy.window_of(activity.event).closes(now)
        ordinals = piece.ordinals[one.rows]
        ids = keys.encode_page(
            piece.planned_day, piece.activity, piece.occurrence, piece.touchpoint, ordinals
        )
        assert one.checked.phones is not None
        for row, ordinal, touch_id in zip(one.rows, ordinals.tolist(), ids, strict=True):
            position = int(piece.positions[row])
            expires = 0 if piece.expires is None else int(piece.expires[row])
            text = setting.words
            if setting.variables:
                values = {tag: column[row] for tag, column in one.checked.variables.items()}
                text = template.render(text, values)
            touch = answer.touches.add(
                touch_id=touch_id,
                touchpoint=piece.touchpoint,
                phone=str(one.checked.phones[row]),
                text=text,
                fields=setting.fields,
                activity_code=activity.code,
            )
            touch.expire_time.FromMicroseconds(min(expires, closes) if expires else closes)
            trace = traces.get((piece.slice_id, position))
            if trace:
                touch.traceparent = trace
                centre.tracing.step("touch leased", trace)
            begun.items[touch_id] = Held(
                piece.slice_id, position, ordinal, piece.activity, piece.touchpoint, expires
            )
    centre.leases.add(begun)
    session.spend(len(answer.touches))
    return answer


def extend(centre: Centre, leases: list[str]) -> tuple[list[str], list[str]]:
    """Keep leases alive: (touches that must not be sent any more, leases that were taken back)."""
    recalled: list[str] = []
    lost: list[str] = []
    now = centre.now()
    deadline = time.monotonic() + centre.limits.lease_seconds
    for text in leases:
        found = centre.leases.get(int(text)) if text.isdigit() else None
        if found is None:
            lost.append(text)
            continue
        found.deadline = deadline
        recalled += [touch_id for touch_id, held in found.items.items() if withdrawn(centre, held, now)]
    return recalled, lost


def withdrawn(centre: Centre, held: Held, now: Moment) -> str:
    """Why a leased touch must not be sent any more, "" when it may."""
    activity = centre.activities.get(held.activity)
    if activity is None or activity.ended or activity.over(held.touchpoint, now.day):
        return reasons.ACTIVITY_ENDED
    if held.expires and held.expires <= now.micros:
        return reasons.TIME_TO_LIVE
    setting = activity.settings[held.touchpoint]
    listed = reason_of(centre.flags.one(held.ordinal) & setting.suppression)
    if listed:
        return listed
    if centre.do_not_disturb.one(held.ordinal, held.touchpoint, activity.marketing_type):
        return reasons.DO_NOT_DISTURB
    if not activity.leasable(held.touchpoint, centre.policy, now):
        return activity.state.name.lower() if activity.state != ActivityState.RUNNING else "stopped"
    return ""
