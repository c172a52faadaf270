"""Pages through stages, queue, lease and receipts, on real servers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from iop.adapter.v1 import adapter_pb2
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.kit import attributes, errors
from services.kit.actor import Actor
from tests.touchpoint.conftest import (
    DATA_PLUS,
    EVENT_SMS,
    PHONE,
    PLANNER,
    PLATFORM,
    SMS,
    STORE_COUNTER,
    SUBSCRIBER,
    Platform,
    outcomes,
    until,
)


async def test_a_page_is_sent_and_its_receipts_settle_it(platform: Platform) -> None:
    """Words carry the customer's values; delivered, failed and refused are told apart (TCH-01, TCH-20)."""
    await platform.world.launch(words="本月消费{spend}元")
    await platform.world.page(range(10, 20))
    before = await platform.received(10)
    assert before.queued == 10
    session = await platform.session()
    lease = await platform.lease(session)
    assert [touch.phone for touch in lease.touches] == [str(PHONE + i) for i in range(10, 20)]
    assert lease.touches[0].text == "本月消费10.50元"
    assert lease.touches[0].activity_code == "A7"
    assert dict(lease.touches[0].fields) == {"title": "T"}
    assert (await platform.counters()).leased == 10
    assert (await platform.lease(session)).lease == ""
    ids = [touch.touch_id for touch in lease.touches]
    await platform.report(session, ids[:8], "ACCEPTED")
    await platform.report(session, ids[8:], "REJECTED", code="13")
    assert (await platform.counters()).leased == 8
    await platform.report(session, ids[:6], "DELIVERED", code="DELIVRD")
    await platform.report(session, ids[6:8], "FAILED", code="UNDELIV")
    done = await platform.counters()
    assert (done.queued, done.leased) == (0, 0)
    assert done.settled == {"delivered": 6, "failed": 2, "rejected": 2}
    await platform.idle()
    heard = outcomes(platform.world.settled)
    assert heard == {
        **{(i, 1, 0): 1 for i in range(10, 16)},
        **{(i, 2, 0): 1 for i in (16, 17)},
        (18, 3, 0): 1,
        (19, 3, 0): 1,
    }
    touch = await platform.touch(ids[0])
    assert [step.step for step in touch.history] == [
        "received", "queued", "leased", "accepted_by_provider", "delivered",
    ]  # fmt: skip
    assert (touch.state, touch.text, touch.touchpoint) == ("settled", "本月消费10.50元", SMS)


async def test_rules_take_rows_out_with_their_reason(platform: Platform) -> None:
    """Opt-outs always, block list unless kept; the why is findable by number (TCH-17)."""
    world = platform.world
    await world.suppress(4, [1, 2])
    await world.suppress(1, [2, 3])
    await world.launch(7)
    await world.launch(8, keep_block=True)
    await world.page(range(10))
    await world.page(range(10), number=8)
    first = await platform.received(10)
    second = await platform.received(10, 8)
    assert first.suppressed == {"opt_out": 2, "block_list": 1} and first.queued == 7
    assert second.suppressed == {"opt_out": 2} and second.queued == 8
    found = await platform.ledger.ExplainTouches(ledger_pb2.ExplainTouchesRequest(phone=PHONE + 3))
    assert {(t.activity_number, t.state, t.reason) for t in found.touches} == {
        (7, "suppressed", "block_list"),
        (8, "queued", ""),
    }
    assert found.subscriber_id == SUBSCRIBER + 3 and found.phone == str(PHONE + 3)
    await platform.idle()
    assert outcomes(world.settled)[3, 10, 0] == 1


async def test_followers_only(platform: Platform) -> None:
    """Data+ reaches who follows it; while nobody knows the followers all are tried (TCH-03, TCH-80)."""
    world = platform.world
    await world.launch(touchpoints=(DATA_PLUS,))
    await world.page(range(4), touchpoint=DATA_PLUS)
    assert (await platform.received(4, touchpoint=DATA_PLUS)).queued == 4
    world.tags["data_plus_follower"] = lambda ordinal: ("是", "否", "", "true")[ordinal % 4]
    await world.page(range(4, 8), touchpoint=DATA_PLUS)
    found = await platform.received(8, touchpoint=DATA_PLUS)
    assert (found.queued, found.suppressed) == (6, {"not_follower": 2})


async def test_the_same_page_and_the_same_key_come_once(platform: Platform) -> None:
    """A page that comes again changes nothing; a key planned again is a duplicate."""
    world = platform.world
    await world.launch()
    await world.page(range(10), page_id="p1")
    await platform.received(10)
    await world.page(range(10), page_id="p1")
    await world.page([5, 6, 20, 20], page_id="p2")
    found = await platform.received(14)
    assert (found.received, found.queued, found.suppressed) == (14, 11, {"duplicate": 3})
    session = await platform.session()
    lease = await platform.lease(session)
    assert len({t.touch_id for t in lease.touches}) == len(lease.touches) == 11
    await platform.report(session, lease.touches, "DELIVERED")
    await platform.idle()
    assert sum(outcomes(world.settled).values()) == 11


async def test_a_page_ahead_of_its_launch_waits(platform: Platform) -> None:
    world = platform.world
    await world.page(range(3))
    await asyncio.sleep(0.3)
    assert (await platform.counters()).received == 0
    await world.launch()
    assert (await platform.received(3)).queued == 3


async def test_a_broken_page_goes_to_the_dead_letters(platform: Platform) -> None:
    """What cannot be taken in is put aside with its reason and stops nobody."""
    world = platform.world
    await world.launch()
    await world.page([], page_id="empty")
    await world.page([1], touchpoint=EVENT_SMS, page_id="foreign")
    await world.page([2])
    assert (await platform.received(1)).queued == 1
    await platform.idle()
    assert platform.service.status.dead == 2


async def test_repeated_and_late_receipts_change_nothing_twice(platform: Platform) -> None:
    """Receipts may come twice, out of order and by the provider's id alone."""
    await platform.world.launch()
    await platform.world.page(range(4))
    await platform.received(4)
    session = await platform.session()
    ids = [t.touch_id for t in (await platform.lease(session)).touches]
    accepted, delivered, failed = (
        adapter_pb2.RECEIPT_STATUS_ACCEPTED,
        adapter_pb2.RECEIPT_STATUS_DELIVERED,
        adapter_pb2.RECEIPT_STATUS_FAILED,
    )
    batch = [
        adapter_pb2.Receipt(touch_id=t, provider_message_id=f"m{i}", status=accepted)
        for i, t in enumerate(ids)
    ]
    # The report of the first overtakes its submit response within one batch.
    batch.append(adapter_pb2.Receipt(provider_message_id="m0", status=delivered))
    send = platform.adapter.ReportReceipts
    answer = await send(adapter_pb2.ReportReceiptsRequest(session=session, receipts=batch))
    assert (answer.applied, answer.ignored) == (5, 0)
    answer = await send(adapter_pb2.ReportReceiptsRequest(session=session, receipts=batch))
    assert (answer.applied, answer.ignored) == (0, 5)
    late = [
        adapter_pb2.Receipt(provider_message_id="m1", status=failed),
        adapter_pb2.Receipt(provider_message_id="m1", status=delivered),
        adapter_pb2.Receipt(provider_message_id="nobody", status=delivered),
        adapter_pb2.Receipt(touch_id="a" * 24, status=delivered),
        adapter_pb2.Receipt(touch_id="broken", status=delivered),
    ]
    answer = await send(adapter_pb2.ReportReceiptsRequest(session=session, receipts=late))
    assert (answer.applied, answer.ignored, list(answer.unknown)) == (1, 1, [2, 3, 4])
    assert (await platform.counters()).settled == {"delivered": 1, "failed": 1}
    assert (await platform.touch(ids[1])).provider_message_id == "m1"


async def test_without_receipts_accepted_is_final(platform: Platform) -> None:
    await platform.world.launch()
    await platform.world.page(range(4))
    await platform.received(4)
    session = await platform.session(receipts=False)
    await platform.report(session, (await platform.lease(session)).touches, "ACCEPTED")
    assert (await platform.counters()).settled == {"delivered": 4}


async def test_a_click_counts_once_a_touch(platform: Platform) -> None:
    """Clicks are announced and counted, each touch once."""
    await platform.world.launch()
    await platform.world.page(range(4))
    await platform.received(4)
    session = await platform.session()
    touches = (await platform.lease(session)).touches
    await platform.report(session, touches, "DELIVERED")
    await platform.report(session, touches[:2], "CLICKED")
    await platform.report(session, touches[1:3], "CLICKED")
    assert (await platform.counters()).clicks == 3
    await platform.idle()
    heard = [o for m in platform.world.feedback for o in np.frombuffer(m.ordinals, "<u4").tolist()]
    assert sorted(heard) == [0, 1, 2]


async def test_refused_for_now_comes_again(platform: Platform) -> None:
    """RETRY goes back to the queue, and is handed out again after its delay."""
    await platform.world.launch()
    await platform.world.page(range(2))
    await platform.received(2)
    session = await platform.session()
    touches = (await platform.lease(session)).touches
    await platform.report(session, touches[:1], "RETRY", retry_after_seconds=0.4)
    await platform.report(session, touches[1:], "DELIVERED")
    assert (await platform.counters()).queued == 1
    assert not (await platform.lease(session)).touches
    again = await platform.lease(session, wait=5000)
    assert [t.touch_id for t in again.touches] == [touches[0].touch_id]
    await platform.report(session, again.touches, "DELIVERED")
    steps = [step.step for step in (await platform.touch(touches[0].touch_id)).history]
    assert steps == ["received", "queued", "leased", "returned", "leased", "delivered"]


async def test_waiting_leases_wake_when_work_comes(platform: Platform) -> None:
    await platform.world.launch()
    session = await platform.session()
    waiting = asyncio.ensure_future(platform.lease(session, wait=15_000))
    await asyncio.sleep(0.3)
    await platform.world.page(range(3))
    assert len((await waiting).touches) == 3


async def test_leases_never_overlap(platform: Platform) -> None:
    """Adapters that lease at once get every touch exactly once."""
    await platform.world.launch()
    for start in range(0, 1200, 300):
        await platform.world.page(range(start, start + 300))
    await platform.received(1200)
    sessions = [await platform.session(name=f"sms-{i}") for i in range(4)]

    async def work(session: str) -> list[str]:
        mine: list[str] = []
        while touches := (await platform.lease(session, most=77)).touches:
            mine += [t.touch_id for t in touches]
            await platform.report(session, touches, "DELIVERED")
        return mine

    got = [touch for part in await asyncio.gather(*map(work, sessions)) for touch in part]
    assert len(got) == len(set(got)) == 1200
    assert (await platform.counters()).settled == {"delivered": 1200}


async def test_a_cancelled_call_leaves_nothing_leased(platform: Platform) -> None:
    """Touches that were leased for a caller who has gone return to the queue."""
    await platform.world.launch()
    session = await platform.session()
    calls = [asyncio.ensure_future(platform.lease(session, wait=10_000)) for _ in range(3)]
    await asyncio.sleep(0.2)
    await platform.world.page(range(50))
    await asyncio.sleep(0.005)
    for call in calls:
        call.cancel()
    got = [
        r for r in await asyncio.gather(*calls, return_exceptions=True) if not isinstance(r, BaseException)
    ]
    handed = sum(len(answer.touches) for answer in got)

    async def settled() -> bool:
        counters = await platform.counters()
        return (
            counters.received == 50 and counters.queued == 50 - handed and platform.service.status is not None
        )

    await until(settled)


async def test_words_that_cannot_be_filled_in_are_not_sent(platform: Platform) -> None:
    """The words are what was approved: with a variable nobody knows they are not sent at all."""
    await platform.world.launch(words="{no_such_tag}元")
    await platform.world.page(range(3))
    await platform.received(3)
    assert not (await platform.lease(await platform.session())).touches
    assert (await platform.counters()).suppressed == {"template_invalid": 3}


async def test_adapters_keep_to_their_touchpoints(platform: Platform) -> None:
    """An adapter's token names its touchpoints; a session that ended is told so."""
    with pytest.raises(errors.Denied) as denied:
        await platform.session((DATA_PLUS,))
    assert denied.value.reason == "TOUCHPOINT_FOREIGN"
    with pytest.raises(errors.Precondition) as lost:
        await platform.lease("nothing")
    assert lost.value.reason == "SESSION_UNKNOWN"
    first = await platform.session()
    await platform.session()
    with pytest.raises(errors.Precondition):
        await platform.lease(first)


async def test_numbers_are_masked_by_role(platform: Platform) -> None:
    """A planner sees 138****0003, an operator the whole number."""
    await platform.world.launch()
    await platform.world.page([3])
    await platform.received(1)
    planner = platform.stub(platform.service, ledger_pb2_grpc.LedgerServiceStub, PLANNER)
    found = await planner.ExplainTouches(ledger_pb2.ExplainTouchesRequest(phone=PHONE + 3))
    assert found.phone == "138****0003" and found.touches[0].phone == "138****0003"
    with pytest.raises(errors.NotFound) as unknown:
        await planner.ExplainTouches(ledger_pb2.ExplainTouchesRequest(phone=1))
    assert unknown.value.reason == "SUBSCRIBER_UNKNOWN"


async def test_a_city_sees_its_own_customers_only(platform: Platform) -> None:
    """Touches of customers outside of the caller's regions stay closed."""
    await platform.world.launch()
    await platform.world.page([3])
    await platform.received(1)
    explain = ledger_pb2.ExplainTouchesRequest(phone=PHONE + 3)
    listing = ledger_pb2.ListTouchesRequest(activity_number=7)
    for region, seen in ((150100, True), (150200, False)):
        analyst = Actor("user:analyst", "Analyst", frozenset({"analyst"}), (region,))
        ledger = platform.stub(platform.service, ledger_pb2_grpc.LedgerServiceStub, analyst)
        assert len((await ledger.ListTouches(listing)).touches) == int(seen)
        if seen:
            assert len((await ledger.ExplainTouches(explain)).touches) == 1
            continue
        with pytest.raises(errors.Denied) as closed:
            await ledger.ExplainTouches(explain)
        assert closed.value.reason == "REGION_OUT_OF_SCOPE"


async def test_touches_are_listed_by_pages(platform: Platform) -> None:
    await platform.world.launch()
    await platform.world.suppress(4, [2])
    await platform.world.page(range(5))
    await platform.received(5)
    request = ledger_pb2.ListTouchesRequest(activity_number=7, page_size=2)
    seen: list[tuple[int, str, str]] = []
    while True:
        answer = await platform.ledger.ListTouches(request)
        seen += [(t.subscriber_id - SUBSCRIBER, t.state, t.reason) for t in answer.touches]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert seen == [(i, "suppressed" if i == 2 else "queued", "opt_out" if i == 2 else "") for i in range(5)]


async def test_intake_says_how_much_more_is_wanted(platform: Platform) -> None:
    await platform.world.launch(touchpoints=(SMS, STORE_COUNTER))
    await platform.world.page(range(30))
    await platform.received(30)
    caller = platform.stub(platform.service, ledger_pb2_grpc.LedgerServiceStub, PLATFORM)
    answer = await caller.GetIntake(ledger_pb2.GetIntakeRequest(activity_numbers=[7, 99]))
    rows = {row.touchpoint: (row.received, row.room) for row in answer.intakes}
    assert rows == {SMS: (30, 20_000 - 30), STORE_COUNTER: (0, 10_000_000)}


async def test_sampled_touches_are_traces_linked_to_page_and_launch(
    platform: Platform, exporter: InMemorySpanExporter
) -> None:
    """The first touches of the budget are traced, and failures beside them."""
    launch = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await platform.world.launch(trace_budget=2, traceparent=launch)
    await platform.world.page(range(6))
    await platform.received(6)
    session = await platform.session()
    touches = (await platform.lease(session)).touches
    assert [bool(t.traceparent) for t in touches] == [True, True, False, False, False, False]
    await platform.report(session, touches[:1], "DELIVERED")
    await platform.report(session, touches[3:], "FAILED", code="UNDELIV")
    spans = exporter.get_finished_spans()
    roots = [span for span in spans if span.name == "touch"]
    assert len(roots) == 4  # two of the budget, two of three failures
    assert all(any(f"{link.context.trace_id:032x}" == launch[3:35] for link in root.links) for root in roots)
    trace = (await platform.touch(touches[0].touch_id)).trace_id
    assert trace == touches[0].traceparent[3:35]
    assert [s.name for s in spans if f"{s.context.trace_id:032x}" == trace] == [
        "touch", "touch leased", "touch settled",
    ]  # fmt: skip
    keys_seen = {key for span in spans for key in span.attributes or {}}
    assert attributes.unknown(keys_seen) == set()
