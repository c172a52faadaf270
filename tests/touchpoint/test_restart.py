"""Another process takes over: queues, leases, offers and lists come back from the tables."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from services.kit import app, db
from services.kit.app import Service
from services.touchpoint.domain.states import COUNTER_OF, State
from tests.touchpoint.conftest import (
    SMS,
    STORE_COUNTER,
    TOOLBAR,
    Platform,
    World,
    later,
    until,
)


async def recount(platform: Platform) -> None:
    """The counters agree with a count of the states of every touch."""

    def work(tx: db.Connection) -> tuple[dict[Any, int], dict[Any, int]]:
        counted: dict[Any, int] = {}
        for row in tx.execute(sa.text("SELECT activity_number, touchpoint, states FROM slice")):
            for state in bytes(row.states):
                counter, reason = COUNTER_OF[state]
                key = (row.activity_number, row.touchpoint, counter, reason)
                if state == State.NONE:
                    key = (row.activity_number, row.touchpoint, "suppressed", "")
                counted[key] = counted.get(key, 0) + 1
                total = (row.activity_number, row.touchpoint, "received", "")
                counted[total] = counted.get(total, 0) + 1
        told: dict[Any, int] = {}
        for number, touchpoint, counter, reason, n in tx.execute(sa.text("SELECT * FROM counter")):
            if counter in ("clicks", "replies"):
                continue
            key = (number, touchpoint, counter, "" if counter == "suppressed" else reason)
            told[key] = told.get(key, 0) + n
        return counted, {key: n for key, n in told.items() if n}

    counted, told = await platform.centre_of().db.read(work)
    assert counted == told


async def restart(platform: Platform, stub: Callable[..., Any], **fields: Any) -> Platform:
    """Stop the service and start it again on the same servers."""
    await platform.service.stop()
    runtime = dataclasses.replace(platform.service.runtime, **fields)
    service = await app.start_in_process("touchpoint", runtime)
    return Platform(service, platform.world, stub)


async def test_everything_comes_back(platform: Platform, stub: Callable[..., Any]) -> None:
    """Queued, held, leased, offered: nothing is lost and nothing comes twice after a restart."""
    world = platform.world
    await world.launch(touchpoints=(SMS, STORE_COUNTER), instruction="KTAQY30", trace_budget=1)
    await world.page(range(20))
    await world.page(range(5), touchpoint=STORE_COUNTER)
    await platform.received(20)
    await platform.received(5, touchpoint=STORE_COUNTER)
    session = await platform.session()
    lease = await platform.lease(session, most=8)
    ids = [t.touch_id for t in lease.touches]
    await platform.report(session, ids[:3], "ACCEPTED")
    await platform.reply(session, 15, "TD")
    offer = (await platform.decide(2))[0]
    await platform.feedback(offer.touch_id, "SHOWN")
    again = await restart(platform, stub)
    try:
        fresh = await again.session()
        kept = again.centre_of().leases.get(int(lease.lease))
        assert kept is not None and set(kept.items) == set(ids[3:])
        await again.report(fresh, ids[3:4], "DELIVERED")
        answer = await again.lease(fresh, wait=5000)
        assert len(answer.touches) == 11  # twelve were queued, one customer has opted out
        assert not {t.touch_id for t in answer.touches} & set(ids)
        assert (await again.decide(2))[0].touch_id == offer.touch_id
        kept.deadline = 0.0

        async def back() -> bool:
            return (await again.counters()).queued == 4

        await until(back)
        more = await again.lease(fresh)
        assert {t.touch_id for t in more.touches} == set(ids[4:])
        await again.report(fresh, [*ids, *(t.touch_id for t in answer.touches)], "DELIVERED")
        done = await again.counters()
        assert (done.settled, done.suppressed) == ({"delivered": 19}, {"opt_out": 1})
        await recount(again)
    finally:
        await again.service.stop()


async def test_a_second_owner_takes_over(
    platform: Platform, make_service: Any, stub: Callable[..., Any]
) -> None:
    """Of two processes on one database only the newer one leases; the older one ends."""
    await platform.world.launch()
    await platform.world.page(range(4))
    await platform.received(4)
    old: Service = platform.service
    session = await platform.session()
    service = await make_service(
        "touchpoint",
        peers=[platform.world.service],
        clock=old.runtime.clock,
        database_url=old.runtime.database_url,
    )
    newer = Platform(service, platform.world, stub)
    with pytest.raises(Exception, match="owned by epoch"):
        await platform.lease(session)
    assert old.failure is not None
    assert len((await newer.lease(await newer.session(), wait=5000)).touches) == 4


async def test_memory_is_completed_from_the_tables(platform: Platform) -> None:
    """When the end of a commit was not seen, what memory misses is added."""
    await platform.world.launch(touchpoints=(SMS, TOOLBAR))
    await platform.world.page(range(6))
    await platform.received(6)
    session = await platform.session()
    lease = await platform.lease(session, most=2)
    centre = platform.centre_of()
    centre.leases.end(int(lease.lease))
    centre.queues[SMS].drop(7)
    assert not (await platform.lease(session)).touches
    centre.suspect = True
    again = await platform.lease(session, wait=5000)
    assert len(again.touches) == 4
    assert centre.leases.get(int(lease.lease)) is not None
    await platform.report(session, [*lease.touches, *again.touches], "DELIVERED")
    assert (await platform.counters()).settled == {"delivered": 6}


async def test_random_lives_conserve(platform: Platform, world: World) -> None:
    """Whatever happens in whatever order, received is the sum of what became of it."""
    dice = random.Random(20260610)
    await world.launch(1)
    await world.launch(2, (SMS, STORE_COUNTER))
    state_version = 0
    expected: dict[tuple[int, int], int] = {}
    session = await platform.session()
    held: list[str] = []
    reported: list[str] = []
    statuses = ("ACCEPTED", "DELIVERED", "FAILED", "REJECTED", "RETRY", "DROPPED", "UNKNOWN", "CLICKED")
    hour = 0
    for _ in range(60):
        move = dice.randrange(8)
        if move == 0:
            pair = dice.choice([(1, SMS), (2, SMS), (2, STORE_COUNTER)])
            count = dice.randrange(1, 40)
            start = dice.randrange(200)
            await world.page(
                range(start, start + count), pair[0], pair[1], lane=dice.choice(["high", "medium", "low"])
            )
            expected[pair] = expected.get(pair, 0) + count
        elif move in (1, 2):
            held += [t.touch_id for t in (await platform.lease(session, most=dice.randrange(1, 30))).touches]
        elif move in (3, 4) and held:
            batch = dice.sample(held, min(len(held), dice.randrange(1, 25)))
            await platform.report(session, batch, dice.choice(statuses), retry_after_seconds=0.0)
            reported += batch
        elif move == 5 and reported:
            await platform.report(session, dice.sample(reported, 1), dice.choice(statuses))
            offers = await platform.decide(dice.randrange(240))
            if offers:
                await platform.feedback(offers[0].touch_id, dice.choice(["SHOWN", "ACCEPTED", "DECLINED"]))
        elif move == 6:
            hour += dice.choice([0, 1, 3, 12])
            world.at(later(hours=hour))
        else:
            state_version += 1
            await world.state(1, dice.choice([1, 1, 2]), state_version)
            if dice.random() < 0.3:
                await platform.reply(session, dice.randrange(200), dice.choice(["TD", "好"]))
        for number in (1, 2):
            await platform.counters(number)  # asserts the balance
    for pair, count in expected.items():
        await platform.received(count, *pair)
    await recount(platform)
