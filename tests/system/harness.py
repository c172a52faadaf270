"""A whole platform in processes, with a small region in it, for the journeys and for what breaks them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from iop.adapter.v1 import decision_pb2_grpc
from iop.audience.v1 import (
    audience_pb2,
    audience_pb2_grpc,
    directory_pb2,
    directory_pb2_grpc,
    list_pb2,
    list_pb2_grpc,
    tag_pb2,
    tag_pb2_grpc,
)
from iop.campaign.v1 import activity_pb2, activity_pb2_grpc, campaign_pb2, campaign_pb2_grpc
from iop.common.v1 import condition_pb2, runtime_pb2, runtime_pb2_grpc, types_pb2
from iop.evaluation.v1 import report_pb2, report_pb2_grpc
from iop.event.v1 import cell_pb2_grpc, definition_pb2, definition_pb2_grpc, signal_pb2, signal_pb2_grpc
from iop.gateway.v1 import trace_pb2_grpc
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc, touchpoint_pb2_grpc

from iop_adapter import Capabilities, Endpoint, Receipt, Reports, Result, Runner, Status, Touch, Touchpoint
from services.kit import actor as actors
from services.kit import errors, rpc
from services.kit.clock import ClockFile
from services.kit.supervisor import Supervisor

# A Wednesday at nine in the region.
MORNING = datetime(2026, 9, 2, 1, tzinfo=UTC)
# The first subscribers of the region are on the block list.
BLOCKED = 40
COUNTIES = (150102, 150103, 150202, 150303)
FIRST_PHONE = 13800000000


def user(name: str, *roles: str, regions: tuple[int, ...] = (150000,)) -> actors.Actor:
    return actors.Actor(f"user:{name}", name, frozenset(roles), regions)


ADMIN = user("admin", "admin")
PLANNER = user("planner", "planner")
APPROVER = user("approver", "approver")


class Recorder:
    """An adapter whose provider remembers every message, takes all, and delivers all."""

    def __init__(
        self, touchpoints: Sequence[Touchpoint], *, receipts: bool = True, pause: float = 0.0
    ) -> None:
        self.capabilities = Capabilities(touchpoints, max_batch=200, receipts=receipts, concurrency=2)
        self.sent: Counter[str] = Counter()
        self.touches: dict[str, Touch] = {}
        self._pause = pause
        self._reports: Reports | None = None
        self._news: set[asyncio.Task[bool]] = set()

    async def start(self, reports: Reports) -> None:
        self._reports = reports

    async def stop(self) -> None:
        if self._news:
            await asyncio.wait(self._news, timeout=10)

    @property
    def pending(self) -> int:
        """Delivery reports that the platform has not stored yet."""
        return len(self._news)

    async def send(self, touches: Sequence[Touch]) -> Sequence[Result]:
        assert self._reports is not None
        if self._pause:
            await asyncio.sleep(self._pause)
        results = []
        for touch in touches:
            self.sent[touch.touch_id] += 1
            self.touches[touch.touch_id] = touch
            results.append(Result(Status.ACCEPTED, provider_message_id=f"p-{touch.touch_id}"))
            if self.capabilities.receipts:
                receipt = Receipt(Status.DELIVERED, provider_message_id=f"p-{touch.touch_id}", code="DELIVRD")
                task = asyncio.create_task(self._reports.receipt(receipt))
                self._news.add(task)
                task.add_done_callback(self._news.discard)
        return results


class Harness:
    """Stubs, a clock, a small region, an adapter."""

    def __init__(self, platform: Supervisor, folder: Path, clock: Path) -> None:
        self.platform, self._folder, self._clock = platform, folder, clock
        self._channels: dict[tuple[str, str], Any] = {}
        self.subscribers = np.empty(0, np.int64)
        self.now = MORNING

    def stub(self, peer: str, kind: Any, actor: actors.Actor = ADMIN) -> Any:
        key = (peer, actor.subject)
        if key not in self._channels:
            self._channels[key] = rpc.connect(self.platform.addresses[peer], actor, self.platform.actor_keys)
        return kind(self._channels[key])

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    def at(self, when: datetime) -> None:
        """Sets the business clock, frozen."""
        self.now = when
        ClockFile.write(self._clock, when)

    def next_week(self) -> None:
        """Nine in the morning, eight days on: contact caps count from nothing again."""
        self.at((self.now + timedelta(days=8)).replace(hour=MORNING.hour))

    async def load(self, count: int) -> None:
        """Loads `count` subscribers whose spend runs from 0 to count-1 yuan; none is on a list."""
        self.subscribers = 7_000_000_000 + np.arange(count, dtype=np.int64) * 3
        phones = FIRST_PHONE + np.arange(count, dtype=np.int64)
        counties = np.resize(np.array(COUNTIES, np.int32), count)

        async def rows() -> AsyncIterator[Any]:
            yield directory_pb2.LoadSubscribersRequest(
                subscriber_ids=self.subscribers.tobytes(),
                phones=phones.tobytes(),
                counties=counties.tobytes(),
            )

        directory = self.stub("audience", directory_pb2_grpc.DirectoryServiceStub)
        loaded = await directory.LoadSubscribers(rows())
        assert loaded.added == count, loaded
        tags = self.stub("audience", tag_pb2_grpc.TagServiceStub)
        await tags.BatchUpsertTags(
            tag_pb2.BatchUpsertTagsRequest(
                tags=[
                    tag_pb2.Tag(
                        code="monthly_spend", display_name="月消费", unit="yuan", decimals=2,
                        tag_class=tag_pb2.TAG_CLASS_BEHAVIOUR, type=tag_pb2.TAG_TYPE_NUMBER,
                        frequency=tag_pb2.FREQUENCY_MONTH,
                    )
                ]
            )
        )  # fmt: skip

        async def values() -> AsyncIterator[Any]:
            yield tag_pb2.LoadTagValuesRequest(
                data_date="2026-08-31",
                subscriber_ids=self.subscribers.tobytes(),
                columns=[
                    tag_pb2.TagColumn(tag="monthly_spend", data=np.arange(count, dtype=np.float64).tobytes())
                ],
            )

        taken = await tags.LoadTagValues(values())
        assert taken.rows == count, taken

    async def suppress(self, kind: int, rows: slice) -> None:
        lists = self.stub("audience", list_pb2_grpc.ListServiceStub)
        await lists.ChangeSuppression(
            list_pb2.ChangeSuppressionRequest(
                suppression_list=kind, add=self.subscribers[rows].tolist(), reason="test"
            )
        )

    async def campaign(
        self,
        name: str,
        *,
        code: str,
        touchpoints: Sequence[int],
        spend_below: float | None = None,
        definition: str = "",
        control_percent: float = 0.0,
        launch: bool = True,
        instruction: str = "",
    ) -> str:
        """Plans, approves and launches a campaign of one activity; returns the activity's name."""
        campaigns = self.stub("campaign", campaign_pb2_grpc.CampaignServiceStub, PLANNER)
        activities = self.stub("campaign", activity_pb2_grpc.ActivityServiceStub, PLANNER)
        period = types_pb2.DateRange(
            start_date=f"{self.now:%Y-%m-%d}", end_date=f"{self.now + timedelta(days=5):%Y-%m-%d}"
        )
        plan = await campaigns.CreateCampaign(
            campaign_pb2.CreateCampaignRequest(
                campaign=campaign_pb2.Campaign(display_name=name, region=150000, period=period),
                request_id=str(uuid.uuid4()),
            )
        )
        target = activity_pb2.Target(all_customers=True)
        if spend_below is not None:
            target = activity_pb2.Target(audience=await self._audience(name, spend_below))
        activity = await activities.CreateActivity(
            activity_pb2.CreateActivityRequest(
                parent=plan.name,
                activity=activity_pb2.Activity(
                    display_name=name,
                    code=code,
                    mode=activity_pb2.MODE_EVENT_TRIGGERED if definition else activity_pb2.MODE_ACTIVE_PUSH,
                    target=target,
                    definition=definition,
                    product=activity_pb2.Product(
                        code="101040040146", display_name="飞享套餐38元档", price_fen=3800,
                        order_instruction=instruction,
                    ),
                    control_percent=control_percent,
                ),
                request_id=str(uuid.uuid4()),
            )
        )  # fmt: skip
        for touchpoint in touchpoints:
            await activities.AddToCart(
                activity_pb2.AddToCartRequest(
                    activity=activity.name,
                    setting=activity_pb2.TouchpointSetting(
                        touchpoint=touchpoint, period=period,
                        marketing_words=f"{name}：上月消费{{monthly_spend}}元",
                        priority=types_pb2.PRIORITY_MEDIUM,
                        fields={"activity_description": name},
                    ),
                    request_id=str(uuid.uuid4()),
                )
            )  # fmt: skip
        submitted = await campaigns.SubmitCampaign(campaign_pb2.SubmitCampaignRequest(name=plan.name))
        approvals = self.stub("campaign", campaign_pb2_grpc.CampaignServiceStub, APPROVER)
        await approvals.ApproveCampaign(
            campaign_pb2.ApproveCampaignRequest(name=plan.name, content_digest=submitted.content_digest)
        )
        if launch:
            await self.launch(plan.name)
        return str(activity.name)

    async def launch(self, campaign: str) -> Any:
        """Launches; asks again with the same request id when a service is killed under it."""
        campaigns = self.stub("campaign", campaign_pb2_grpc.CampaignServiceStub, PLANNER)
        request = campaign_pb2.LaunchCampaignRequest(name=campaign, request_id=f"launch-{campaign}")
        return await self.insist(lambda: campaigns.LaunchCampaign(request))

    @staticmethod
    async def insist(call: Any, seconds: float = 60.0) -> Any:
        """Repeats an idempotent call while what it needs is down."""
        end = time.monotonic() + seconds
        while True:
            try:
                return await call()
            except errors.Unavailable:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)

    async def _audience(self, name: str, spend_below: float) -> str:
        audiences = self.stub("audience", audience_pb2_grpc.AudienceServiceStub, PLANNER)
        comparison = condition_pb2.Comparison(
            field="monthly_spend",
            operator=condition_pb2.OPERATOR_LT,
            values=[condition_pb2.Value(number=spend_below)],
        )
        made = await audiences.CreateAudience(
            audience_pb2.CreateAudienceRequest(
                audience=audience_pb2.Audience(
                    display_name=name,
                    selection=audience_pb2.Selection(
                        condition=condition_pb2.Condition(comparison=comparison)
                    ),
                )
            )
        )
        return str(made.name)

    async def define_app_use(self, name: str, app: str) -> str:
        """A definition: uses the app."""
        definitions = self.stub("event", definition_pb2_grpc.DefinitionServiceStub, PLANNER)
        rule = definition_pb2.Rule(
            source=definition_pb2.SOURCE_APP_USE,
            condition=condition_pb2.Condition(
                comparison=condition_pb2.Comparison(
                    field="app",
                    operator=condition_pb2.OPERATOR_CONTAINS,
                    values=[condition_pb2.Value(text=app)],
                )
            ),
        )
        made = await definitions.CreateDefinition(
            definition_pb2.CreateDefinitionRequest(
                definition=definition_pb2.Definition(
                    display_name=name, expression=definition_pb2.EventExpression(rule=rule)
                )
            )
        )
        return str(made.name)

    def app_batch(self, batch_id: str, subscribers: Any, app: str, at: datetime) -> Any:
        """A batch in which the subscribers use the app."""
        count = len(subscribers)
        micros = np.full(count, int(at.timestamp() * 1e6), np.int64)
        return signal_pb2.SignalBatch(
            batch_id=batch_id,
            subscriber_ids=np.asarray(subscribers, np.int64).tobytes(),
            sources=np.full(count, definition_pb2.SOURCE_APP_USE, np.uint8).tobytes(),
            occurred_at=micros.tobytes(),
            text_indexes=np.zeros(count, np.int32).tobytes(),
            texts=[app],
        )

    async def ingest(self, batch: Any) -> Any:
        """Sends one batch of signals until it is taken."""
        signals = self.stub("event", signal_pb2_grpc.SignalServiceStub)
        return await self.insist(lambda: signals.IngestSignals(signal_pb2.IngestSignalsRequest(batch=batch)))

    async def statuses(self) -> list[Any]:
        """RuntimeStatus of every service."""
        stubs = [
            self.stub(name, runtime_pb2_grpc.RuntimeServiceStub)
            for name in self.platform.services
            if name != "gateway"
        ]
        return await asyncio.gather(*(s.GetStatus(runtime_pb2.GetStatusRequest()) for s in stubs))

    async def rest(self, *recorders: Recorder, seconds: float = 90.0) -> None:
        """Waits until nothing is in hand anywhere: two rounds in a row, with nothing handled between."""
        end = time.monotonic() + seconds
        before: Any = None
        while True:
            now: Any = None
            with contextlib.suppress(errors.Unavailable):
                statuses = await self.statuses()
                busy = any(r.pending for r in recorders) or (recorders and await self._with_adapters())
                if all(s.idle for s in statuses) and not busy:
                    now = [(s.handled, s.published) for s in statuses]
                    if now == before:
                        return
            before = now
            if time.monotonic() > end:
                raise AssertionError(f"the platform does not come to rest: {await self._busy()}")
            await asyncio.sleep(0.2)

    async def _with_adapters(self) -> bool:
        """Whether touches wait for an adapter: one that is just coming back has no session yet."""
        ledger = self.stub("touchpoint", ledger_pb2_grpc.LedgerServiceStub)
        answer = await ledger.ListTouchCounters(ledger_pb2.ListTouchCountersRequest())
        return any(row.queued or row.leased for row in answer.counters)

    async def _busy(self) -> str:
        try:
            return "\n".join(str(s) for s in await self.statuses() if not s.idle) or "adapters are busy"
        except errors.Error as problem:
            return str(problem)

    async def progress(self, activity: str) -> Any:
        activities = self.stub("campaign", activity_pb2_grpc.ActivityServiceStub)
        return await activities.GetActivityProgress(activity_pb2.GetActivityProgressRequest(name=activity))

    async def counters(self, number: int) -> dict[int, Any]:
        ledger = self.stub("touchpoint", ledger_pb2_grpc.LedgerServiceStub)
        answer = await ledger.ListTouchCounters(
            ledger_pb2.ListTouchCountersRequest(activity_numbers=[number])
        )
        return {row.touchpoint: row for row in answer.counters}

    async def conserve(self, activity: str) -> tuple[Any, dict[int, Any]]:
        """Checks both conservation laws of an activity at rest; returns its counters."""
        progress = await self.progress(activity)
        counters = await self.counters(progress.activity_number)
        for row in progress.touchpoints:
            excluded = sum(r.count for r in row.excluded)
            assert row.target == row.control + excluded + row.unplanned + row.handed, row
            taken = counters.get(row.touchpoint)
            received = taken.received if taken else 0
            assert row.handed == received, (row, taken)
            if taken:
                parts = (
                    sum(r.count for r in taken.suppressed) + taken.waiting + taken.held + taken.queued
                    + taken.leased + taken.cancelled + sum(r.count for r in taken.settled)
                )  # fmt: skip
                assert taken.received == parts and taken.imbalance == 0, taken
        return progress, counters

    async def funnels(self, number: int) -> dict[int, Any]:
        """The funnel of an activity over all days, by touchpoint."""
        evaluation = self.stub("evaluation", report_pb2_grpc.EvaluationServiceStub)
        answer = await evaluation.ListFunnels(report_pb2.ListFunnelsRequest(activity_numbers=[number]))
        return {f.touchpoint: f for f in answer.funnels if not f.date}

    @contextlib.asynccontextmanager
    async def adapter(self, name: str, recorder: Recorder) -> AsyncIterator[Recorder]:
        """Runs an adapter through the SDK against the touchpoint service."""
        token = self._folder / f"{name}.token"
        actor = actors.Actor(
            f"adapter:{name}", name, frozenset({"adapter"}), (150000,),
            touchpoints=tuple(t.name.lower() for t in recorder.capabilities.touchpoints),
        )  # fmt: skip
        token.write_text(actors.sign(actor, keys=self.platform.actor_keys, ttl=3600))
        endpoint = Endpoint(self.platform.addresses["touchpoint"], token)
        runner = Runner(name, recorder, endpoint, self._folder / f"{name}.db")
        task = asyncio.create_task(runner.run())
        # Without a session what is queued counts as at rest: nobody could send it.
        await asyncio.wait_for(runner.opened.wait(), 30)
        try:
            yield recorder
        finally:
            runner.stop()
            try:
                await asyncio.wait_for(task, 20)
            except TimeoutError:
                task.cancel()


def reasons(rows: Any) -> dict[str, int]:
    """Reason counts as a dictionary, without zeros."""
    return {r.reason: r.count for r in rows if r.count}


@contextlib.asynccontextmanager
async def running(folder: Path, subscribers: int) -> AsyncIterator[Harness]:
    """A platform of its own in `folder`, at nine in the morning, with a small region loaded."""
    clock = folder / "clock"
    ClockFile.write(clock, MORNING)
    env = {**os.environ, "IOP_CLOCK": str(clock)}
    for name in ("NATS_URL", "REDIS_URL"):
        env.pop(name, None)
    platform = Supervisor(folder / "data", env, say=lambda line: print(line), durable=False)
    await asyncio.to_thread(platform.start)
    harness = Harness(platform, folder, clock)
    try:
        await harness.load(subscribers)
        await harness.suppress(list_pb2.SUPPRESSION_LIST_BLOCK, slice(0, BLOCKED))
        yield harness
    finally:
        await harness.close()
        await asyncio.to_thread(platform.stop)


MINUTE = timedelta(minutes=1)
__all__ = [
    "ADMIN", "APPROVER", "BLOCKED", "Harness", "MINUTE", "MORNING", "PLANNER", "Recorder", "cell_pb2_grpc",
    "decision_pb2_grpc", "reasons", "running", "touchpoint_pb2_grpc", "trace_pb2_grpc", "user",
]  # fmt: skip
