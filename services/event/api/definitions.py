"""DefinitionService: definitions are checked, completed with cells, saved, and told to the matcher."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from google.protobuf import empty_pb2
from iop.common.v1 import condition_pb2
from iop.event.v1 import definition_pb2, definition_pb2_grpc, events_pb2

from services.event import announce, store, translate
from services.event.copies import Catalogue
from services.event.domain import areas, check, wording
from services.event.domain.areas import Outlet
from services.event.domain.model import Expression
from services.event.domain.sources import ATTRIBUTES, SOURCES
from services.event.messages.log import PartitionLog
from services.kit import errors, page, requests, resource, rpc
from services.kit.clock import Clock
from services.kit.db import Connection, Database

FIELDS = ("display_name", "description", "expression", "combination_seconds")


class Definitions:
    """What it takes to save a definition: check, cells of areas and outlets, records for the logs."""

    def __init__(self, catalogue: Catalogue, partitions: int, timezone: str) -> None:
        self.catalogue, self._partitions, self._timezone = catalogue, partitions, timezone

    def values(self, given: Any, before: store.Row | None = None) -> dict[str, Any]:
        """Columns of a definition's expression; errors.Invalid when it cannot be saved."""
        if given.WhichOneof("node") is None:
            raise errors.Invalid("an event needs a rule", fields=[("definition.expression", "holds no rule")])
        expression = translate.expression_of(given)
        check.require_sound(expression)
        written: frozenset[frozenset[int]] = frozenset()
        if before is not None:
            written = areas.lists_written(self._stored(before))
        expression = areas.with_areas(expression, self.catalogue.now.stations, written)
        check.require_sound(expression)  # the area may lie where the rest of the rule cannot be
        self._compared(expression, self.catalogue.now.outlets)
        return {
            "expression": translate.expression_message(expression).SerializeToString(deterministic=True),
            "expression_text": wording.text_of(expression, self._timezone),
            "outlets": sorted(areas.outlets_of(expression)),
        }

    def announce(self, tx: Connection, row: store.Row, outlets: dict[str, Outlet] | None = None) -> None:
        """Tell the partitions of a definition as it is saved now."""
        known = self.catalogue.now.outlets if outlets is None else outlets
        message = message_of(row, 0)
        message.expression.CopyFrom(translate.expression_message(self._compared(self._stored(row), known)))
        announce.definition_changed(tx, message, row.revision, self._partitions)

    def removed(self, tx: Connection, row: store.Row) -> None:
        """Tell the partitions that a definition is gone."""
        message = definition_pb2.Definition(definition_number=row.number)
        announce.definition_changed(tx, message, row.revision, self._partitions, deleted=True)

    def outlets_moved(self, tx: Connection, codes: Sequence[str]) -> None:
        """Definitions that name these outlets follow them; errors.Invalid where no station is left."""
        rows = store.definitions_with_outlets(tx, codes)
        if not rows:
            return
        outlets = store.read_catalogue(tx).outlets
        for row in rows:
            changed = store.update_definition(tx, row.id, {"revision": row.revision + 1})
            self.announce(tx, changed, outlets)

    def announce_again(self, tx: Connection) -> None:
        """Put everything the matcher must know into the logs once more."""
        for row in store.all_definitions(tx):
            self.announce(tx, store.update_definition(tx, row.id, {"revision": row.revision + 1}))
        suffix = f".again-{secrets.token_hex(4)}"
        for row in store.all_bindings(tx):
            message = events_pb2.PopulationBound.FromString(bytes(row.record))
            announce.population_bound(tx, message, self._partitions, suffix)

    def _stored(self, row: store.Row) -> Expression:
        message = definition_pb2.EventExpression.FromString(bytes(row.expression))
        return translate.expression_of(message)

    def _compared(self, expression: Expression, outlets: dict[str, Outlet]) -> Expression:
        """The expression as the matcher compares it: cells instead of outlets."""
        stations = self.catalogue.now.stations
        return areas.with_outlets(
            expression, lambda codes, path: areas.cells_of_outlets(codes, outlets, stations, path)
        )


class DefinitionApi(definition_pb2_grpc.DefinitionServiceServicer):
    """Creates, reads, changes, removes definitions."""

    def __init__(
        self, database: Database, clock: Clock, definitions: Definitions, logs: Sequence[PartitionLog]
    ) -> None:
        self._db, self._clock, self._definitions, self._logs = database, clock, definitions, logs

    async def CreateDefinition(  # type: ignore[override]
        self, request: definition_pb2.CreateDefinitionRequest, context: Any
    ) -> definition_pb2.Definition:
        """Create a definition under the id wished for, or a new one."""
        given, actor = request.definition, rpc.actor()
        await self._definitions.catalogue.refresh()

        def create(tx: Connection) -> definition_pb2.Definition:
            _require_name(given)
            values = self._definitions.values(given.expression)
            id_ = request.definition_id or resource.new_id()
            now = self._clock.now()
            values |= {
                "id": id_,
                "number": store.next_number(tx),
                "display_name": given.display_name.strip(),
                "description": given.description,
                "combination_seconds": given.combination_seconds,
                "version": 1,
                "revision": 1,
                "creator": actor.subject,
                "create_time": now,
                "update_time": now,
            }
            row = store.insert_definition(tx, values)
            if row is None:
                raise errors.Exists(f"there is a definition {id_} already", metadata={"id": id_})
            self._definitions.announce(tx, row)
            return message_of(row, 0)

        def write(tx: Connection) -> definition_pb2.Definition:
            return requests.once(
                tx,
                "CreateDefinition",
                request.request_id,
                actor,
                definition_pb2.Definition,
                lambda: create(tx),
            )

        return await self._db.transaction(write)

    async def GetDefinition(  # type: ignore[override]
        self, request: definition_pb2.GetDefinitionRequest, context: Any
    ) -> definition_pb2.Definition:
        """Read a definition."""
        id_ = resource.parse(request.name, "definitions")
        row = await self._db.read(lambda tx: _existing(tx, id_))
        return message_of(row, self._matches(row.number))

    async def ListDefinitions(  # type: ignore[override]
        self, request: definition_pb2.ListDefinitionsRequest, context: Any
    ) -> definition_pb2.ListDefinitionsResponse:
        """List definitions, the newest first."""
        size = page.size(request.page_size)
        after = page.read(request.page_token, request)
        before = int(after[0]) if after else None
        rows = await self._db.read(lambda tx: store.list_definitions(tx, before, size + 1))
        token = page.token([rows[size - 1].number], request) if len(rows) > size else ""
        return definition_pb2.ListDefinitionsResponse(
            definitions=[message_of(row, self._matches(row.number)) for row in rows[:size]],
            next_page_token=token,
        )

    async def UpdateDefinition(  # type: ignore[override]
        self, request: definition_pb2.UpdateDefinitionRequest, context: Any
    ) -> definition_pb2.Definition:
        """Change a definition; what its rules have kept of subscribers is dropped when they change."""
        given, actor = request.definition, rpc.actor()
        id_ = resource.parse(given.name, "definitions", "definition.name")
        fields = _mask(request.update_mask.paths)
        await self._definitions.catalogue.refresh()

        def write(tx: Connection) -> definition_pb2.Definition:
            def update() -> definition_pb2.Definition:
                row = _existing(tx, id_, lock=True)
                resource.check_etag(given.etag, row.version)
                values: dict[str, Any] = {"version": row.version + 1, "update_time": self._clock.now()}
                if "display_name" in fields:
                    _require_name(given)
                    values["display_name"] = given.display_name.strip()
                if "description" in fields:
                    values["description"] = given.description
                if "combination_seconds" in fields:
                    values["combination_seconds"] = given.combination_seconds
                if "expression" in fields:
                    values |= self._definitions.values(given.expression, row)
                values["revision"] = row.revision + 1
                changed = store.update_definition(tx, id_, values)
                self._definitions.announce(tx, changed)
                return message_of(changed, self._matches(changed.number))

            return requests.once(
                tx, "UpdateDefinition", request.request_id, actor, definition_pb2.Definition, update
            )

        return await self._db.transaction(write)

    async def DeleteDefinition(  # type: ignore[override]
        self, request: definition_pb2.DeleteDefinitionRequest, context: Any
    ) -> empty_pb2.Empty:
        """Remove a definition that no activity listens to."""
        id_, actor = resource.parse(request.name, "definitions"), rpc.actor()

        def write(tx: Connection) -> empty_pb2.Empty:
            def delete() -> empty_pb2.Empty:
                row = _existing(tx, id_, lock=True)
                activities = store.activities_bound(tx, row.number)
                if activities:
                    raise errors.Precondition(
                        f"activities listen to {request.name}",
                        metadata={"activities": ",".join(map(str, activities))},
                    )
                self._definitions.removed(tx, row)
                store.delete_definition(tx, id_)
                return empty_pb2.Empty()

            return requests.once(tx, "DeleteDefinition", request.request_id, actor, empty_pb2.Empty, delete)

        return await self._db.transaction(write)

    async def ListSources(  # type: ignore[override]
        self, request: definition_pb2.ListSourcesRequest, context: Any
    ) -> definition_pb2.ListSourcesResponse:
        """The seven sources with what their rules compare."""
        response = definition_pb2.ListSourcesResponse()
        for info in SOURCES.values():
            shown = response.sources.add(
                source=int(info.source),  # type: ignore[arg-type]
                display_name=info.display_name,
                realtime=info.realtime,
                tip=info.tip,
            )
            for name in info.attributes:
                attribute = ATTRIBUTES[name]
                shown.attributes.add(
                    name=attribute.name,
                    display_name=attribute.display_name,
                    type=attribute.type,
                    operators=[condition_pb2.Operator.Name(int(item)) for item in attribute.operators],  # type: ignore[arg-type]
                    choices=[
                        definition_pb2.AttributeChoice(value=value, display_name=text)
                        for value, text in attribute.choices
                    ],
                )
        return response

    def _matches(self, number: int) -> int:
        return sum(log.state.match_counts.get(number, 0) for log in self._logs)


def message_of(row: store.Row, matches: int) -> definition_pb2.Definition:
    """A stored definition as the contract has it."""
    message = definition_pb2.Definition(
        name=resource.name("definitions", row.id),
        display_name=row.display_name,
        description=row.description,
        combination_seconds=row.combination_seconds,
        definition_number=row.number,
        expression_text=row.expression_text,
        creator=row.creator,
        etag=resource.etag(row.version),
        match_count=matches,
    )
    message.expression.MergeFromString(bytes(row.expression))
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.update_time)
    return message


def _existing(tx: Connection, id_: str, *, lock: bool = False) -> store.Row:
    row = store.get_definition(tx, id_, lock=lock)
    if row is None:
        raise errors.NotFound(f"there is no definition {id_}", metadata={"name": f"definitions/{id_}"})
    return row


def _require_name(given: definition_pb2.Definition) -> None:
    if not given.display_name.strip():
        raise errors.Invalid(
            "an event needs a name", fields=[("definition.display_name", "must not be empty")]
        )


def _mask(paths: Sequence[str]) -> frozenset[str]:
    unknown = [path for path in paths if path not in FIELDS]
    if unknown:
        raise errors.Invalid(
            f"{unknown[0]} cannot be changed",
            fields=[("update_mask", f"takes {', '.join(FIELDS)}")],
        )
    return frozenset(paths or FIELDS)
