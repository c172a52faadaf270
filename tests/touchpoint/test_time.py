"""Windows, expiry, periods, receipts and leases that time out, stop and resume."""

from __future__ import annotations

import asyncio

import pytest
from iop.adapter.v1 import adapter_pb2
from iop.touchpoint.v1 import touchpoint_pb2

from services.kit import errors
from services.kit.clock import to_micros
from tests.touchpoint.conftest import (
    DAY,
    EVENT_SMS,
    NINE,
    SMS,
    STORE_COUNTER,
    Platform,
    later,
    outcomes,
    until,
)

RUNNING, PAUSED, COMPLETED, TERMINATED = 1, 2, 3, 4
EVENING = later(hours=13)  # 22:00


async def held(platform: Platform, touchpoint: int = SMS) -> int:
    return int((await platform.counters(touchpoint=touchpoint)).held)


async def test_push_waits_for_its_window(platform: Platform) -> None:
    """What comes at night is held, goes out at 08:00, and is held again when the window closes."""
    world = platform.world
    world.at(later(hours=-2))  # 07:00
    await world.launch()
    await world.page(range(10))
    assert (await platform.received(10)).held == 10
    session = await platform.session()
    assert not (await platform.lease(session)).touches
    await platform.idle()
    world.at(NINE)
    lease = await platform.lease(session, most=4, wait=5000)
    assert len(lease.touches) == 4
    assert lease.touches[0].expire_time.ToMicroseconds() == to_micros(later(hours=12))
    world.at(EVENING)
    assert not (await platform.lease(session)).touches
    await platform.report(session, lease.touches, "DELIVERED")
    await platform.idle()
    assert (await platform.counters()).held == 6
    world.at(later(hours=24))
    assert len((await platform.lease(session, wait=5000)).touches) == 6


async def test_event_touches_expire(platform: Platform) -> None:
    """Nobody gets yesterday evening's offer at 08:00: the time to live ends a touch wherever it waits."""
    world = platform.world
    await world.launch(touchpoints=(EVENT_SMS,), event=True)
    now = to_micros(NINE)
    hour = 3_600_000_000
    await world.page(
        range(3),
        touchpoint=EVENT_SMS,
        occurrence=202606,
        occurred_at=[now - hour, now, now + hour // 3],
        time_to_live=1800,
    )
    first = await platform.received(3, touchpoint=EVENT_SMS)
    assert (first.queued, first.settled) == (2, {"expired": 1})
    world.at(later(minutes=31))
    await platform.idle()
    assert (await platform.counters(touchpoint=EVENT_SMS)).settled == {"expired": 2}
    session = await platform.session((EVENT_SMS,))
    lease = await platform.lease(session)
    assert len(lease.touches) == 1
    assert lease.touches[0].expire_time.ToMicroseconds() == now + hour // 3 + 1_800_000_000
    world.at(EVENING)
    await world.page(
        [9], touchpoint=EVENT_SMS, occurred_at=[to_micros(EVENING)], time_to_live=1800, occurrence=202606
    )
    assert (await platform.received(4, touchpoint=EVENT_SMS)).held == 1
    world.at(later(hours=24))
    await platform.report(session, lease.touches, "DROPPED")
    await platform.idle()
    done = await platform.counters(touchpoint=EVENT_SMS)
    assert (done.settled, done.held, done.queued) == ({"expired": 4}, 0, 0)


async def test_the_end_of_the_period_cancels_what_waits(platform: Platform) -> None:
    """After the touchpoint's last day nothing waits any more (TCH-15)."""
    world = platform.world
    await world.launch(touchpoints=(SMS, STORE_COUNTER), end="2026-06-10")
    await world.page(range(5))
    await world.page(range(5), touchpoint=STORE_COUNTER)
    await platform.received(5)
    await platform.received(5, touchpoint=STORE_COUNTER)
    offer = (await platform.decide(1))[0]
    await platform.feedback(offer.touch_id, "SHOWN")
    world.at(later(hours=24))
    await platform.idle()
    assert (await platform.counters()).cancelled == 5
    counter = await platform.counters(touchpoint=STORE_COUNTER)
    assert (counter.cancelled, counter.settled, counter.waiting) == (4, {"shown": 1}, 0)
    await world.page(range(5, 8), day=DAY + 1)
    assert (await platform.received(8)).suppressed == {"out_of_period": 3}
    assert await platform.decide(1) == []


async def test_silence_of_the_provider_is_unknown_until_it_speaks(platform: Platform) -> None:
    """Without a receipt for two hours a touch is unknown; a late receipt amends it, once."""
    world = platform.world
    await world.launch()
    await world.page(range(4))
    await platform.received(4)
    session = await platform.session()
    ids = [t.touch_id for t in (await platform.lease(session)).touches]
    await platform.report(session, ids[:2], "ACCEPTED")
    world.at(later(hours=1))
    await platform.report(session, ids[2:], "ACCEPTED")
    world.at(later(hours=2))
    await platform.idle()
    assert (await platform.counters()).settled == {"unknown": 2}
    world.at(later(hours=3))
    await platform.idle()
    assert (await platform.counters()).settled == {"unknown": 4}
    await platform.report(session, ids[:1], "DELIVERED")
    await platform.report(session, ids[1:2], "FAILED")
    again = await platform.report(session, ids[:2], "DELIVERED")
    assert (again.applied, again.ignored) == (0, 2)
    assert (await platform.counters()).settled == {"unknown": 2, "delivered": 1, "failed": 1}
    await platform.idle()
    heard = outcomes(world.settled)
    assert heard[0, 6, 0] == heard[0, 1, 6] == heard[1, 2, 6] == 1


async def test_lost_leases_of_idempotent_adapters_return(platform: Platform) -> None:
    """An adapter that dies gives nothing back: what it had is leased again under the same id."""
    platform.service.log.info("lease of a dead adapter")
    world = platform.world
    await world.launch()
    await world.page(range(5))
    await platform.received(5)
    first = await platform.session()
    lost = await platform.lease(first)
    for lease in [int(lost.lease)]:
        expire_lease(platform, lease)

    async def back() -> bool:
        return (await platform.counters()).queued == 5

    await until(back)
    answer = await platform.adapter.ExtendLeases(
        adapter_pb2.ExtendLeasesRequest(session=first, leases=[lost.lease, "junk"])
    )
    assert list(answer.lost) == [lost.lease, "junk"]
    # The report of one comes after all: it must not be sent again.
    await platform.report(first, lost.touches[:1], "ACCEPTED")
    second = await platform.session(name="sms-2")
    again = await platform.lease(second)
    assert [t.touch_id for t in again.touches] == [t.touch_id for t in lost.touches[1:]]
    await platform.report(second, again.touches, "DELIVERED")
    await platform.report(first, lost.touches, "DELIVERED")
    assert (await platform.counters()).settled == {"delivered": 5}


async def test_lost_leases_of_other_adapters_are_unknown(platform: Platform) -> None:
    """Where a repeat might reach the customer twice, nothing is repeated."""
    await platform.world.launch()
    await platform.world.page(range(5))
    await platform.received(5)
    session = await platform.session(idempotent=False)
    lost = await platform.lease(session)
    expire_lease(platform, int(lost.lease))

    async def settled() -> bool:
        return (await platform.counters()).settled == {"unknown": 5}

    await until(settled)
    await platform.report(session, lost.touches[:2], "DELIVERED")
    assert (await platform.counters()).settled == {"unknown": 3, "delivered": 2}


def expire_lease(platform: Platform, lease: int) -> None:
    """Let a lease's monotonic deadline pass."""
    found = platform.centre_of().leases.get(lease)
    assert found is not None
    found.deadline = 0.0


async def test_extended_leases_live_on(platform: Platform) -> None:
    await platform.world.launch()
    await platform.world.page(range(5))
    await platform.received(5)
    session = await platform.session()
    lease = await platform.lease(session)
    found = platform.centre_of().leases.get(int(lease.lease))
    assert found is not None
    before = found.deadline = found.deadline - 10
    answer = await platform.adapter.ExtendLeases(
        adapter_pb2.ExtendLeasesRequest(session=session, leases=[lease.lease])
    )
    assert (list(answer.recalled), list(answer.lost)) == ([], []) and found.deadline > before


async def recalled(platform: Platform, session: str, lease: str) -> set[str]:
    answer = await platform.adapter.ExtendLeases(
        adapter_pb2.ExtendLeasesRequest(session=session, leases=[lease])
    )
    return set(answer.recalled)


async def test_pause_recalls_and_resume_repeats_nothing(platform: Platform) -> None:
    """Stop means stop: nothing more is leased, what is leased is recalled; afterwards each goes out once."""
    world = platform.world
    await world.launch()
    await world.page(range(10))
    await platform.received(10)
    session = await platform.session()
    lease = await platform.lease(session, most=6)
    ids = [t.touch_id for t in lease.touches]
    await platform.report(session, ids[:2], "ACCEPTED")
    await world.state(7, PAUSED, 1)

    async def told() -> bool:
        return await recalled(platform, session, lease.lease) == set(ids[2:])

    await until(told)
    assert not (await platform.lease(session)).touches
    await platform.report(session, ids[2:], "DROPPED", code="RECALLED")
    counters = await platform.counters()
    assert (counters.queued, counters.leased) == (8, 2)
    await platform.idle()  # paused work is no work in hand
    await world.state(7, RUNNING, 2)
    await world.state(7, PAUSED, 1)  # late news of an older state
    again = await platform.lease(session, wait=5000)
    assert len(again.touches) == 8 and not {t.touch_id for t in again.touches} & set(ids[:2])
    await platform.report(session, [*ids[:2], *(t.touch_id for t in again.touches)], "DELIVERED")
    assert (await platform.counters()).settled == {"delivered": 10}


async def test_termination_cancels_what_waits_and_recalls_the_rest(platform: Platform) -> None:
    world = platform.world
    await world.launch(touchpoints=(SMS, STORE_COUNTER))
    await world.page(range(10))
    await world.page(range(4), touchpoint=STORE_COUNTER)
    await platform.received(10)
    await platform.received(4, touchpoint=STORE_COUNTER)
    session = await platform.session()
    lease = await platform.lease(session, most=6)
    await world.state(7, TERMINATED, 1)

    async def cancelled() -> bool:
        return (await platform.counters()).cancelled == 4

    await until(cancelled)
    assert await recalled(platform, session, lease.lease) == {t.touch_id for t in lease.touches}
    await platform.report(session, lease.touches[:4], "DROPPED")
    await platform.report(session, lease.touches[4:], "DELIVERED")
    assert (await platform.counters()).settled == {"recalled": 4, "delivered": 2}
    await platform.idle()
    assert (await platform.counters(touchpoint=STORE_COUNTER)).cancelled == 4
    await world.page(range(20, 25))
    assert (await platform.received(15)).cancelled == 9


async def test_an_entry_can_be_stopped_and_its_priority_changed(platform: Platform) -> None:
    """The schedule lists priority and switch, and both can be changed by hand (TCH-74, TCH-75, TCH-77)."""
    world = platform.world
    await world.launch(7, priority=3)
    await world.launch(8, priority=2)
    await world.page(range(4))
    await world.page(range(10, 14), number=8)
    await platform.received(4)
    await platform.received(4, 8)
    change = platform.centre.UpdateScheduleEntry
    entry = await change(
        touchpoint_pb2.UpdateScheduleEntryRequest(
            activity_number=8, touchpoint=SMS, enabled=False, request_id="r1"
        )
    )
    assert (entry.enabled, entry.backlog, entry.state) == (False, 4, "running")
    session = await platform.session()
    assert {t.activity_code for t in (await platform.lease(session, most=2)).touches} == {"A7"}
    await change(
        touchpoint_pb2.UpdateScheduleEntryRequest(activity_number=8, touchpoint=SMS, enabled=True, priority=1)
    )
    listed = (await platform.centre.ListSchedule(touchpoint_pb2.ListScheduleRequest(touchpoint=SMS))).entries
    assert [(e.activity_number, e.priority, e.enabled) for e in listed] == [(8, 1, True), (7, 3, True)]
    assert [t.activity_code for t in (await platform.lease(session)).touches] == ["A8"] * 4 + ["A7"] * 2
    with pytest.raises(errors.NotFound):
        await change(
            touchpoint_pb2.UpdateScheduleEntryRequest(activity_number=9, touchpoint=SMS, enabled=True)
        )


async def test_the_policy_is_replaced_under_its_etag(platform: Platform) -> None:
    """Windows and caps are an operator's to change; a stale etag is refused."""
    world = platform.world
    current = await platform.centre.GetContactPolicy(touchpoint_pb2.GetContactPolicyRequest())
    assert (current.window_start, current.window_end, current.event_window_end) == ("08:00", "21:00", "18:00")
    stale = touchpoint_pb2.ContactPolicy()
    stale.CopyFrom(current)
    current.window_start = "10:00"
    update = platform.centre.UpdateContactPolicy
    stored = await update(touchpoint_pb2.UpdateContactPolicyRequest(policy=current, request_id="p1"))
    again = await update(touchpoint_pb2.UpdateContactPolicyRequest(policy=current, request_id="p1"))
    assert stored == again and stored.etag != stale.etag
    with pytest.raises(errors.Conflict) as conflict:
        await update(touchpoint_pb2.UpdateContactPolicyRequest(policy=stale))
    assert conflict.value.reason == "ETAG_STALE"
    stored.window_start = "10:00"
    stored.window_end = "29:00"
    with pytest.raises(errors.Invalid) as wrong:
        await update(touchpoint_pb2.UpdateContactPolicyRequest(policy=stored))
    assert wrong.value.fields[0][0] == "policy.window_end"
    await world.launch()
    await world.page(range(2))
    assert (await platform.received(2)).held == 2
    await asyncio.sleep(0)
