"""The campaign service: starts in one straight line."""

from dataclasses import dataclass

from iop.campaign.v1 import activity_pb2_grpc, campaign_pb2_grpc

from services.campaign import announce, messages
from services.campaign.api.activities import ActivityApi
from services.campaign.api.campaigns import CampaignApi
from services.campaign.bitmaps import BUCKET, Bitmaps
from services.campaign.jobs.completer import Completer
from services.campaign.jobs.launcher import Launcher
from services.campaign.jobs.planner import Planner
from services.campaign.jobs.refresher import Refresher
from services.campaign.neighbours import Neighbours
from services.kit import config, outbox, rpc
from services.kit.app import Service
from services.kit.bus import Bus


@dataclass(frozen=True)
class Settings:
    """Settings of this service; each is read from `IOP_<NAME>`."""

    page_size: int = 500  # touches in a page of a push
    outstanding_pages: int = 8  # pages of one activity and touchpoint on their way at once
    match_page_size: int = 5000  # touches in a page of matches
    trace_budget: int = 50  # traced touches, and traced planning runs, of an activity a day
    planner_seconds: float = 0.1  # between looks at the touchpoints' intake
    completer_seconds: float = 1.0  # between looks at the business clock


async def start(service: Service) -> None:
    """Start the service; every stop is registered beside its start."""
    settings = config.load(Settings)
    database = service.database()
    bus = await Bus.connect(service)
    await bus.ensure(streams=[announce.STREAM], buckets=[BUCKET])
    relay = outbox.Relay(database, bus, service)
    service.spawn("outbox", relay.run())

    neighbours = Neighbours(service)
    bitmaps = Bitmaps(bus)
    planner = Planner(
        service,
        database,
        neighbours,
        bitmaps,
        page_size=settings.page_size,
        outstanding_pages=settings.outstanding_pages,
        trace_budget=settings.trace_budget,
    )
    launcher = Launcher(service, database, neighbours, bitmaps, planner, settings.trace_budget)

    server = rpc.Server(service)
    campaign_api = CampaignApi(service, database, neighbours, launcher)
    activity_api = ActivityApi(service, database, neighbours, launcher, bitmaps)
    server.add(campaign_pb2_grpc.add_CampaignServiceServicer_to_server, campaign_api)
    server.add(activity_pb2_grpc.add_ActivityServiceServicer_to_server, activity_api)
    await server.start()
    service.on_stop("rpc", server.stop)

    service.job("launcher", launcher.run, every=1.0)
    service.job("planner", planner.run, every=settings.planner_seconds)
    service.job("completer", Completer(service, database).run, every=settings.completer_seconds)
    refresher = Refresher(service, database, neighbours, bitmaps)
    service.job("refresher", refresher.run, every=settings.completer_seconds)

    # The event service may declare its stream later than we serve.
    matches = messages.Matches(service, database, bitmaps, settings.match_page_size)
    service.spawn("matches", matches.consume(bus, service.runtime.partitions))
