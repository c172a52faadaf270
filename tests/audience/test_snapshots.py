"""Snapshots: frozen, idempotent, bounded."""

import asyncio

import numpy as np
import pytest
from iop.audience.v1 import audience_pb2, events_pb2, list_pb2
from iop.common.v1 import types_pb2
from pyroaring import BitMap

from services.kit import errors
from services.kit.bus import Bus
from tests.audience.conftest import (
    CAMPAIGN,
    OPERATOR,
    PLANNER,
    compare,
    flag,
    flags,
    member,
    number,
    numbers,
    selection,
)
from tests.audience.listening import announcements

DAY = "2026-10-31"


async def snapshot(world, **request):
    return await world.as_(CAMPAIGN).audiences.CreateSnapshot(audience_pb2.CreateSnapshotRequest(**request))


async def save(world, audience_id, **more):
    return await world.as_(PLANNER).audiences.CreateAudience(
        audience_pb2.CreateAudienceRequest(
            audience_id=audience_id,
            audience=audience_pb2.Audience(display_name=audience_id, selection=selection(**more)),
        )
    )


@pytest.fixture
def read(world, bare_service):
    """Ordinals of a snapshot, from the object store."""

    async def ordinals(made):
        bus = await Bus.connect(bare_service("reader", nats_url=world.service.runtime.nats_url))
        data = await bus.get_object("IOP_BITMAPS", made.bitmap.object, made.bitmap.digest)
        return list(BitMap.deserialize(data))

    return ordinals


async def fill(world):
    await world.subscribers(9)
    await world.tags(number("spend"), flag("sms_contract"))
    ids = np.arange(1, 10)
    await world.values(DAY, ids, numbers("spend", ids), flags("sms_contract", ids % 2))
    await world.as_(OPERATOR).lists.ChangeSuppression(
        list_pb2.ChangeSuppressionRequest(suppression_list=list_pb2.SUPPRESSION_LIST_RED, add=[6], reason="r")
    )


async def test_a_snapshot_is_frozen(world, read):
    """The same cause gives the same set; another request under its id is refused."""
    await fill(world)
    await save(world, "rich", condition=compare("spend", "GE", 5))
    made = await snapshot(world, audience="audiences/rich", request_id="launch-1")
    assert await read(made) == [4, 6, 7, 8]
    assert (made.matched, made.bitmap.cardinality, made.data_date, made.source) == (
        5,
        4,
        DAY,
        "audiences/rich",
    )
    assert [(e.reason, e.count) for e in made.excluded] == [("red_list", 1)]
    await world.values(DAY, [1, 2], numbers("spend", [7, 7]))
    again = await snapshot(world, audience="audiences/rich", request_id="launch-1")
    assert again == made
    assert made == await world.as_(PLANNER).audiences.GetSnapshot(
        audience_pb2.GetSnapshotRequest(name=made.name)
    )
    fresh = await snapshot(world, audience="audiences/rich", request_id="launch-2")
    assert await read(fresh) == [0, 1, 4, 6, 7, 8] and fresh.name != made.name
    with pytest.raises(errors.Invalid) as reused:
        await snapshot(world, all_customers=True, request_id="launch-1")
    assert reused.value.reason == "REQUEST_ID_REUSED"
    events = await announcements(world.service, events_pb2.SnapshotCreated, 2)
    assert events[0].snapshot == made


async def test_twins_make_one_snapshot(world, read):
    await fill(world)
    made = await asyncio.gather(*(snapshot(world, all_customers=True, request_id="twin") for _ in range(6)))
    assert len({m.name for m in made}) == 1
    assert await read(made[0]) == [0, 1, 2, 3, 4, 6, 7, 8]
    await announcements(world.service, events_pb2.SnapshotCreated, 1)


async def test_sources_and_bounds(world, read):
    """Tags, a list, all customers; bounded by regions and contract product (AUD-27, AUD-34)."""
    await fill(world)
    await save(world, "hohhot", condition=compare("spend", "GE", 2), regions=[150100])
    lists = world.as_(PLANNER).lists
    await lists.CreateCustomerList(
        list_pb2.CreateCustomerListRequest(customer_list=list_pb2.CustomerList(display_name="l"), list_id="l")
    )
    await lists.ImportCustomers(list_pb2.ImportCustomersRequest(name="lists/l", subscriber_ids=[1, 3, 6, 9]))
    assert await read(await snapshot(world, customer_list="lists/l", request_id="a")) == [0, 2, 8]
    kept = types_pb2.SuppressionChoice(keep_red_list=True, reason="服务通知")
    assert await read(await snapshot(world, customer_list="lists/l", suppression=kept, request_id="b")) == [
        0,
        2,
        5,
        8,
    ]
    assert await read(await snapshot(world, audience="audiences/hohhot", request_id="c")) == [1, 3, 4, 6, 7]
    bounded = await snapshot(world, audience="audiences/hohhot", regions=[150102, 150202], request_id="d")
    assert await read(bounded) == [3, 6] and bounded.matched == 2
    city = await snapshot(world, all_customers=True, regions=[150200], request_id="e")
    assert (city.matched, await read(city)) == (3, [2, 8])
    contract = await snapshot(world, all_customers=True, sms_contract_only=True, request_id="f")
    assert await read(contract) == [0, 2, 4, 6, 8]
    nested = await snapshot(world, customer_list="lists/l", regions=[150100], request_id="g")
    assert await read(nested) == [0]
    name = contract.name
    counted = await world.as_(PLANNER).audiences.CountAudience(
        audience_pb2.CountAudienceRequest(selection=selection(member(name)))
    )
    assert counted.count == 5


async def test_a_source_that_is_not_there(world):
    await world.subscribers(3)
    with pytest.raises(errors.NotFound):
        await snapshot(world, audience="audiences/nobody", request_id="a")
    with pytest.raises(errors.Invalid) as unknown:
        await snapshot(world, customer_list="lists/nobody", request_id="b")
    assert unknown.value.reason == "SET_UNKNOWN"
    with pytest.raises(errors.Invalid) as tag:
        await snapshot(world, all_customers=True, sms_contract_only=True, request_id="c")
    assert tag.value.reason == "TAG_UNKNOWN"


async def test_the_selection_is_a_span_of_the_trace(world, exporter):
    """Freezing an audience shows in the trace of the call that asked for it."""
    await fill(world)
    made = await snapshot(world, all_customers=True, request_id="t")
    tracer = world.service.telemetry
    with tracer.span("test", root=True) as root:
        request = audience_pb2.CreateSnapshotRequest(all_customers=True, request_id="traced")
        made = await world.as_(CAMPAIGN).audiences.CreateSnapshot(request)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    chosen = spans["select audience"]
    assert chosen.context.trace_id == root.get_span_context().trace_id
    assert chosen.attributes["iop.snapshot.id"] == made.name.partition("/")[2]
    assert chosen.attributes["iop.rows"] == made.bitmap.cardinality
