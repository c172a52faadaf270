"""Reports of adapters: what became of leased touches. Repeats and late reports change nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from iop.touchpoint.v1 import events_pb2

from services.kit import db, outbox
from services.touchpoint.domain import keys, reasons
from services.touchpoint.domain.states import Receipt, State, Step, after_receipt
from services.touchpoint.engine.leases import Held, Session
from services.touchpoint.engine.queue import Piece
from services.touchpoint.flow.centre import Centre, piece_of
from services.touchpoint.flow.lease import withdrawn
from services.touchpoint.flow.moves import Moves, touch_id_of
from services.touchpoint.store import ledger, registry, slices
from services.touchpoint.store.slices import CLICKED, LEASES_MASK, Slice


@dataclass
class Report:
    """Outcome of a batch of receipts."""

    applied: int = 0
    ignored: int = 0
    unknown: list[int] = field(default_factory=list)


@dataclass
class _Effects:
    """What a committed batch leaves to be done in memory."""

    report: Report = field(default_factory=Report)
    returned: list[tuple[Piece, float]] = field(default_factory=list)
    released: set[str] = field(default_factory=set)
    traces: list[tuple[str, int, str]] = field(default_factory=list)
    failures: list[tuple[Slice, int, str]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)  # traces of touches that the provider took


async def report(centre: Centre, session: Session, receipts: Sequence[Any]) -> Report:
    """Apply a batch of iop.adapter.v1.Receipt in one transaction. Call it through `Centre.whole`."""
    # What is no touch id is reported as unknown.
    decoded = keys.decode_all([receipt.touch_id for receipt in receipts])
    parsed = {i: key for i, key in enumerate(decoded) if key is not None}
    leases = {item.touch_id: centre.leases.lease_of(item.touch_id) for item in receipts if item.touch_id}
    effects = await centre.written(lambda tx: _apply(tx, centre, session, receipts, parsed))
    for touch_id in effects.released:
        centre.leases.release(touch_id, leases.get(touch_id))
    for piece, delay in effects.returned:
        centre.return_later(piece, delay)
    for traceparent in effects.accepted:
        centre.tracing.step("touch accepted by provider", traceparent)
    for traceparent, outcome, code in effects.traces:
        centre.tracing.settled(traceparent, outcome, code)
    await _trace_failures(centre, effects.failures)
    return effects.report


def _apply(
    tx: db.Connection,
    centre: Centre,
    session: Session,
    receipts: Sequence[Any],
    parsed: dict[int, keys.TouchKey],
) -> _Effects:
    found = _places(tx, centre, session, receipts, parsed)
    locked = slices.lock(tx, {place.slice_id for place in found.values()})
    moves = Moves(tx, locked, centre.service.clock.micros(), centre.partitions)
    effects = _Effects()
    clicks: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for i, receipt in enumerate(receipts):
        place = found.get(i)
        if place is None:
            effects.report.unknown.append(i)
            continue
        changed = _one(
            centre, session, receipt, locked[place.slice_id], place.position, moves, effects, clicks
        )
        if changed:
            effects.report.applied += 1
        else:
            effects.report.ignored += 1
    announce_clicks(tx, clicks)
    moves.flush(centre.tracing.slices)
    effects.traces = moves.settled_traces
    effects.failures = [
        (locked[row.slice_id], row.position, "failed" if row.step == 2 else "rejected")
        for row in moves.failures
    ]
    for i, place in found.items():
        if locked[place.slice_id].states[place.position] != State.LEASED:
            touch_id = receipts[i].touch_id or touch_id_of(locked[place.slice_id], place.position)
            effects.released.add(touch_id)
    return effects


def _places(
    tx: db.Connection,
    centre: Centre,
    session: Session,
    receipts: Sequence[Any],
    parsed: dict[int, keys.TouchKey],
) -> dict[int, ledger.Place]:
    """Where the touch of each receipt lies, by position in the batch."""
    found: dict[int, ledger.Place] = {}
    asked: list[keys.TouchKey] = []
    for i, key in parsed.items():
        held = centre.leases.find(receipts[i].touch_id)
        if held is not None:
            found[i] = ledger.Place(held.slice_id, held.position)
        else:
            asked.append(key)
    known = ledger.places(tx, list(dict.fromkeys(asked)))
    for i, key in parsed.items():
        if i not in found and key in known:
            found[i] = known[key]
    # An id may have been told by an earlier receipt of this very batch.
    told: dict[str, ledger.Place] = {}
    by_id = {
        r.provider_message_id for i, r in enumerate(receipts) if not r.touch_id and r.provider_message_id
    }
    stored = ledger.places_by_provider(tx, by_id)
    for i, receipt in enumerate(receipts):
        if i in found and receipt.provider_message_id:
            told[receipt.provider_message_id] = found[i]
        elif not receipt.touch_id and receipt.provider_message_id:
            candidates = stored.get(receipt.provider_message_id, [])
            place = told.get(receipt.provider_message_id) or (candidates[-1] if candidates else None)
            if place is not None:
                found[i] = place
    return found


def _one(
    centre: Centre,
    session: Session,
    receipt: Any,
    item: Slice,
    position: int,
    moves: Moves,
    effects: _Effects,
    clicks: dict[tuple[int, int], tuple[list[int], list[int]]],
) -> bool:
    """Apply one receipt; whether it changed anything."""
    state = item.states[position]
    at = receipt.time.ToMicroseconds() if receipt.HasField("time") else moves.at
    status, code, provider_id = receipt.status, receipt.code, receipt.provider_message_id
    if status == Receipt.CLICKED:
        return note_click(moves, item, position, at, clicks)
    if status in (Receipt.RETRY, Receipt.DROPPED):
        if state != State.LEASED:
            return False
        _not_sent(centre, moves, item, position, receipt, effects)
        return True
    leased_before = bool(item.marks[position] & LEASES_MASK)
    target = after_receipt(state, leased_before, status, receipts=session.receipts)
    if status == Receipt.ACCEPTED and (target is not None or state == State.UNKNOWN):
        # After it settled as unknown, the provider's id still matters: the delivery report will name it.
        news = state in (State.LEASED, State.QUEUED, State.HELD) or not _provider_known(moves, item, position)
        if news:
            moves.note(
                item, position, Step.PROVIDER_ACCEPTED, code=code, at=at, provider_id=provider_id or None
            )
        if target is None:
            return news
    if target is None:
        return False
    moves.to(
        item,
        position,
        target,
        code=code,
        at=at,
        provider_id=None if status == Receipt.ACCEPTED else provider_id,
    )
    return True


def _provider_known(moves: Moves, item: Slice, position: int) -> bool:
    return moves.noted(item, position, Step.PROVIDER_ACCEPTED) or bool(
        ledger.silent_since(moves.tx, item, [position])
    )


def _not_sent(
    centre: Centre, moves: Moves, item: Slice, position: int, receipt: Any, effects: _Effects
) -> None:
    """The adapter has not sent it: where it goes depends on what has changed since it was leased."""
    now = centre.now()
    held = Held(
        item.slice_id,
        position,
        int(item.ordinals[position]),
        item.activity,
        item.touchpoint,
        item.expires_of(position),
    )
    reason = withdrawn(centre, held, now)
    if reason == reasons.TIME_TO_LIVE:
        moves.to(item, position, State.EXPIRED, reason=reason, code=receipt.code)
    elif reason == reasons.ACTIVITY_ENDED:
        moves.to(item, position, State.RECALLED, reason=reason, code=receipt.code)
    elif reason and reason in _LISTED:
        moves.to(item, position, State.SUPPRESSED, reason=reason)
    else:
        moves.give_back(item, position, receipt.code or reason)
        delay = receipt.retry_after_seconds if receipt.status == Receipt.RETRY else 0.0
        effects.returned.append((piece_of(item, np.array([position])), max(0.0, delay)))


_LISTED = {
    reasons.OPT_OUT,
    reasons.NO_CONSENT,
    reasons.MINOR,
    reasons.BLOCK,
    reasons.RED,
    reasons.SENSITIVE,
    reasons.NO_LOCATION_CONSENT,
    reasons.DO_NOT_DISTURB,
}


def note_click(
    moves: Moves,
    item: Slice,
    position: int,
    at: int,
    clicks: dict[tuple[int, int], tuple[list[int], list[int]]],
) -> bool:
    """The customer opened it; each touch counts once."""
    if item.marks[position] & CLICKED or item.states[position] in (
        State.NONE,
        State.SUPPRESSED,
        State.CANCELLED,
    ):
        return False
    item.marks[position] |= CLICKED
    item.changed = True
    moves.note(item, position, Step.CLICKED, at=at)
    moves.count(item.activity, item.touchpoint, "clicks")
    ordinals, times = clicks.setdefault((item.activity, item.touchpoint), ([], []))
    ordinals.append(int(item.ordinals[position]))
    times.append(at)
    return True


def announce_clicks(tx: db.Connection, clicks: dict[tuple[int, int], tuple[list[int], list[int]]]) -> None:
    """Put feedback.recorded into the outbox."""
    rows = []
    for (activity, touchpoint), (ordinals, times) in sorted(clicks.items()):
        message = events_pb2.FeedbackRecorded(
            activity_number=activity,
            touchpoint=touchpoint,  # type: ignore[arg-type]
            kind="clicked",
            ordinals=np.array(ordinals, "<u4").tobytes(),
            occurred_at=np.array(times, "<i8").tobytes(),
        )
        rows.append(outbox.row(tx, message, key=f"activity-{activity}"))
    outbox.add_all(tx, rows)


async def _trace_failures(centre: Centre, failures: Sequence[tuple[Slice, int, str]]) -> None:
    """Failures that are not among the sampled touches get a trace of their own, within a budget."""
    rows = []
    for item, position, outcome in failures:
        activity = centre.activities.get(item.activity)
        if activity is None or centre.tracing.left(activity, item.planned_day, failed=True) == 0:
            continue
        one = centre.tracing.begin(
            activity,
            item.planned_day,
            item.touchpoint,
            touch_id_of(item, position),
            item.traceparent,
            failed=outcome,
        )
        if one is not None:
            one.span.end()
            rows.append(
                {
                    "slice_id": item.slice_id,
                    "position": position,
                    "traceparent": one.traceparent,
                    "activity_number": item.activity,
                    "planned_day": item.planned_day,
                    "failed": True,
                }
            )
    if rows:
        await centre.db.transaction(lambda tx: registry.add_traces(tx, rows))
        centre.tracing.slices |= {row["slice_id"] for row in rows}  # type: ignore[misc]
