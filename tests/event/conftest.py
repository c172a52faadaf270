"""A small region, its subscribers, and the event service on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest_asyncio
from iop.audience.v1 import directory_pb2, directory_pb2_grpc
from iop.campaign.v1 import events_pb2 as campaign_pb2
from iop.common.v1 import runtime_pb2, runtime_pb2_grpc, types_pb2
from iop.event.v1 import cell_pb2_grpc, definition_pb2_grpc, signal_pb2, signal_pb2_grpc
from pyroaring import BitMap

from services.kit import rpc
from services.kit.app import Service
from services.kit.bus import Bucket, Bus, Consumer, Delivery, Stream

SUBSCRIBERS = 400
FIRST_ID = 9_000_000_000
NOON = 1_760_846_400_000_000  # 2025-10-19 12:00 in Shanghai, microseconds


class Directory(directory_pb2_grpc.DirectoryServiceServicer):
    """Stands in for audience: subscriber FIRST_ID + i has ordinal i and lives in Hohhot."""

    def __init__(self) -> None:
        self.count = SUBSCRIBERS
        self.version = 1

    async def StreamDirectory(self, request: Any, context: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        ordinals = np.arange(request.start_ordinal, self.count, dtype="<u4")
        yield directory_pb2.DirectoryChunk(
            directory_version=self.version,
            ordinals=ordinals.tobytes(),
            subscriber_ids=(ordinals.astype("<i8") + FIRST_ID).tobytes(),
            phones=np.zeros(len(ordinals), "<i8").tobytes(),
            counties=np.full(len(ordinals), 150102, "<i4").tobytes(),
        )


class World:
    """The event service with what stands around it."""

    def __init__(self, event: Service, outside: Service, bus: Bus, stub: Any, directory: Directory) -> None:
        self.event, self.outside, self.bus, self.directory = event, outside, bus, directory
        self.definitions = stub(event, definition_pb2_grpc.DefinitionServiceStub)
        self.cells = stub(event, cell_pb2_grpc.CellServiceStub)
        self.signals = stub(event, signal_pb2_grpc.SignalServiceStub)
        self.runtime = stub(event, runtime_pb2_grpc.RuntimeServiceStub)
        self.matches: list[Delivery] = []
        self._versions: dict[int, int] = {}

    async def bind(
        self, definition: int, activity: int, members: Any, start: str = "2025-10-01", end: str = "2026-12-31"
    ) -> None:
        """Announce a population as campaign does; None ends it."""
        version = self._versions[activity] = self._versions.get(activity, 0) + 1
        message = campaign_pb2.PopulationChanged(
            activity_number=activity,
            definition_number=definition,
            version=version,
            start_date=start,
            end_date=end,
            unbound=members is None,
        )
        if members is not None:
            data = BitMap(members).serialize()
            name = f"population/{activity}/{version}"
            digest = await self.bus.put_object("IOP_BITMAPS", name, data)
            message.bitmap.CopyFrom(
                types_pb2.BitmapRef(object=name, digest=digest, cardinality=len(BitMap(members)))
            )
        await self.bus.publish(message, message_id=f"population-{activity}-{version}")
        await self.at_rest()

    async def send(self, rows: list[dict[str, Any]], batch_id: str) -> Any:
        """Ingest rows and wait until the matcher has seen them."""
        answer = await self.signals.IngestSignals(
            signal_pb2.IngestSignalsRequest(batch=signal_batch(rows, batch_id))
        )
        await self.at_rest()
        return answer

    async def at_rest(self) -> None:
        """Wait until nothing is in hand: twice idle with nothing handled in between."""
        before: tuple[int, int] | None = None
        for _ in range(600):
            status = await self.runtime.GetStatus(runtime_pb2.GetStatusRequest())
            now = (status.handled, status.published)
            if status.idle and now == before:
                return
            before = now if status.idle else None
            await asyncio.sleep(0.02)
        raise AssertionError(f"not at rest: {status}")

    def matched(self, activity: int = 0) -> list[tuple[int, int]]:
        """(activity, ordinal) of everything announced so far, each message once, sorted."""
        found = {delivery.id: delivery.message for delivery in self.matches}
        return sorted(
            (message.activity_number, ordinal)
            for message in found.values()
            for ordinal in np.frombuffer(message.ordinals, "<u4").tolist()
            if activity in (0, message.activity_number)
        )


def signal_batch(rows: list[dict[str, Any]], batch_id: str) -> signal_pb2.SignalBatch:
    """Rows as columns: subscriber (ordinal), source, at, cell, came_from, county, home, roaming, power, imei,
    text, brand."""
    texts = sorted({row[key] for row in rows for key in ("text", "brand") if row.get(key)})
    place = {text: i for i, text in enumerate(texts)}

    def column(kind: str, values: list[Any]) -> bytes:
        return np.array(values, kind).tobytes()

    return signal_pb2.SignalBatch(
        batch_id=batch_id,
        subscriber_ids=column("<i8", [FIRST_ID + row["subscriber"] for row in rows]),
        sources=column("u1", [row.get("source", 1) for row in rows]),
        occurred_at=column("<i8", [row.get("at", NOON) for row in rows]),
        tac_cells=column("<u8", [row.get("cell", 0) for row in rows]),
        source_tac_cells=column("<u8", [row.get("came_from", 0) for row in rows]),
        counties=column("<i4", [row.get("county", 0) for row in rows]),
        home_cities=column("<i4", [row.get("home", 0) for row in rows]),
        roaming_types=column("u1", [row.get("roaming", 0) for row in rows]),
        power_states=column("u1", [row.get("power", 0) for row in rows]),
        imeis=column("<u8", [row.get("imei", 0) for row in rows]),
        text_indexes=column("<i4", [place.get(row.get("text", ""), -1) for row in rows]),
        brand_indexes=column("<i4", [place.get(row.get("brand", ""), -1) for row in rows]),
        texts=texts,
    )


@pytest_asyncio.fixture
async def outside(nats_url: str, make_database: Any, bare_service: Callable[..., Service]) -> SimpleNamespace:
    """The neighbours: audience's directory, campaign's stream, a listener to matches."""
    service = bare_service("audience", nats_url=nats_url)
    bus = await Bus.connect(service)
    await bus.ensure(
        streams=[
            Stream("IOP_CAMPAIGN", ("iop.campaign.v1.>",)),
            Stream("IOP_AUDIENCE", ("iop.audience.v1.>",)),
        ],
        buckets=[Bucket("IOP_BITMAPS")],
    )
    directory = Directory()  # type: ignore[abstract]
    server = rpc.Server(service)
    server.add(directory_pb2_grpc.add_DirectoryServiceServicer_to_server, directory)
    await server.start()
    service.on_stop("rpc", server.stop)
    return SimpleNamespace(service=service, bus=bus, directory=directory)


MakeWorld = Callable[..., Awaitable[World]]


@pytest_asyncio.fixture
async def make_world(outside: SimpleNamespace, make_service: Any, stub: Any) -> MakeWorld:
    """`await make_world(**runtime fields)` starts the event service among its neighbours."""
    listening: list[World] = []

    async def make(**fields: Any) -> World:
        event = await make_service("event", peers=[outside.service], redis_url="", **fields)
        world = World(event, outside.service, outside.bus, stub, outside.directory)
        if listening:
            world.matches, world._versions = listening[0].matches, listening[0]._versions
        else:

            async def hear(deliveries: list[Delivery]) -> None:
                world.matches.extend(deliveries)

            await outside.bus.consume(Consumer("IOP_EVENT", "listener"), hear)
        listening.append(world)
        return world

    return make


@pytest_asyncio.fixture
async def world(make_world: MakeWorld) -> World:
    """The event service with its neighbours."""
    return await make_world()
