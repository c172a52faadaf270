"""Pages come in: stages on whole columns, one transaction a batch of pages, then queue or offers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.kit import db, errors, inbox
from services.touchpoint.domain import catalogue, keys, reasons, stages
from services.touchpoint.domain.activity import ENDED, Activity
from services.touchpoint.domain.states import COUNTER_OF, OUTCOME_OF, State
from services.touchpoint.flow.centre import Centre, piece_of
from services.touchpoint.flow.moves import Groups, Settled, announce
from services.touchpoint.flow.tracing import Begun
from services.touchpoint.store import ledger, registry, slices
from services.touchpoint.store.slices import Slice

INBOX = "touchpoint-work"
MOST_ROWS = 20_000  # of a page: positions are 16 bits wide
_MOST_ORDINAL = 2**31


@dataclass
class Request:
    """A page as received, columns decoded. `expires` is None where nothing expires."""

    page_id: str
    activity: Activity
    touchpoint: int
    planned_day: int
    occurrence: int
    group: str
    ordinals: NDArray[np.uint32]
    expires: NDArray[np.int64] | None
    traceparent: str = ""


def decode(message: Any, activity: Activity, traceparent: str) -> Request:
    """The page in a TouchRequested; errors.Invalid when it cannot be taken."""
    ordinals = np.frombuffer(message.ordinals, "<u4") if len(message.ordinals) % 4 == 0 else None
    if ordinals is None or not 0 < len(ordinals) <= MOST_ROWS:
        raise errors.Invalid(
            f"a page has 1 to {MOST_ROWS} ordinals of 4 bytes", fields=[("ordinals", "length")]
        )
    if not message.page_id or not 0 < message.planned_day < 65536 or int(ordinals.max()) >= _MOST_ORDINAL:
        raise errors.Invalid(
            "a page has an id, a planned day and ordinals below 2^31", fields=[("page_id", "")]
        )
    if message.touchpoint not in activity.settings:
        raise errors.Invalid(
            f"activity {activity.number} has no touchpoint {message.touchpoint}",
            fields=[("touchpoint", "not set")],
        )
    expires = None
    setting = activity.settings[message.touchpoint]
    if message.occurred_at:
        if len(message.occurred_at) != 8 * len(ordinals):
            raise errors.Invalid(
                "occurred_at and ordinals differ in length", fields=[("occurred_at", "length")]
            )
        # A pull touchpoint waits for the customer until its period ends.
        if message.time_to_live_seconds > 0 and setting.push:
            occurred = np.frombuffer(message.occurred_at, "<i8")
            expires = occurred + np.int64(message.time_to_live_seconds * 1_000_000)
    return Request(
        message.page_id,
        activity,
        message.touchpoint,
        message.planned_day,
        message.occurrence,
        message.group,
        ordinals.astype(np.uint32),
        expires,
        traceparent,
    )


@dataclass
class _Taken:
    """What a committed batch leaves to be done in memory."""

    slices: list[Slice] = field(default_factory=list)


async def take_in(centre: Centre, requests: Sequence[Request]) -> int:
    """Take pages in; returns how many were new. Repeats of a page id do nothing."""
    if not requests:
        return 0
    await _ensure_days(centre, {request.planned_day for request in requests})
    pages = [await _decide(centre, request) for request in requests]
    begun = _begin_traces(centre, requests, pages)
    received_at = centre.service.clock.now()
    micros = centre.service.clock.micros()
    taken = await centre.written(lambda tx: _record(tx, centre, requests, pages, begun, received_at, micros))
    for item in taken.slices:
        queued = item.positions(State.QUEUED)
        if len(queued):
            centre.queues[item.touchpoint].put(
                piece_of(item, queued), centre.lane(item.activity, item.touchpoint)
            )
        waiting = item.positions(State.WAITING)
        if len(waiting):
            centre.offer(item, waiting)
        for (page_id, _), one in begun.items():
            if page_id == item.page_id:
                centre.tracing.slices.add(item.slice_id)
                one.span.end()
    if taken.slices:
        centre.wake()
    return len(taken.slices)


async def _ensure_days(centre: Centre, days: set[int]) -> None:
    missing = days - centre.days
    if missing:
        await centre.db.transaction(lambda tx: ledger.ensure_days(tx, missing))
        centre.days |= missing


async def _decide(centre: Centre, request: Request) -> stages.Page:
    """Run the stages on one page."""
    setting = request.activity.settings[request.touchpoint]
    count = len(request.ordinals)
    tag = catalogue.BY_NUMBER[request.touchpoint].follower_tag
    reachable = np.ones(count, np.bool_)
    if tag:
        reachable = await centre.copies.followers(tag, request.ordinals)
    page = stages.Page(
        activity=request.activity,
        setting=setting,
        policy=centre.policy,
        now=centre.now(),
        ordinals=request.ordinals,
        expires=np.zeros(count, np.int64) if request.expires is None else request.expires,
        flags=centre.flags.of(request.ordinals),
        disturbed=centre.do_not_disturb.of(
            request.ordinals, request.touchpoint, request.activity.marketing_type
        ),
        reachable=reachable,
    )
    stages.run(page)
    return page


def _begin_traces(
    centre: Centre, requests: Sequence[Request], pages: Sequence[stages.Page]
) -> dict[tuple[str, int], Begun]:
    """Begin the traces of the first touches, as far as the budget goes; by (page id, position)."""
    begun: dict[tuple[str, int], Begun] = {}
    for request, page in zip(requests, pages, strict=True):
        left = centre.tracing.left(request.activity, request.planned_day)
        if not left:
            continue
        alive = np.flatnonzero(np.isin(page.states, (State.QUEUED, State.HELD, State.WAITING)))
        for position in alive[:left].tolist():
            key = keys.TouchKey(
                request.planned_day,
                request.activity.number,
                request.occurrence,
                request.touchpoint,
                int(request.ordinals[position]),
            )
            one = centre.tracing.begin(
                request.activity,
                request.planned_day,
                request.touchpoint,
                keys.encode(key),
                request.traceparent,
            )
            if one is not None:
                begun[request.page_id, position] = one
    return begun


def _record(
    tx: db.Connection,
    centre: Centre,
    requests: Sequence[Request],
    pages: Sequence[stages.Page],
    begun: dict[tuple[str, int], Begun],
    received_at: datetime,
    micros: int,
) -> _Taken:
    ledger.check_owner(tx, centre.epoch)
    new = inbox.accept(tx, INBOX, [request.page_id for request in requests])
    wanted: dict[str, tuple[Request, stages.Page]] = {}
    for request, page in zip(requests, pages, strict=True):
        if request.page_id in new:
            wanted.setdefault(request.page_id, (request, page))
    if not wanted:
        return _Taken()
    # Locked: an activity that ends now ends before or after this page, not in between.
    states = registry.running(tx, {request.activity.number for request, _ in wanted.values()})
    taken = _Taken()
    entries = []
    ids = slices.next_ids(tx, len(wanted))
    for slice_id, (request, page) in zip(ids, wanted.values(), strict=True):
        entry_states = page.states.copy()
        entry_reasons = page.reasons.copy()
        names = list(page.reason_names)
        repeated = (entry_states == State.SUPPRESSED) & (
            entry_reasons == (names.index(reasons.DUPLICATE) if reasons.DUPLICATE in names else 255)
        )
        entry_states[repeated] = State.NONE
        if states.get(request.activity.number, (0, frozenset()))[0] in ENDED:
            names.append(reasons.ACTIVITY_ENDED)
            alive = np.isin(entry_states, (State.QUEUED, State.HELD, State.WAITING))
            entry_states[alive] = State.CANCELLED
            entry_reasons[alive] = len(names) - 1
        item = Slice(
            slice_id=slice_id,
            page_id=request.page_id,
            planned_day=request.planned_day,
            activity=request.activity.number,
            occurrence=request.occurrence,
            touchpoint=request.touchpoint,
            group=request.group,
            ordinals=request.ordinals,
            states=bytearray(entry_states.tobytes()),
            marks=bytearray(len(request.ordinals)),
            expires=request.expires,
            received_at=received_at,
            traceparent=request.traceparent,
        )
        taken.slices.append(item)
        entries.append(ledger.Entry(item, entry_reasons, names))
    for slice_id, positions in ledger.enter(tx, entries).items():
        item = next(item for item in taken.slices if item.slice_id == slice_id)
        for position in positions:
            item.states[position] = State.NONE
    slices.insert(tx, taken.slices)
    ledger.note_waves(tx, taken.slices)
    counts: Counter[ledger.CounterKey] = Counter()
    groups: Groups = {}
    for entry in entries:
        _tally(entry, counts, groups, micros)
    ledger.count(tx, counts)
    announce(tx, groups, centre.partitions)
    registry.add_traces(
        tx,
        [
            {
                "slice_id": item.slice_id,
                "position": position,
                "traceparent": one.traceparent,
                "activity_number": item.activity,
                "planned_day": item.planned_day,
                "failed": False,
            }
            for item in taken.slices
            for (page_id, position), one in begun.items()
            if page_id == item.page_id and item.states[position] != State.NONE
        ],
    )
    return taken


def _tally(entry: ledger.Entry, counts: Counter[ledger.CounterKey], groups: Groups, micros: int) -> None:
    """Counters and announcements of one slice on entry."""
    item = entry.slice
    column = item.columns
    pair = (item.activity, item.touchpoint)
    counts[(*pair, "received", "")] += len(column)
    for state in np.unique(column).tolist():
        rows = np.flatnonzero(column == state)
        if state == State.NONE:
            counts[(*pair, "suppressed", reasons.DUPLICATE)] += len(rows)
            continue
        if state == State.SUPPRESSED:
            for index in np.unique(entry.reasons[rows]).tolist():
                hit = int((entry.reasons[rows] == index).sum())
                counts[(*pair, "suppressed", entry.reason_names[index])] += hit
        else:
            counts[(*pair, *COUNTER_OF[state])] += len(rows)
        if OUTCOME_OF[state]:
            group = groups.setdefault((item.activity, item.touchpoint, item.planned_day), Settled())
            group.ordinals += item.ordinals[rows].tolist()
            group.occurrences += [item.occurrence] * len(rows)
            group.outcomes += [OUTCOME_OF[state]] * len(rows)
            group.previous += [0] * len(rows)
            group.at += [micros] * len(rows)
            group.reasons += [entry.reason_names[index] for index in entry.reasons[rows].tolist()]
