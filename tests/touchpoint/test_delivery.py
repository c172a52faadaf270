"""Pages through stages, queue, lease and receipts, on real servers."""

from __future__ import annotations

from tests.touchpoint.conftest import PHONE, SMS, Platform, outcomes


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
    assert heard == {**{(i, 1, 0): 1 for i in range(10, 16)}, **{(i, 2, 0): 1 for i in (16, 17)}, (18, 3, 0): 1, (19, 3, 0): 1}
    touch = await platform.touch(ids[0])
    assert [step.step for step in touch.history] == [
        "received", "queued", "leased", "accepted_by_provider", "delivered",
    ]  # fmt: skip
    assert (touch.state, touch.text, touch.touchpoint) == ("settled", "本月消费10.50元", SMS)
