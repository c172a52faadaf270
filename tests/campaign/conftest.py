"""The campaign service among small neighbours that speak the real contracts over real servers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from iop.audience.v1 import audience_pb2, audience_pb2_grpc, directory_pb2, directory_pb2_grpc
from iop.campaign.v1 import activity_pb2, activity_pb2_grpc, campaign_pb2, campaign_pb2_grpc
from iop.common.v1 import runtime_pb2, runtime_pb2_grpc, types_pb2
from iop.event.v1 import definition_pb2, definition_pb2_grpc
from iop.event.v1 import events_pb2 as event_events
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc, touchpoint_pb2, touchpoint_pb2_grpc
from pyroaring import BitMap

from services.kit import errors, rpc
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.bus import Bucket, Bus, Consumer, Delivery, Stream
from services.kit.clock import ClockFile, to_micros
from services.kit.partition import partitions_of

PLANNER = Actor("user:planner", "Planner", frozenset({"planner"}), (150000,))
APPROVER = Actor("user:approver", "Approver", frozenset({"approver"}), (150000,))
HOHHOT = Actor("user:hohhot", "Hohhot", frozenset({"planner", "approver"}), (150100,))
MORNING = datetime(2026, 6, 10, 1, 0, tzinfo=UTC)  # 09:00 in the region

SMS, EVENT_SMS, DATA_PLUS, STORE_COUNTER, SMS_HALL = 1, 2, 3, 8, 12
PHONE = 13800000000  # the number of ordinal 0; each ordinal has the next one


def _info(touchpoint: Any, modes: list[str], fields: list[tuple[str, str, bool, int]], **options: Any) -> Any:
    return touchpoint_pb2.TouchpointInfo(
        touchpoint=touchpoint,
        modes=modes,
        fields=[
            touchpoint_pb2.FieldSchema(key=key, type=kind, required=required, max_length=length)
            for key, kind, required, length in fields
        ],
        **options,
    )


_PUSH = ["active_push", "external_import"]
_WORDS = ("marketing_words", "long_text", True, 300)
CATALOGUE = [
    _info(
        SMS, _PUSH, [_WORDS, ("activity_description", "text", False, 0)], suppression=True, sms_contract=True
    ),
    _info(
        EVENT_SMS, ["event_triggered"], [_WORDS], suppression=True, sms_contract=True, periodic_update=True
    ),
    _info(
        DATA_PLUS,
        ["event_triggered", *_PUSH],
        [_WORDS, ("title", "text", True, 20), ("url", "url", False, 0)],
        suppression=True,
        periodic_update=True,
    ),
    _info(STORE_COUNTER, [*_PUSH, "event_triggered"], [_WORDS], suppression=True, periodic_update=True),
    _info(SMS_HALL, _PUSH, [("hall_activity", "text", True, 0)]),
]


class World:
    """What the neighbours know and have heard."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.bus: Bus = None  # type: ignore[assignment]
        self.sources: dict[str, BitMap] = {}
        self.excluded: dict[str, dict[str, BitMap]] = defaultdict(dict)
        self.snapshots: dict[str, Any] = {}
        self.snapshot_requests: list[Any] = []
        self.definitions = {"definitions/gate": 41}
        self.pages: list[Any] = []  # TouchRequested as they came
        self.page_contexts: list[dict[str, str]] = []
        self.page_lanes: list[str] = []
        self.announced: list[Any] = []
        self.received: dict[tuple[int, int], int] = defaultdict(int)
        self.room = 1_000_000
        self.takes_in = True
        self.knows_all = True
        self.fail_snapshots: list[Exception] = []

    async def start(self) -> None:
        self.bus = await Bus.connect(self.service)
        await self.bus.ensure(
            streams=[
                Stream("IOP_EVENT", ("iop.event.v1.event.>",)),
                Stream(
                    "IOP_TOUCHPOINT_WORK",
                    ("iop.touchpoint.v1.touch.requested.*.*",),
                    retention="workqueue",
                    discard="new",
                ),
            ],
            buckets=[Bucket("IOP_BITMAPS")],
        )
        server = rpc.Server(self.service)
        served: list[tuple[Any, Any]] = [
            (audience_pb2_grpc.add_AudienceServiceServicer_to_server, Audience),
            (directory_pb2_grpc.add_DirectoryServiceServicer_to_server, Directory),
            (definition_pb2_grpc.add_DefinitionServiceServicer_to_server, Definitions),
            (touchpoint_pb2_grpc.add_TouchpointServiceServicer_to_server, Touchpoints),
            (ledger_pb2_grpc.add_LedgerServiceServicer_to_server, Ledger),
        ]
        for add, neighbour in served:
            server.add(add, neighbour(self))
        await server.start()
        self.service.on_stop("rpc", server.stop)
        work = Consumer("IOP_TOUCHPOINT_WORK", "touchpoint-work")
        await self.bus.ensure(consumers=[work])
        await self.bus.consume(work, self._page)

    async def listen(self) -> None:
        """Hear what campaign announces; its stream must be there."""
        announced = Consumer("IOP_CAMPAIGN", "listener")
        await self.bus.ensure(consumers=[announced])
        await self.bus.consume(announced, self._announcement)

    async def _page(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            page = delivery.message
            self.pages.append(page)
            self.page_contexts.append(delivery.headers)
            self.page_lanes.append(delivery.lane)
            if self.takes_in:
                self.received[page.activity_number, page.touchpoint] += len(page.ordinals) // 4

    async def _announcement(self, deliveries: list[Delivery]) -> None:
        self.announced += [delivery.message for delivery in deliveries]

    def take_in(self) -> None:
        """Everything that came so far has been taken in."""
        for key in {(page.activity_number, page.touchpoint) for page in self.pages}:
            self.received[key] = self.handed(*key)

    def handed(self, number: int, touchpoint: int) -> int:
        """Touches in the pages that came."""
        return sum(len(ordinals) for ordinals in self.pages_of(number, touchpoint))

    def pages_of(self, number: int, touchpoint: int) -> list[list[int]]:
        """Ordinals of each page that came."""
        return [
            np.frombuffer(page.ordinals, "<u4").tolist()
            for page in self.pages
            if (page.activity_number, page.touchpoint) == (number, touchpoint)
        ]

    def heard(self, kind: type) -> list[Any]:
        """Announcements of one type."""
        return [message for message in self.announced if isinstance(message, kind)]

    async def bitmap(self, ref: Any) -> BitMap:
        """A bitmap that was announced."""
        data = await self.bus.get_object("IOP_BITMAPS", ref.object, ref.digest)
        found = BitMap.deserialize(data)
        assert len(found) == ref.cardinality
        return found

    async def match(
        self,
        number: int,
        ordinals: list[int],
        at: datetime | list[datetime],
        message_id: str,
        period: int = 202606,
    ) -> None:
        """Publish one batch of matches."""
        times = at if isinstance(at, list) else [at] * len(ordinals)
        await self.bus.publish(
            event_events.EventMatched(
                definition_number=41,
                activity_number=number,
                period=period,
                ordinals=np.array(ordinals, "<u4").tobytes(),
                occurred_at=np.array([to_micros(t) for t in times], "<i8").tobytes(),
            ),
            partition=self.partition_of(ordinals),
            message_id=message_id,
        )

    @staticmethod
    def partition_of(ordinals: list[int]) -> int:
        """Where these tests send a batch."""
        return int(partitions_of(np.array(ordinals[:1]), 4)[0])


class Neighbour:
    def __init__(self, world: World) -> None:
        self.world = world


class Audience(Neighbour, audience_pb2_grpc.AudienceServiceServicer):
    async def CreateSnapshot(self, request: Any, context: Any) -> Any:
        world = self.world
        world.snapshot_requests.append(request)
        if world.fail_snapshots:
            raise world.fail_snapshots.pop(0)
        if request.request_id not in world.snapshots:
            source = request.WhichOneof("source")
            name = "all" if source == "all_customers" else getattr(request, source)
            if name not in world.sources:
                raise errors.NotFound(f"there is no {name}")
            matched = world.sources[name]
            kept, excluded = BitMap(matched), []
            for reason, members in world.excluded[name].items():
                if getattr(request.suppression, f"keep_{reason}", False):
                    continue
                out = kept & members
                kept -= out
                excluded.append(types_pb2.ReasonCount(reason=reason, count=len(out)))
            object_name = f"snapshot-{len(world.snapshots)}"
            digest = await world.bus.put_object("IOP_BITMAPS", object_name, bytes(kept.serialize()))
            world.snapshots[request.request_id] = audience_pb2.Snapshot(
                name=f"snapshots/s{len(world.snapshots)}",
                source=name,
                matched=len(matched),
                excluded=excluded,
                bitmap=types_pb2.BitmapRef(
                    object=object_name, digest=digest, cardinality=len(kept), directory_version=3
                ),
            )
        return world.snapshots[request.request_id]


class Directory(Neighbour, directory_pb2_grpc.DirectoryServiceServicer):
    async def LookUpSubscribers(self, request: Any, context: Any) -> Any:
        found = directory_pb2.LookUpSubscribersResponse()
        for position, phone in enumerate(request.phones):
            if phone >= PHONE:
                found.subscribers.add(ordinal=phone - PHONE)
            else:
                found.missing.append(position)
        return found


class Definitions(Neighbour, definition_pb2_grpc.DefinitionServiceServicer):
    async def GetDefinition(self, request: Any, context: Any) -> Any:
        if request.name not in self.world.definitions:
            raise errors.NotFound(f"there is no {request.name}")
        return definition_pb2.Definition(
            name=request.name, definition_number=self.world.definitions[request.name]
        )


class Touchpoints(Neighbour, touchpoint_pb2_grpc.TouchpointServiceServicer):
    async def ListTouchpoints(self, request: Any, context: Any) -> Any:
        return touchpoint_pb2.ListTouchpointsResponse(touchpoints=CATALOGUE)


class Ledger(Neighbour, ledger_pb2_grpc.LedgerServiceServicer):
    async def GetIntake(self, request: Any, context: Any) -> Any:
        response = ledger_pb2.GetIntakeResponse()
        if self.world.knows_all:
            for number in request.activity_numbers:
                for touchpoint in range(1, 13):
                    received = self.world.received[number, touchpoint]
                    response.intakes.add(
                        activity_number=number, touchpoint=touchpoint, received=received, room=self.world.room
                    )
        return response


class Campaign:
    """A started campaign service and its callers."""

    def __init__(self, service: Service, stub: Callable[..., Any], clock: Path) -> None:
        self.service = service
        self.clock = clock
        self.campaigns = stub(service, campaign_pb2_grpc.CampaignServiceStub, PLANNER)
        self.activities = stub(service, activity_pb2_grpc.ActivityServiceStub, PLANNER)
        self.approvals = stub(service, campaign_pb2_grpc.CampaignServiceStub, APPROVER)
        self._runtime = stub(service, runtime_pb2_grpc.RuntimeServiceStub)

    async def create(self, name: str = "camp", **fields: Any) -> Any:
        return await self.campaigns.CreateCampaign(
            campaign_pb2.CreateCampaignRequest(campaign=head(**fields), campaign_id=name)
        )

    async def add(self, parent: str, name: str = "act", **fields: Any) -> Any:
        return await self.activities.CreateActivity(
            activity_pb2.CreateActivityRequest(parent=parent, activity_id=name, activity=content(**fields))
        )

    async def park(self, activity: str, touchpoint: int = SMS, **fields: Any) -> Any:
        return await self.activities.AddToCart(
            activity_pb2.AddToCartRequest(activity=activity, setting=setting(touchpoint, **fields))
        )

    async def submit_and_approve(self, name: str) -> Any:
        submitted = await self.campaigns.SubmitCampaign(campaign_pb2.SubmitCampaignRequest(name=name))
        return await self.approvals.ApproveCampaign(
            campaign_pb2.ApproveCampaignRequest(name=name, content_digest=submitted.content_digest)
        )

    async def launch(self, name: str, **fields: Any) -> Any:
        return await self.campaigns.LaunchCampaign(campaign_pb2.LaunchCampaignRequest(name=name, **fields))

    async def run(self, *, touchpoints: tuple[int, ...] = (SMS,), name: str = "camp", **fields: Any) -> Any:
        """A campaign with one activity, launched; the activity."""
        campaign = await self.create(name)
        activity = await self.add(campaign.name, **fields)
        for touchpoint in touchpoints:
            await self.park(activity.name, touchpoint)
        await self.submit_and_approve(campaign.name)
        await self.launch(campaign.name)
        return await self.activity(activity.name)

    async def activity(self, name: str) -> Any:
        return await self.activities.GetActivity(activity_pb2.GetActivityRequest(name=name))

    async def campaign(self, name: str = "campaigns/camp") -> Any:
        return await self.campaigns.GetCampaign(campaign_pb2.GetCampaignRequest(name=name))

    async def verb(self, verb: str, name: str = "campaigns/camp", **fields: Any) -> Any:
        request = getattr(campaign_pb2, f"{verb}CampaignRequest")
        return await getattr(self.campaigns, f"{verb}Campaign")(request(name=name, **fields))

    async def progress(self, name: str) -> dict[int, Any]:
        """Progress by touchpoint; the conservation law is checked on the way."""
        found = await self.activities.GetActivityProgress(activity_pb2.GetActivityProgressRequest(name=name))
        for row in found.touchpoints:
            out = sum(item.count for item in row.excluded)
            assert row.target == row.control + out + row.unplanned + row.handed, row
        return {row.touchpoint: row for row in found.touchpoints}

    async def journal(self, name: str = "campaigns/camp") -> list[Any]:
        response = await self.campaigns.ListJournal(campaign_pb2.ListJournalRequest(parent=name))
        return list(response.entries)

    async def settled(self, seconds: float = 20.0) -> None:
        """Wait until the service has nothing in hand, twice in a row."""
        end, quiet = asyncio.get_running_loop().time() + seconds, 0
        while quiet < 2:
            status = await self._runtime.GetStatus(runtime_pb2.GetStatusRequest())
            quiet = quiet + 1 if status.idle else 0
            assert asyncio.get_running_loop().time() < end, status
            await asyncio.sleep(0.02)

    def at(self, moment: datetime) -> None:
        """Set the business clock."""
        ClockFile.write(self.clock, moment)


def head(**fields: Any) -> Any:
    """A campaign as a planner fills it in."""
    values: dict[str, Any] = {
        "display_name": "Feixiang 38",
        "region": 150000,
        "period": types_pb2.DateRange(start_date="2026-06-01", end_date="2026-06-30"),
    }
    return campaign_pb2.Campaign(**{**values, **fields})


def content(**fields: Any) -> Any:
    """A complete push activity."""
    values: dict[str, Any] = {
        "display_name": "38-yuan tier",
        "code": "FX38",
        "mode": activity_pb2.MODE_ACTIVE_PUSH,
        "target": activity_pb2.Target(audience="audiences/feixiang"),
        "product": activity_pb2.Product(code="101040040146", display_name="Feixiang 38", price_fen=3800),
        "control_percent": 10,
    }
    if fields.get("mode") == activity_pb2.MODE_EVENT_TRIGGERED:
        values["definition"] = "definitions/gate"
    return activity_pb2.Activity(**{**values, **fields})


def setting(touchpoint: int = SMS, **fields: Any) -> Any:
    """A setting that fits its touchpoint."""
    values: dict[str, Any] = {
        "touchpoint": touchpoint,
        "period": types_pb2.DateRange(start_date="2026-06-05", end_date="2026-06-20"),
        "marketing_words": "Reply KTAQY30",
    }
    if touchpoint == DATA_PLUS:
        values["fields"] = {"title": "Traffic package"}
    if touchpoint == SMS_HALL:
        values["marketing_words"] = ""
        values["fields"] = {"hall_activity": "H1"}
    return activity_pb2.TouchpointSetting(**{**values, **fields})


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The business clock, standing at nine in the morning of 10 June."""
    path = tmp_path / "clock"
    ClockFile.write(path, MORNING)
    return path


@pytest_asyncio.fixture
async def world(nats_url: str, bare_service: Callable[..., Service]) -> AsyncIterator[World]:
    """The neighbours."""
    made = World(bare_service("neighbours", nats_url=nats_url))
    made.sources["audiences/feixiang"] = BitMap(range(0, 12_000, 3))
    made.sources["lists/import"] = BitMap(range(100, 160))
    made.sources["all"] = BitMap(range(20_000))
    made.excluded["audiences/feixiang"] = {
        "block_list": BitMap(range(300)),
        "red_list": BitMap(range(200, 600)),
    }
    await made.start()
    yield made


@pytest_asyncio.fixture
async def start_campaign(
    world: World, make_service: Any, stub: Callable[..., Any], clock: Path
) -> Callable[..., Any]:
    """`await start_campaign(**runtime fields)`: another start of the service."""

    async def start(**fields: Any) -> Campaign:
        address = world.service.rpc.address  # type: ignore[union-attr]
        addresses = dict.fromkeys(("audience", "event", "touchpoint"), address)
        service = await make_service("campaign", addresses=addresses, clock=str(clock), **fields)
        return Campaign(service, stub, clock)

    return start


@pytest_asyncio.fixture
async def campaign(start_campaign: Callable[..., Any], world: World) -> Campaign:
    """A started service with a planner and an approver."""
    made: Campaign = await start_campaign()
    await world.listen()
    return made
