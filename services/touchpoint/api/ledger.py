"""iop.touchpoint.v1.LedgerService."""

from typing import Any

from iop.common.v1 import types_pb2
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc

from services.kit import errors, page, rpc
from services.touchpoint.api.common import ordinal_of, shown_phone
from services.touchpoint.domain import catalogue, keys, template
from services.touchpoint.domain.states import COUNTER_OF, OUTCOME_OF, Outcome, State, Step
from services.touchpoint.flow.centre import Centre
from services.touchpoint.store import history, ledger

_PLENTY = 10_000_000  # a pull touchpoint has no queue that could be full


class LedgerApi(ledger_pb2_grpc.LedgerServiceServicer):
    """What became of every touch, and why."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    async def ListTouchCounters(self, request: Any, context: Any) -> Any:
        """Counters with their imbalance, which is 0 unless the ledger is broken."""
        rows = await self._centre.db.read(lambda tx: ledger.counters(tx, request.activity_numbers))
        made: dict[tuple[int, int], Any] = {}
        for number, touchpoint, counter, reason, n in rows:
            row = made.setdefault(
                (number, touchpoint),
                ledger_pb2.TouchCounters(activity_number=number, touchpoint=touchpoint),  # type: ignore[arg-type]
            )
            if counter in ("suppressed", "settled"):
                if n:
                    getattr(row, counter).append(types_pb2.ReasonCount(reason=reason, count=n))
                row.imbalance -= n
            else:
                setattr(row, counter, n)
                row.imbalance += {"received": n, "clicks": 0, "replies": 0}.get(counter, -n)
        return ledger_pb2.ListTouchCountersResponse(counters=[made[key] for key in sorted(made)])

    async def GetTouch(self, request: Any, context: Any) -> Any:
        """One touch with its history and its words."""
        self._centre.copies.require()
        key = keys.decode(request.name.removeprefix("touches/"))
        found = await self._centre.db.read(lambda tx: history.touch(tx, key))
        if found is None:
            raise errors.NotFound(f"there is no {request.name}")
        rpc.actor().require_region(self._centre.copies.directory.county(key.ordinal))
        return await self._shown(found)

    async def ListTouches(self, request: Any, context: Any) -> Any:
        """Touches of an activity in the order of their keys; only those of the caller's regions."""
        size = page.size(request.page_size)
        after = page.read(request.page_token, request)
        self._centre.copies.require()
        rows = await self._centre.db.read(
            lambda tx: history.touches(tx, request.activity_number, request.touchpoint, after, size + 1)
        )
        actor, directory = rpc.actor(), self._centre.copies.directory
        answer = ledger_pb2.ListTouchesResponse(
            touches=[
                self._plain(row)
                for row in rows[:size]
                if actor.may_see_region(directory.county(row.key.ordinal))
            ]
        )
        if len(rows) > size:
            answer.next_page_token = page.token(list(rows[size - 1].key), request)
        return answer

    async def ExplainTouches(self, request: Any, context: Any) -> Any:
        """Every decision about a subscriber, newest first."""
        ordinal = ordinal_of(self._centre, phone=request.phone, subscriber_id=request.subscriber_id)
        rpc.actor().require_region(self._centre.copies.directory.county(ordinal))
        found = await self._centre.db.read(
            lambda tx: history.of_subscriber(tx, ordinal, request.activity_number)
        )
        subscriber_id, phone = self._centre.copies.directory.subscriber(ordinal)
        return ledger_pb2.ExplainTouchesResponse(
            subscriber_id=subscriber_id,
            phone=shown_phone(phone),
            touches=[await self._shown(one) for one in found],
        )

    async def GetIntake(self, request: Any, context: Any) -> Any:
        """What was taken in, and how much more is wanted."""
        wanted = list(request.activity_numbers)
        rows = await self._centre.db.read(lambda tx: ledger.counters(tx, wanted))
        counts: dict[tuple[int, int, str], int] = {}
        for number, touchpoint, counter, _, n in rows:
            counts[number, touchpoint, counter] = counts.get((number, touchpoint, counter), 0) + n
        answer = ledger_pb2.GetIntakeResponse()
        for number in sorted(set(wanted)):
            activity = self._centre.activities.get(number)
            for touchpoint in sorted(activity.settings) if activity else ():
                backlog = counts.get((number, touchpoint, "queued"), 0) + counts.get(
                    (number, touchpoint, "held"), 0
                )
                push = touchpoint in catalogue.PUSH
                answer.intakes.add(
                    activity_number=number,
                    touchpoint=touchpoint,
                    received=counts.get((number, touchpoint, "received"), 0),
                    room=max(0, self._centre.limits.queue_limit - backlog) if push else _PLENTY,
                )
        return answer

    def _plain(self, row: history.TouchRow) -> Any:
        """A touch without history."""
        activity = self._centre.activities.get(row.key.activity_number)
        subscriber_id, phone = self._centre.copies.directory.subscriber(row.key.ordinal)
        state = row.state
        counter = COUNTER_OF[state][0] if state else "suppressed"
        return ledger_pb2.Touch(
            name=f"touches/{keys.encode(row.key)}",
            activity_number=row.key.activity_number,
            activity=activity.name if activity else "",
            touchpoint=row.key.touchpoint,  # type: ignore[arg-type]
            planned_day=keys.date_of(row.key.planned_day).isoformat(),
            occurrence=row.key.occurrence,
            subscriber_id=subscriber_id,
            phone=shown_phone(phone),
            state=counter,
            outcome=OUTCOME_OF[state],  # type: ignore[arg-type]
            reason=row.reason,
            trace_id=row.traceparent[3:35] if row.traceparent else "",
        )

    async def _shown(self, found: history.History) -> Any:
        """A touch with its history."""
        message = self._plain(found.row)
        message.text = await self._words(found)
        add = message.history.add
        entry = State(found.row.entry_state)
        first = add(step="received", detail=found.row.page_id)
        first.time.FromDatetime(found.row.received_at)
        if entry != State.NONE:
            name = entry.name.lower()
            second = add(step=name, detail=found.row.entry_reason)
            second.time.FromDatetime(found.row.received_at)
        # Steps of one moment are told in the order in which they can only have happened.
        steps = [
            (lease.leased_at, 2 * nth, "leased", lease.adapter) for nth, lease in enumerate(found.leases, 1)
        ]
        for step in found.steps:
            place = 2 * step.lease_id + 1 if step.step == Step.RETURNED else 1_000 + step.step
            if step.step == Step.PROVIDER_ACCEPTED:
                place = 999
            steps.append((step.at, place, _step_name(step.step), step.code))
        for at, _, name, detail in sorted(steps, key=lambda item: (item[0], item[1])):
            add(step=name, detail=detail).time.FromDatetime(at)
        for step in found.steps:
            if step.provider_message_id:
                message.provider_message_id = step.provider_message_id
            if step.step < Step.PROVIDER_ACCEPTED and not found.row.entry_reason:
                message.reason = step.code
        return message

    async def _words(self, found: history.History) -> str:
        """The words as sent: with the values that went out, or with today's where nothing was sent yet."""
        activity = self._centre.activities.get(found.row.key.activity_number)
        setting = activity.settings.get(found.row.key.touchpoint) if activity else None
        if setting is None or not setting.variables:
            return setting.words if setting else ""
        for lease in reversed(found.leases):
            if lease.variables is not None:
                at = lease.positions.tolist().index(found.row.position)
                return template.render(
                    setting.words, {tag: column[at] for tag, column in lease.variables.items()}
                )
        try:
            return template.render(
                setting.words,
                await self._centre.copies.variables_of(found.row.key.ordinal, setting.variables),
            )
        except errors.Error:
            return setting.words


def _step_name(step: int) -> str:
    if step == Step.PROVIDER_ACCEPTED:
        return "accepted_by_provider"
    return Step(step).name.lower() if step > Step.PROVIDER_ACCEPTED else Outcome(step).name.lower()
