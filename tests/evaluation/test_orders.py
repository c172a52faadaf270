"""Orders: each once, owed to the right activity, announced."""

import numpy as np
import pytest
from iop.evaluation.v1 import events_pb2, report_pb2, report_pb2_grpc
from pyroaring import BitMap

from services.evaluation.domain.settling import Outcome
from services.kit import errors
from services.kit.actor import Actor
from tests.evaluation.conftest import PRODUCT, moment
from tests.evaluation.test_attribution import touch_id

FIRST = 9_000_000_000


def order(order_id, ordinal, day="2020-09-05", product=PRODUCT, fen=3800, **fields):
    made = report_pb2.Order(
        order_id=order_id,
        subscriber_id=FIRST + ordinal,
        product_code=product,
        price_fen=fen,
        channel="sms_reply",
        **fields,
    )
    made.order_time.FromMicroseconds(moment(day))
    return made


async def record(world, *orders):
    answer = await world.orders.RecordOrders(report_pb2.RecordOrdersRequest(orders=orders))
    return answer.recorded, answer.duplicates, answer.attributed, list(answer.unknown)


async def announced(world):
    """{order id: (activity, control)} of what was announced."""
    await world.rest()
    info = await world.bus.js.stream_info("IOP_EVALUATION")
    found = {}
    for sequence in range(1, info.state.messages + 1):
        message = await world.bus.js.get_msg("IOP_EVALUATION", seq=sequence)
        one = events_pb2.OrderRecorded.FromString(message.data)
        assert one.order_id not in found
        assert one.subscriber_id == FIRST + one.ordinal
        found[one.order_id] = (one.activity_number, one.control)
    return found


async def prepared(world):
    """Activity 21 reached 0..99 on 09-01, activity 22 reached 50..149 on 09-03; both offer PRODUCT."""
    await world.launch(21, BitMap(range(500)), BitMap(range(500, 600)), day="2020-08-20")
    await world.launch(22, BitMap(range(500)), BitMap(range(550, 650)), day="2020-08-25")
    await world.launch(23, BitMap(range(500)), BitMap(), product="other")
    await world.settle(21, range(100), Outcome.DELIVERED, "2020-09-01")
    await world.settle(22, range(50, 150), Outcome.SHOWN, "2020-09-03", touchpoint=8)
    await world.settle(22, range(150, 160), Outcome.FAILED, "2020-09-03", touchpoint=1)
    await world.rest()


async def test_orders_are_owed_to_the_touch_or_to_the_latest_reach(world):
    """Orders show what came of the activity through its product (EVA-10)."""
    await prepared(world)
    taken = await record(
        world,
        order("by-touch", 60, touch_id=touch_id(7537, 21, 1, 1, 60)),
        order("foreign-touch", 10, touch_id=touch_id(7537, 22, 1, 8, 60)),
        order("latest", 60),
        order("before-the-second", 60, day="2020-09-02"),
        order("too-late", 10, day="2020-10-02"),
        order("in-time", 10, day="2020-10-01"),
        order("failed-only", 155),
        order("other-product", 60, product="other"),
        order("control", 520),
        order("later-control", 560),
        order("before-launch", 520, day="2020-08-19"),
    )
    assert taken == (11, 0, 5, [])
    assert await announced(world) == {
        "by-touch": (21, False),
        "foreign-touch": (21, False),
        "latest": (22, False),
        "before-the-second": (21, False),
        "too-late": (0, False),
        "in-time": (21, False),
        "failed-only": (0, False),
        "other-product": (0, False),
        "control": (21, True),
        "later-control": (22, True),
        "before-launch": (0, False),
    }
    answer = await world.reports.ListFunnels(report_pb2.ListFunnelsRequest())
    sums = {
        (one.activity_number, one.touchpoint): (one.orders, one.order_fen)
        for one in answer.funnels
        if not one.date
    }
    assert sums[21, 1] == (4, 4 * 3800)
    assert sums[22, 8] == (1, 3800)


async def test_an_order_is_taken_once(world):
    """A repeat, in the same batch or later, changes nothing and is not announced again (EVA-10)."""
    await prepared(world)
    assert await record(world, order("a", 1), order("b", 2), order("a", 1)) == (2, 1, 2, [])
    assert await record(world, order("b", 2), order("c", 3)) == (1, 1, 1, [])
    assert set(await announced(world)) == {"a", "b", "c"}
    answer = await world.reports.ListFunnels(report_pb2.ListFunnelsRequest(activity_numbers=[21]))
    assert [one.orders for one in answer.funnels if not one.date] == [3]


async def test_unknown_subscribers_are_told_by_position_and_can_be_sent_again(world):
    await prepared(world)
    batch = [order("a", 1), order("new", 3005), order("b", 2)]
    assert await record(world, *batch) == (2, 0, 2, [1])
    world.directory.grow(3010, 150202)
    assert await record(world, *batch) == (1, 2, 0, [])


async def test_a_broken_touch_id_is_refused_by_row(world):
    with pytest.raises(errors.Invalid) as refused:
        await record(world, order("a", 1), order("b", 2, touch_id="nonsense"))
    assert refused.value.reason == "ROW_REFUSED"
    assert [path for path, _ in refused.value.fields] == ["orders[1].touch_id"]
    assert await announced(world) == {}


async def test_only_the_boss_side_records_orders(world, stub):
    planner = Actor("user:p", "P", frozenset({"planner"}), (150000,))
    orders = stub(world.evaluation, report_pb2_grpc.OrderServiceStub, planner)
    with pytest.raises(errors.Denied):
        await orders.RecordOrders(report_pb2.RecordOrdersRequest(orders=[order("a", 1)]))


async def test_lift_sets_the_target_beside_the_control_group(world):
    """Newcombe's example 56 of 70 beside 48 of 80, as orders of the product (EVA-08, EVA-10)."""
    target, control = BitMap(range(70)), BitMap(range(100, 180))
    await world.launch(21, target, control, day="2020-08-20")
    await world.settle(21, range(40), Outcome.DELIVERED, "2020-09-01")
    await world.rest()
    await record(
        world, *(order(f"t{i}", i) for i in range(56)), *(order(f"c{i}", 100 + i) for i in range(48))
    )
    await record(
        world, order("again", 0), order("other", 60, product="other"), order("early", 61, day="2020-08-01")
    )
    found = (await world.reports.GetReport(report_pb2.GetReportRequest(activity_number=21))).lift
    assert (found.target, found.target_orders, found.control, found.control_orders) == (70, 56, 80, 48)
    assert np.allclose([found.lift, found.lower, found.upper], [0.2, 0.0524, 0.3339], atol=6e-5)
