"""Decisions for customers who are here now, and what they did with the offer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.kit import db
from services.touchpoint.domain import catalogue, keys
from services.touchpoint.domain.activity import Activity
from services.touchpoint.domain.states import Feedback, State, after_feedback
from services.touchpoint.engine.offers import Wave
from services.touchpoint.flow.centre import Centre
from services.touchpoint.flow.moves import Moves
from services.touchpoint.flow.receipts import announce_clicks, note_click
from services.touchpoint.store import ledger, slices


@dataclass(frozen=True)
class Found:
    """An offer for a customer."""

    touch_id: str
    activity: Activity
    wave: Wave


def decide(centre: Centre, touchpoint: int, ordinal: int, most: int) -> list[Found]:
    """The best offers: by priority, then the earliest end, then the lowest number. Nothing is written."""
    today = centre.now().day
    flags = centre.flags.one(ordinal)

    def rank(number: int) -> tuple[object, ...] | None:
        activity = centre.activities.get(number)
        if activity is None or not activity.offerable(touchpoint, today):
            return None
        setting = activity.settings[touchpoint]
        if flags & setting.suppression:
            return None
        if centre.do_not_disturb.one(ordinal, touchpoint, activity.marketing_type):
            return None
        return int(setting.lane), setting.end, number

    made = []
    for wave in centre.offers[touchpoint].find(ordinal, rank):
        key = keys.TouchKey(wave.planned_day, wave.activity, wave.occurrence, touchpoint, ordinal)
        made.append(Found(keys.encode(key), centre.activities[wave.activity], wave))
        if len(made) == most:
            break
    return made


@dataclass
class Result:
    """Outcome of a batch of feedback."""

    applied: int = 0
    ignored: int = 0
    unknown: list[int] = field(default_factory=list)
    taken: list[tuple[int, Wave, int]] = field(
        default_factory=list
    )  # (touchpoint, wave, ordinal) no longer offered
    traces: list[tuple[str, int, str]] = field(default_factory=list)


async def feedback(centre: Centre, pieces: Sequence[Any], admits: Any) -> Result:
    """Apply a batch of iop.adapter.v1.Feedback. `admits(touchpoint)` raises when the caller may not."""
    decoded = keys.decode_all([piece.touch_id for piece in pieces])
    parsed = {i: key for i, key in enumerate(decoded) if key is not None}
    for key in parsed.values():
        admits(key.touchpoint)
    result = await centre.written(lambda tx: _apply(tx, centre, pieces, parsed))
    for touchpoint, wave, ordinal in result.taken:
        centre.offers[touchpoint].remove(wave, ordinal)
    for traceparent, outcome, code in result.traces:
        centre.tracing.settled(traceparent, outcome, code)
    return result


def _apply(
    tx: db.Connection, centre: Centre, pieces: Sequence[Any], parsed: dict[int, keys.TouchKey]
) -> Result:
    known = ledger.places(tx, list(dict.fromkeys(parsed.values())))
    locked = slices.lock(tx, {place.slice_id for place in known.values()})
    moves = Moves(tx, locked, centre.service.clock.micros(), centre.partitions)
    result = Result()
    clicks: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for i, piece in enumerate(pieces):
        key = parsed.get(i)
        place = known.get(key) if key is not None else None
        if key is None or place is None:
            result.unknown.append(i)
            continue
        item = locked[place.slice_id]
        at = piece.time.ToMicroseconds() if piece.HasField("time") else moves.at
        if piece.kind == Feedback.CLICKED:
            changed = note_click(moves, item, place.position, at, clicks)
        else:
            changed = _settle(moves, item, place.position, piece.kind, at, key, result)
        if changed:
            result.applied += 1
        else:
            result.ignored += 1
    announce_clicks(tx, clicks)
    moves.flush(centre.tracing.slices)
    result.traces = moves.settled_traces
    return result


def _settle(
    moves: Moves, item: slices.Slice, position: int, kind: int, at: int, key: keys.TouchKey, result: Result
) -> bool:
    if item.touchpoint not in catalogue.PULL:
        return False
    target = after_feedback(item.states[position], kind)
    if target is None:
        return False
    moves.to(item, position, target, at=at)
    if target != State.SHOWN:
        result.taken.append(
            (item.touchpoint, Wave(key.planned_day, key.activity_number, key.occurrence), key.ordinal)
        )
    return True
