"""One function per subject consumed."""

import time
from typing import Any

from iop.campaign.v1 import events_pb2

from services.kit import errors
from services.kit.bus import Consumer, Delivery, Stream
from services.touchpoint.copies import activity_of, lanes_of
from services.touchpoint.domain.activity import ActivityState
from services.touchpoint.flow import intake
from services.touchpoint.flow.centre import Centre
from services.touchpoint.store import registry

STREAMS = (
    Stream(
        "IOP_TOUCHPOINT",
        (
            "iop.touchpoint.v1.touch.settled.*",
            "iop.touchpoint.v1.reply.received",
            "iop.touchpoint.v1.feedback.recorded",
        ),
    ),
    # A full queue pushes back on who plans: nothing that was handed over is dropped.
    Stream(
        "IOP_TOUCHPOINT_WORK",
        ("iop.touchpoint.v1.touch.requested.*.*",),
        retention="workqueue",
        discard="new",
        max_bytes=2 * 1024**3,
    ),
)

LANES = ("high", "medium", "low")
# One consumer a lane: a page of an urgent activity never stands behind bulk.
WORK = tuple(
    Consumer(
        "IOP_TOUCHPOINT_WORK", f"touchpoint-work-{lane}", (f"iop.touchpoint.v1.touch.requested.{lane}.*",)
    )
    for lane in LANES
)
ACTIVITIES = Consumer(
    "IOP_CAMPAIGN",
    "touchpoint-activities",
    ("iop.campaign.v1.activity.launched", "iop.campaign.v1.activity.state_changed"),
)
DIRECTORY = Consumer(
    "IOP_AUDIENCE",
    "touchpoint-directory",
    ("iop.audience.v1.directory.changed", "iop.audience.v1.suppression.changed"),
)

_PATIENCE_S = 120.0  # how long a page may be ahead of its activity's launch


class Messages:
    """Handlers of the subjects."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._early: dict[str, float] = {}  # page id -> monotonic time it was first seen

    async def touches_requested(self, deliveries: list[Delivery]) -> None:
        """iop.touchpoint.v1.touch.requested: pages to take in."""
        self._centre.copies.require()
        ready, early = [], []
        for delivery in deliveries:
            activity = self._centre.activities.get(delivery.message.activity_number)
            if activity is None:
                early.append(delivery)
                continue
            try:
                traceparent = delivery.headers.get("traceparent", "")
                ready.append(intake.decode(delivery.message, activity, traceparent))
            except errors.Invalid as bad:
                raise delivery.invalid(bad.message, bad.reason) from bad
        await intake.take_in(self._centre, ready)
        for delivery in early:
            first = self._early.setdefault(delivery.message.page_id, time.monotonic())
            if time.monotonic() - first > _PATIENCE_S:
                del self._early[delivery.message.page_id]
                raise delivery.invalid(f"nobody launched activity {delivery.message.activity_number}")
        if early:
            raise errors.Unavailable(f"activity {early[0].message.activity_number} is not known yet")
        if self._early:
            for delivery in deliveries:
                self._early.pop(delivery.message.page_id, None)

    async def activities(self, deliveries: list[Delivery]) -> None:
        """iop.campaign.v1.activity.launched and .state_changed, in order."""
        for delivery in deliveries:
            if isinstance(delivery.message, events_pb2.ActivityLaunched):
                await self._launched(delivery)
            else:
                await self._state_changed(delivery.message)

    async def audience(self, deliveries: list[Delivery]) -> None:
        """iop.audience.v1.directory.changed and suppression.changed."""
        copies = self._centre.copies
        copies.require()
        for delivery in deliveries:
            message = delivery.message
            if hasattr(message, "suppression_list"):
                await copies.change_suppression(message)
            elif message.directory_version > copies.directory.version:
                await copies.directory.refresh()

    async def _launched(self, delivery: Delivery) -> None:
        message = delivery.message
        number = message.activity.activity_number
        if not number:
            raise delivery.invalid("an activity without a number")
        body = message.SerializeToString()
        lanes = lanes_of(message)
        await self._centre.db.transaction(lambda tx: registry.save_launch(tx, number, body, lanes))
        await load_activities(self._centre)

    async def _state_changed(self, message: Any) -> None:
        known = self._centre.activities.get(message.activity_number)
        if known is None:
            self._centre.service.log.warning(
                "state of activity %d, which was not launched", message.activity_number
            )
            return
        if message.state not in ActivityState._value2member_map_:
            return
        await self._centre.db.transaction(
            lambda tx: registry.set_state(tx, message.activity_number, message.state, message.version)
        )
        await load_activities(self._centre)


async def load_activities(centre: Centre) -> None:
    """Read the activities and their switches from the tables."""
    rows = await centre.db.read(registry.activities)
    made = {}
    for row in rows:
        activity = activity_of(events_pb2.ActivityLaunched.FromString(row.launched), row)
        made[row.number] = activity
        for touchpoint, setting in activity.settings.items():
            if touchpoint in centre.queues:
                centre.queues[touchpoint].set_lane(row.number, int(setting.lane))
    centre.activities = made
    centre.wake()
