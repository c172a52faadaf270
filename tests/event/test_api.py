"""The service through its doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from iop.common.v1 import condition_pb2, types_pb2
from iop.event.v1 import cell_pb2, definition_pb2, definition_pb2_grpc, signal_pb2

from services.kit import errors
from services.kit.actor import Actor
from tests.event.conftest import NOON, World, signal_batch

Definition = definition_pb2.Definition


def compare(field: str, operator: str, *values: Any) -> condition_pb2.Condition:
    """A comparison; numbers become ids, texts texts."""
    listed = [
        condition_pb2.Value(id=value) if isinstance(value, int) else condition_pb2.Value(text=value)
        for value in values
    ]
    return condition_pb2.Condition(
        comparison=condition_pb2.Comparison(
            field=field,
            operator=f"OPERATOR_{operator}",  # type: ignore[arg-type]
            values=listed,
        )
    )


def rule(source: str, condition: Any = None, **fields: Any) -> definition_pb2.EventExpression:
    """An expression of one rule."""
    made = definition_pb2.Rule(source=f"SOURCE_{source}", condition=condition, **fields)  # type: ignore[arg-type]
    return definition_pb2.EventExpression(rule=made)


async def create(world: World, expression: Any, **fields: Any) -> Definition:
    """Create a definition with this expression."""
    given = Definition(display_name=fields.pop("display_name", "event"), expression=expression)
    made: Definition = await world.definitions.CreateDefinition(
        definition_pb2.CreateDefinitionRequest(definition=given, **fields)
    )
    return made


def cell(key: int, longitude: float, latitude: float, county: int = 150102) -> cell_pb2.Cell:
    return cell_pb2.Cell(
        tac=key >> 32,
        cell_id=key & 0xFFFFFFFF,
        station=f"station {key}",
        position=types_pb2.Point(longitude=longitude, latitude=latitude),
        county=county,
    )


def polygon(*corners: tuple[float, float]) -> types_pb2.Polygon:
    return types_pb2.Polygon(points=[types_pb2.Point(longitude=x, latitude=y) for x, y in corners])


SQUARE = polygon((111.0, 40.0), (111.5, 40.0), (111.5, 40.5), (111.0, 40.5))
INSIDE, EDGE, OUTSIDE = 1 << 32 | 1, 1 << 32 | 2, 1 << 32 | 3


async def stations(world: World) -> None:
    cells = [cell(INSIDE, 111.2, 40.2), cell(EDGE, 111.5, 40.2, 150202), cell(OUTSIDE, 112.0, 40.2)]
    answer = await world.cells.BatchUpsertCells(cell_pb2.BatchUpsertCellsRequest(cells=cells))
    assert answer.written == 3


async def test_definitions_are_made_read_changed_and_removed(world: World) -> None:
    """Create, list, update under an etag, delete; a repeated request changes nothing (EVT-05, EVT-09)."""
    expression = rule("KEYWORD_SEARCH", compare("keyword", "CONTAINS", "三星note7"))
    first = await create(world, expression, definition_id="note7", request_id="r1")
    again = await create(world, expression, definition_id="note7", request_id="r1")
    assert (first.name, first.definition_number) == ("definitions/note7", again.definition_number)
    assert first.expression_text == "关键词搜索（关键字搜索 包含 “三星note7”）"
    with pytest.raises(errors.Exists):
        await create(world, expression, definition_id="note7")
    second = await create(world, expression)
    request = definition_pb2.ListDefinitionsRequest(page_size=1)
    page = await world.definitions.ListDefinitions(request)
    assert [item.name for item in page.definitions] == [second.name]
    request.page_token = page.next_page_token
    page = await world.definitions.ListDefinitions(request)
    assert [item.name for item in page.definitions] == [first.name] and not page.next_page_token

    changed = Definition(name=first.name, display_name="renamed", etag=first.etag)
    update = definition_pb2.UpdateDefinitionRequest(
        definition=changed, update_mask=FieldMask(paths=["display_name"])
    )
    renamed = await world.definitions.UpdateDefinition(update)
    assert (renamed.display_name, renamed.expression) == ("renamed", first.expression)
    with pytest.raises(errors.Conflict) as stale:
        await world.definitions.UpdateDefinition(update)
    assert stale.value.reason == "ETAG_STALE"

    await world.bind(first.definition_number, 5, {1})
    delete = definition_pb2.DeleteDefinitionRequest(name=first.name)
    with pytest.raises(errors.Precondition) as bound:
        await world.definitions.DeleteDefinition(delete)
    assert bound.value.metadata["activities"] == "5"
    await world.bind(first.definition_number, 5, None)
    await world.definitions.DeleteDefinition(delete)
    with pytest.raises(errors.NotFound):
        await world.definitions.GetDefinition(definition_pb2.GetDefinitionRequest(name=first.name))


async def test_a_definition_that_cannot_be_is_refused_with_its_paths(
    world: World, stub: Callable[..., Any]
) -> None:
    """Reason, path and role: what is wrong, where, and who may not."""
    with pytest.raises(errors.Invalid) as unknown:
        await create(world, rule("APP_USE", compare("tac_cell", "EQ", 5)))
    assert unknown.value.reason == "ATTRIBUTE_UNKNOWN"
    assert unknown.value.fields[0][0] == "definition.expression.rule.condition.comparison.field"
    with pytest.raises(errors.Invalid) as nameless:
        await create(world, rule("APP_USE"), display_name=" ")
    assert nameless.value.fields[0][0] == "definition.display_name"
    with pytest.raises(errors.Invalid) as empty:
        await create(world, None)
    assert empty.value.fields[0][0] == "definition.expression"
    analyst = Actor("user:li", "Li", frozenset({"analyst"}), (150000,))
    reader = stub(world.event, definition_pb2_grpc.DefinitionServiceStub, actor=analyst)
    assert len((await reader.ListSources(definition_pb2.ListSourcesRequest())).sources) == 7
    with pytest.raises(errors.Denied):
        await reader.CreateDefinition(
            definition_pb2.CreateDefinitionRequest(
                definition=Definition(display_name="x", expression=rule("APP_USE"))
            )
        )


async def test_cells_are_kept_found_and_written_into_rules(world: World) -> None:
    """Bad rows are named, good ones kept; a drawn area becomes a list of cells (EVT-28, EVT-30, EVT-31)."""
    await stations(world)
    bad = await world.cells.BatchUpsertCells(
        cell_pb2.BatchUpsertCellsRequest(
            cells=[cell(OUTSIDE, 112.1, 40.2), cell(0, 111, 40), cell(9, 111, 40, 150100)]
        )
    )
    assert bad.written == 1
    assert [(row.index, row.field) for row in bad.refused] == [(1, "cell_id"), (2, "county")]
    listed = await world.cells.ListCells(cell_pb2.ListCellsRequest(region=150100))
    assert [item.key for item in listed.cells] == [INSIDE, OUTSIDE]
    assert listed.cells[1].position.longitude == 112.1
    found = await world.cells.FindCells(cell_pb2.FindCellsRequest(polygons=[SQUARE]))
    assert [item.key for item in found.cells] == [INSIDE, EDGE]

    made = await create(world, rule("LOCATION", compare("current_city", "EQ", "呼和浩特"), areas=[SQUARE]))
    parts = made.expression.rule.condition.all_of.conditions
    assert [value.id for value in parts[1].comparison.values] == [INSIDE, EDGE]
    # Sending back what was read adds nothing a second time.
    update = definition_pb2.UpdateDefinitionRequest(definition=made)
    assert (await world.definitions.UpdateDefinition(update)).expression == made.expression
    with pytest.raises(errors.Invalid) as empty:
        await create(world, rule("LOCATION", areas=[polygon((0, 0), (1, 0), (1, 1))]))
    assert empty.value.reason == "AREA_EMPTY"

    await world.bind(made.definition_number, 7, range(10))
    # The county is that of the cell; Baotou's cell is in the area and not in the city.
    await world.send([{"subscriber": 1, "cell": INSIDE}, {"subscriber": 2, "cell": EDGE}], "b1")
    await asyncio.sleep(0.1)
    assert world.matched() == [(7, 1)]
    (match,) = [delivery.message for delivery in world.matches]
    assert np.frombuffer(match.counties, "<i4").tolist() == [150102]
    assert (
        await world.definitions.GetDefinition(definition_pb2.GetDefinitionRequest(name=made.name))
    ).match_count == 1


async def test_residents_follow_their_outlet(world: World) -> None:
    """The range of an outlet decides whose signals count, also after it was moved (EVT-20, EVT-22)."""
    await stations(world)

    async def outlet(longitude: float) -> None:
        position = types_pb2.Point(longitude=longitude, latitude=40.2)
        made = cell_pb2.Outlet(
            code="S1", display_name="shop", position=position, range_metres=500, county=150102
        )
        await world.cells.BatchUpsertOutlets(cell_pb2.BatchUpsertOutletsRequest(outlets=[made]))

    await outlet(111.2)
    listed = await world.cells.ListOutlets(cell_pb2.ListOutletsRequest(region=150102))
    assert [item.code for item in listed.outlets] == ["S1"]
    made = await create(world, rule("RESIDENT_POPULATION", compare("outlet", "EQ", "S1")))
    assert "渠道常驻人口 等于 “S1”" in made.expression_text
    await world.bind(made.definition_number, 7, range(10))
    await world.send([{"subscriber": 1, "cell": INSIDE}, {"subscriber": 2, "cell": OUTSIDE}], "b1")
    await outlet(112.0)
    await world.at_rest()
    await world.send([{"subscriber": 3, "cell": INSIDE}, {"subscriber": 4, "cell": OUTSIDE}], "b2")
    await asyncio.sleep(0.1)
    assert world.matched() == [(7, 1), (7, 4)]
    with pytest.raises(errors.Invalid) as unknown:
        await create(world, rule("RESIDENT_POPULATION", compare("outlet", "EQ", "S2")))
    assert unknown.value.fields[0][0] == "definition.expression.rule.condition.comparison.values[0]"


async def test_weak_cells_are_told(world: World) -> None:
    """Subscribers whose phones go off and on again and again point at weak coverage (EVT-34)."""
    await stations(world)
    rows = [
        {"subscriber": i, "source": 2, "power": 1 + n % 2, "cell": INSIDE, "at": NOON + n * 60_000_000}
        for i in range(12)
        for n in range(3)
    ]
    await world.send(rows, "b1")
    weak = await world.cells.ListWeakCells(cell_pb2.ListWeakCellsRequest(region=150100))
    assert weak.date == "2025-10-19"
    assert [(item.key, item.bursts, item.station) for item in weak.cells] == [
        (INSIDE, 12, f"station {INSIDE}")
    ]
    other = cell_pb2.ListWeakCellsRequest(region=150200, date="2025-10-19")
    assert not (await world.cells.ListWeakCells(other)).cells


async def test_batches_are_checked_translated_and_taken_once(world: World) -> None:
    """Bad rows one by one, unknown subscribers counted, a repeated batch recognised."""
    rows = [
        {"subscriber": 1},
        {"subscriber": 2, "at": 0},
        {"subscriber": 3, "source": 9},
        {"subscriber": 100_000},
        {"subscriber": 4, "roaming": 7},
    ]
    answer = await world.send(rows, "b1")
    assert (answer.accepted, answer.unknown, answer.refused_count, answer.duplicate) == (1, 1, 3, False)
    assert [(row.index, row.field) for row in answer.refused] == [
        (1, "occurred_at"),
        (2, "sources"),
        (4, "roaming_types"),
    ]
    again = await world.send(rows, "b1")
    assert (again.accepted, again.unknown, again.refused_count, again.duplicate) == (1, 1, 3, True)

    ragged = signal_batch([{"subscriber": 1}, {"subscriber": 2}], "b2")
    ragged.counties = ragged.counties[:5]
    with pytest.raises(errors.Invalid) as problem:
        await world.signals.IngestSignals(signal_pb2.IngestSignalsRequest(batch=ragged))
    assert problem.value.reason == "BATCH_RAGGED"
    assert problem.value.fields[0][0] == "batch.counties"
    ragged = signal_batch([{"subscriber": 1}], "b3")
    ragged.sources = b""
    with pytest.raises(errors.Invalid) as problem:
        await world.signals.IngestSignals(signal_pb2.IngestSignalsRequest(batch=ragged))
    assert problem.value.fields[0][0] == "batch.sources"

    stream = world.signals.StreamSignals()
    for name in ("s1", "s2"):
        batch = signal_batch([{"subscriber": 7}], name)
        await stream.write(signal_pb2.StreamSignalsRequest(batch=batch))
        assert (await stream.read()).batch_id == name
    await stream.done_writing()


async def test_subscribers_newer_than_the_copy_are_found(world: World) -> None:
    """An unknown id makes the service ask for a newer directory."""
    assert (await world.send([{"subscriber": 1}], "b1")).unknown == 0
    world.directory.count, world.directory.version = 500, 2
    assert (await world.send([{"subscriber": 450}], "b2")).accepted == 1
    await asyncio.sleep(1.1)
    assert (await world.send([{"subscriber": 700}], "b3")).unknown == 1
