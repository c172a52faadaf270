"""What evaluation makes of the messages it hears."""

import numpy as np
from iop.evaluation.v1 import report_pb2
from iop.touchpoint.v1 import events_pb2
from pyroaring import BitMap

from services.evaluation.domain.settling import Outcome
from services.kit import envelope
from tests.evaluation.conftest import moment


async def funnels(world, *numbers, **fields):
    """{(touchpoint, date): funnel}."""
    await world.rest()
    request = report_pb2.ListFunnelsRequest(activity_numbers=numbers, **fields)
    found = (await world.reports.ListFunnels(request)).funnels
    return {(one.touchpoint, one.date): one for one in found}


def counts(pairs):
    return {pair.reason: pair.count for pair in pairs}


async def test_a_message_that_comes_twice_counts_once(world):
    """Delivery is at least once, effects once (EVA-09)."""
    await world.launch(21, BitMap(range(1000)), BitMap(range(1000, 1100)))
    for sequence in ("a", "b", "a"):
        message = world.settled(21, range(100), Outcome.DELIVERED, "2020-09-01")
        # The stream's own filter is passed by; only the inbox stands between.
        sent = envelope.wrap(message, source="touchpoint", partition=0, message_id="page-1")
        sent.headers["Nats-Msg-Id"] = f"page-1-{sequence}-{id(sent)}"
        await world.bus.publish_all([sent])
    rows = await funnels(world, 21)
    assert set(rows) == {(1, "2020-09-01"), (1, "")}
    assert counts(rows[1, ""].settled) == {"delivered": 100}
    assert rows[1, ""].reached == 100


async def test_amended_outcomes_replace_the_previous_ones(world):
    """A late receipt moves a touch from unknown to delivered or failed, on the day it came (EVA-09)."""
    await world.launch(21, BitMap(range(1000)), BitMap())
    await world.settle(21, range(10), Outcome.UNKNOWN, "2020-09-01")
    await world.rest()
    await world.settle(21, range(6), Outcome.DELIVERED, "2020-09-02", previous=Outcome.UNKNOWN)
    await world.settle(21, [6, 7], Outcome.FAILED, "2020-09-02", previous=Outcome.UNKNOWN)
    await world.settle(21, range(20, 25), Outcome.SUPPRESSED, "2020-09-01", reason="opt_out")
    rows = await funnels(world, 21)
    assert counts(rows[1, "2020-09-01"].settled) == {"unknown": 2}
    assert counts(rows[1, "2020-09-01"].suppressed) == {"opt_out": 5}
    assert counts(rows[1, "2020-09-02"].settled) == {"delivered": 6, "failed": 2}
    assert counts(rows[1, ""].settled) == {"delivered": 6, "failed": 2, "unknown": 2}
    assert (rows[1, "2020-09-01"].reached, rows[1, "2020-09-02"].reached, rows[1, ""].reached) == (0, 6, 6)


async def test_each_customer_is_reached_once_in_the_sum(world):
    """Daily and cumulative reach differ when the same customers are reached again (EVA-20)."""
    await world.launch(21, BitMap(range(1000)), BitMap())
    await world.settle(21, range(60), Outcome.DELIVERED, "2020-09-01", occurrence=1)
    await world.settle(21, range(40, 100), Outcome.DELIVERED, "2020-09-02", occurrence=2)
    await world.settle(21, range(90, 110), Outcome.SHOWN, "2020-09-02", touchpoint=8)
    await world.rest()
    await world.settle(
        21, range(90, 95), Outcome.ACCEPTED, "2020-09-03", previous=Outcome.SHOWN, touchpoint=8
    )
    rows = await funnels(world, 21)
    assert [rows[1, day].reached for day in ("2020-09-01", "2020-09-02", "")] == [60, 60, 100]
    assert (rows[8, "2020-09-02"].reached, rows[8, ""].reached) == (20, 20)
    assert counts(rows[8, ""].settled) == {"shown": 15, "accepted": 5}
    some = await funnels(world, 21, start_date="2020-09-02", end_date="2020-09-02")
    assert set(some) == {(1, "2020-09-02"), (1, ""), (8, "2020-09-02"), (8, "")}
    assert some[1, ""].reached == 60


async def test_clicks_replies_and_opt_outs_are_counted(world):
    await world.launch(21, BitMap(range(1000)), BitMap())
    clicked = events_pb2.FeedbackRecorded(
        activity_number=21,
        touchpoint=3,
        kind="clicked",
        ordinals=np.array([1, 2, 2], "<u4").tobytes(),
        occurred_at=np.full(3, moment("2020-09-01"), "<i8").tobytes(),
    )
    await world.bus.publish(clicked)
    for i, (kind, number) in enumerate([("opt_out", 21), ("instruction", 21), ("opt_out", 0), ("text", 21)]):
        reply = events_pb2.ReplyReceived(
            reply_id=str(i), ordinal=i, kind=kind, activity_number=number, touchpoint=1
        )
        reply.reply_time.FromMicroseconds(moment("2020-09-01", 23))
        await world.bus.publish(reply)
    rows = await funnels(world, 21)
    assert rows[3, "2020-09-01"].clicks == 3
    assert (rows[1, "2020-09-01"].replies, rows[1, "2020-09-01"].opt_outs) == (3, 1)


async def test_a_broken_message_is_set_aside_and_the_rest_goes_on(world):
    await world.launch(21, BitMap(range(1000)), BitMap())
    good = world.settled(21, [1], Outcome.DELIVERED, "2020-09-01")
    short = world.settled(21, [1, 2], Outcome.DELIVERED, "2020-09-01")
    short.outcomes = short.outcomes[:1]
    cut = world.settled(21, [1, 2], Outcome.DELIVERED, "2020-09-01")
    cut.settled_at = cut.settled_at[:-1]
    reasonless = world.settled(21, [1], Outcome.SUPPRESSED, "2020-09-01", reason="window")
    reasonless.reason_indexes = b"\x05"
    for message in (short, cut, reasonless, good):
        await world.bus.publish(message, partition=0)
    rows = await funnels(world, 21)
    assert counts(rows[1, ""].settled) == {"delivered": 1}
    assert await world.dead() == 3


async def test_touches_of_subscribers_who_are_new_find_their_home(world):
    await world.launch(21, BitMap(range(1000)), BitMap())
    await world.rest()
    world.directory.grow(3010, 150202)
    await world.settle(21, range(3000, 3010), Outcome.DELIVERED, "2020-09-01")
    await world.rest()
    request = report_pb2.GetReportRequest(activity_number=21, level=report_pb2.REGION_LEVEL_COUNTY)
    request.indicators.append("cumulative_triggered")
    rows = (await world.reports.GetReport(request)).rows
    assert {row.region: row.values[0] for row in rows if row.date == "2020-09-01" and row.values[0]} == {
        150202: 10
    }


async def test_homes_and_numbers_follow_the_directory(world):
    """Who is in the network is asked of the directory as it is today (EVA-19)."""
    await world.launch(21, BitMap(range(9)), BitMap())

    async def targets():
        await world.rest()
        request = report_pb2.GetReportRequest(
            activity_number=21,
            level=report_pb2.REGION_LEVEL_COUNTY,
            start_date="2020-09-10",
            indicators=["target", "in_network"],
        )
        return {row.region: list(row.values) for row in (await world.reports.GetReport(request)).rows}

    assert await targets() == {150102: [3, 3], 150105: [3, 3], 150202: [3, 3]}
    world.directory.phones[1] = 0
    world.directory.move([0, 1], 150202)
    await world.directory_changed()
    assert await targets() == {150102: [2, 2], 150105: [2, 2], 150202: [5, 4]}


async def test_students_are_those_of_the_highest_version(world):
    await world.launch(21, BitMap(range(1000)), BitMap())
    await world.students("4115010126", {411501012601: (150105, BitMap(range(50)))}, version=2)
    await world.students("4115010126", {411501012601: (150105, BitMap(range(500)))}, version=1)
    await world.rest()
    request = report_pb2.GetReportRequest(
        activity_number=21,
        level=report_pb2.REGION_LEVEL_CAMPUS,
        start_date="2020-09-10",
        indicators=["students"],
    )
    rows = (await world.reports.GetReport(request)).rows
    assert [(row.region, list(row.values)) for row in rows] == [(411501012601, [50])]
