"""Starts the campus service."""

from iop.audience.v1 import directory_pb2_grpc, list_pb2_grpc
from iop.campus.v1 import school_pb2_grpc
from iop.event.v1 import cell_pb2_grpc

from services.campus.api import SchoolApi
from services.campus.api.students import BITMAPS
from services.kit import outbox, rpc
from services.kit.app import Service
from services.kit.bus import Bucket, Bus, Stream

STREAM = Stream("IOP_CAMPUS", ("iop.campus.v1.>",))


async def start(service: Service) -> None:
    """Database, bus, server. Calls to audience and event are made as the user whose call is served."""
    database = service.database()
    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM], buckets=[Bucket(BITMAPS)])
    relay = outbox.Relay(database, bus, service)
    service.spawn("outbox", relay.run())

    audience = rpc.channel(service, "audience")
    event = rpc.channel(service, "event")
    api = SchoolApi(
        service,
        database,
        bus,
        lists=list_pb2_grpc.ListServiceStub(audience),
        directory=directory_pb2_grpc.DirectoryServiceStub(audience),
        cells=cell_pb2_grpc.CellServiceStub(event),
    )
    server = rpc.Server(service)
    server.add(school_pb2_grpc.add_SchoolServiceServicer_to_server, api)
    await server.start()
    service.on_stop("rpc", server.stop)
