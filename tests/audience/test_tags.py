"""The tag catalogue and loads of values through the API."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from iop.audience.v1 import events_pb2, tag_pb2

from services.kit import errors
from tests.audience.conftest import (
    PLANNER,
    chunk_of,
    codes,
    compare,
    count_request,
    enumeration,
    flag,
    flags,
    number,
    numbers,
    tag,
    texts,
)
from tests.audience.listening import announcements

DAY = "2026-10-31"


async def count(world, condition):
    return (await world.as_(PLANNER).audiences.CountAudience(count_request(condition))).count


async def test_tags_are_found_by_any_of_their_names(world):
    """Chinese, English, code, pinyin; class and frequency filter (AUD-01, AUD-03, AUD-04)."""
    await world.tags(
        flag("integrated_4g", display_name="4G一体化客户", display_name_en="4G integrated customer"),
        flag("terminal_4g", display_name="4G终端", frequency=tag_pb2.FREQUENCY_MONTH),
        number("monthly_spend", display_name="月消费", category="消费", tag_class=tag_pb2.TAG_CLASS_BASIC),
    )

    async def found(**request):
        answer = await world.as_(PLANNER).tags.ListTags(tag_pb2.ListTagsRequest(**request))
        assert answer.total_size == len(answer.tags)
        return [t.code for t in answer.tags]

    assert await found(query="4G") == ["integrated_4g", "terminal_4g"]
    assert await found(query="4g integrated") == ["integrated_4g"]
    assert await found(query="yuexiaofei") == ["monthly_spend"]
    assert await found(query="yxf") == ["monthly_spend"]
    assert await found(query="消费") == ["monthly_spend"]
    assert await found(query="nothing") == []
    assert await found(tag_class=tag_pb2.TAG_CLASS_BASIC) == ["monthly_spend"]
    assert await found(frequency=tag_pb2.FREQUENCY_MONTH) == ["terminal_4g"]
    first = await world.as_(PLANNER).tags.ListTags(tag_pb2.ListTagsRequest(page_size=2))
    rest = await world.as_(PLANNER).tags.ListTags(
        tag_pb2.ListTagsRequest(page_size=2, page_token=first.next_page_token)
    )
    assert [t.code for t in first.tags] + [t.code for t in rest.tags] == [
        "integrated_4g",
        "monthly_spend",
        "terminal_4g",
    ]
    assert first.total_size == 3 and not rest.next_page_token


async def test_an_entry_that_breaks_a_rule_stops_all(world):
    with pytest.raises(errors.Invalid) as refused:
        await world.tags(
            number("good"),
            enumeration("bad", []),
            flag("worse", decimals=2),
            enumeration("twice", ["a", "a"]),
            number("good"),
        )
    assert [path for path, _ in refused.value.fields] == [
        "tags[1].values",
        "tags[2].decimals",
        "tags[3].values[1].code",
        "tags[4].code",
    ]
    assert not (await world.as_().tags.ListTags(tag_pb2.ListTagsRequest())).tags


async def test_values_keep_their_meaning(world):
    """A tag with values keeps type, decimals and order of codes; codes may be added, labels may change."""
    await world.subscribers(2)
    await world.tags(number("spend", decimals=2), enumeration("brand", ["a", "b"]))
    await world.values(DAY, [1, 2], numbers("spend", [1, 2]), codes("brand", [0, 1]))
    for changed in (number("spend", decimals=1), flag("spend"), enumeration("brand", ["b", "a"])):
        with pytest.raises(errors.Precondition):
            await world.tags(changed)
    answer = await world.tags(enumeration("brand", ["a", "b", "c"]), number("new"))
    assert (answer.created, answer.updated) == (1, 1)
    assert await count(world, compare("brand", "EQ", "b")) == 1


async def test_rows_with_a_fault_are_refused_and_the_rest_is_kept(world):
    await world.subscribers(6)
    await world.tags(number("spend", decimals=2), enumeration("brand", ["a", "b"]), flag("vip"))
    answer = await world.send(
        [
            chunk_of(
                DAY,
                [1, 2, 77, 3],
                numbers("spend", [1, np.inf, 3, 4]),
                codes("brand", [0, 1, 1, 2]),
                flags("vip", [0, 1, 1, 1]),
            ),
            chunk_of(
                DAY,
                [1, 4, 5],
                numbers("spend", [9, np.nan, 1e300]),
                codes("brand", [0, 1, 1]),
                flags("vip", [0, 2, 1]),
            ),
        ]
    )
    assert answer.rows == 1 and answer.changed
    assert [(row.row, row.field) for row in answer.refused] == [
        (2, "spend"),
        (3, "subscriber_id"),
        (4, "brand"),
        (5, "subscriber_id"),
        (6, "vip"),
        (7, "spend"),
    ]
    assert answer.refused_count == 6
    assert await count(world, compare("spend", "EXISTS")) == 1


async def test_a_load_is_seen_whole_or_not_at_all(world):
    """Nothing of a load is visible before its end, nor of one that breaks off (AUD-16)."""
    await world.subscribers(4)
    await world.tags(number("spend"))
    await world.values(DAY, [1, 2, 3, 4], numbers("spend", [1, 1, 1, 1]))
    new = compare("spend", "EQ", 2)
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield chunk_of(DAY, [1, 2], numbers("spend", [2, 2]))
        halfway.set()
        await go_on.wait()
        yield chunk_of(DAY, [3, 4], numbers("spend", [2, 2]))

    load = asyncio.ensure_future(world.as_().tags.LoadTagValues(slow()))
    await halfway.wait()
    await asyncio.sleep(0.1)
    assert await count(world, new) == 0
    go_on.set()
    assert (await load).rows == 4
    assert await count(world, new) == 4
    with pytest.raises(errors.Invalid):
        await world.send(
            [chunk_of(DAY, [1, 2], numbers("spend", [3, 3])), chunk_of(DAY, [3], numbers("spend", []))]
        )
    assert await count(world, new) == 4


async def test_loading_the_same_again_changes_nothing(world):
    await world.subscribers(4)
    await world.tags(number("spend", decimals=1), tag("name", "TAG_TYPE_TEXT"))
    columns = numbers("spend", [1.5, np.nan, -3, 4]), texts("name", ["a", "", "b", "a"])
    assert (await world.values(DAY, [1, 2, 3, 4], *columns)).changed
    again = await world.values(DAY, [1, 2, 3, 4], *columns)
    assert again.rows == 4 and not again.changed
    assert not (await world.values(DAY, [1], numbers("spend", [1.5]))).changed
    assert (await world.values(DAY, [1], numbers("spend", [1.6]))).changed
    loaded = await announcements(world.service, events_pb2.TagsLoaded, 2)
    assert [(e.data_date, list(e.tags), e.rows) for e in loaded] == [
        (DAY, ["name", "spend"], 4),
        (DAY, ["spend"], 1),
    ]


async def test_a_partial_load_keeps_the_other_rows(world):
    """Rows laid over a date, in narrower and wider types than before, leave the others as they were."""
    await world.subscribers(4)
    await world.tags(number("spend"), tag("name", "TAG_TYPE_TEXT"))
    await world.values(DAY, [1, 2, 3], numbers("spend", [1, np.nan, 3]), texts("name", ["a", "b", ""]))
    await world.values(DAY, [3, 4], numbers("spend", [30_000_000, 4]), texts("name", ["c", "b"]))
    await world.subscribers(2, first=5)
    await world.values(DAY, [5], numbers("spend", [2**40]), texts("name", ["d"]))
    for value, expected in ((1, 1), (3, 0), (30_000_000, 1), (4, 1), (2**40, 1)):
        assert await count(world, compare("spend", "EQ", value)) == expected
    assert await count(world, compare("spend", "NOT_EXISTS")) == 2
    assert [await count(world, compare("name", "EQ", word)) for word in "abcd"] == [1, 2, 1, 1]
    found = await world.as_().tags.GetTag(tag_pb2.GetTagRequest(name="tags/spend"))
    assert list(found.data_dates) == [DAY]


async def test_chunks_of_a_load_belong_together(world):
    await world.subscribers(2)
    await world.tags(number("spend"), number("age"))
    for messages, field in (
        ([chunk_of(DAY, [1], numbers("nothing", [1]))], "columns[0].tag"),
        ([chunk_of(DAY, [1], numbers("spend", [1]), numbers("spend", [1]))], "columns[1].tag"),
        ([chunk_of(DAY, [1], numbers("spend", [1, 2]))], "columns[0].data"),
        (
            [chunk_of(DAY, [1], numbers("spend", [1])), chunk_of("2026-10-30", [2], numbers("spend", [1]))],
            "data_date",
        ),
        ([chunk_of(DAY, [1], numbers("spend", [1])), chunk_of(DAY, [2], numbers("age", [1]))], "columns"),
        ([chunk_of("2026-02-30", [1], numbers("spend", [1]))], "data_date"),
    ):
        with pytest.raises(errors.Invalid) as refused:
            await world.send(messages)
        assert refused.value.fields[0][0] == field
    assert not list(Path(world.service.runtime.data_dir).glob("audience/staging/*"))
