"""Pause, resume, terminate, complete, periodic update: by people and by the business clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from iop.campaign.v1 import activity_pb2, campaign_pb2
from iop.campaign.v1 import events_pb2 as events
from pyroaring import BitMap

from services.campaign.jobs import refresher
from services.kit import errors
from tests.campaign.conftest import DATA_PLUS, EVENT_SMS, MORNING, PHONE, SMS, STORE_COUNTER, Campaign, World

S = campaign_pb2
BY_EVENT: dict[str, Any] = {
    "mode": activity_pb2.MODE_EVENT_TRIGGERED,
    "target": activity_pb2.Target(all_customers=True),
}


async def test_a_paused_push_hands_nothing_and_goes_on_where_it_was(campaign: Campaign, world: World) -> None:
    """Pause stops planning at once; resume repeats nothing and leaves nothing out."""
    world.takes_in = False
    world.excluded.clear()
    world.sources["audiences/feixiang"] = BitMap(range(6000))
    activity = await campaign.run(control_percent=0)
    await campaign.settled()
    paused = await campaign.verb("Pause")
    assert paused.state == S.CAMPAIGN_STATE_PAUSED
    before = world.handed(activity.activity_number, SMS)
    assert before == 4000
    world.takes_in = True
    world.take_in()
    await asyncio.sleep(0.4)
    await campaign.settled()
    assert world.handed(activity.activity_number, SMS) == before
    await campaign.verb("Resume")
    await campaign.settled()
    handed = [o for page in world.pages_of(activity.activity_number, SMS) for o in page]
    assert len(handed) == len(set(handed)) == 6000
    told = [(message.state, message.version) for message in world.heard(events.ActivityStateChanged)]
    assert told == [(events.ACTIVITY_STATE_PAUSED, 2), (events.ACTIVITY_STATE_RUNNING, 3)]


async def test_a_terminated_campaign_stops_for_good(campaign: Campaign, world: World) -> None:
    """The population is unbound, the rest stays unplanned, no verb brings it back."""
    world.takes_in = False
    world.excluded.clear()
    world.sources["audiences/feixiang"] = BitMap(range(6000))
    created = await campaign.create()
    push = await campaign.add(created.name, "push", control_percent=0)
    event = await campaign.add(created.name, "event", **BY_EVENT)
    await campaign.park(push.name)
    await campaign.park(event.name, EVENT_SMS)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    terminated = await campaign.verb("Terminate", comment="product withdrawn")
    assert terminated.state == S.CAMPAIGN_STATE_TERMINATED
    world.take_in()
    await campaign.settled()
    progress = (await campaign.progress(push.name))[SMS]
    assert (progress.unplanned, progress.handed) == (2000, 4000)
    assert world.handed(push.activity_number, SMS) == 4000
    unbound = world.heard(events.PopulationChanged)[-1]
    assert (unbound.activity_number, unbound.unbound, unbound.version) == (event.activity_number, True, 2)
    assert {message.state for message in world.heard(events.ActivityStateChanged)} == {
        events.ACTIVITY_STATE_TERMINATED
    }
    for verb in ("Resume", "Pause", "Launch", "Terminate"):
        with pytest.raises(errors.Precondition) as refused:
            await campaign.verb(verb)
        assert refused.value.reason == "STATE_FORBIDS"
    shown = await campaign.activities.GetActivityProgress(
        activity_pb2.GetActivityProgressRequest(name=event.name)
    )
    assert shown.population == 0


async def test_a_campaign_ends_after_its_last_day(campaign: Campaign, world: World) -> None:
    """By the business clock, in the region's time zone; activities first (CMP-23, CMP-30)."""
    activity = await campaign.run(touchpoints=(EVENT_SMS,), **BY_EVENT)
    campaign.at(MORNING.replace(day=20, hour=15, minute=59))  # 23:59 of the last day
    await campaign.settled()
    assert (await campaign.campaign()).state == S.CAMPAIGN_STATE_RUNNING
    campaign.at(MORNING.replace(day=20, hour=16))
    await campaign.settled()
    assert (await campaign.campaign()).state == S.CAMPAIGN_STATE_COMPLETED
    (ended,) = world.heard(events.ActivityStateChanged)
    assert (ended.activity, ended.state) == (activity.name, events.ACTIVITY_STATE_COMPLETED)
    assert world.heard(events.PopulationChanged)[-1].unbound
    assert (await campaign.journal())[-1].actor == "service:campaign"


async def test_a_paused_campaign_ends_too(campaign: Campaign) -> None:
    await campaign.run()
    await campaign.verb("Pause")
    campaign.at(MORNING + timedelta(days=30))
    await campaign.settled()
    assert (await campaign.campaign()).state == S.CAMPAIGN_STATE_COMPLETED


async def test_a_launch_that_never_succeeds_ends_with_its_campaign(campaign: Campaign, world: World) -> None:
    """Its retries stop once the campaign is terminated."""
    created = await campaign.create()
    activity = await campaign.add(created.name, target=activity_pb2.Target(audience="audiences/nobody"))
    await campaign.park(activity.name)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.verb("Terminate")
    await campaign.settled()
    asked = len(world.snapshot_requests)
    assert asked >= 1
    await asyncio.sleep(1.2)
    assert len(world.snapshot_requests) == asked
    assert not world.heard(events.ActivityLaunched)
    explained = await campaign.activities.ExplainTarget(
        activity_pb2.ExplainTargetRequest(name=activity.name, phone=PHONE)
    )
    assert explained.side == "not_launched"


async def test_a_pause_holds_a_launch_that_is_not_finished(campaign: Campaign, world: World) -> None:
    world.fail_snapshots = [errors.Precondition("not yet", reason="STATE_FORBIDS")]
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.verb("Pause")
    await asyncio.sleep(1.5)
    assert not world.heard(events.ActivityLaunched)
    await campaign.verb("Resume")
    await campaign.settled()
    assert (await campaign.progress(activity.name))[SMS].handed > 0


# --- periodic update ---


async def test_a_population_is_refreshed_each_day(campaign: Campaign, world: World) -> None:
    """With periodic update the event activity listens for today's customers (TCH-16, CMP-24)."""
    created = await campaign.create()
    target = activity_pb2.Target(audience="audiences/feixiang")
    activity = await campaign.add(created.name, mode=activity_pb2.MODE_EVENT_TRIGGERED, target=target)
    await campaign.park(activity.name, EVENT_SMS, periodic_update=True)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    world.sources["audiences/feixiang"] = BitMap(range(50_000, 51_000))
    campaign.at(MORNING + timedelta(hours=5))
    await campaign.settled()
    assert len(world.heard(events.PopulationChanged)) == 1
    campaign.at(MORNING + timedelta(days=1))
    await campaign.settled()
    first, second = world.heard(events.PopulationChanged)
    assert (first.version, second.version) == (1, 2)
    fresh = await world.bitmap(second.bitmap)
    assert fresh <= world.sources["audiences/feixiang"] and 800 < len(fresh) < 1000
    shown = await campaign.activities.GetActivityProgress(
        activity_pb2.GetActivityProgressRequest(name=activity.name)
    )
    assert shown.population == len(fresh)
    assert shown.touchpoints[0].population_control == 1000 - len(fresh)


async def test_newcomers_get_a_wave_of_their_own(campaign: Campaign, world: World) -> None:
    """A refreshed push reaches who is new today and nobody again; the law still holds (TCH-16, CMP-24)."""
    world.excluded.clear()
    world.sources["audiences/feixiang"] = BitMap(range(1000))
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name, STORE_COUNTER, periodic_update=True)
    await campaign.park(activity.name, DATA_PLUS)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    number = activity.activity_number
    before = await campaign.progress(activity.name)
    world.sources["audiences/feixiang"] = BitMap(range(500, 1600))
    campaign.at(MORNING + timedelta(days=1))
    await campaign.settled()
    after = await campaign.progress(activity.name)
    assert after[DATA_PLUS] == before[DATA_PLUS]
    row = after[STORE_COUNTER]
    assert (row.target, row.unplanned) == (1600, 0)
    handed = [o for page in world.pages_of(number, STORE_COUNTER) for o in page]
    assert len(handed) == len(set(handed)) == row.handed == 1600 - row.control
    newest = [page for page in world.pages if page.occurrence == 2]
    assert newest and {page.touchpoint for page in newest} == {STORE_COUNTER}
    assert {page.page_id.rsplit(".", 1)[0] for page in newest} == {f"{number}.{STORE_COUNTER}.2"}
    launched = world.heard(events.ActivityLaunched)[0]
    control = await world.bitmap(launched.control)
    assert row.control > len(control)
    campaign.at(MORNING + timedelta(days=2))
    await campaign.settled()
    assert (await campaign.progress(activity.name))[STORE_COUNTER] == row


async def test_an_update_that_fails_holds_up_no_other(
    campaign: Campaign, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today's data of one activity is not loaded yet: the other is updated, the first one later."""
    created = await campaign.create()
    for name in ("first", "second"):
        target = activity_pb2.Target(audience="audiences/feixiang")
        added = await campaign.add(created.name, name, mode=activity_pb2.MODE_EVENT_TRIGGERED, target=target)
        await campaign.park(added.name, EVENT_SMS, periodic_update=True)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    world.fail_snapshots = [errors.Precondition("no data of today", reason="DATA_DATE_MISSING")]
    monkeypatch.setattr(refresher, "RETRY_S", 0.5)
    campaign.at(MORNING + timedelta(days=1))
    await campaign.settled()
    assert len(world.heard(events.PopulationChanged)) == 3
    for _ in range(100):
        if len(world.heard(events.PopulationChanged)) == 4:
            break
        await asyncio.sleep(0.05)
    versions = [(m.activity_number, m.version) for m in world.heard(events.PopulationChanged)]
    assert sorted(version for _, version in versions) == [1, 1, 2, 2]


async def test_a_lost_set_holds_up_no_other(campaign: Campaign, world: World, start_campaign: Any) -> None:
    """The object of one push is gone: its pages wait, the other push is handed out."""
    world.takes_in = False
    world.excluded.clear()
    world.sources["audiences/feixiang"] = BitMap(range(6000))
    lost = await campaign.run(control_percent=0)
    await campaign.settled()
    await campaign.service.stop()
    for info in await (await world.bus.js.object_store("IOP_BITMAPS")).list():
        if info.name.startswith(f"activity-{lost.activity_number}-group"):
            await world.bus.delete_object("IOP_BITMAPS", info.name)
    world.takes_in = True
    world.sources["audiences/feixiang"] = BitMap(range(5000))
    again: Campaign = await start_campaign(database_url=campaign.service.runtime.database_url)
    other = await again.run(name="other", control_percent=0)
    world.take_in()
    for _ in range(200):
        if (await again.progress(other.name))[SMS].unplanned == 0:
            break
        await asyncio.sleep(0.05)
    assert (await again.progress(other.name))[SMS].handed == 5000
    assert (await again.progress(lost.name))[SMS].handed == 4000
