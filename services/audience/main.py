"""Starts the audience service."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from iop.audience.v1 import audience_pb2_grpc, directory_pb2_grpc, list_pb2_grpc, tag_pb2_grpc

from services.audience import jobs, messages
from services.audience.api.audiences import AudienceApi
from services.audience.api.directory import DirectoryApi
from services.audience.api.lists import ListApi
from services.audience.api.tags import TagApi
from services.audience.engine.columns import ColumnStore
from services.audience.memory import Memory
from services.audience.research import BITMAPS, Research
from services.audience.snapshots import Snapshots
from services.kit import config, db, outbox, rpc
from services.kit.app import Service
from services.kit.bus import Bucket, Bus, Stream

STREAM = Stream("IOP_AUDIENCE", ("iop.audience.v1.>",))


@dataclass(frozen=True)
class Settings:
    """`audience_files` is the folder of the column files, shared by replicas; empty: in the data folder."""

    audience_files: str = ""


async def start(service: Service) -> None:
    """One straight line; each stop is registered beside its start."""
    settings = config.load(Settings)
    runtime, clock = service.runtime, service.clock
    database = service.database()
    files = Path(settings.audience_files or Path(runtime.data_dir) / "audience")
    columns = await asyncio.to_thread(ColumnStore, files / "columns")
    memory = Memory(database, columns)
    await memory.follow()

    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM], buckets=[Bucket(BITMAPS)])
    relay = outbox.Relay(database, bus, service)
    service.spawn("outbox", relay.run())

    research = Research(memory, database, bus, lambda: clock.today(runtime.timezone))
    snapshots = Snapshots(service, database, bus, research)
    server = rpc.Server(service)
    server.add(
        audience_pb2_grpc.add_AudienceServiceServicer_to_server,
        AudienceApi(memory, database, clock, research, snapshots),
    )
    server.add(
        directory_pb2_grpc.add_DirectoryServiceServicer_to_server, DirectoryApi(memory, database, clock)
    )
    server.add(tag_pb2_grpc.add_TagServiceServicer_to_server, TagApi(memory, database, clock))
    server.add(list_pb2_grpc.add_ListServiceServicer_to_server, ListApi(memory, database, clock))
    await server.start()
    service.on_stop("rpc", server.stop)

    service.job("follow", jobs.follow(memory), jobs.FOLLOW_EVERY_S)
    service.job("sweep", jobs.sweep(memory), jobs.SWEEP_EVERY_S)
    service.spawn("replies", _replies(service, bus, memory, database))


async def _replies(service: Service, bus: Bus, memory: Memory, database: db.Database) -> None:
    """Hear replies once their owner has declared the stream; nothing else waits for that."""
    await bus.ensure(consumers=[messages.REPLIES])
    await bus.consume(messages.REPLIES, messages.replies(memory, database))
