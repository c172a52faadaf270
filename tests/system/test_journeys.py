"""The two journeys, whole: every service a process, real servers, an adapter through the SDK."""

import asyncio
from datetime import timedelta

import pytest
from iop.adapter.v1 import decision_pb2, decision_pb2_grpc
from iop.common.v1 import types_pb2
from iop.gateway.v1 import trace_pb2, trace_pb2_grpc
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc

from iop_adapter import Touchpoint
from services.kit import errors
from tests.system.harness import BLOCKED, Harness, Recorder, reasons, user

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]
SMS, EVENT_SMS, COUNTER = (
    types_pb2.TOUCHPOINT_SMS,
    types_pb2.TOUCHPOINT_EVENT_SMS,
    types_pb2.TOUCHPOINT_STORE_COUNTER,
)


async def test_push_event_and_pull_from_selection_to_report(world: Harness):
    """Push, event and pull reach their customers and the funnel (CMP-17, CMP-18, EVA-09)."""
    recorder = Recorder([Touchpoint.SMS, Touchpoint.EVENT_SMS])
    async with world.adapter("sms-1", recorder):
        push = await world.campaign(
            "升档", code="FX38", touchpoints=[SMS, COUNTER], spend_below=3000, control_percent=10
        )
        await world.rest(recorder)
        progress, counters = await world.conserve(push)
        by_touchpoint = {row.touchpoint: row for row in progress.touchpoints}
        sms = by_touchpoint[SMS]
        assert (sms.target, reasons(sms.excluded)) == (3000, {"block_list": BLOCKED})
        assert 200 < sms.control < 400
        assert sms.unplanned == 0
        assert reasons(counters[SMS].settled) == {"delivered": sms.handed}
        assert counters[COUNTER].waiting == by_touchpoint[COUNTER].handed == sms.handed
        first = next(t for t in recorder.touches.values() if t.touchpoint is Touchpoint.SMS)
        spend = int(first.phone) - 13800000000
        assert first.text == f"升档：上月消费{spend}元" or first.text == f"升档：上月消费{spend}.00元"

        await counter_visits(world, recorder)
        await world.rest(recorder)
        _, counters = await world.conserve(push)
        assert reasons(counters[COUNTER].settled) == {"accepted": 1}

        definition = await world.define_app_use("看视频", "爱奇艺")
        event = await world.campaign(
            "视频包", code="IQY", touchpoints=[EVENT_SMS], spend_below=2000, definition=definition,
            control_percent=10,
        )  # fmt: skip
        await world.rest(recorder)
        batch = world.app_batch("b1", world.subscribers[:2500], "爱奇艺视频", world.now)
        answer = await world.ingest(batch)
        assert (answer.accepted, answer.unknown) == (2500, 0)
        again = await world.ingest(batch)
        assert again.duplicate or again.accepted == 2500
        await world.rest(recorder)
        progress, counters = await world.conserve(event)
        [row] = progress.touchpoints
        assert row.target == row.handed == progress.population
        assert progress.population + row.population_control + BLOCKED == 2000
        assert reasons(counters[EVENT_SMS].settled) == {"delivered": row.handed}
        # Once per contact period, however often the customer comes.
        await world.ingest(world.app_batch("b2", world.subscribers[:2500], "爱奇艺视频", world.now))
        await world.rest(recorder)
        assert (await world.progress(event)).touchpoints[0].target == row.target

        funnel = (await world.funnels(progress.activity_number))[EVENT_SMS]
        assert reasons(funnel.settled)["delivered"] == funnel.reached == row.handed
    assert set(recorder.sent.values()) == {1}


async def counter_visits(world: Harness, recorder: Recorder) -> None:
    """One customer with an offer says yes, one without gets nothing."""
    clerk = user("clerk", "clerk")
    decisions = world.stub("touchpoint", decision_pb2_grpc.DecisionServiceStub, clerk)
    served = next(t for t in recorder.touches.values() if t.touchpoint is Touchpoint.SMS)
    offers = await decisions.Decide(decision_pb2.DecideRequest(touchpoint=COUNTER, phone=int(served.phone)))
    [offer] = offers.offers
    assert offer.product_code == "101040040146"
    nobody = await decisions.Decide(decision_pb2.DecideRequest(touchpoint=COUNTER, phone=13800005999))
    assert not nobody.offers
    feedback = decision_pb2.Feedback(touch_id=offer.touch_id, kind=decision_pb2.FEEDBACK_KIND_ACCEPTED)
    for expected in (1, 0):
        told = await decisions.ReportFeedback(decision_pb2.ReportFeedbackRequest(feedback=[feedback]))
        assert told.applied == expected


async def test_a_launch_is_one_trace_down_to_the_touch(world: Harness):
    """The launch is one trace over the services; pages and sampled touches link to it, within the budget."""
    recorder = Recorder([Touchpoint.SMS])
    async with world.adapter("sms-1", recorder):
        activity = await world.campaign("跟踪", code="TRC", touchpoints=[SMS], spend_below=5000)
        await world.rest(recorder)
        await world.conserve(activity)
    await asyncio.sleep(6)  # spans are exported in batches, every five seconds
    traces = world.stub("gateway", trace_pb2_grpc.TraceServiceStub, user("on-call", "operator"))
    campaign = activity.split("/activities/")[0]
    found = await traces.ListTraces(trace_pb2.ListTracesRequest(campaign=campaign, page_size=500))
    launches = [t for t in found.traces if "LaunchCampaign" in t.root]
    assert len(launches) == 1, [t.root for t in found.traces]
    launch = await traces.GetTrace(trace_pb2.GetTraceRequest(name=launches[0].name))
    services = {s.service for s in launch.spans}
    assert {"campaign", "audience"} <= services
    by_id = {s.span_id: s for s in launch.spans}

    def chain(span) -> list[str]:
        names = [span.display_name]
        while span.parent_span_id in by_id:
            span = by_id[span.parent_span_id]
            names.append(span.display_name)
        return names

    [select] = [s for s in launch.spans if "CreateSnapshot" in s.display_name and s.service == "audience"]
    assert any("LaunchCampaign" in name for name in chain(select))
    assert len(launch.spans) < 300
    linked = list(launch.linked)
    assert any(t.service == "touchpoint" for t in linked), [t.root for t in linked]
    touches = [t for t in found.traces if t.root == "touch"]
    assert len(touches) <= 50
    ledger = world.stub("touchpoint", ledger_pb2_grpc.LedgerServiceStub)
    some = next(iter(recorder.sent))
    touch = await ledger.GetTouch(ledger_pb2.GetTouchRequest(name=f"touches/{some}"))
    assert len(touch.trace_id) == 32
    own = await traces.GetTrace(trace_pb2.GetTraceRequest(name=f"traces/{touch.trace_id}"))
    assert own.spans


async def test_outside_the_window_push_waits_and_events_expire(world: Harness):
    """Active push is held until the window opens; an event touch lives half an hour (TCH-51, TCH-57)."""
    evening = world.now.replace(hour=14)  # 22:00 in the region
    world.at(evening)
    recorder = Recorder([Touchpoint.SMS, Touchpoint.EVENT_SMS])
    async with world.adapter("sms-1", recorder):
        push = await world.campaign("夜推", code="NIGHT", touchpoints=[SMS], spend_below=200)
        definition = await world.define_app_use("看视频", "优酷")
        event = await world.campaign(
            "夜事件", code="NEVT", touchpoints=[EVENT_SMS], spend_below=200, definition=definition
        )
        await world.rest(recorder)
        await world.ingest(world.app_batch("n1", world.subscribers[:200], "优酷", evening))
        await world.rest(recorder)
        _, counters = await world.conserve(push)
        assert counters[SMS].held == 200 - BLOCKED and not recorder.sent
        world.at(evening + timedelta(hours=11))  # 09:00 the next day
        await world.rest(recorder)
        _, counters = await world.conserve(push)
        assert reasons(counters[SMS].settled) == {"delivered": 200 - BLOCKED}
        _, counters = await world.conserve(event)
        assert reasons(counters[EVENT_SMS].settled) == {"expired": 200 - BLOCKED}


async def test_scope_and_bad_input_are_refused_with_reason(world: Harness):
    """A city user sees only his city; errors name field and reason (POR-23)."""
    from iop.campaign.v1 import campaign_pb2, campaign_pb2_grpc

    wuhai = user("wuhai", "planner", regions=(150300,))
    campaigns = world.stub("campaign", campaign_pb2_grpc.CampaignServiceStub, wuhai)
    period = types_pb2.DateRange(start_date="2026-09-01", end_date="2026-09-30")
    with pytest.raises(errors.Denied) as denied:
        await campaigns.CreateCampaign(
            campaign_pb2.CreateCampaignRequest(
                campaign=campaign_pb2.Campaign(display_name="x", region=150100, period=period)
            )
        )
    assert denied.value.reason == "REGION_OUT_OF_SCOPE"
    with pytest.raises(errors.Invalid) as invalid:
        await campaigns.CreateCampaign(
            campaign_pb2.CreateCampaignRequest(campaign=campaign_pb2.Campaign(region=150300, period=period))
        )
    assert [name for name, _ in invalid.value.fields] == ["campaign.display_name"]
    planner = world.stub("campaign", campaign_pb2_grpc.CampaignServiceStub, user("p", "planner"))
    other = await planner.CreateCampaign(
        campaign_pb2.CreateCampaignRequest(
            campaign=campaign_pb2.Campaign(display_name="呼市", region=150100, period=period)
        )
    )
    listed = await campaigns.ListCampaigns(campaign_pb2.ListCampaignsRequest())
    assert other.name not in [c.name for c in listed.campaigns]
    with pytest.raises((errors.NotFound, errors.Denied)):
        await campaigns.GetCampaign(campaign_pb2.GetCampaignRequest(name=other.name))
