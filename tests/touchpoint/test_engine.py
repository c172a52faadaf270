"""Queue, offers, flags and leases in memory; contact caps against a real Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import redis.asyncio as redis
from hypothesis import given, settings
from hypothesis import strategies as st

from services.touchpoint.domain import keys
from services.touchpoint.domain.policy import Cap
from services.touchpoint.engine.caps import Caps, Contact, Contacts, GenerationLost
from services.touchpoint.engine.flags import DoNotDisturb, Flags
from services.touchpoint.engine.leases import Held, Lease, Leases, Sessions
from services.touchpoint.engine.offers import Offers, Wave
from services.touchpoint.engine.queue import CHUNK, Piece, TouchQueue

HIGH, MEDIUM, LOW = 1, 2, 3


def piece(activity: int, count: int, slice_id: int = 1, start: int = 0) -> Piece:
    positions = np.arange(start, start + count, dtype=np.uint16)
    return Piece(slice_id, activity, 1, 100, 1, positions, positions.astype(np.uint32) + 1000)


def drain(queue: TouchQueue, count: int) -> list[Piece]:
    return queue.take(count, lambda _: True, 0.0)


def tally(pieces: list[Piece]) -> Counter[int]:
    made: Counter[int] = Counter()
    for one in pieces:
        made[one.activity] += len(one)
    return made


def test_urgent_work_does_not_stand_behind_bulk() -> None:
    """High goes first, whatever lies in the queue before it (TCH-22, TCH-76)."""
    queue = TouchQueue()
    queue.put(piece(1, 50_000), LOW)
    queue.put(piece(2, 100), HIGH)
    first = drain(queue, 200)
    assert first[0].activity == 2
    assert tally(first)[2] == 100


def test_who_was_alone_owes_nothing() -> None:
    queue = TouchQueue()
    queue.put(piece(1, 20_000), HIGH)
    drain(queue, 10_000)
    queue.put(piece(2, 5_000), LOW)
    assert tally(drain(queue, 700)) == {1: 700}


def test_low_is_never_starved() -> None:
    queue = TouchQueue()
    for activity, lane in ((1, HIGH), (2, MEDIUM), (3, LOW)):
        queue.put(piece(activity, 60_000), lane)
    got = tally([one for _ in range(40) for one in drain(queue, 500)])
    assert got[3] >= 20_000 * 0.04
    assert got[1] > got[2] > got[3]


def test_activities_of_a_lane_share_it() -> None:
    queue = TouchQueue()
    queue.put(piece(1, 50_000), MEDIUM)
    queue.put(piece(2, 300), MEDIUM)
    queue.put(piece(3, 300), MEDIUM)
    got = tally(drain(queue, 900))
    assert got[2] == 300 and got[3] == 300 and got[1] == 300


def test_what_may_not_go_out_is_left_where_it_is() -> None:
    queue = TouchQueue()
    queue.put(piece(1, 10), HIGH)
    queue.put(piece(2, 10), LOW)
    assert tally(queue.take(100, lambda number: number == 2, 0.0)) == {2: 10}
    assert (queue.size(), queue.size(lambda number: number == 2)) == (10, 0)


def test_a_changed_priority_moves_the_whole_line() -> None:
    """Changing the priority relieves a queue that has piled up (TCH-73, TCH-78)."""
    queue = TouchQueue()
    queue.put(piece(1, 5_000), MEDIUM)
    queue.put(piece(2, 100), LOW)
    queue.set_lane(2, HIGH)
    assert tally(drain(queue, 100)) == {2: 100}


def test_delayed_work_comes_when_it_is_due() -> None:
    queue = TouchQueue()
    queue.put_later(piece(1, 5), MEDIUM, 10.0)
    assert queue.take(10, lambda _: True, 9.9) == [] and queue.size() == 5 and queue.next_delayed() == 10.0
    assert tally(queue.take(10, lambda _: True, 10.0)) == {1: 5}


def test_what_is_over_is_forgotten() -> None:
    queue = TouchQueue()
    one = piece(1, 3)
    one.expires = np.array([0, 50, 100], np.int64)
    queue.put(one, MEDIUM)
    queue.put(piece(2, 2), MEDIUM)
    queue.expire(50)
    assert (queue.size(), queue.size(lambda number: number == 1)) == (4, 2)
    queue.expire(1000)
    assert tally(drain(queue, 10)) == {1: 1, 2: 2}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 200), st.integers(1, 3)), max_size=20),
    st.lists(st.integers(1, 300), min_size=1, max_size=30),
)
def test_nothing_is_lost_and_nothing_comes_twice(puts: list[tuple[int, int, int]], takes: list[int]) -> None:
    queue = TouchQueue()
    lanes: dict[int, int] = {}
    for slice_id, (activity, count, lane) in enumerate(puts):
        queue.put(piece(activity, count, slice_id), lanes.setdefault(activity, lane))
    total = sum(count for _, count, _ in puts)
    seen: Counter[tuple[int, int]] = Counter()
    for count in [*takes, 10_000]:
        left = queue.size()
        got = drain(queue, count)
        taken = sum(map(len, got))
        assert taken == min(count, left)
        if count % 2:
            queue.put_back(got, lambda number: lanes[number])
            assert queue.size() == left
        else:
            seen.update((one.slice_id, int(position)) for one in got for position in one.positions)
    assert sum(seen.values()) == total and all(n == 1 for n in seen.values())


def test_pieces_are_cut_at_the_turn() -> None:
    queue = TouchQueue()
    queue.put(piece(1, CHUNK * 3), MEDIUM)
    assert [len(one) for one in drain(queue, CHUNK + 1)] == [CHUNK + 1]
    queue.put(piece(2, CHUNK * 3), MEDIUM)
    assert [(one.activity, len(one)) for one in drain(queue, CHUNK + 1)] == [(1, CHUNK), (2, 1)]


def test_the_best_offer_comes_first() -> None:
    """By rank, one an activity, its newest wave."""
    offers = Offers()
    offers.add(Wave(100, 1, 1), [5, 6])
    offers.add(Wave(101, 1, 2), [5])
    offers.add(Wave(100, 2, 1), [5])
    offers.add(Wave(100, 3, 1), [5])
    rank = {1: (2,), 2: (1,), 3: None}.get
    assert list(offers.find(5, rank)) == [Wave(100, 2, 1), Wave(101, 1, 2)]
    offers.remove(Wave(100, 2, 1), 5)
    assert list(offers.find(5, rank)) == [Wave(101, 1, 2)]
    assert list(offers.find(6, rank)) == [Wave(100, 1, 1)]
    offers.drop(1)
    assert offers.size() == 1


def test_flags_are_looked_up_for_whole_columns() -> None:
    flags = Flags()
    flags.set(8, np.array([3, 70_000], np.uint32))
    flags.set(1, np.array([3], np.uint32))
    assert flags.of(np.array([3, 4, 70_000, 900_000], np.uint32)).tolist() == [9, 0, 8, 0]
    flags.clear(8, np.array([3, 5_000_000], np.uint32))
    assert (flags.one(3), flags.one(10_000_000)) == (1, 0)
    flags.replace([(2, np.array([4], np.uint32))])
    assert flags.of(np.array([3, 4], np.uint32)).tolist() == [0, 2]


def test_do_not_disturb_is_by_touchpoint_and_type() -> None:
    """One channel and one kind of marketing can be refused alone (DOMAIN 2.6)."""
    found = DoNotDisturb()
    found.add(1, 1, "traffic")
    found.add(2, 0, "")
    found.add(3, 1, "")
    ordinals = np.array([1, 2, 3, 4], np.uint32)
    assert found.of(ordinals, 1, "traffic").tolist() == [True, True, True, False]
    assert found.of(ordinals, 1, "broadband").tolist() == [False, True, True, False]
    assert found.of(ordinals, 2, "traffic").tolist() == [False, True, False, False]
    found.remove(2, 0, "")
    assert not found.one(2, 1, "traffic") and found.one(1, 1, "traffic")


def test_a_touch_belongs_to_its_newest_lease() -> None:
    leases = Leases()
    held = Held(1, 0, 5, 7, 1, 0)
    leases.add(Lease(1, "a", True, 10.0, {"x": held, "y": held}))
    leases.add(Lease(2, "b", True, 20.0, {"x": held}))
    assert leases.lease_of("x") == 2 and leases.size() == 2
    leases.release("x", only=1)
    assert leases.lease_of("x") == 2
    leases.release("x")
    assert leases.get(2) is None
    assert [lease.id for lease in leases.late(10.0)] == [1]
    leases.end(1)
    assert leases.size() == 0


def test_sessions_end_when_nobody_calls() -> None:
    sessions = Sessions(60)
    one = sessions.open("a", [1], True, True, 100, 10.0, 0.0)
    assert one.allowed(100, 0.0) == 10
    one.spend(10)
    assert one.allowed(100, 0.5) == 5
    assert sessions.touchpoints(59) == {1} and sessions.touchpoints(61) == set()
    again = sessions.open("a", [1, 2], True, True, 100, 0, 10.0)
    assert sessions.get(one.id, 10.0) is None and sessions.get(again.id, 70.0) is again
    assert sessions.close_silent(131.0) == ["a"] and sessions.count(1, 131.0) == 0


@pytest_asyncio.fixture
async def caps(redis_url: str) -> AsyncIterator[Caps]:
    made = Caps(redis_url, 4)
    await made.rebuild_finish(await made.rebuild_begin())
    yield made
    await made.close()


def contact(
    ordinal: int, number: int, *, touchpoint: int = 1, kind: str = "traffic", day: int = 0
) -> Contact:
    key = keys.pack(keys.TouchKey(9000, number, 1, touchpoint, ordinal))
    return Contact(key, ordinal, touchpoint, touchpoint in (1, 2, 3), kind, day)


async def reserve(caps: Caps, contacts: list[Contact], rules: tuple[Cap, ...], today: int) -> list[int]:
    """Reserve one after the other."""
    made = []
    for one in contacts:
        asked = Contacts(
            np.frombuffer(one.field, np.uint8).reshape(1, 15),
            np.array([one.ordinal], np.uint32),
            one.touchpoint,
            one.push,
            one.marketing_type,
        )
        made += (await caps.reserve(asked, rules, today)).tolist()
    return made


TWO_A_DAY = (Cap(2, 1),)


async def test_a_slot_is_counted_once_and_can_be_given_back(caps: Caps) -> None:
    """Two a day: the third is refused, a repeat counts nothing, a failure frees its slot (DOMAIN 2.6)."""
    assert await reserve(caps, [contact(5, 1), contact(5, 2), contact(5, 3)], TWO_A_DAY, 100) == [0, 0, 1]
    assert await reserve(caps, [contact(5, 1)], TWO_A_DAY, 100) == [0]
    assert await reserve(caps, [contact(6, 3)], TWO_A_DAY, 100) == [0]
    await caps.refund([(5, contact(5, 1).field), (5, contact(5, 9).field)])
    assert await reserve(caps, [contact(5, 3), contact(5, 4)], TWO_A_DAY, 100) == [0, 1]
    assert await reserve(caps, [contact(5, 4)], TWO_A_DAY, 101) == [0]


async def test_days_are_added_up(caps: Caps) -> None:
    """N contacts in M days, the current one included."""
    both = (Cap(2, 1), Cap(3, 7))
    for day in (100, 101, 102):
        assert await reserve(caps, [contact(5, day)], both, day) == [0]
    assert await reserve(caps, [contact(5, 103)], both, 103) == [2]
    assert await reserve(caps, [contact(5, 107)], both, 107) == [0]


async def test_caps_by_touchpoint_and_type(caps: Caps) -> None:
    narrow = (Cap(1, 1, frozenset({8}), "broadband"),)
    asked = [contact(5, n, touchpoint=8, kind="broadband") for n in (1, 2)]
    assert await reserve(caps, asked, narrow, 100) == [0, 1]
    assert await reserve(caps, [contact(5, 3, touchpoint=8)], narrow, 100) == [0]
    # Pull touchpoints are not counted by a cap on all push touchpoints.
    assert await reserve(caps, [contact(5, n) for n in (4, 5, 6)], TWO_A_DAY, 100) == [0, 0, 1]


async def test_caps_hold_under_concurrency(caps: Caps) -> None:
    """Any number of leases at once never exceed the cap."""
    people = np.arange(50, dtype=np.uint32)
    calls = [
        caps.reserve(
            Contacts(keys.pack_page(9000, number, 1, 1, people), people, 1, True, "traffic"), TWO_A_DAY, 100
        )
        for number in range(1, 13)
    ]
    results = await asyncio.gather(*calls)
    assert [sum(1 for result in results if result[o] == 0) for o in range(50)] == [2] * 50


async def test_lost_counts_are_noticed_and_rebuilt(caps: Caps, redis_url: str) -> None:
    """An emptied Redis blocks until the contacts of the ledger are counted again."""
    await reserve(caps, [contact(5, 1), contact(5, 2)], TWO_A_DAY, 100)
    assert await caps.intact()
    async with redis.Redis.from_url(redis_url) as client:
        await client.flushall()
    assert not await caps.intact()
    with pytest.raises(GenerationLost):
        await reserve(caps, [contact(5, 3)], TWO_A_DAY, 100)
    generation = await caps.rebuild_begin()
    await caps.rebuild_add(
        generation, [contact(5, 1, day=100), contact(5, 2, day=100), contact(5, 1, day=101)]
    )
    with pytest.raises(GenerationLost):
        await reserve(caps, [contact(5, 3)], TWO_A_DAY, 100)
    await caps.rebuild_finish(generation)
    assert await reserve(caps, [contact(5, 3), contact(6, 3)], TWO_A_DAY, 100) == [1, 0]


async def test_a_server_that_ran_before_is_not_trusted(caps: Caps, redis_url: str) -> None:
    """A mark of another run of the server is no mark: it may have come back with older data."""
    async with redis.Redis.from_url(redis_url) as client:
        for name in await client.keys("iop:cap:*:generation"):
            value = (await client.get(name)).decode()
            await client.set(name, value.split(":")[0] + ":" + "0" * 40)
    with pytest.raises(GenerationLost):
        await reserve(caps, [contact(5, 1)], TWO_A_DAY, 100)
