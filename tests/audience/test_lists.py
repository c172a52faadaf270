"""Customer lists, suppression lists and opt-outs by reply."""

import asyncio

import numpy as np
import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from iop.audience.v1 import directory_pb2, events_pb2, list_pb2
from iop.common.v1 import types_pb2
from iop.touchpoint.v1 import events_pb2 as touchpoint_events
from pyroaring import BitMap

from services.kit import db, errors
from services.kit.bus import Bus, Stream
from tests.audience.conftest import CAMPAIGN, CITY, OPERATOR, PLANNER, count_request
from tests.audience.listening import announcements

OPT_OUT = list_pb2.SUPPRESSION_LIST_OPT_OUT


async def import_rows(world, name="lists/vip", actor=PLANNER, **rows):
    return await world.as_(actor).lists.ImportCustomers(list_pb2.ImportCustomersRequest(name=name, **rows))


async def create(world, list_id="vip"):
    return await world.as_(PLANNER).lists.CreateCustomerList(
        list_pb2.CreateCustomerListRequest(
            customer_list=list_pb2.CustomerList(display_name="名单", source="营业厅"),
            list_id=list_id,
            request_id=list_id,
        )
    )


async def test_an_import_keeps_the_good_rows_and_names_the_bad(world):
    """Numbers as people write them; each bad row by its line; repeating changes nothing (AUD-27)."""
    await world.subscribers(9)
    made = await create(world)
    assert made == await create(world)
    rows = [
        "18800000001",
        " 188 0000 0002",
        "+86-18800000003",
        "8618800000004",
        "12345",
        "18800000099",
        "18800000001",
    ]
    answer = await import_rows(world, phones=rows, first_line=2, request_id="a")
    assert (answer.added, answer.duplicates, answer.size) == (4, 1, 4)
    assert [(r.row, r.field, r.description) for r in answer.refused] == [
        (6, "phone", "is no mobile number"),
        (7, "phone", "the directory does not know it"),
    ]
    assert answer == await import_rows(world, phones=rows, first_line=2, request_id="a")
    again = await import_rows(world, phones=rows, first_line=2)
    assert (again.added, again.duplicates, again.size) == (0, 5, 4)
    more = await import_rows(world, subscriber_ids=[5, 5, 404])
    assert (more.added, more.duplicates, more.size) == (1, 1, 5) and more.refused[0].row == 3
    read = await world.as_(PLANNER).lists.GetCustomerList(list_pb2.GetCustomerListRequest(name="lists/vip"))
    assert (read.size, read.source, read.creator) == (5, "营业厅", "user:planner")
    await create(world, "second")
    shown = await world.as_(PLANNER).lists.ListCustomerLists(list_pb2.ListCustomerListsRequest(page_size=1))
    assert [item.name for item in shown.customer_lists] == ["lists/second"] and shown.next_page_token
    for bad in ({}, {"phones": ["1"], "subscriber_ids": [1]}):
        with pytest.raises(errors.Invalid):
            await import_rows(world, **bad)
    with pytest.raises(errors.NotFound):
        await import_rows(world, "lists/nobody", phones=["18800000001"])
    with pytest.raises(errors.Invalid) as reused:
        await import_rows(world, phones=["18800000005"], request_id="a")
    assert reused.value.reason == "REQUEST_ID_REUSED"


async def test_a_city_user_imports_his_own_customers(world):
    await world.subscribers(6)
    await create(world)
    answer = await import_rows(world, actor=CITY, subscriber_ids=[1, 3, 6])
    assert answer.added == 2 and [r.description for r in answer.refused] == ["lies outside your regions"]


async def test_suppression_changes_without_gaps(world):
    """Members enter and leave with versions that have no gap; bitmaps carry the version (AUD-31)."""
    await world.subscribers(9)
    lists = world.as_(OPERATOR).lists

    async def change(kind, add=(), remove=(), **more):
        request = list_pb2.ChangeSuppressionRequest(
            suppression_list=kind, add=add, remove=remove, reason="投诉", **more
        )
        return await lists.ChangeSuppression(request)

    first = await change(OPT_OUT, [1, 2, 2, 404], request_id="a")
    assert (first.added, first.removed, list(first.unknown)) == (2, 0, [404])
    assert first == await change(OPT_OUT, [1, 2, 2, 404], request_id="a")
    nothing = await change(OPT_OUT, [1], [9])
    assert (nothing.added, nothing.removed) == (0, 0)
    await change(list_pb2.SUPPRESSION_LIST_RED, [5])
    both = await change(OPT_OUT, [3], [1])
    assert (both.added, both.removed) == (1, 1)
    with pytest.raises(errors.Invalid):
        await change(OPT_OUT, [3], [3])
    events = await announcements(world.service, events_pb2.SuppressionChanged, 3)
    assert [e.version for e in events] == [1, 2, 3]
    assert [np.frombuffer(e.added, "<u4").tolist() for e in events] == [[0, 1], [4], [2]]
    assert np.frombuffer(events[2].removed, "<u4").tolist() == [0]
    bitmaps = await world.as_(CAMPAIGN).lists.GetSuppressionBitmaps(list_pb2.GetSuppressionBitmapsRequest())
    held = {b.suppression_list: list(BitMap.deserialize(b.bitmap)) for b in bitmaps.bitmaps}
    assert bitmaps.version == 3 and held[OPT_OUT] == [1, 2] and held[list_pb2.SUPPRESSION_LIST_RED] == [4]
    assert len(held) == 7
    sizes = await lists.ListSuppressions(list_pb2.ListSuppressionsRequest())
    assert {s.suppression_list: s.size for s in sizes.suppressions}[OPT_OUT] == 2


async def test_concurrent_changes_lose_nothing(world):
    await world.subscribers(40)
    lists = world.as_(OPERATOR).lists
    changes = [
        lists.ChangeSuppression(
            list_pb2.ChangeSuppressionRequest(suppression_list=OPT_OUT, add=[i], reason="r")
        )
        for i in range(1, 41)
    ]
    await asyncio.gather(*changes)
    bitmaps = await world.as_(CAMPAIGN).lists.GetSuppressionBitmaps(list_pb2.GetSuppressionBitmapsRequest())
    held = {b.suppression_list: BitMap.deserialize(b.bitmap) for b in bitmaps.bitmaps}
    assert bitmaps.version == 40 and len(held[OPT_OUT]) == 40


async def test_replicas_follow_each_other(world, make_service, stub):
    """What one replica takes in, another one serves."""
    runtime = world.service.runtime
    other = await make_service("audience", database_url=runtime.database_url, nats_url=runtime.nats_url)
    await world.subscribers(5)
    await world.as_(OPERATOR).lists.ChangeSuppression(
        list_pb2.ChangeSuppressionRequest(suppression_list=OPT_OUT, add=[1], reason="r")
    )
    twin = type(world)(other, stub)
    for _ in range(100):
        answer = await twin.as_(PLANNER).audiences.CountAudience(count_request())
        if (answer.matched, answer.count) == (5, 4):
            break
        await asyncio.sleep(0.1)
    assert (answer.matched, answer.count) == (5, 4)
    # Loads at both sides at once are judged on what the other one wrote.
    loads = await asyncio.gather(world.subscribers(300, first=6), twin.subscribers(300, first=206))
    assert sorted((load.added, load.unchanged) for load in loads) == [(200, 100), (300, 0)]
    for replica in (world, twin):
        for _ in range(100):
            directory = await replica.as_().directory.GetDirectory(directory_pb2.GetDirectoryRequest())
            if directory.count == 505:
                break
            await asyncio.sleep(0.1)
        assert directory.count == 505 and directory.directory_version == 3


async def test_an_opt_out_by_reply(world, bare_service):
    """TD takes the subscriber out of every selection, once, the reply being the evidence."""
    await world.subscribers(5)
    bus = await Bus.connect(bare_service("touchpoint", nats_url=world.service.runtime.nats_url))
    await bus.ensure(streams=[Stream("IOP_TOUCHPOINT", ("iop.touchpoint.v1.reply.received",))])

    def reply(subscriber, kind, text):
        return touchpoint_events.ReplyReceived(
            reply_id=f"r{subscriber}",
            subscriber_id=subscriber,
            ordinal=subscriber - 1,
            kind=kind,
            text=text,
            touchpoint=types_pb2.TOUCHPOINT_SMS,
            reply_time=Timestamp(seconds=1_795_000_000),
            touch_id="abc",
        )

    await bus.publish(reply(1, "opt_out", "TD"), message_id="one")
    await bus.publish(reply(404, "opt_out", "TD"), message_id="lost")
    await bus.publish(reply(2, "instruction", "KTAQY30"), message_id="two")
    await bus.publish(reply(3, "opt_out", "退订"), message_id="three")
    await bus.publish(reply(1, "opt_out", "TD"), message_id="again")
    for _ in range(150):
        answer = await world.as_(PLANNER).audiences.CountAudience(count_request())
        if answer.count == 3:
            break
        await asyncio.sleep(0.1)
    assert [(e.reason, e.count) for e in answer.excluded] == [("opt_out", 2)]
    await announcements(world.service, events_pb2.SuppressionChanged, 2)
    database = db.Database(world.service.runtime.database_url, 1)
    rows = await database.read(
        lambda tx: tx.execute(
            sa.text("SELECT ordinal, reason, source, actor FROM suppression_change ORDER BY version")
        ).all()
    )
    await database.close()
    assert rows[0] == (0, "replied TD", "reply:r1 touch:abc", "subscriber:1")
    assert rows[1][:2] == (2, "replied 退订")
    assert world.service.status.dead == 1
