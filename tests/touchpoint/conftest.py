"""The touchpoint service among small neighbours that speak the real contracts over real servers."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from iop.adapter.v1 import adapter_pb2, adapter_pb2_grpc, decision_pb2, decision_pb2_grpc
from iop.audience.v1 import directory_pb2, directory_pb2_grpc, list_pb2, list_pb2_grpc
from iop.audience.v1 import events_pb2 as audience_events
from iop.campaign.v1 import activity_pb2
from iop.campaign.v1 import events_pb2 as campaign_events
from iop.touchpoint.v1 import events_pb2, ledger_pb2, ledger_pb2_grpc, touchpoint_pb2_grpc
from pyroaring import BitMap

from services.kit import errors, rpc
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.bus import Bus, Consumer, Delivery, Stream
from services.kit.clock import ClockFile
from services.touchpoint.domain import keys
from services.touchpoint.flow.centre import Centre

SMS, EVENT_SMS, DATA_PLUS, TOOLBAR, STORE_COUNTER, COMP, SMS_HALL = 1, 2, 3, 4, 8, 11, 12
ADAPTER = Actor("adapter:sms-1", "sms-1", frozenset({"adapter"}), touchpoints=("sms", "event_sms", "comp"))
HALL = Actor("adapter:hall-1", "hall-1", frozenset({"adapter"}), touchpoints=("sms_hall",))
CLERK = Actor("user:clerk", "Clerk", frozenset({"clerk"}), (150000,))
PLANNER = Actor("user:planner", "Planner", frozenset({"planner"}), (150000,))
PLATFORM = Actor("service:campaign", "campaign", frozenset({"service"}))

NINE = datetime(2026, 6, 10, 1, 0, tzinfo=UTC)  # 09:00 in the region
DAY = keys.day_number(NINE.date())
PHONE = 13800000000  # number of ordinal 0; each ordinal has the next one
SUBSCRIBER = 5_000_000_000  # id of ordinal 0
SUBSCRIBERS = 3_000


class Directory(directory_pb2_grpc.DirectoryServiceServicer):
    """A directory of consecutive numbers."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def StreamDirectory(self, request, context):
        ordinals = np.arange(request.start_ordinal, SUBSCRIBERS)
        for part in np.array_split(ordinals, 3):
            yield directory_pb2.DirectoryChunk(
                directory_version=1,
                ordinals=part.astype("<u4").tobytes(),
                subscriber_ids=(part + SUBSCRIBER).astype("<i8").tobytes(),
                phones=np.where(part == self.world.numberless, 0, part + PHONE).astype("<i8").tobytes(),
                counties=np.full(len(part), 150102, "<i4").tobytes(),
            )

    async def GetVariables(self, request, context):
        ordinals = np.frombuffer(request.ordinals, "<u4").tolist()
        answer = directory_pb2.GetVariablesResponse()
        for tag in request.tags:
            if tag not in self.world.tags:
                raise errors.Invalid(
                    f"no tag {tag}", reason="TAG_UNKNOWN", fields=[("tags[0]", "no such tag")]
                )
            answer.columns.add(tag=tag, values=[self.world.tags[tag](ordinal) for ordinal in ordinals])
        return answer


class Lists(list_pb2_grpc.ListServiceServicer):
    """Suppression lists."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def GetSuppressionBitmaps(self, request, context):
        answer = list_pb2.SuppressionBitmaps(version=self.world.suppression_version)
        for number, members in self.world.lists.items():
            answer.bitmaps.add(suppression_list=number, bitmap=BitMap(members).serialize())
        return answer


class World:
    """What the neighbours know and have heard."""

    def __init__(self, service: Service, clock: Path) -> None:
        self.service = service
        self.clock = clock
        self.lists: dict[int, set[int]] = defaultdict(set)
        self.suppression_version = 1
        self.tags: dict[str, Callable[[int], str]] = {"spend": lambda ordinal: f"{ordinal}.50"}
        self.numberless = -1
        self.settled: list[Any] = []
        self.replies: list[Any] = []
        self.feedback: list[Any] = []
        self.bus: Bus = None  # type: ignore[assignment]
        self._pages = 0

    async def start(self) -> None:
        self.bus = await Bus.connect(self.service)
        await self.bus.ensure(
            streams=[
                Stream("IOP_CAMPAIGN", ("iop.campaign.v1.>",)),
                Stream("IOP_AUDIENCE", ("iop.audience.v1.>",)),
            ]
        )
        server = rpc.Server(self.service)
        server.add(directory_pb2_grpc.add_DirectoryServiceServicer_to_server, Directory(self))
        server.add(list_pb2_grpc.add_ListServiceServicer_to_server, Lists(self))
        await server.start()
        self.service.on_stop("rpc", server.stop)

    async def listen(self) -> None:
        """Hear what the touchpoint service announces."""
        consumer = Consumer("IOP_TOUCHPOINT", "listener")
        await self.bus.ensure(consumers=[consumer])
        await self.bus.consume(consumer, self._heard)

    async def _heard(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            message = delivery.message
            if isinstance(message, events_pb2.TouchSettled):
                self.settled.append(message)
            elif isinstance(message, events_pb2.ReplyReceived):
                self.replies.append(message)
            else:
                self.feedback.append(message)

    def at(self, when: datetime) -> None:
        """Set the business clock."""
        ClockFile.write(self.clock, when)

    async def launch(
        self,
        number: int = 7,
        touchpoints: tuple[int, ...] = (SMS,),
        *,
        event: bool = False,
        words: str = "流量优惠",
        priority: int = 2,
        end: str = "2026-06-30",
        start: str = "2026-06-01",
        keep_block: bool = False,
        instruction: str = "",
        marketing_type: str = "traffic",
        trace_budget: int = 0,
        traceparent: str = "",
    ) -> None:
        """Announce a launch."""
        mode = activity_pb2.MODE_EVENT_TRIGGERED if event else activity_pb2.MODE_ACTIVE_PUSH
        activity = activity_pb2.Activity(
            name=f"campaigns/c/activities/a{number}",
            display_name=f"Activity {number}",
            code=f"A{number}",
            mode=mode,
            activity_number=number,
        )
        activity.product.code, activity.product.display_name = f"P{number}", f"Product {number}"
        activity.product.order_instruction = instruction
        for touchpoint in touchpoints:
            setting = activity.settings.add(
                touchpoint=touchpoint, priority=priority, marketing_words=words, fields={"title": "T"}
            )
            setting.period.start_date, setting.period.end_date = start, end
            setting.suppression.keep_block_list = keep_block
        message = campaign_events.ActivityLaunched(
            activity=activity,
            marketing_type=marketing_type,
            trace_budget=trace_budget,
            traceparent=traceparent,
        )
        await self.bus.publish(message, key=f"activity-{number}")

    async def state(self, number: int, state: int, version: int) -> None:
        """Announce a state."""
        await self.bus.publish(
            campaign_events.ActivityStateChanged(activity_number=number, state=state, version=version),
            key=f"activity-{number}",
        )

    async def suppress(self, number: int, added: list[int]) -> None:
        """Announce new members of a list."""
        self.suppression_version += 1
        self.lists[number].update(added)
        await self.bus.publish(
            audience_events.SuppressionChanged(
                version=self.suppression_version,
                suppression_list=number,
                added=np.array(added, "<u4").tobytes(),
            )
        )

    async def page(
        self,
        ordinals: Any,
        number: int = 7,
        touchpoint: int = SMS,
        *,
        lane: str = "medium",
        occurrence: int = 1,
        day: int = DAY,
        page_id: str = "",
        occurred_at: Any = None,
        time_to_live: int = 0,
    ) -> str:
        """Request touches; the page's id."""
        self._pages += 1
        made = page_id or f"{number}.{touchpoint}.{self._pages}"
        message = events_pb2.TouchRequested(
            page_id=made,
            activity_number=number,
            touchpoint=touchpoint,
            planned_day=day,
            occurrence=occurrence,
            ordinals=np.array(list(ordinals), "<u4").tobytes(),
            time_to_live_seconds=time_to_live,
        )
        if occurred_at is not None:
            message.occurred_at = np.array(occurred_at, "<i8").tobytes()
        await self.bus.publish(message, partition=number % 4, lane=lane, message_id=f"{made}-{self._pages}")
        return made


class Platform:
    """The touchpoint service as its callers see it."""

    def __init__(self, service: Service, world: World, stub: Callable[..., Any]) -> None:
        self.service = service
        self.world = world
        self.adapter = stub(service, adapter_pb2_grpc.AdapterServiceStub, ADAPTER)
        self.hall = stub(service, adapter_pb2_grpc.AdapterServiceStub, HALL)
        self.decision = stub(service, decision_pb2_grpc.DecisionServiceStub, CLERK)
        self.ledger = stub(service, ledger_pb2_grpc.LedgerServiceStub)
        self.centre = stub(service, touchpoint_pb2_grpc.TouchpointServiceStub)
        self.stub = stub

    def centre_of(self) -> Centre:
        """The state of the running service, for what no call brings about: monotonic time passing."""
        found = [
            item for item in gc.get_objects() if isinstance(item, Centre) and item.service is self.service
        ]
        assert len(found) == 1
        return found[0]

    async def idle(self, seconds: float = 20) -> None:
        """Wait until the service has nothing in hand."""

        async def rest() -> bool:
            return bool((await self.service.status.report("touchpoint")).idle)

        await until(rest, seconds)

    async def session(
        self,
        touchpoints: tuple[int, ...] = (SMS,),
        *,
        name: str = "sms-1",
        receipts: bool = True,
        idempotent: bool = True,
        rate: float = 0,
    ) -> str:
        """Open a session."""
        idempotency = adapter_pb2.IDEMPOTENCY_IDEMPOTENT if idempotent else adapter_pb2.IDEMPOTENCY_NONE
        answer = await self.adapter.OpenSession(
            adapter_pb2.OpenSessionRequest(
                adapter=name,
                touchpoints=touchpoints,
                idempotency=idempotency,
                max_batch=1000,
                receipts=receipts,
                rate=rate,
            )
        )
        return str(answer.session)

    async def lease(self, session: str, most: int = 1000, wait: int = 0) -> Any:
        """Lease touches."""
        return await self.adapter.LeaseTouches(
            adapter_pb2.LeaseTouchesRequest(session=session, max_touches=most, wait_milliseconds=wait)
        )

    async def report(self, session: str, touches: Any, status: str, **fields: Any) -> Any:
        """Report one status for touches (or touch ids)."""
        ids = [touch if isinstance(touch, str) else touch.touch_id for touch in touches]
        value = adapter_pb2.ReceiptStatus.Value(f"RECEIPT_STATUS_{status}")
        return await self.adapter.ReportReceipts(
            adapter_pb2.ReportReceiptsRequest(
                session=session,
                receipts=[adapter_pb2.Receipt(touch_id=i, status=value, **fields) for i in ids],
            )
        )

    async def reply(self, session: str, ordinal: int, text: str, touchpoint: int = SMS) -> Any:
        """Report one reply; its result."""
        stub = self.hall if touchpoint == SMS_HALL else self.adapter
        answer = await stub.ReportReplies(
            adapter_pb2.ReportRepliesRequest(
                session=session,
                replies=[
                    adapter_pb2.Reply(
                        reply_id=f"r-{ordinal}-{text}",
                        phone=str(PHONE + ordinal),
                        text=text,
                        touchpoint=touchpoint,
                    )
                ],
            )
        )
        return answer.results[0]

    async def counters(self, number: int = 7, touchpoint: int = SMS) -> SimpleNamespace:
        """Counters of one activity and touchpoint; they always balance."""
        answer = await self.ledger.ListTouchCounters(
            ledger_pb2.ListTouchCountersRequest(activity_numbers=[number])
        )
        for row in answer.counters:
            assert row.imbalance == 0, row
            if row.touchpoint == touchpoint:
                return SimpleNamespace(
                    received=row.received,
                    waiting=row.waiting,
                    held=row.held,
                    queued=row.queued,
                    leased=row.leased,
                    cancelled=row.cancelled,
                    clicks=row.clicks,
                    replies=row.replies,
                    suppressed={item.reason: item.count for item in row.suppressed},
                    settled={item.reason: item.count for item in row.settled},
                )
        zeros = dict.fromkeys(
            ("received", "waiting", "held", "queued", "leased", "cancelled", "clicks", "replies"), 0
        )
        return SimpleNamespace(**zeros, suppressed={}, settled={})

    async def received(self, count: int, number: int = 7, touchpoint: int = SMS) -> SimpleNamespace:
        """Wait until so many touches were taken in; the counters."""

        async def there() -> bool:
            return (await self.counters(number, touchpoint)).received >= count

        await until(there)
        return await self.counters(number, touchpoint)

    async def touch(self, touch_id: str) -> Any:
        """One touch with its history."""
        return await self.ledger.GetTouch(ledger_pb2.GetTouchRequest(name=f"touches/{touch_id}"))

    async def decide(self, ordinal: int, touchpoint: int = STORE_COUNTER, most: int = 1) -> list[Any]:
        """Offers for a customer."""
        answer = await self.decision.Decide(
            decision_pb2.DecideRequest(touchpoint=touchpoint, phone=PHONE + ordinal, max_offers=most)
        )
        return list(answer.offers)

    async def feedback(self, touch_id: str, kind: str) -> Any:
        """Report what a customer did."""
        value = decision_pb2.FeedbackKind.Value(f"FEEDBACK_KIND_{kind}")
        return await self.decision.ReportFeedback(
            decision_pb2.ReportFeedbackRequest(
                feedback=[decision_pb2.Feedback(touch_id=touch_id, kind=value)]
            )
        )


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)


def outcomes(settled: list[Any]) -> Counter[tuple[int, int, int]]:
    """(ordinal, outcome, previous) of announcements, counted."""
    made: Counter[tuple[int, int, int]] = Counter()
    for message in settled:
        ordinals = np.frombuffer(message.ordinals, "<u4").tolist()
        made.update(zip(ordinals, message.outcomes, message.previous_outcomes, strict=True))
    return made


def later(**delta: float) -> datetime:
    """09:00 and something."""
    return NINE + timedelta(**delta)


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A business clock that stands at 09:00."""
    path = tmp_path / "clock"
    ClockFile.write(path, NINE)
    return path


@pytest_asyncio.fixture
async def world(bare_service: Callable[..., Service], nats_url: str, clock: Path) -> AsyncIterator[World]:
    """The neighbours, started."""
    service = bare_service("audience", nats_url=nats_url)
    made = World(service, clock)
    await made.start()
    yield made


@pytest_asyncio.fixture
async def platform(
    make_service: Any, world: World, clock: Path, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Platform]:
    """The touchpoint service without contact caps, its neighbours listening."""
    monkeypatch.setenv("IOP_CONTACT_CAPS", "")
    service = await make_service("touchpoint", peers=[world.service], clock=str(clock))
    await world.listen()
    yield Platform(service, world, stub)
