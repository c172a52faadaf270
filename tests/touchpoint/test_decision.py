"""Offers of pull touchpoints, do-not-disturb, and what customers write back."""

from __future__ import annotations

import pytest
from iop.adapter.v1 import adapter_pb2, decision_pb2, decision_pb2_grpc
from iop.touchpoint.v1 import touchpoint_pb2

from services.kit import errors
from services.kit.actor import Actor
from tests.touchpoint.conftest import (
    EVENT_SMS,
    HALL,
    PHONE,
    SMS,
    SMS_HALL,
    STORE_COUNTER,
    SUBSCRIBER,
    TOOLBAR,
    Platform,
    later,
    outcomes,
)


async def offered(platform: Platform, number: int, ordinals: range, **fields: object) -> None:
    """An activity with offers at the counter."""
    await platform.world.launch(number, (STORE_COUNTER,), **fields)  # type: ignore[arg-type]
    await platform.world.page(ordinals, number=number, touchpoint=STORE_COUNTER)
    await platform.received(len(ordinals), number, STORE_COUNTER)


async def test_the_best_offer_is_shown_and_settles_into_the_strongest(platform: Platform) -> None:
    """Priority first, then the earlier end; shown, declined and accepted settle once (TCH-08, TCH-81)."""
    await offered(platform, 7, range(10), words="您的{spend}", end="2026-06-20")
    await offered(platform, 8, range(5), end="2026-06-15")
    await offered(platform, 9, range(2), priority=1)
    assert [o.activity_code for o in await platform.decide(0, most=5)] == ["A9", "A8", "A7"]
    assert [o.activity_code for o in await platform.decide(4)] == ["A8"]
    offer = (await platform.decide(7))[0]
    assert (offer.text, offer.product_code, offer.activity_display_name) == ("您的7.50", "P7", "Activity 7")
    assert dict(offer.fields) == {"title": "T"}
    assert offer.expire_time.ToDatetime().day == 20
    for kind, applied in (("SHOWN", 1), ("SHOWN", 0), ("DECLINED", 1), ("SHOWN", 0)):
        answer = await platform.feedback(offer.touch_id, kind)
        assert (answer.applied, answer.ignored) == (applied, 1 - applied)
    counters = await platform.counters(7, STORE_COUNTER)
    assert (counters.waiting, counters.settled) == (9, {"declined": 1})
    assert await platform.decide(7) == []
    assert (await platform.feedback(offer.touch_id, "ACCEPTED")).applied == 1
    assert (await platform.feedback(offer.touch_id, "CLICKED")).applied == 1
    assert (await platform.feedback(offer.touch_id, "CLICKED")).applied == 0
    assert (await platform.counters(7, STORE_COUNTER)).clicks == 1
    await platform.idle()
    heard = outcomes(platform.world.settled)
    assert heard[7, 7, 0] == heard[7, 9, 7] == heard[7, 8, 9] == 1


async def test_an_offer_that_was_shown_stays(platform: Platform) -> None:
    """Deciding writes nothing and reserves nothing; who comes again gets the offer again."""
    await offered(platform, 7, range(3))
    first = (await platform.decide(1))[0]
    assert (await platform.decide(1))[0].touch_id == first.touch_id
    assert (await platform.counters(7, STORE_COUNTER)).waiting == 3
    await platform.feedback(first.touch_id, "SHOWN")
    assert (await platform.decide(1))[0].touch_id == first.touch_id


async def test_who_may_not_be_contacted_gets_no_offer(platform: Platform) -> None:
    """Lists and do-not-disturb hold at the counter too (DOMAIN 2.6)."""
    await offered(platform, 7, range(4))
    await platform.world.suppress(4, [1])
    await platform.idle()
    change = platform.centre.ChangeDoNotDisturb
    entry = touchpoint_pb2.DoNotDisturbEntry(
        subscriber_id=SUBSCRIBER + 2, touchpoint=STORE_COUNTER, marketing_type="traffic"
    )
    answer = await change(touchpoint_pb2.ChangeDoNotDisturbRequest(add=[entry, entry]))
    assert (answer.added, answer.removed) == (1, 0)
    assert [len(await platform.decide(i)) for i in range(5)] == [1, 0, 0, 1, 0]
    assert (await change(touchpoint_pb2.ChangeDoNotDisturbRequest(remove=[entry]))).removed == 1
    assert len(await platform.decide(2)) == 1
    with pytest.raises(errors.Invalid) as unknown:
        await change(
            touchpoint_pb2.ChangeDoNotDisturbRequest(add=[touchpoint_pb2.DoNotDisturbEntry(subscriber_id=1)])
        )
    assert unknown.value.reason == "SUBSCRIBER_UNKNOWN"
    assert unknown.value.fields[0][0] == "add[0].subscriber_id"


async def test_an_entry_refuses_one_type_at_one_touchpoint(platform: Platform) -> None:
    entry = touchpoint_pb2.DoNotDisturbEntry(
        subscriber_id=SUBSCRIBER + 1, touchpoint=SMS, marketing_type="traffic"
    )
    await platform.world.launch(7)
    await platform.world.launch(8, marketing_type="broadband")
    await platform.world.page(range(2))
    await platform.received(2)
    await platform.centre.ChangeDoNotDisturb(touchpoint_pb2.ChangeDoNotDisturbRequest(add=[entry]))
    await platform.world.page(range(2), number=8)
    await platform.received(2, 8)
    session = await platform.session()
    sent = {(t.activity_code, t.phone) for t in (await platform.lease(session)).touches}
    assert sent == {("A7", str(PHONE)), ("A8", str(PHONE)), ("A8", str(PHONE + 1))}
    assert (await platform.counters()).suppressed == {"do_not_disturb": 1}


async def test_only_pull_touchpoints_are_asked(platform: Platform) -> None:
    for touchpoint, reason in ((SMS, "TOUCHPOINT_NOT_PULL"),):
        with pytest.raises(errors.Precondition) as found:
            await platform.decide(1, touchpoint)
        assert found.value.reason == reason
    toolbar = Actor("adapter:toolbar", "toolbar", frozenset({"adapter"}), touchpoints=("toolbar",))
    stub = platform.stub(platform.service, decision_pb2_grpc.DecisionServiceStub, toolbar)
    assert not (await stub.Decide(decision_pb2.DecideRequest(touchpoint=TOOLBAR, phone=PHONE))).offers
    with pytest.raises(errors.Denied):
        await stub.Decide(decision_pb2.DecideRequest(touchpoint=STORE_COUNTER, phone=PHONE))
    with pytest.raises(errors.NotFound):
        await stub.Decide(decision_pb2.DecideRequest(touchpoint=TOOLBAR, subscriber_id=1))


async def delivered(platform: Platform, ordinals: range, **fields: object) -> str:
    """Touches of activity 7 that reached their customers; the session."""
    await platform.world.launch(**fields)  # type: ignore[arg-type]
    await platform.world.page(ordinals)
    await platform.received(len(ordinals))
    session = await platform.session((SMS, EVENT_SMS))
    await platform.report(session, (await platform.lease(session)).touches, "DELIVERED")
    return session


async def test_an_opt_out_takes_effect_at_once(platform: Platform) -> None:
    """TD stops everything for the customer, also what an adapter holds already (DOMAIN 3.5)."""
    session = await delivered(platform, range(3))
    await platform.world.launch(8)
    await platform.world.page(range(3), number=8)
    await platform.received(3, 8)
    lease = await platform.lease(session, most=1)
    result = await platform.reply(session, 0, " td ")
    assert result.kind == "opt_out" and "退订" in result.answer
    again = await platform.reply(session, 0, " td ")
    assert (again.kind, again.answer) == (result.kind, result.answer)
    answer = await platform.adapter.ExtendLeases(
        adapter_pb2.ExtendLeasesRequest(session=session, leases=[lease.lease])
    )
    assert list(answer.recalled) == [lease.touches[0].touch_id]
    await platform.report(session, answer.recalled, "DROPPED")
    await platform.reply(session, 1, "退订")
    last = (await platform.lease(session)).touches
    assert [t.phone for t in last] == [str(PHONE + 2)]
    await platform.report(session, last, "DELIVERED")
    assert (await platform.counters(8)).suppressed == {"opt_out": 2}
    assert (await platform.counters()).replies + (await platform.counters(8)).replies == 2
    await platform.idle()
    assert [(r.kind, r.ordinal, r.subscriber_id) for r in platform.world.replies] == [
        ("opt_out", 0, SUBSCRIBER),
        ("opt_out", 1, SUBSCRIBER + 1),
    ]
    await platform.world.page(range(3), occurrence=2)
    assert (await platform.received(6)).suppressed == {"opt_out": 2}


async def test_an_instruction_orders_the_product(platform: Platform) -> None:
    """KTAQY30 finds the newest activity that carries it and reached the customer (TCH-79, CMP-44)."""
    session = await delivered(platform, range(3), instruction="KTAQY30")
    await platform.world.launch(8, instruction="KTLL10")
    result = await platform.reply(session, 1, "ktaqy30")
    assert result.kind == "instruction" and "Product 7" in result.answer
    assert (await platform.reply(session, 9, "KTAQY30")).kind == "text"
    assert (await platform.reply(session, 1, "KTLL10")).kind == "text"
    assert (await platform.reply(session, 2, "谢谢")).kind == "text"
    assert (await platform.reply(session, 5_000_000, "TD")).kind == "unknown_sender"
    assert (await platform.counters()).replies == 3
    await platform.idle()
    order = platform.world.replies[0]
    assert (order.kind, order.activity_number, order.product_code) == ("instruction", 7, "P7")
    assert (await platform.touch(order.touch_id)).subscriber_id == SUBSCRIBER + 1


async def test_a_touch_that_failed_is_not_answered(platform: Platform) -> None:
    await platform.world.launch(instruction="KTAQY30")
    await platform.world.page(range(1))
    await platform.received(1)
    session = await platform.session()
    await platform.report(session, (await platform.lease(session)).touches, "FAILED")
    assert (await platform.reply(session, 0, "KTAQY30")).kind == "text"
    assert (await platform.counters()).replies == 0


async def test_the_sms_hall_serves_imported_numbers_only(platform: Platform) -> None:
    """An instruction at the SMS hall orders within the list's life, from listed numbers (TCH-12, TCH-70)."""
    await platform.world.launch(7, (SMS_HALL,), instruction="KTDT", end="2026-06-11")
    await platform.world.page(range(2), touchpoint=SMS_HALL)
    await platform.received(2, touchpoint=SMS_HALL)
    opened = await platform.hall.OpenSession(
        adapter_pb2.OpenSessionRequest(adapter=HALL.name, touchpoints=[SMS_HALL], max_batch=10)
    )
    assert (await platform.reply(opened.session, 1, "KTDT", SMS_HALL)).kind == "instruction"
    assert (await platform.reply(opened.session, 5, "KTDT", SMS_HALL)).kind == "text"
    counters = await platform.counters(touchpoint=SMS_HALL)
    assert (counters.waiting, counters.settled, counters.replies) == (1, {"accepted": 1}, 1)
    platform.world.at(later(hours=48))
    assert (await platform.reply(opened.session, 0, "KTDT", SMS_HALL)).kind == "text"
