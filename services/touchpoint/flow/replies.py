"""Customers write back: opt-outs take effect at once, instructions find the activity they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from iop.touchpoint.v1 import events_pb2

from services.kit import db, outbox
from services.kit.clock import from_micros
from services.touchpoint.domain import catalogue, keys, replies
from services.touchpoint.domain.activity import Activity
from services.touchpoint.domain.states import State
from services.touchpoint.domain.suppression import OPT_OUT
from services.touchpoint.engine.offers import Wave
from services.touchpoint.flow.centre import Centre
from services.touchpoint.flow.moves import Moves
from services.touchpoint.store import ledger, registry, slices

_LOOK_BACK_DAYS = 31  # how old a touch may be that a reply answers


@dataclass(frozen=True)
class Taken:
    """What a reply was taken as, and what the customer is answered."""

    reply_id: str
    kind: str
    answer: str


@dataclass
class _Effects:
    results: list[Taken]
    opted_out: list[int]
    ordered: list[tuple[Wave, int]]  # offers of the SMS hall that were taken up


async def take(centre: Centre, received: Sequence[Any]) -> list[Taken]:
    """Apply a batch of iop.adapter.v1.Reply in one transaction. Call it through `Centre.whole`."""
    ordinals = [centre.copies.directory.by_phone(int(item.phone)) for item in received]
    effects = await centre.written(lambda tx: _apply(tx, centre, received, ordinals))
    if effects.opted_out:
        centre.flags.set(OPT_OUT, np.array(effects.opted_out, np.uint32))
    for wave, ordinal in effects.ordered:
        centre.offers[catalogue.SMS_HALL].remove(wave, ordinal)
    return effects.results


def _apply(
    tx: db.Connection, centre: Centre, received: Sequence[Any], ordinals: Sequence[int | None]
) -> _Effects:
    effects = _Effects([], [], [])
    seen = registry.replies(tx, [item.reply_id for item in received])
    today = keys.day_number(centre.now().day)
    asked = {
        o for o, item in zip(ordinals, received, strict=True) if o is not None and item.reply_id not in seen
    }
    touched = registry.contacted(tx, asked, today - _LOOK_BACK_DAYS) if asked else {}
    imported = _imported(tx, received, ordinals, seen, today)
    for item, ordinal in zip(received, ordinals, strict=True):
        known = seen.get(item.reply_id)
        if known is not None:
            kind, number = known
            activity = centre.activities.get(number)
            effects.results.append(
                Taken(item.reply_id, kind, replies.answer(kind, activity.product_name if activity else ""))
            )
            continue
        taken = _one(tx, centre, item, ordinal, touched, imported, effects)
        seen[item.reply_id] = taken
        activity = centre.activities.get(taken[1])
        answer = replies.answer(taken[0], activity.product_name if activity else "")
        effects.results.append(Taken(item.reply_id, taken[0], answer))
    return effects


def _imported(
    tx: db.Connection,
    received: Sequence[Any],
    ordinals: Sequence[int | None],
    seen: dict[str, Any],
    today: int,
) -> dict[int, list[tuple[int, int]]]:
    """Places of the SMS-hall touches of those who wrote to the SMS hall."""
    made: dict[int, list[tuple[int, int]]] = {}
    for item, ordinal in zip(received, ordinals, strict=True):
        if item.touchpoint == catalogue.SMS_HALL and ordinal is not None and item.reply_id not in seen:
            made[ordinal] = registry.touches_of(tx, ordinal, 0)
    return made


def _one(
    tx: db.Connection,
    centre: Centre,
    item: Any,
    ordinal: int | None,
    touched: dict[int, list[registry.Contacted]],
    imported: dict[int, list[tuple[int, int]]],
    effects: _Effects,
) -> tuple[str, int]:
    """Take one new reply: (kind, activity it answers)."""
    text = replies.normalise(item.text)
    at = item.time.ToDatetime(UTC) if item.HasField("time") else from_micros(centre.service.clock.micros())
    if ordinal is None:
        # Nothing of an unknown sender is kept but that the message came.
        registry.claim_reply(tx, _row(item, None, replies.UNKNOWN_SENDER, "", 0, at))
        return replies.UNKNOWN_SENDER, 0
    history = touched.get(ordinal, [])
    kind, number, product, touch_id = replies.TEXT, 0, "", ""
    touchpoint = int(item.touchpoint)
    if replies.refuses(text):
        kind = replies.OPT_OUT
        registry.add_opt_out(tx, ordinal, at, item.reply_id)
        effects.opted_out.append(ordinal)
    elif replies.may_instruct(text):
        found = _order(tx, centre, text, touchpoint, ordinal, history, imported, effects)
        if found is not None:
            activity, touch_id, touchpoint = found
            kind, number, product = replies.INSTRUCTION, activity.number, activity.product_code
    if kind != replies.INSTRUCTION:
        answered = next((one for one in history if one.touchpoint in catalogue.answers(touchpoint)), None)
        if answered is not None:
            number, touch_id, touchpoint = answered.activity, _touch_id(answered), answered.touchpoint
    if not registry.claim_reply(tx, _row(item, ordinal, kind, text, number, at)):
        return registry.replies(tx, [item.reply_id])[item.reply_id]
    if number:
        ledger.count(tx, {(number, touchpoint, "replies", ""): 1})
    subscriber_id, _ = centre.copies.directory.subscriber(ordinal)
    message = events_pb2.ReplyReceived(
        reply_id=item.reply_id,
        subscriber_id=subscriber_id,
        ordinal=ordinal,
        kind=kind,
        text=text,
        activity_number=number,
        product_code=product,
        touchpoint=touchpoint,  # type: ignore[arg-type]
        touch_id=touch_id,  # type: ignore[arg-type]
    )
    message.reply_time.FromDatetime(at)
    outbox.add(tx, message, key=f"subscriber-{ordinal}", message_id=f"reply:{item.reply_id}")
    return kind, number


def _order(
    tx: db.Connection,
    centre: Centre,
    text: str,
    touchpoint: int,
    ordinal: int,
    history: list[registry.Contacted],
    imported: dict[int, list[tuple[int, int]]],
    effects: _Effects,
) -> tuple[Activity, str, int] | None:
    """The activity whose instruction this is: (activity, touch, its touchpoint)."""
    if touchpoint == catalogue.SMS_HALL:
        return _order_at_hall(tx, centre, text, ordinal, imported.get(ordinal, []), effects)
    for one in history:  # newest first
        activity = centre.activities.get(one.activity)
        if (
            activity is not None
            and activity.order_instruction == text
            and one.touchpoint != catalogue.SMS_HALL
        ):
            return activity, _touch_id(one), one.touchpoint
    return None


def _order_at_hall(
    tx: db.Connection,
    centre: Centre,
    text: str,
    ordinal: int,
    places: list[tuple[int, int]],
    effects: _Effects,
) -> tuple[Activity, str, int] | None:
    """The SMS hall takes an instruction only from imported numbers within the list's life (TCH-79)."""
    today = centre.now().day
    locked = slices.lock(tx, {slice_id for slice_id, _ in places})
    for slice_id, position in sorted(places, reverse=True):
        item = locked[slice_id]
        activity = centre.activities.get(item.activity)
        if (
            item.touchpoint != catalogue.SMS_HALL
            or activity is None
            or activity.order_instruction != text
            or not activity.offerable(catalogue.SMS_HALL, today)
            or item.states[position] not in (State.WAITING, State.SHOWN, State.ACCEPTED)
        ):
            continue
        key = keys.TouchKey(item.planned_day, item.activity, item.occurrence, item.touchpoint, ordinal)
        if item.states[position] != State.ACCEPTED:
            moves = Moves(tx, {slice_id: item}, centre.service.clock.micros(), centre.partitions)
            moves.to(item, position, State.ACCEPTED)
            moves.flush()
            effects.ordered.append((Wave(item.planned_day, item.activity, item.occurrence), ordinal))
        return activity, keys.encode(key), catalogue.SMS_HALL
    return None


def _touch_id(one: registry.Contacted) -> str:
    return keys.encode(
        keys.TouchKey(one.planned_day, one.activity, one.occurrence, one.touchpoint, one.ordinal)
    )


def _row(item: Any, ordinal: int | None, kind: str, text: str, number: int, at: datetime) -> dict[str, Any]:
    return {
        "reply_id": item.reply_id,
        "touchpoint": item.touchpoint,
        "ordinal": ordinal,
        "kind": kind,
        "text": text[:500],
        "activity_number": number,
        "at": at,
    }
