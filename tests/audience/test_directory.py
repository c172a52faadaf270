"""The subscriber directory through its API."""

import numpy as np
import pytest
from iop.audience.v1 import audience_pb2, directory_pb2

from services.kit import errors
from tests.audience.conftest import (
    CAMPAIGN,
    CITY,
    OPERATOR,
    PLANNER,
    codes,
    enumeration,
    flag,
    flags,
    number,
    numbers,
    tag,
    texts,
)


async def chunks_of(stubs, **request):
    return [c async for c in stubs.directory.StreamDirectory(directory_pb2.StreamDirectoryRequest(**request))]


def columns(chunks):
    """Ordinal -> (id, number, county), later chunks winning."""
    rows = {}
    for chunk in chunks:
        ordinals = np.frombuffer(chunk.ordinals, "<u4").tolist()
        ids = np.frombuffer(chunk.subscriber_ids, "<i8").tolist()
        phones = np.frombuffer(chunk.phones, "<i8").tolist()
        counties = np.frombuffer(chunk.counties, "<i4").tolist()
        rows.update(zip(ordinals, zip(ids, phones, counties, strict=True), strict=True))
    return rows


async def test_ordinals_are_dense_and_stay(world):
    first = await world.subscribers(10)
    assert (first.added, first.changed, first.unchanged, first.refused_count) == (10, 0, 0, 0)
    again = await world.subscribers(12)
    assert (again.added, again.unchanged, again.directory_version) == (2, 10, first.directory_version + 1)
    same = await world.subscribers(12)
    assert (same.added, same.unchanged, same.directory_version) == (0, 12, again.directory_version)
    rows = columns(await chunks_of(world.as_(CAMPAIGN)))
    assert {ordinal: row[0] for ordinal, row in rows.items()} == {i: i + 1 for i in range(12)}


async def test_bad_rows_are_refused_one_by_one(world):
    ids = [1, 2, 0, 4, 2, 6, 7]
    phones = [18800000001, 1880000, 18800000003, 18800000004, 18800000005, 18800000004, 18800000007]
    counties = [150102, 150102, 150102, 110101, 150102, 150102, 150102]
    answer = await world.load(ids, phones, counties)
    assert answer.added == 4  # rows 1, 5 (the second row of id 2 is the first good one), 6, 7
    assert [(row.row, row.field) for row in answer.refused] == [
        (2, "phone"),
        (3, "subscriber_id"),
        (4, "county"),
    ]
    twice = await world.load(
        [8, 8, 9, 10], [18800000008, 18800000009, 18800000010, 18800000010], [150102] * 4, chunk=1
    )
    assert [(row.row, row.field) for row in twice.refused] == [(2, "subscriber_id"), (4, "phone")]
    assert twice.added == 2


async def test_a_number_has_one_holder(world):
    """A number that moves leaves its old holder without one; two may exchange theirs."""
    await world.subscribers(3)
    moved = await world.load([9], [18800000002], [150102])
    assert moved.added == 1
    rows = columns(await chunks_of(world.as_(CAMPAIGN)))
    assert rows[1][1] == 0 and rows[3] == (9, 18800000002, 150102)
    swapped = await world.load([1, 3], [18800000003, 18800000001], [150102, 150202])
    assert swapped.changed == 2
    found = await world.as_(OPERATOR).directory.LookUpSubscribers(
        directory_pb2.LookUpSubscribersRequest(phones=[18800000003, 18800000001, 18800000002, 18800000099])
    )
    assert [s.subscriber_id for s in found.subscribers] == [1, 3, 9]
    assert list(found.missing) == [3]


async def test_a_copy_resumes(world):
    """Changed rows come again after a version, new ones from an ordinal on."""
    first = await world.subscribers(5)
    second = await world.load([2], [18900000002], [150202])
    third = await world.load([6], [18800000001], [150102])
    assert (first.directory_version, second.directory_version, third.directory_version) == (1, 2, 3)
    chunks = await chunks_of(world.as_(CAMPAIGN), start_ordinal=5, since_version=1)
    assert columns(chunks) == {
        0: (1, 0, 150102),
        1: (2, 18900000002, 150202),
        5: (6, 18800000001, 150102),
    }
    assert chunks[-1].directory_version == 3
    nothing = await chunks_of(world.as_(CAMPAIGN), start_ordinal=6, since_version=3)
    assert [c.directory_version for c in nothing] == [3] and not nothing[0].ordinals


async def test_the_directory_survives_a_restart(world, make_service, stub):
    await world.subscribers(70_000)
    await world.load([70_001], [18800000005], [150102])
    before = columns(await chunks_of(world.as_(CAMPAIGN)))
    runtime = world.service.runtime
    await world.service.stop()
    world.service = await make_service("audience", database_url=runtime.database_url)
    assert columns(await chunks_of(world.as_(CAMPAIGN))) == before
    answer = await world.load([5, 70_002], [18800000007, 18800070002], [150102, 150102])
    assert (answer.added, answer.changed) == (1, 1)
    directory = await world.as_().directory.GetDirectory(directory_pb2.GetDirectoryRequest())
    assert directory.count == 70_002 and directory.directory_version == answer.directory_version


async def test_numbers_are_masked_by_role(world):
    await world.subscribers(3)
    request = directory_pb2.LookUpSubscribersRequest(subscriber_ids=[1])
    planner = await world.as_(PLANNER).directory.LookUpSubscribers(request)
    operator = await world.as_(OPERATOR).directory.LookUpSubscribers(request)
    assert planner.subscribers[0].phone == "188****0001"
    assert operator.subscribers[0].phone == "18800000001"


async def test_a_city_user_finds_his_own_city_only(world):
    await world.subscribers(3)
    found = await world.as_(CITY).directory.LookUpSubscribers(
        directory_pb2.LookUpSubscribersRequest(subscriber_ids=[1, 2, 3])
    )
    assert [s.subscriber_id for s in found.subscribers] == [3]
    assert list(found.missing) == [0, 1]


async def test_variables_read_as_a_person_writes_them(world):
    """Template values: numbers without idle zeros, labels, 是 and 否, dates, texts; empty where missing."""
    await world.subscribers(3)
    await world.tags(
        number("spend", decimals=2),
        enumeration("brand", ["a", "b"]),
        flag("vip"),
        tag("joined", "TAG_TYPE_DATE"),
        tag("salutation", "TAG_TYPE_TEXT"),
        number("not_loaded_yet"),
    )
    days = np.array([0, 20_000, np.iinfo(np.int32).min], dtype="<i4")
    await world.values(
        "2026-10-31",
        [1, 2, 3],
        numbers("spend", [28.5, 30, np.nan]),
        codes("brand", [1, -1, 0]),
        flags("vip", [1, 0, 255]),
        codes("joined", days),
        texts("salutation", ["王先生", "", "李女士"]),
    )
    answer = await world.as_(CAMPAIGN).directory.GetVariables(
        directory_pb2.GetVariablesRequest(
            ordinals=np.array([2, 0, 1], dtype="<u4").tobytes(),
            tags=["spend", "brand", "vip", "joined", "salutation", "not_loaded_yet"],
        )
    )
    assert [list(column.values) for column in answer.columns] == [
        ["", "28.5", "30"],
        ["标签a", "标签b", ""],
        ["", "是", "否"],
        ["", "1970-01-01", "2024-10-04"],
        ["李女士", "王先生", ""],
        ["", "", ""],
    ]
    with pytest.raises(errors.Invalid, match="catalogue"):
        await world.as_(CAMPAIGN).directory.GetVariables(directory_pb2.GetVariablesRequest(tags=["nothing"]))


async def test_roles_are_asked(world):
    with pytest.raises(errors.Denied):
        await chunks_of(world.as_(PLANNER))
    with pytest.raises(errors.Denied):
        await world.as_(PLANNER).audiences.CreateSnapshot(
            audience_pb2.CreateSnapshotRequest(all_customers=True, request_id="x")
        )
