"""iop.touchpoint.v1.TouchpointService."""

import time
from typing import Any

from iop.touchpoint.v1 import touchpoint_pb2, touchpoint_pb2_grpc

from services.kit import db, errors, page, requests, resource, rpc
from services.kit.clock import from_micros
from services.touchpoint.copies import policy_message, policy_of
from services.touchpoint.domain import catalogue, reasons
from services.touchpoint.domain.activity import Activity
from services.touchpoint.domain.policy import ContactPolicy
from services.touchpoint.flow.centre import Centre
from services.touchpoint.messages import load_activities
from services.touchpoint.store import ledger, registry

_BACKLOG = ("waiting", "held", "queued", "leased")


class TouchpointApi(touchpoint_pb2_grpc.TouchpointServiceServicer):
    """The touchpoint centre: catalogue, schedule, policy, do-not-disturb."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    async def ListTouchpoints(self, request: Any, context: Any) -> Any:
        """The catalogue with its load."""
        backlog = await self._backlog()
        answer = touchpoint_pb2.ListTouchpointsResponse()
        now = time.monotonic()
        for item in catalogue.CATALOGUE:
            form = touchpoint_pb2.TOUCHPOINT_FORM_PUSH if item.push else touchpoint_pb2.TOUCHPOINT_FORM_PULL
            answer.touchpoints.add(
                touchpoint=item.number,
                display_name=item.display_name,
                form=form,
                sender=item.sender,
                fields=[
                    touchpoint_pb2.FieldSchema(
                        key=f.key, label=f.label, type=f.type, required=f.required, max_length=f.max_length
                    )
                    for f in item.fields
                ],
                modes=item.modes,
                periodic_update=item.periodic_update,
                suppression=item.suppression,
                sms_contract=item.sms_contract,
                queued=sum(n for (_, touchpoint), n in backlog.items() if touchpoint == item.number),
                adapters=self._centre.sessions.count(item.number, now),
            )
        return answer

    async def ListSchedule(self, request: Any, context: Any) -> Any:
        """Activities at touchpoints: by touchpoint, then priority, then number (TCH-74, TCH-76)."""
        size = page.size(request.page_size)
        after = page.read(request.page_token, request)
        entries = sorted(
            (touchpoint, int(setting.lane), activity.number)
            for activity in self._centre.activities.values()
            for touchpoint, setting in activity.settings.items()
            if request.touchpoint in (0, touchpoint)
        )
        if after is not None:
            entries = [entry for entry in entries if list(entry) > after]
        backlog = await self._backlog()
        answer = touchpoint_pb2.ListScheduleResponse(
            entries=[
                self._entry(self._centre.activities[number], touchpoint, backlog.get((number, touchpoint), 0))
                for touchpoint, _, number in entries[:size]
            ]
        )
        if len(entries) > size:
            answer.next_page_token = page.token(list(entries[size - 1]), request)
        return answer

    async def UpdateScheduleEntry(self, request: Any, context: Any) -> Any:
        """Change priority or switch of an entry (TCH-77, TCH-78)."""
        actor = rpc.actor()
        lane = request.priority or None
        enabled = request.enabled if request.HasField("enabled") else None

        def work(tx: db.Connection) -> Any:
            def change() -> Any:
                if not registry.update_setting(
                    tx, request.activity_number, request.touchpoint, lane, enabled
                ):
                    raise errors.NotFound("this activity is not at this touchpoint")
                return touchpoint_pb2.ScheduleEntry()

            return requests.once(
                tx, "UpdateScheduleEntry", request.request_id, actor, touchpoint_pb2.ScheduleEntry, change
            )

        await self._centre.db.transaction(work)
        await load_activities(self._centre)
        backlog = await self._backlog()
        key = (request.activity_number, request.touchpoint)
        return self._entry(self._centre.activities[key[0]], key[1], backlog.get(key, 0))

    async def GetContactPolicy(self, request: Any, context: Any) -> Any:
        """The policy in force."""
        return policy_message(self._centre.policy)

    async def UpdateContactPolicy(self, request: Any, context: Any) -> Any:
        """Replace the policy; its etag must be current."""
        actor = rpc.actor()
        now = self._centre.service.clock.micros()

        def work(tx: db.Connection) -> Any:
            def change() -> Any:
                stored = registry.policy(tx, lock=True)
                version = stored[0] if stored else 0
                resource.check_etag(request.policy.etag, version)
                fresh = policy_message(policy_of(request.policy, version + 1, now))
                registry.save_policy(tx, version + 1, fresh.SerializeToString(), from_micros(now))
                return fresh

            return requests.once(
                tx, "UpdateContactPolicy", request.request_id, actor, touchpoint_pb2.ContactPolicy, change
            )

        answer = await self._centre.db.transaction(work)
        self._apply(
            policy_of(answer, int(answer.etag.removeprefix("v")), answer.update_time.ToMicroseconds())
        )
        return answer

    async def ChangeDoNotDisturb(self, request: Any, context: Any) -> Any:
        """Add and remove do-not-disturb entries (免打扰)."""
        actor = rpc.actor()
        add = self._rows("add", request.add)
        remove = self._rows("remove", request.remove)
        now = from_micros(self._centre.service.clock.micros())

        def work(tx: db.Connection) -> Any:
            def change() -> Any:
                return touchpoint_pb2.ChangeDoNotDisturbResponse(
                    added=registry.add_do_not_disturb(tx, add, actor.subject, now),
                    removed=registry.remove_do_not_disturb(tx, remove),
                )

            return requests.once(
                tx,
                "ChangeDoNotDisturb",
                request.request_id,
                actor,
                touchpoint_pb2.ChangeDoNotDisturbResponse,
                change,
            )

        answer = await self._centre.db.transaction(work)
        for row in add:
            self._centre.do_not_disturb.add(*row)
        for row in remove:
            self._centre.do_not_disturb.remove(*row)
        return answer

    def _apply(self, policy: ContactPolicy) -> None:
        if policy.version >= self._centre.policy.version:
            if policy.caps != self._centre.policy.caps:
                # Contacts that no cap concerned until now were not counted: count again from the ledger.
                self._centre.caps.generation = ""
            self._centre.policy = policy
            self._centre.wake()

    def _rows(self, field: str, entries: Any) -> list[tuple[int, int, str]]:
        self._centre.copies.require()
        made, problems = [], []
        for i, entry in enumerate(entries):
            ordinal = self._centre.copies.directory.by_subscriber(entry.subscriber_id)
            if ordinal is None:
                problems.append((f"{field}[{i}].subscriber_id", "nobody has this id"))
            else:
                made.append((ordinal, int(entry.touchpoint), entry.marketing_type))
        if problems:
            raise errors.Invalid(
                "subscribers are not known", reason=reasons.SUBSCRIBER_UNKNOWN, fields=problems
            )
        return made

    async def _backlog(self) -> dict[tuple[int, int], int]:
        made: dict[tuple[int, int], int] = {}
        for number, touchpoint, counter, _, n in await self._centre.db.read(ledger.counters):
            if counter in _BACKLOG:
                made[number, touchpoint] = made.get((number, touchpoint), 0) + n
        return made

    @staticmethod
    def _entry(activity: Activity, touchpoint: int, backlog: int) -> Any:
        setting = activity.settings[touchpoint]
        entry = touchpoint_pb2.ScheduleEntry(
            activity_number=activity.number,
            activity=activity.name,
            activity_display_name=activity.display_name,
            touchpoint=touchpoint,  # type: ignore[arg-type]
            priority=int(setting.lane),  # type: ignore[arg-type]
            enabled=setting.enabled,
            state=activity.state.name.lower(),
            backlog=backlog,
        )
        entry.period.start_date = setting.start.isoformat()
        entry.period.end_date = setting.end.isoformat()
        return entry
