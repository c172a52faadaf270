"""Start of the touchpoint service."""

from dataclasses import dataclass

from iop.adapter.v1 import adapter_pb2_grpc, decision_pb2_grpc
from iop.touchpoint.v1 import ledger_pb2_grpc, touchpoint_pb2, touchpoint_pb2_grpc

from services.kit import clock, config, errors, outbox, rpc
from services.kit.app import Service
from services.kit.bus import Bus
from services.touchpoint import jobs, messages
from services.touchpoint.api.adapter import AdapterApi
from services.touchpoint.api.decision import DecisionApi
from services.touchpoint.api.ledger import LedgerApi
from services.touchpoint.api.touchpoints import TouchpointApi
from services.touchpoint.copies import Copies, policy_of
from services.touchpoint.domain.policy import ContactPolicy, caps, window
from services.touchpoint.engine.caps import Caps
from services.touchpoint.flow import refill
from services.touchpoint.flow.centre import Centre, Limits
from services.touchpoint.store import ledger, registry


@dataclass(frozen=True)
class Settings:
    """Settings of this service; the contact policy is the default until an operator replaces it."""

    lease_seconds: float = 30.0  # IOP_LEASE_SECONDS: an adapter that is silent for longer loses its lease
    session_seconds: float = 60.0  # IOP_SESSION_SECONDS: an adapter that does not call for longer is gone
    queue_limit: int = 20_000  # IOP_QUEUE_LIMIT: touches an activity may have queued and held at a touchpoint
    window: str = "08:00-21:00"  # IOP_WINDOW: active push (DOMAIN 3.5)
    event_window: str = "08:00-18:00"  # IOP_EVENT_WINDOW: event touches (DOMAIN 2.2)
    contact_caps: tuple[str, ...] = ("2/1", "5/7")  # IOP_CONTACT_CAPS: push contacts/days, "" for none
    receipt_hours: float = 2.0  # IOP_RECEIPT_HOURS: without a receipt for longer a touch is unknown

    def limits(self) -> Limits:
        """The settings as rules; errors.Invalid names what is wrong."""
        push_start, _, push_end = self.window.partition("-")
        event_start, _, event_end = self.event_window.partition("-")
        policy = ContactPolicy(
            push_window=window(push_start, push_end, ("IOP_WINDOW", "IOP_WINDOW")),
            event_window=window(event_start, event_end, ("IOP_EVENT_WINDOW", "IOP_EVENT_WINDOW")),
            caps=caps(self.contact_caps),
            receipt_hours=self.receipt_hours,
        )
        return Limits(self.lease_seconds, self.session_seconds, self.queue_limit, policy)


async def start(service: Service) -> None:
    """Start everything in one line; the stops run in reverse."""
    settings = config.load(Settings)
    database = service.database()
    if not service.runtime.redis_url:
        raise errors.Precondition("REDIS_URL is not set")
    caps_ = Caps(service.runtime.redis_url, service.runtime.partitions)
    service.on_stop("redis", caps_.close)
    centre = Centre(service, database, caps_, settings.limits())
    centre.copies = Copies(centre, rpc.channel(service, "audience"))

    centre.epoch, caps_.generation = await database.transaction(ledger.take_over)
    await restore(centre)
    bus = await Bus.connect(service)
    await bus.ensure(streams=messages.STREAMS, consumers=messages.WORK)
    relay = outbox.Relay(database, bus, service)
    service.spawn("outbox", relay.run())
    service.on_stop("work in hand", centre.finish)

    server = rpc.Server(service)
    server.add(touchpoint_pb2_grpc.add_TouchpointServiceServicer_to_server, TouchpointApi(centre))
    server.add(ledger_pb2_grpc.add_LedgerServiceServicer_to_server, LedgerApi(centre))
    server.add(adapter_pb2_grpc.add_AdapterServiceServicer_to_server, AdapterApi(centre))
    server.add(decision_pb2_grpc.add_DecisionServiceServicer_to_server, DecisionApi(centre))
    await server.start()
    service.on_stop("rpc", server.stop)

    jobs.start(centre)
    service.status.busy("queued", centre.ready_to_lease)
    service.status.busy("leased", centre.under_lease)
    service.status.busy("copies", lambda: int(not centre.copies.ready))
    service.status.gauge("leases", centre.leases.size)
    service.status.gauge("offers", lambda: sum(offers.size() for offers in centre.offers.values()))
    service.spawn("copies", follow(centre, bus))


async def restore(centre: Centre) -> None:
    """Rebuild memory from the tables: activities, policy, lists, queues, offers, leases, trace budgets."""
    stored = await centre.db.read(registry.policy)
    if stored is not None:
        version, body, at = stored
        message = touchpoint_pb2.ContactPolicy.FromString(body)
        centre.policy = policy_of(message, version, clock.to_micros(at))
    for ordinal, touchpoint, kind in await centre.db.read(registry.do_not_disturb):
        centre.do_not_disturb.add(ordinal, touchpoint, kind)
    await messages.load_activities(centre)
    used, traced = await centre.db.read(lambda tx: (registry.trace_counts(tx), registry.traced_slices(tx)))
    centre.tracing.restore(used, traced)
    count = await refill.complete(centre)
    if count:
        centre.service.log.info("the queues were rebuilt from %d slices", count)


async def follow(centre: Centre, bus: Bus) -> None:
    """Once the copies are there: follow their owners, and take work in."""
    handlers = messages.Messages(centre)
    await centre.copies.load()
    await bus.ensure(consumers=(messages.ACTIVITIES, messages.DIRECTORY))
    await bus.consume(messages.DIRECTORY, handlers.audience)
    await bus.consume(messages.ACTIVITIES, handlers.activities)
    for consumer in messages.WORK:
        await bus.consume(consumer, handlers.touches_requested)
