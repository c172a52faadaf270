"""Starts the evaluation service."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from iop.audience.v1 import directory_pb2, directory_pb2_grpc
from iop.evaluation.v1 import report_pb2_grpc

from services.evaluation import messages
from services.evaluation.api import EvaluationApi, OrderApi
from services.evaluation.engine.directory import Chunk, Directory
from services.kit import actor, outbox, rpc
from services.kit.app import Service
from services.kit.bus import Bus, Stream

STREAM = Stream("IOP_EVALUATION", ("iop.evaluation.v1.>",))
REFRESH_S = 30.0


async def start(service: Service) -> None:
    """Database, bus, server; then the consumers, each as soon as its stream's owner has declared it."""
    database = service.database()
    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM])
    relay = outbox.Relay(database, bus, service)
    service.spawn("outbox", relay.run())

    directory = Directory(_stream(directory_pb2_grpc.DirectoryServiceStub(rpc.channel(service, "audience"))))
    service.job("directory", directory.refresh, every=REFRESH_S)

    server = rpc.Server(service)
    server.add(
        report_pb2_grpc.add_EvaluationServiceServicer_to_server, EvaluationApi(service, database, directory)
    )
    server.add(report_pb2_grpc.add_OrderServiceServicer_to_server, OrderApi(service, database, directory))
    await server.start()
    service.on_stop("rpc", server.stop)

    handlers = messages.Messages(database, bus, directory, service.runtime.timezone)
    consumers = {
        messages.DIRECTORY: handlers.directory_changed,
        messages.STUDENTS: handlers.students_identified,
        messages.ACTIVITIES: handlers.activities_launched,
        messages.TOUCHES: handlers.touches_settled,
        messages.RESPONSES: handlers.responses,
    }
    waiting = set(consumers)
    service.status.busy("streams_awaited", lambda: len(waiting))
    for consumer, handler in consumers.items():

        async def follow(consumer: Any = consumer, handler: Any = handler) -> None:
            await bus.ensure(consumers=[consumer])
            await bus.consume(consumer, handler)
            waiting.discard(consumer)

        service.spawn(f"follow {consumer.name}", follow())


def _stream(stub: Any) -> Any:
    async def stream(start_ordinal: int, since_version: int) -> AsyncIterator[Chunk]:
        request = directory_pb2.StreamDirectoryRequest(
            start_ordinal=start_ordinal, since_version=since_version
        )
        # The copy is the service's own, whoever's call needs it.
        with rpc.acting(actor.of_service("evaluation")):
            chunks = stub.StreamDirectory(request)
        async for chunk in chunks:
            yield (
                chunk.directory_version,
                np.frombuffer(chunk.ordinals, "<u4"),
                np.frombuffer(chunk.subscriber_ids, "<i8"),
                np.frombuffer(chunk.phones, "<i8"),
                np.frombuffer(chunk.counties, "<i4"),
            )

    return stream
