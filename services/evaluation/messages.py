"""What evaluation does with each message it consumes; effects are recorded once, with the inbox."""

from collections.abc import Callable
from typing import Any

import numpy as np
from iop.audience.v1 import events_pb2 as audience
from iop.campaign.v1 import events_pb2 as campaign
from iop.campus.v1 import events_pb2 as campus
from iop.touchpoint.v1 import events_pb2 as touchpoint
from numpy.typing import NDArray
from pyroaring import BitMap

from services.evaluation.domain import days
from services.evaluation.domain.settling import Touches
from services.evaluation.engine.directory import Directory
from services.evaluation.store import activities, facts
from services.kit import db, envelope, inbox
from services.kit.bus import Bus, Consumer, Delivery

BITMAPS = "IOP_BITMAPS"

ACTIVITIES = Consumer(
    "IOP_CAMPAIGN", "evaluation-activities", (envelope.filter_of(campaign.ActivityLaunched),), ack_wait_s=60
)
TOUCHES = Consumer("IOP_TOUCHPOINT", "evaluation-touches", (envelope.filter_of(touchpoint.TouchSettled),))
RESPONSES = Consumer(
    "IOP_TOUCHPOINT",
    "evaluation-responses",
    (envelope.filter_of(touchpoint.ReplyReceived), envelope.filter_of(touchpoint.FeedbackRecorded)),
)
STUDENTS = Consumer("IOP_CAMPUS", "evaluation-students", (envelope.filter_of(campus.StudentsIdentified),))
DIRECTORY = Consumer(
    "IOP_AUDIENCE", "evaluation-directory", (envelope.filter_of(audience.DirectoryChanged),), from_now=True
)


class Messages:
    """One method per consumer."""

    def __init__(self, database: db.Database, bus: Bus, directory: Directory, tz: str) -> None:
        self._db = database
        self._bus = bus
        self._directory = directory
        self._tz = tz

    async def activities_launched(self, deliveries: list[Delivery]) -> None:
        """Keep each activity with its target and control group."""
        rows = [(delivery.id, await self._activity(delivery.message)) for delivery in deliveries]

        def keep(tx: db.Connection) -> None:
            fresh = inbox.accept(tx, ACTIVITIES.name, [identity for identity, _ in rows])
            for identity, row in rows:
                if identity in fresh:
                    activities.launch(tx, row)

        await self._db.transaction(keep)

    async def _activity(self, message: campaign.ActivityLaunched) -> dict[str, Any]:
        target = await self._bitmap(message.target) if message.HasField("target") else None
        control = await self._bitmap(message.control) if message.HasField("control") else BitMap()
        return {
            "activity_number": message.activity.activity_number,
            "name": message.activity.name,
            "display_name": message.activity.display_name,
            "campaign_display_name": message.campaign_display_name,
            "description": message.activity.description,
            "case_id": message.case_id,
            "region": message.region,
            "product_code": message.activity.product.code,
            "launched_at": message.launch_time.ToMicroseconds(),
            "target": None if target is None else target.serialize(),
            "control": control.serialize(),
        }

    async def _bitmap(self, ref: Any) -> BitMap:
        return BitMap.deserialize(await self._bus.get_object(BITMAPS, ref.object, ref.digest))

    async def touches_settled(self, deliveries: list[Delivery]) -> None:
        """Count outcomes and keep who was reached; amended outcomes replace the previous ones (EVA-20)."""
        await self._cover(delivery.message.ordinals for delivery in deliveries)
        batch = [(delivery.id, self._touches(delivery)) for delivery in deliveries]

        def settle(tx: db.Connection) -> None:
            fresh = inbox.accept(tx, TOUCHES.name, [identity for identity, _ in batch])
            facts.settle(tx, [touches for identity, touches in batch if identity in fresh])

        await self._db.transaction(settle)

    def _touches(self, delivery: Delivery) -> Touches:
        message: touchpoint.TouchSettled = delivery.message
        ordinals = column(delivery, "ordinals", "<u4")
        rest = {
            name: column(delivery, name, kind, len(ordinals))
            for name, kind in (
                ("occurrences", "<u4"),
                ("outcomes", "u1"),
                ("previous_outcomes", "u1"),
                ("settled_at", "<i8"),
                ("reason_indexes", "u1"),
            )
        }
        reasons = np.array([*message.reasons, ""], object)
        index = rest["reason_indexes"].astype(np.int64)
        if not message.reasons:
            index = np.zeros_like(index)
        elif len(index) and index.max() >= len(message.reasons):
            raise delivery.invalid("reason_indexes points behind the reasons")
        return Touches(
            activity_number=message.activity_number,
            touchpoint=message.touchpoint,
            planned_day=message.planned_day,
            ordinals=ordinals,
            occurrences=rest["occurrences"],
            outcomes=rest["outcomes"],
            previous=rest["previous_outcomes"],
            days=days.days_of(rest["settled_at"], self._tz),
            reasons=reasons[index],
            counties=self._directory.county_of(ordinals),
        )

    async def responses(self, deliveries: list[Delivery]) -> None:
        """Count clicks, replies and opt-outs that answer an activity."""
        await self._cover(
            delivery.message.ordinals
            if isinstance(delivery.message, touchpoint.FeedbackRecorded)
            else np.array([delivery.message.ordinal], "<u4").tobytes()
            for delivery in deliveries
        )
        read: dict[type, Callable[[Delivery], list[facts.Response]]] = {
            touchpoint.ReplyReceived: self._reply,
            touchpoint.FeedbackRecorded: self._feedback,
        }
        batch = [(delivery.id, read[type(delivery.message)](delivery)) for delivery in deliveries]

        def keep(tx: db.Connection) -> None:
            fresh = inbox.accept(tx, RESPONSES.name, [identity for identity, _ in batch])
            facts.respond(tx, [one for identity, found in batch if identity in fresh for one in found])

        await self._db.transaction(keep)

    def _reply(self, delivery: Delivery) -> list[facts.Response]:
        message: touchpoint.ReplyReceived = delivery.message
        if not message.activity_number:
            return []
        ordinal = np.array([message.ordinal], np.uint32)
        day = int(days.days_of(np.array([message.reply_time.ToMicroseconds()]), self._tz)[0])
        county = int(self._directory.county_of(ordinal)[0])
        kinds = ["replies", "opt_outs"] if message.kind == "opt_out" else ["replies"]
        return [
            facts.Response(message.activity_number, kind, message.touchpoint, day, message.ordinal, county)
            for kind in kinds
        ]

    def _feedback(self, delivery: Delivery) -> list[facts.Response]:
        message: touchpoint.FeedbackRecorded = delivery.message
        if message.kind != "clicked":
            return []
        ordinals = column(delivery, "ordinals", "<u4")
        found = days.days_of(column(delivery, "occurred_at", "<i8", len(ordinals)), self._tz)
        counties = self._directory.county_of(ordinals)
        return [
            facts.Response(message.activity_number, "clicks", message.touchpoint, day, ordinal, county)
            for day, ordinal, county in zip(found.tolist(), ordinals.tolist(), counties.tolist(), strict=True)
        ]

    async def students_identified(self, deliveries: list[Delivery]) -> None:
        """Keep the students of each campus."""
        batch = [
            (
                delivery,
                [
                    (one.campus, one.county, await self._bitmap(one.bitmap))
                    for one in delivery.message.campuses
                ],
            )
            for delivery in deliveries
        ]

        def keep(tx: db.Connection) -> None:
            fresh = inbox.accept(tx, STUDENTS.name, [delivery.id for delivery, _ in batch])
            for delivery, campuses in batch:
                if delivery.id in fresh:
                    message = delivery.message
                    activities.identified(tx, message.school, message.version, delivery.sequence, campuses)

        await self._db.transaction(keep)

    async def directory_changed(self, deliveries: list[Delivery]) -> None:
        """Bring the copy of the directory up to date; a version that is known changes nothing."""
        if max(delivery.message.directory_version for delivery in deliveries) > self._directory.version:
            await self._directory.refresh()

    async def _cover(self, columns: Any) -> None:
        """See that the directory copy holds the ordinals of little-endian uint32 columns."""
        highest = max((int(found.max(initial=0)) for found in map(_ordinals, columns)), default=0)
        await self._directory.cover(highest)


def column(delivery: Delivery, name: str, kind: str, length: int | None = None) -> NDArray[Any]:
    """A packed column of a message; a broken one makes the delivery invalid."""
    packed = getattr(delivery.message, name)
    if len(packed) % np.dtype(kind).itemsize:
        raise delivery.invalid(f"{name} is cut off")
    found = np.frombuffer(packed, kind)
    if length is not None and len(found) != length:
        raise delivery.invalid(f"{name} has {len(found)} rows, ordinals {length}")
    return found


def _ordinals(packed: bytes) -> NDArray[Any]:
    return np.frombuffer(packed[: len(packed) // 4 * 4], "<u4")
