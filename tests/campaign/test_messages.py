"""event.matched becomes pages and counters, once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from iop.campaign.v1 import activity_pb2
from iop.common.v1 import types_pb2
from iop.event.v1 import events_pb2 as event_events
from pyroaring import BitMap

from services.campaign.store import work
from services.kit import envelope
from tests.campaign.conftest import DATA_PLUS, EVENT_SMS, MORNING, STORE_COUNTER, Campaign, World


async def _event_activity(
    campaign: Campaign, touchpoints: tuple[int, ...] = (EVENT_SMS, DATA_PLUS), **fields: Any
) -> Any:
    values: dict[str, Any] = {
        "mode": activity_pb2.MODE_EVENT_TRIGGERED,
        "target": activity_pb2.Target(all_customers=True),
    }
    activity = await campaign.run(touchpoints=touchpoints, **{**values, **fields})
    await campaign.settled()
    return activity


def _free(world: World, count: int) -> list[int]:
    """Some customers."""
    return list(world.sources["all"])[:count]


async def test_matches_become_touches_of_every_touchpoint(campaign: Campaign, world: World) -> None:
    """Each accepted match is one touch at each touchpoint of the activity (CMP-04, CMP-22)."""
    activity = await _event_activity(campaign, time_to_live_seconds=600)
    chosen = _free(world, 40)
    await world.match(activity.activity_number, chosen, MORNING, "m1")
    await campaign.settled()
    progress = await campaign.progress(activity.name)
    for touchpoint in (EVENT_SMS, DATA_PLUS):
        row = progress[touchpoint]
        assert (row.target, row.control, row.handed, row.unplanned) == (40, 0, 40, 0)
        assert world.pages_of(activity.activity_number, touchpoint) == [chosen]
    page = next(page for page in world.pages if page.touchpoint == EVENT_SMS)
    assert page.page_id == f"m1.{EVENT_SMS}"
    assert (page.occurrence, page.planned_day, page.time_to_live_seconds) == (202606, 9657, 600)
    assert set(np.frombuffer(page.occurred_at, "<i8")) == {int(MORNING.timestamp() * 1_000_000)}


async def test_a_match_told_twice_counts_once(campaign: Campaign, world: World, start_campaign: Any) -> None:
    """Redelivered, published again after the broker's own window, and after a restart: one effect."""
    activity = await _event_activity(campaign, (EVENT_SMS,))
    chosen = _free(world, 10)
    await world.match(activity.activity_number, chosen, MORNING, "m1")
    await campaign.settled()
    message = event_events.EventMatched(
        definition_number=41,
        activity_number=activity.activity_number,
        period=202606,
        ordinals=np.array(chosen, "<u4").tobytes(),
        occurred_at=np.full(10, 1, "<i8").tobytes(),
    )
    again = envelope.wrap(message, source="event", partition=world.partition_of(chosen), message_id="m1")

    async def tell(broker_id: str) -> None:
        again.headers[envelope.MESSAGE_ID] = broker_id  # the broker takes it for a new one
        assert await world.bus.send_all([again]) == [None]

    await tell("second")
    await campaign.settled()
    await campaign.service.stop()
    await tell("third")
    restarted: Campaign = await start_campaign(database_url=campaign.service.runtime.database_url)
    await restarted.settled()
    assert restarted.service.status.handled > 0
    assert len(world.pages) == 1
    assert (await restarted.progress(activity.name))[EVENT_SMS].target == 10


async def test_a_failure_between_effect_and_acknowledgement(
    campaign: Campaign, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is committed and the handler fails afterwards: the repeat changes nothing."""
    from services.campaign.messages import Matches

    activity = await _event_activity(campaign, (EVENT_SMS,))
    original = Matches.handle
    failed: list[bool] = []

    async def failing(self: Matches, consumer: str, deliveries: list[Any]) -> None:
        await original(self, consumer, deliveries)
        if not failed:
            failed.append(True)
            raise RuntimeError("after the commit")

    monkeypatch.setattr(Matches, "handle", failing)
    await world.match(activity.activity_number, _free(world, 7), MORNING, "m1")
    await campaign.settled()
    assert failed
    assert (await campaign.progress(activity.name))[EVENT_SMS].handed == 7
    assert world.handed(activity.activity_number, EVENT_SMS) == 7


async def test_a_batch_over_midnight_gives_two_pages(campaign: Campaign, world: World) -> None:
    """The planned day is that of each match in the region's time."""
    activity = await _event_activity(campaign, (EVENT_SMS,))
    midnight = datetime(2026, 6, 10, 16, 0, tzinfo=UTC)
    campaign.at(midnight + timedelta(minutes=1))
    times = [
        midnight - timedelta(seconds=5),
        midnight + timedelta(seconds=5),
        midnight - timedelta(seconds=1),
    ]
    await world.match(activity.activity_number, [5, 6, 7], times, "m1")
    await campaign.settled()
    found = sorted(
        (page.planned_day, page.page_id, np.frombuffer(page.ordinals, "<u4").tolist()) for page in world.pages
    )
    assert found == [(9657, "m1.2", [5, 7]), (9658, "m1.2.1", [6])]


async def test_matches_outside_the_touchpoint_s_days(campaign: Campaign, world: World) -> None:
    """They are counted and not handed (TCH-15)."""
    created = await campaign.create()
    values: dict[str, Any] = {
        "mode": activity_pb2.MODE_EVENT_TRIGGERED,
        "target": activity_pb2.Target(all_customers=True),
    }
    activity = await campaign.add(created.name, **values)
    await campaign.park(
        activity.name, EVENT_SMS, period={"start_date": "2026-06-10", "end_date": "2026-06-10"}
    )
    await campaign.park(activity.name, DATA_PLUS)
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    await world.match(
        activity.activity_number, [1, 2, 3], [MORNING, MORNING, MORNING - timedelta(days=1)], "m1"
    )
    await campaign.settled()
    progress = await campaign.progress(activity.name)
    assert {item.reason: item.count for item in progress[EVENT_SMS].excluded} == {"outside_period": 1}
    assert (progress[EVENT_SMS].handed, progress[DATA_PLUS].handed) == (2, 3)


async def test_paused_and_ended_activities_hand_nothing(campaign: Campaign, world: World) -> None:
    """Matches that arrive meanwhile are counted with their reason and never become touches."""
    activity = await _event_activity(campaign, (EVENT_SMS,))
    number = activity.activity_number
    await campaign.verb("Pause")
    await world.match(number, [1, 2], MORNING, "m1")
    await campaign.settled()
    await campaign.verb("Resume")
    await world.match(number, [3, 4, 5], MORNING, "m2")
    await campaign.settled()
    await campaign.verb("Terminate")
    await world.match(number, [6], MORNING, "m3")
    await campaign.settled()
    row = (await campaign.progress(activity.name))[EVENT_SMS]
    assert {item.reason: item.count for item in row.excluded} == {"paused": 2, "ended": 1}
    assert (row.target, row.handed) == (6, 3)
    assert world.pages_of(number, EVENT_SMS) == [[3, 4, 5]]


async def test_groups_of_a_split_by_event(campaign: Campaign, world: World) -> None:
    """A match goes to the touchpoints of its group; without a group it stays unplanned (CMP-13)."""
    splits = [
        activity_pb2.Split(group="text", percent=40, touchpoints=[types_pb2.TOUCHPOINT_EVENT_SMS]),
        activity_pb2.Split(group="page", percent=40, touchpoints=[types_pb2.TOUCHPOINT_DATA_PLUS]),
    ]
    activity = await _event_activity(campaign, splits=splits)
    await world.match(activity.activity_number, list(range(1000)), MORNING, "m1")
    await campaign.settled()
    progress = await campaign.progress(activity.name)
    both = [
        {o for page in world.pages_of(activity.activity_number, t) for o in page}
        for t in (EVENT_SMS, DATA_PLUS)
    ]
    assert not both[0] & both[1]
    for touchpoint, members in zip((EVENT_SMS, DATA_PLUS), both, strict=True):
        row = progress[touchpoint]
        assert row.target == 1000 and row.handed == len(members) and 330 < row.handed < 470
        assert row.unplanned == 1000 - row.handed
    assert {page.group for page in world.pages if page.touchpoint == EVENT_SMS} == {"text"}


async def test_a_touchpoint_with_narrower_lists(campaign: Campaign, world: World) -> None:
    """The population is the union; each touchpoint takes only whom its own lists allow (TCH-17)."""
    world.excluded["audiences/feixiang"] = {"red_list": BitMap(range(300))}
    created = await campaign.create()
    activity = await campaign.add(created.name, mode=activity_pb2.MODE_EVENT_TRIGGERED, control_percent=0)
    await campaign.park(activity.name, EVENT_SMS)
    await campaign.park(
        activity.name, STORE_COUNTER, suppression={"keep_red_list": True, "reason": "asked at the counter"}
    )
    await campaign.submit_and_approve(created.name)
    await campaign.launch(created.name)
    await campaign.settled()
    await world.match(activity.activity_number, [0, 3, 300, 303], MORNING, "m1")
    await campaign.settled()
    progress = await campaign.progress(activity.name)
    assert (progress[EVENT_SMS].handed, progress[STORE_COUNTER].handed) == (2, 4)
    assert {item.reason: item.count for item in progress[EVENT_SMS].excluded} == {"not_selected": 2}
    assert {item.reason: item.count for item in progress[EVENT_SMS].population_excluded} == {"red_list": 100}


async def test_what_cannot_be_handled_goes_to_the_dead_letters(campaign: Campaign, world: World) -> None:
    """A ragged batch and an unknown activity are put aside; what follows them is handled."""
    activity = await _event_activity(campaign, (EVENT_SMS,))
    await world.bus.publish(
        event_events.EventMatched(
            activity_number=activity.activity_number, ordinals=b"\1\0\0\0", occurred_at=b"\1"
        ),
        partition=0,
        message_id="ragged",
    )
    await world.match(99_999, [1], MORNING, "unknown")
    await world.match(activity.activity_number, [1, 2], MORNING, "m1")
    await campaign.settled()
    assert campaign.service.status.dead == 2
    assert (await campaign.progress(activity.name))[EVENT_SMS].handed == 2


async def test_many_batches_at_once_add_up(campaign: Campaign, world: World) -> None:
    """Four partitions count into the same totals concurrently and lose nothing."""
    activity = await _event_activity(campaign)
    batches = [list(range(i * 50, i * 50 + 50)) for i in range(60)]
    await asyncio.gather(
        *(world.match(activity.activity_number, batch, MORNING, f"m{i}") for i, batch in enumerate(batches))
    )
    await campaign.settled()
    for row in (await campaign.progress(activity.name)).values():
        assert row.target == row.handed == 3000
    database = campaign.service.database()
    counts = await database.read(lambda tx: work.counts(tx, [activity.activity_number]))
    assert all(own["handed", ""] == 3000 for own in counts.values())
