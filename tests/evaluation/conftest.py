"""Evaluation with a small real directory service beside it, and the messages of the other services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest_asyncio
from iop.audience.v1 import directory_pb2, directory_pb2_grpc
from iop.audience.v1 import events_pb2 as audience_events
from iop.campaign.v1 import events_pb2 as campaign_events
from iop.campus.v1 import events_pb2 as campus_events
from iop.common.v1 import runtime_pb2, runtime_pb2_grpc, types_pb2
from iop.evaluation.v1 import report_pb2_grpc
from iop.touchpoint.v1 import events_pb2 as touchpoint_events
from pyroaring import BitMap

from services.evaluation.domain.settling import Outcome
from services.kit import clock, rpc
from services.kit.bus import Bucket, Bus, Stream
from services.kit.clock import ClockFile

STREAMS = (
    Stream("IOP_AUDIENCE", ("iop.audience.v1.>",)),
    Stream("IOP_CAMPAIGN", ("iop.campaign.v1.>",)),
    Stream("IOP_CAMPUS", ("iop.campus.v1.>",)),
    Stream(
        "IOP_TOUCHPOINT",
        (
            "iop.touchpoint.v1.touch.settled.*",
            "iop.touchpoint.v1.reply.received",
            "iop.touchpoint.v1.feedback.recorded",
        ),
    ),
)
COUNTIES = (150102, 150105, 150202)  # two of Hohhot, one of Baotou
PRODUCT = "101040040146"


class DirectoryService(directory_pb2_grpc.DirectoryServiceServicer):
    """Serves `size` subscribers: ids from 9000000000, homes in turn, each tenth without a number."""

    def __init__(self, size: int) -> None:
        self.version = 1
        self.ids = np.arange(size, dtype=np.int64) + 9_000_000_000
        self.phones = np.where(np.arange(size) % 10 == 9, 0, 13_800_000_000 + np.arange(size)).astype(
            np.int64
        )
        self.counties = np.array(COUNTIES, np.int32)[np.arange(size) % 3]
        self.changed_at = np.ones(size, np.uint64)

    def grow(self, size: int, county: int) -> None:
        """Add subscribers of one county."""
        more = size - len(self.ids)
        self.version += 1
        self.ids = np.arange(size, dtype=np.int64) + 9_000_000_000
        self.phones = np.append(self.phones, 13_900_000_000 + np.arange(more))
        self.counties = np.append(self.counties, np.full(more, county, np.int32))
        self.changed_at = np.append(self.changed_at, np.full(more, self.version, np.uint64))

    def move(self, ordinals: Sequence[int], county: int) -> None:
        """Change homes."""
        self.version += 1
        self.counties[list(ordinals)] = county
        self.changed_at[list(ordinals)] = self.version

    async def StreamDirectory(self, request: Any, context: Any) -> AsyncIterator[Any]:
        wanted = np.arange(len(self.ids)) >= request.start_ordinal
        if request.since_version:
            wanted |= self.changed_at > request.since_version
        for part in np.array_split(np.flatnonzero(wanted), 3):
            yield directory_pb2.DirectoryChunk(
                directory_version=self.version,
                ordinals=part.astype("<u4").tobytes(),
                subscriber_ids=self.ids[part].astype("<i8").tobytes(),
                phones=self.phones[part].astype("<i8").tobytes(),
                counties=self.counties[part].astype("<i4").tobytes(),
            )


def moment(day: str, hour: int = 10) -> int:
    """Microseconds of an hour of a day in UTC+8."""
    return clock.to_micros(datetime.fromisoformat(f"{day}T{hour:02d}:00:00+08:00").astimezone(UTC))


@dataclass
class World:
    """Evaluation, its neighbours, and what they say to it."""

    evaluation: Any
    bus: Bus
    directory: DirectoryService
    reports: Any
    orders: Any
    runtime: Any
    clock_path: Path
    make: Callable[[Any], Any]
    sent: int = field(default=0)

    def set_clock(self, day: str, hour: int = 12) -> None:
        ClockFile.write(self.clock_path, clock.from_micros(moment(day, hour)))

    async def launch(self, number: int, target: BitMap | None, control: BitMap, **fields: Any) -> None:
        """Announce an activity, launched on `day`."""
        day = fields.pop("day", "2020-08-20")
        message = campaign_events.ActivityLaunched(
            campaign_display_name=fields.pop("campaign", "返校营销"),
            region=fields.pop("region", 150000),
            case_id="CMP-21",
        )
        message.activity.activity_number = number
        message.activity.name = f"campaigns/c1/activities/a{number}"
        message.activity.display_name = fields.pop("name", f"活动{number}")
        message.activity.product.code = fields.pop("product", PRODUCT)
        assert not fields
        message.launch_time.FromMicroseconds(moment(day, 8))
        if target is not None:
            message.target.CopyFrom(await self.bitmap(f"target-{number}", target))
        message.control.CopyFrom(await self.bitmap(f"control-{number}", control))
        await self.bus.publish(message, message_id=f"launch-{number}-{day}")

    async def bitmap(self, name: str, members: BitMap) -> Any:
        digest = await self.bus.put_object("IOP_BITMAPS", name, members.serialize())
        return types_pb2.BitmapRef(object=name, digest=digest, cardinality=len(members), directory_version=1)

    def settled(
        self,
        number: int,
        ordinals: Sequence[int],
        outcome: Outcome | Sequence[Outcome],
        day: str,
        previous: int = 0,
        touchpoint: int = 1,
        reason: str = "",
        occurrence: int = 1,
    ) -> touchpoint_events.TouchSettled:
        """A message of settled touches."""
        n = len(ordinals)
        outcomes = [outcome] * n if isinstance(outcome, Outcome) else list(outcome)
        return touchpoint_events.TouchSettled(
            activity_number=number,
            touchpoint=touchpoint,
            planned_day=7537,
            ordinals=np.array(ordinals, "<u4").tobytes(),
            occurrences=np.full(n, occurrence, "<u4").tobytes(),
            outcomes=np.array(outcomes, "u1").tobytes(),
            previous_outcomes=np.full(n, previous, "u1").tobytes(),
            settled_at=np.full(n, moment(day), "<i8").tobytes(),
            reason_indexes=np.zeros(n, "u1").tobytes(),
            reasons=[reason] if reason else [],
        )

    async def settle(self, *args: Any, message_id: str | None = None, **kwargs: Any) -> None:
        """Announce settled touches."""
        self.sent += 1
        message = self.settled(*args, **kwargs)
        await self.bus.publish(
            message, partition=self.sent % 4, message_id=message_id or f"settled-{self.sent}"
        )

    async def students(self, school: str, campuses: dict[int, tuple[int, BitMap]], version: int = 1) -> None:
        """Announce identified students: {campus: (county, students)}."""
        message = campus_events.StudentsIdentified(school=f"schools/{school}", version=version)
        for code, (county, members) in campuses.items():
            ref = await self.bitmap(f"students-{code}-{version}", members)
            message.campuses.add(campus=code, county=county, bitmap=ref)
        await self.bus.publish(message, message_id=f"students-{school}-{version}")

    async def directory_changed(self) -> None:
        message = audience_events.DirectoryChanged(
            directory_version=self.directory.version, count=len(self.directory.ids)
        )
        await self.bus.publish(message)

    async def rest(self) -> None:
        """Wait until evaluation has nothing in hand."""
        for _ in range(400):
            status = await self.runtime.GetStatus(runtime_pb2.GetStatusRequest())
            if status.idle:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not at rest: {status}")

    async def dead(self) -> int:
        return int((await self.runtime.GetStatus(runtime_pb2.GetStatusRequest())).dead_letters)


@pytest_asyncio.fixture
async def world(
    make_service: Callable[..., Awaitable[Any]],
    bare_service: Callable[..., Any],
    stub: Callable[..., Any],
    nats_url: str,
    tmp_path: Path,
) -> World:
    """Evaluation at noon of 2020-09-10 over a directory of 3,000 subscribers."""
    neighbour = bare_service("audience", nats_url=nats_url)
    directory = DirectoryService(3000)
    server = rpc.Server(neighbour)
    server.add(directory_pb2_grpc.add_DirectoryServiceServicer_to_server, directory)
    await server.start()
    neighbour.on_stop("rpc", server.stop)
    bus = await Bus.connect(neighbour)
    await bus.ensure(streams=STREAMS, buckets=[Bucket("IOP_BITMAPS")])
    path = tmp_path / "clock"
    ClockFile.write(path, clock.from_micros(moment("2020-09-10", 12)))
    evaluation = await make_service("evaluation", peers=[neighbour], clock=str(path))
    return World(
        evaluation=evaluation,
        bus=bus,
        directory=directory,
        reports=stub(evaluation, report_pb2_grpc.EvaluationServiceStub),
        orders=stub(evaluation, report_pb2_grpc.OrderServiceStub),
        runtime=stub(evaluation, runtime_pb2_grpc.RuntimeServiceStub),
        clock_path=path,
        make=lambda actor: stub(evaluation, report_pb2_grpc.EvaluationServiceStub, actor),
    )
