"""From a plan to running activities: create, park, submit, approve, launch, first pages."""

from __future__ import annotations

import asyncio

import pytest
from iop.campaign.v1 import activity_pb2, activity_pb2_grpc, campaign_pb2, campaign_pb2_grpc
from iop.campaign.v1 import events_pb2 as events
from iop.common.v1 import types_pb2

from services.campaign.jobs.launcher import Launcher
from services.campaign.jobs.planner import Planner
from services.kit import errors
from tests.campaign.conftest import (
    DATA_PLUS,
    EVENT_SMS,
    HOHHOT,
    MORNING,
    PHONE,
    SMS,
    STORE_COUNTER,
    Campaign,
    World,
    content,
    head,
    setting,
)

MATCHED = 4000  # ordinals 0, 3, ... 11997
BLOCKED, RED = 100, 100  # of 0..299, then of what is left of 200..599


async def test_a_push_reaches_everyone_once(campaign: Campaign, world: World) -> None:
    """The counters add up, and every target is handed once (CMP-05, CMP-21, CMP-23)."""
    activity = await campaign.run(touchpoints=(SMS, STORE_COUNTER))
    await campaign.settled()

    announced = world.heard(events.ActivityLaunched)
    assert [message.activity.name for message in announced] == [activity.name]
    target = await world.bitmap(announced[0].target)
    control = await world.bitmap(announced[0].control)
    kept = world.sources["audiences/feixiang"]
    for members in world.excluded["audiences/feixiang"].values():
        kept = kept - members
    assert target | control == kept and not target & control
    assert 0.07 * len(kept) < len(control) < 0.13 * len(kept)
    assert announced[0].matched == MATCHED
    assert {row.reason: row.count for row in announced[0].excluded} == {
        "block_list": BLOCKED,
        "red_list": RED,
    }
    assert announced[0].trace_budget == 50
    assert announced[0].campaign_display_name == "Feixiang 38"

    progress = await campaign.progress(activity.name)
    for touchpoint in (SMS, STORE_COUNTER):
        row = progress[touchpoint]
        assert (row.target, row.control) == (MATCHED, len(control))
        assert (row.unplanned, row.handed) == (0, len(target))
        assert {item.reason: item.count for item in row.excluded} == {"block_list": BLOCKED, "red_list": RED}
        handed = [
            ordinal for page in world.pages_of(activity.activity_number, touchpoint) for ordinal in page
        ]
        assert sorted(handed) == list(target)
    assert activity.snapshot == "snapshots/s0"
    assert (await campaign.campaign()).state == campaign_pb2.CAMPAIGN_STATE_RUNNING
    page = world.pages[0]
    assert page.page_id == f"{activity.activity_number}.{page.touchpoint}.1.0"
    assert page.occurrence == 1 and page.planned_day == 9657  # 2026-06-10
    assert set(world.page_lanes) == {"medium"}


async def test_settings_of_different_lists_have_their_own_snapshot(campaign: Campaign, world: World) -> None:
    """A list kept in for one touchpoint is kept in there only (TCH-17)."""
    created = await campaign.create()
    activity = await campaign.add(created.name, control_percent=0)
    await campaign.park(activity.name, SMS)
    keeping = {"suppression": {"keep_red_list": True, "reason": "thanks to our best customers"}}
    await campaign.park(activity.name, STORE_COUNTER, **keeping)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    progress = await campaign.progress(activity.name)
    assert progress[SMS].handed == MATCHED - BLOCKED - RED
    assert progress[STORE_COUNTER].handed == MATCHED - BLOCKED
    assert {r.request_id for r in world.snapshot_requests} == {
        f"launch-{activity.activity_number}-0",
        f"launch-{activity.activity_number}-1",
    }


async def test_groups_of_a_split_go_to_their_touchpoints(campaign: Campaign, world: World) -> None:
    """The list is split; who is in no group stays unplanned (CMP-13)."""
    splits = [
        activity_pb2.Split(group="text", percent=50, touchpoints=[types_pb2.TOUCHPOINT_SMS]),
        activity_pb2.Split(group="counter", percent=30, touchpoints=[types_pb2.TOUCHPOINT_STORE_COUNTER]),
    ]
    activity = await campaign.run(touchpoints=(SMS, STORE_COUNTER), splits=splits, control_percent=20)
    await campaign.settled()
    progress = await campaign.progress(activity.name)
    after_control = progress[SMS].handed + progress[SMS].unplanned
    assert abs(progress[SMS].handed / after_control - 0.5) < 0.04
    assert abs(progress[STORE_COUNTER].handed / after_control - 0.3) < 0.04
    both = [
        {ordinal for page in world.pages_of(activity.activity_number, touchpoint) for ordinal in page}
        for touchpoint in (SMS, STORE_COUNTER)
    ]
    assert not both[0] & both[1]
    assert {page.group for page in world.pages if page.touchpoint == SMS} == {"text"}

    sides = set()
    for ordinal in range(450, 750, 3):
        explained = await campaign.activities.ExplainTarget(
            activity_pb2.ExplainTargetRequest(name=activity.name, phone=PHONE + ordinal)
        )
        sides.add(explained.side)
        assert (explained.group == "text") == (ordinal in both[0])
        if explained.side == "unplanned":
            assert ordinal not in both[0] | both[1]
    assert sides == {"target", "control", "unplanned", "not_selected"}


async def test_an_event_activity_binds_its_population(campaign: Campaign, world: World) -> None:
    """All customers minus control may match from the first to the last day (CMP-04, CMP-08, CMP-09)."""
    activity = await campaign.run(
        touchpoints=(EVENT_SMS, DATA_PLUS),
        mode=activity_pb2.MODE_EVENT_TRIGGERED,
        target=activity_pb2.Target(all_customers=True),
    )
    await campaign.settled()
    (launched,) = world.heard(events.ActivityLaunched)
    (bound,) = world.heard(events.PopulationChanged)
    assert not launched.HasField("target")
    control = await world.bitmap(launched.control)
    assert await world.bitmap(bound.bitmap) == world.sources["all"] - control
    assert (bound.definition_number, bound.version, bound.unbound) == (41, 1, False)
    assert (bound.start_date, bound.end_date) == ("2026-06-05", "2026-06-20")
    assert world.announced.index(launched) < world.announced.index(bound)
    assert world.pages == []
    progress = await campaign.progress(activity.name)
    assert progress[EVENT_SMS].target == 0
    assert progress[EVENT_SMS].population_control == len(control)
    shown = await campaign.activities.GetActivityProgress(
        activity_pb2.GetActivityProgressRequest(name=activity.name)
    )
    assert shown.population == 20_000 - len(control)


async def test_one_of_two_launches_wins(campaign: Campaign, world: World) -> None:
    """Two people launch at once: one does, the other is told that it runs."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.submit_and_approve(created.name)
    results = await asyncio.gather(
        campaign.launch(created.name, request_id="a"),
        campaign.launch(created.name, request_id="b"),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, errors.Precondition)]
    assert len(refused) == 1 and refused[0].reason == "STATE_FORBIDS"
    await campaign.settled()
    assert len(world.heard(events.ActivityLaunched)) == 1
    progress = await campaign.progress(activity.name)
    assert progress[SMS].target == MATCHED
    assert world.handed(activity.activity_number, SMS) == progress[SMS].handed


async def test_the_author_s_regions_bound_the_selection(
    campaign: Campaign, world: World, stub: object
) -> None:
    """A city's planner selects in his city only, whoever launches (POR-23)."""
    mine = Campaign(campaign.service, stub, campaign.clock)  # type: ignore[arg-type]
    mine.campaigns = stub(campaign.service, campaign_pb2_grpc.CampaignServiceStub, HOHHOT)  # type: ignore[operator]
    mine.activities = stub(campaign.service, activity_pb2_grpc.ActivityServiceStub, HOHHOT)  # type: ignore[operator]
    created = await mine.campaigns.CreateCampaign(
        campaign_pb2.CreateCampaignRequest(campaign=head(region=150100), campaign_id="city")
    )
    activity = await mine.activities.CreateActivity(
        activity_pb2.CreateActivityRequest(parent=created.name, activity=content())
    )
    await mine.activities.AddToCart(activity_pb2.AddToCartRequest(activity=activity.name, setting=setting()))
    await mine.submit_and_approve(created.name)
    await campaign.launch(created.name)
    assert [list(request.regions) for request in world.snapshot_requests] == [[150100]]


async def test_a_launch_goes_on_after_a_failure(campaign: Campaign, world: World) -> None:
    """Audience is away during the launch: the job finishes it; the journal says what was wrong."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.submit_and_approve(created.name)
    world.fail_snapshots = [
        errors.Precondition("the data of yesterday is not loaded", reason="STATE_FORBIDS")
    ]
    launched = await campaign.launch(created.name)
    assert launched.state == campaign_pb2.CAMPAIGN_STATE_RUNNING
    await campaign.settled()
    assert (await campaign.progress(activity.name))[SMS].handed > 0
    entries = await campaign.journal()
    failed = [entry for entry in entries if entry.action == "launch_failed"]
    assert len(failed) == 1 and "not loaded" in failed[0].comment
    assert len(world.heard(events.ActivityLaunched)) == 1


@pytest.mark.parametrize("cut", ["before the last transaction", "after the last transaction"])
async def test_a_launch_is_resumed_after_a_crash(
    campaign: Campaign, world: World, start_campaign: object, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """The process dies between two transactions of a launch: the next one launches, once."""

    async def die(*_: object) -> None:
        await asyncio.Event().wait()

    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.submit_and_approve(created.name)
    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "_prepare" if cut.startswith("before") else "run", die)
        patch.setattr(Planner, "first_pages", die)
        patch.setattr(Planner, "run", die)
        request = campaign_pb2.LaunchCampaignRequest(name=created.name)
        with pytest.raises(errors.Error):
            await campaign.campaigns.LaunchCampaign(request, timeout=1.5)
        await campaign.service.stop()
    again: Campaign = await start_campaign(database_url=campaign.service.runtime.database_url)  # type: ignore[operator]
    await again.settled()
    progress = await again.progress(activity.name)
    handed = [o for page in world.pages_of(activity.activity_number, SMS) for o in page]
    assert len(handed) == len(set(handed)) == progress[SMS].handed
    assert progress[SMS].target == MATCHED and progress[SMS].unplanned == 0
    assert len({m.activity.activity_number for m in world.heard(events.ActivityLaunched)}) == 1


async def test_a_launch_is_one_trace(campaign: Campaign, world: World, exporter: object) -> None:
    """From the call through audience and planning to publishing; linked to submission and approval."""
    activity = await campaign.run()
    await campaign.settled()
    spans = exporter.get_finished_spans()  # type: ignore[attr-defined]
    trace_id = (await campaign.campaign()).trace_id
    names = {span.name for span in spans if f"{span.context.trace_id:032x}" == trace_id}
    assert {"campaign.launch_activity", "campaign.plan_pages"} <= names
    assert any("CreateSnapshot" in name for name in names)
    assert any(name.startswith("publish iop.touchpoint.v1.touch.requested") for name in names)
    assert any(name.startswith("publish iop.campaign.v1.activity.launched") for name in names)
    (launch,) = [span for span in spans if span.name == "campaign.launch_activity"]
    assert len(launch.links) == 2
    assert launch.attributes["iop.activity.number"] == activity.activity_number
    first = next(
        headers
        for headers, page in zip(world.page_contexts, world.pages, strict=True)
        if page.page_id.endswith(".1.0")
    )
    assert first["traceparent"][3:35] == trace_id
    later = [span for span in spans if span.name == "campaign.plan_pages" and span.parent is None]
    assert later and all(f"{span.links[0].context.trace_id:032x}" == trace_id for span in later)


async def test_a_launch_time_is_business_time(campaign: Campaign) -> None:
    """The launch is dated by the business clock."""
    await campaign.run()
    assert (await campaign.campaign()).launch_time.ToDatetime(MORNING.tzinfo) == MORNING
