"""Pages go out at the touchpoints' pace, and a crash between transactions loses and repeats nothing."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from pyroaring import BitMap

from services.campaign.jobs.planner import Planner
from services.campaign.store import work
from tests.campaign.conftest import SMS, Campaign, World


async def _until(check: Any, seconds: float = 15) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not check():
        assert asyncio.get_running_loop().time() < end, "it did not happen"
        await asyncio.sleep(0.02)


async def test_at_most_eight_pages_are_on_their_way(campaign: Campaign, world: World) -> None:
    """Beyond what touchpoint has taken in there are at most 8 pages of 500; the rest stays unplanned."""
    world.takes_in = False
    world.sources["audiences/feixiang"] = BitMap(range(20_000))
    world.excluded.clear()
    activity = await campaign.run(control_percent=0)
    number = activity.activity_number
    await _until(lambda: world.handed(number, SMS) >= 4000)
    await asyncio.sleep(0.5)
    assert world.handed(number, SMS) == 4000
    progress = (await campaign.progress(activity.name))[SMS]
    assert (progress.handed, progress.unplanned) == (4000, 16_000)
    world.take_in()
    await _until(lambda: world.handed(number, SMS) >= 8000)
    await asyncio.sleep(0.3)
    assert world.handed(number, SMS) == 8000
    world.takes_in = True
    world.take_in()
    await _until(lambda: world.handed(number, SMS) == 20_000)
    assert all(len(page) == 500 for page in world.pages_of(number, SMS))


async def test_never_beyond_the_room(campaign: Campaign, world: World) -> None:
    """A touchpoint that wants 700 more gets a page of 500, then the rest it wants once that is taken in."""
    world.room = 0
    world.takes_in = False
    activity = await campaign.run(control_percent=0)
    number = activity.activity_number
    await asyncio.sleep(0.4)
    # Only the page that goes out with the launch itself.
    assert world.handed(number, SMS) == 500
    world.take_in()
    world.room = 700
    await _until(lambda: world.handed(number, SMS) == 1000)
    await asyncio.sleep(0.3)
    assert world.handed(number, SMS) == 1000
    world.room = 200
    world.take_in()
    await _until(lambda: world.handed(number, SMS) == 1200)


async def test_a_touchpoint_that_knows_nothing_gets_one_page(campaign: Campaign, world: World) -> None:
    world.knows_all = False
    activity = await campaign.run(control_percent=0)
    await asyncio.sleep(0.4)
    assert world.handed(activity.activity_number, SMS) == 500
    world.knows_all = True
    await campaign.settled()
    assert (await campaign.progress(activity.name))[SMS].unplanned == 0


async def test_work_held_back_is_work_in_hand(campaign: Campaign, world: World) -> None:
    """The service is at rest only after it has asked touchpoint again and found no room."""
    world.room = 0
    world.takes_in = False
    activity = await campaign.run(control_percent=0)
    await _until(lambda: world.handed(activity.activity_number, SMS) == 500)
    await campaign.settled()
    world.take_in()
    world.room = 500
    await campaign.settled()
    assert world.handed(activity.activity_number, SMS) == 1000


async def test_nothing_before_the_first_day_or_after_the_last(campaign: Campaign, world: World) -> None:
    """A touchpoint's days bound its pages (TCH-15)."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    later = {"start_date": "2026-06-12", "end_date": "2026-06-13"}
    await campaign.park(activity.name, SMS, period=later)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    assert world.pages == []
    from tests.campaign.conftest import MORNING

    campaign.at(MORNING.replace(day=12))
    await campaign.settled()
    assert {page.planned_day for page in world.pages} == {9659}
    assert (await campaign.progress(activity.name))[SMS].unplanned == 0


async def test_priority_is_the_lane(campaign: Campaign, world: World) -> None:
    """High, medium and low go out on lanes of their own (TCH-22)."""
    created = await campaign.create()
    for lane, priority in (("high", 1), ("low", 3)):
        activity = await campaign.add(created.name, lane)
        await campaign.park(activity.name, SMS, priority=priority)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    assert set(world.page_lanes) == {"high", "low"}


@pytest.mark.parametrize("cut_at", [1, 2, 3])
async def test_a_crash_between_transactions(
    campaign: Campaign, world: World, start_campaign: Any, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    """The planner dies inside its n-th transaction: after a restart every page is there once."""
    world.sources["audiences/feixiang"] = BitMap(range(0, 30_000, 2))
    world.excluded.clear()
    calls = itertools.count(1)
    original = work.add_counts

    def failing(tx: Any, deltas: Any) -> None:
        original(tx, deltas)
        if any(key[2] == "handed" and n for key, n in deltas.items()) and next(calls) >= cut_at:
            raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(work, "add_counts", failing)
        activity = await campaign.run(control_percent=5)
        await asyncio.sleep(0.3)
        assert next(calls) > cut_at
        await campaign.service.stop()
    again: Campaign = await start_campaign(database_url=campaign.service.runtime.database_url)
    await again.settled()
    progress = (await again.progress(activity.name))[SMS]
    handed = [o for page in world.pages_of(activity.activity_number, SMS) for o in page]
    assert len(handed) == len(set(handed)) == progress.handed == progress.target - progress.control
    ids = [page.page_id for page in world.pages]
    assert sorted(ids) == sorted(f"{activity.activity_number}.1.1.{i}" for i in range(len(ids)))


async def test_two_planners_share_the_work(campaign: Campaign, world: World, start_campaign: Any) -> None:
    """Two replicas plan at once: the cursors are locked, no page goes out twice."""
    world.sources["audiences/feixiang"] = BitMap(range(0, 60_000, 2))
    second: Campaign = await start_campaign(database_url=campaign.service.runtime.database_url)
    activity = await campaign.run(control_percent=0)
    await campaign.settled()
    await second.settled()
    handed = [o for page in world.pages_of(activity.activity_number, SMS) for o in page]
    assert len(handed) == len(set(handed)) == (await campaign.progress(activity.name))[SMS].handed
    assert (await campaign.progress(activity.name))[SMS].unplanned == 0


def test_traces_of_planning_are_bounded() -> None:
    """At most as many planning runs of an activity are traced a day as its budget says."""
    from datetime import date

    planner = Planner.__new__(Planner)
    from collections import Counter

    planner._traced, planner._trace_budget = Counter(), 3
    assert sum(planner._may_trace(1, date(2026, 6, 10)) for _ in range(10)) == 3
    assert planner._may_trace(1, date(2026, 6, 11)) and planner._may_trace(2, date(2026, 6, 10))
