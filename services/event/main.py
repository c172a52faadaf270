"""Starts the event service."""

from __future__ import annotations

from dataclasses import dataclass

from iop.event.v1 import cell_pb2_grpc, definition_pb2_grpc, signal_pb2_grpc

from services.event import announce, jobs
from services.event.api.cells import CellApi
from services.event.api.definitions import DefinitionApi, Definitions
from services.event.api.signals import SignalApi
from services.event.copies import Catalogue, DirectoryCopy
from services.event.messages import directory as directory_messages
from services.event.messages import population as population_messages
from services.event.messages.log import PartitionLog, Shared, log_is_cut
from services.kit import config, outbox, rpc
from services.kit.app import Service
from services.kit.bus import Bus


@dataclass(frozen=True)
class Settings:
    """How often a partition's state is saved: after this many seconds or records of its log."""

    event_checkpoint_seconds: float = 10.0
    event_checkpoint_records: int = 2000


async def start(service: Service) -> None:
    """Start in one straight line; each stop is registered beside its start."""
    settings = config.load(Settings)
    partitions = service.runtime.partitions
    database = service.database(pool=8)
    bus = await Bus.connect(service)
    await bus.ensure(
        streams=[announce.LOG, announce.MATCHES],
        buckets=[announce.CHECKPOINTS, announce.BITMAPS],
        consumers=[
            *(announce.log_consumer(number) for number in range(partitions)),
            announce.POPULATIONS,
            announce.DIRECTORY,
        ],
    )
    relay = outbox.Relay(database, bus, service)
    service.spawn("outbox", relay.run())
    catalogue = Catalogue(database)
    await catalogue.refresh()
    directory = DirectoryCopy(service)
    definitions = Definitions(catalogue, partitions, service.runtime.timezone)

    shared = Shared(service, database, bus)
    logs = [await PartitionLog.open(shared, number) for number in range(partitions)]
    if any(log.state.sequence == 0 for log in logs) and await log_is_cut(bus):
        # What the log has lost and no checkpoint holds is told again from the tables.
        await database.transaction(definitions.announce_again)

    async def last_checkpoints() -> None:
        if bus.connected:
            await jobs.checkpoints(logs, 0, 0)()

    service.on_stop("checkpoints", last_checkpoints)  # runs once the readers have stopped
    for log in logs:
        await log.start()
    await bus.consume(announce.POPULATIONS, population_messages.handler(database, partitions))
    await bus.consume(announce.DIRECTORY, directory_messages.handler(directory))
    service.status.gauge("populations", lambda: len(shared.populations))
    service.status.gauge("subscribers", lambda: len(directory))

    every_s, every_records = settings.event_checkpoint_seconds, settings.event_checkpoint_records
    service.job("checkpoints", jobs.checkpoints(logs, every_s, every_records), every=1.0)
    service.job("ticks", jobs.ticks(logs, service.clock), every=60.0)
    service.job("prune", jobs.prune(database), every=3600.0)
    service.job("catalogue", catalogue.refresh, every=5.0)
    service.job("directory", directory.follow, every=5.0)

    server = rpc.Server(service)
    server.add(
        cell_pb2_grpc.add_CellServiceServicer_to_server, CellApi(database, catalogue, definitions, logs)
    )
    server.add(
        definition_pb2_grpc.add_DefinitionServiceServicer_to_server,
        DefinitionApi(database, service.clock, definitions, logs),
    )
    server.add(
        signal_pb2_grpc.add_SignalServiceServicer_to_server,
        SignalApi(database, bus, service, catalogue, directory),
    )
    await server.start()
    service.on_stop("rpc", server.stop)
