"""Contact caps through the service: never exceeded, given back, rebuilt after Redis lost them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio as redis
from iop.touchpoint.v1 import touchpoint_pb2

from services.touchpoint.store import ledger
from tests.touchpoint.conftest import PHONE, Platform, World, later, until


@pytest_asyncio.fixture
async def capped(
    make_service: Any,
    world: World,
    clock: Path,
    stub: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Platform]:
    """The service with two push contacts a day and three in seven days."""
    monkeypatch.setenv("IOP_CONTACT_CAPS", "2/1,3/7")
    service = await make_service("touchpoint", peers=[world.service], clock=str(clock))
    await world.listen()
    yield Platform(service, world, stub)


async def pages(platform: Platform, numbers: range, people: int) -> None:
    for number in numbers:
        await platform.world.launch(number)
        await platform.world.page(range(people), number=number)
    for number in numbers:
        await platform.received(people, number)


async def given_back(platform: Platform) -> None:
    """Wait until every freed slot has been given back in Redis."""
    centre = platform.centre_of()

    async def empty() -> bool:
        return not await centre.db.read(ledger.refunds)

    await until(empty)


async def test_adapters_at_once_never_exceed_a_cap(capped: Platform) -> None:
    """Two contacts a day, whoever leases, and the third says why (DOMAIN 2.6)."""
    await pages(capped, range(1, 6), 60)
    sessions = [await capped.session(name=f"sms-{i}") for i in range(3)]

    async def work(session: str) -> list[str]:
        phones: list[str] = []
        while touches := (await capped.lease(session, most=40, wait=300)).touches:
            phones += [t.phone for t in touches]
            await capped.report(session, touches, "DELIVERED")
        return phones

    sent = Counter(phone for part in await asyncio.gather(*map(work, sessions)) for phone in part)
    assert set(sent.values()) == {2} and len(sent) == 60
    rows = [await capped.counters(number) for number in range(1, 6)]
    assert sum(row.suppressed.get("contact_cap", 0) for row in rows) == 180
    assert sum(row.settled.get("delivered", 0) for row in rows) == 120


async def test_what_did_not_reach_the_customer_frees_its_slot(capped: Platform) -> None:
    await pages(capped, range(1, 4), 4)
    session = await capped.session()
    first = (await capped.lease(session, most=8)).touches
    assert len(first) == 8
    await capped.report(session, first, "FAILED")
    await given_back(capped)
    last = (await capped.lease(session, wait=5000)).touches
    assert len(last) == 4
    await capped.report(session, last, "DELIVERED")
    # Two of three days are left: the third contact in seven days is the last one.
    capped.world.at(later(hours=24))
    for number in (11, 12, 13):
        await capped.world.launch(number)
        await capped.world.page([0], number=number)
        await capped.received(1, number)
    got = (await capped.lease(session, wait=5000)).touches
    assert [t.phone for t in got] == [str(PHONE)] * 2


async def test_counts_lost_by_redis_are_counted_again(capped: Platform, redis_url: str) -> None:
    """An emptied Redis sends nobody a third message: capped work waits for the rebuild."""
    await pages(capped, range(1, 3), 20)
    session = await capped.session()
    first = (await capped.lease(session)).touches
    assert len(first) == 40
    await capped.report(session, first[:30], "ACCEPTED")
    await capped.report(session, first[30:35], "FAILED")
    await given_back(capped)
    async with redis.Redis.from_url(redis_url) as client:
        await client.flushall()
    await pages(capped, range(3, 5), 20)
    again: list[Any] = []

    async def all_decided() -> bool:
        again.extend((await capped.lease(session)).touches)
        rows = [await capped.counters(number) for number in range(3, 5)]
        return sum(row.queued for row in rows) == 0

    await until(all_decided, 30)
    sent = Counter(t.phone for t in [*first[:30], *first[35:], *again])
    assert max(sent.values()) == 2
    assert len(again) == 5


async def test_a_new_cap_counts_what_was_sent_before(capped: Platform) -> None:
    """Contacts that were made before a rule came count under it."""
    await pages(capped, range(1, 2), 3)
    session = await capped.session()
    await capped.report(session, (await capped.lease(session)).touches, "DELIVERED")
    policy = await capped.centre.GetContactPolicy(touchpoint_pb2.GetContactPolicyRequest())
    policy.caps.add(limit=1, days=2, touchpoints=[1], marketing_type="traffic")
    await capped.centre.UpdateContactPolicy(touchpoint_pb2.UpdateContactPolicyRequest(policy=policy))
    await pages(capped, range(2, 3), 4)

    async def decided() -> bool:
        await capped.lease(session)
        return (await capped.counters(2)).queued == 0

    await until(decided, 30)
    assert (await capped.counters(2)).suppressed == {"contact_cap": 3}
