"""A running audience service and small ways to fill it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest_asyncio
from iop.audience.v1 import (
    audience_pb2,
    audience_pb2_grpc,
    directory_pb2,
    directory_pb2_grpc,
    list_pb2_grpc,
    tag_pb2,
    tag_pb2_grpc,
)
from iop.common.v1 import condition_pb2

from services.kit.actor import Actor, of_service
from services.kit.app import Service

PLANNER = Actor("user:planner", "Planner", frozenset({"planner"}), (150000,))
OPERATOR = Actor("user:operator", "Operator", frozenset({"operator"}), (150000,))
CITY = Actor("user:baotou", "City planner", frozenset({"planner"}), (150200,))
CAMPAIGN = of_service("campaign")

# Two counties of Hohhot, one of Baotou.
COUNTIES = (150102, 150103, 150202)


@dataclass
class World:
    """Stubs of a running service, as an admin unless `as_` says otherwise."""

    service: Service
    stub: Any

    def as_(self, actor: Actor | None = None) -> Stubs:
        kinds = (
            audience_pb2_grpc.AudienceServiceStub,
            directory_pb2_grpc.DirectoryServiceStub,
            tag_pb2_grpc.TagServiceStub,
            list_pb2_grpc.ListServiceStub,
        )
        made = [
            self.stub(self.service, kind, actor) if actor else self.stub(self.service, kind) for kind in kinds
        ]
        return Stubs(*made)

    async def subscribers(self, count: int, first: int = 1) -> Any:
        """Ids first.., numbers 188 0000 0000 + id, counties in turn."""
        ids = np.arange(first, first + count, dtype=np.int64)
        counties = np.array(COUNTIES, dtype=np.int32)[(ids - 1) % len(COUNTIES)]
        return await self.load(ids, 18800000000 + ids, counties)

    async def load(self, ids: Any, phones: Any, counties: Any, chunk: int = 50_000) -> Any:
        ids, phones = np.asarray(ids, dtype="<i8"), np.asarray(phones, dtype="<i8")
        counties = np.asarray(counties, dtype="<i4")

        async def chunks() -> AsyncIterator[Any]:
            for low in range(0, len(ids), chunk):
                part = slice(low, low + chunk)
                yield directory_pb2.LoadSubscribersRequest(
                    subscriber_ids=ids[part].tobytes(),
                    phones=phones[part].tobytes(),
                    counties=counties[part].tobytes(),
                )

        return await self.as_().directory.LoadSubscribers(chunks())

    async def tags(self, *tags: tag_pb2.Tag) -> Any:
        return await self.as_().tags.BatchUpsertTags(tag_pb2.BatchUpsertTagsRequest(tags=tags))

    async def values(self, day: str, ids: Any, *columns: tag_pb2.TagColumn, chunks: int = 1) -> Any:
        """Load columns of one date; the columns are not split, so more chunks need more calls."""
        return await self.send([chunk_of(day, ids, *columns)])

    async def send(self, messages: Iterable[tag_pb2.LoadTagValuesRequest]) -> Any:
        async def stream() -> AsyncIterator[Any]:
            for message in messages:
                yield message

        return await self.as_().tags.LoadTagValues(stream())


@dataclass
class Stubs:
    audiences: Any
    directory: Any
    tags: Any
    lists: Any


@pytest_asyncio.fixture
async def world(make_service: Any, stub: Any) -> World:
    return World(await make_service("audience"), stub)


def chunk_of(day: str, ids: Any, *columns: tag_pb2.TagColumn) -> tag_pb2.LoadTagValuesRequest:
    return tag_pb2.LoadTagValuesRequest(
        data_date=day, subscriber_ids=np.asarray(ids, dtype="<i8").tobytes(), columns=columns
    )


def number(code: str, **more: Any) -> tag_pb2.Tag:
    return tag(code, tag_pb2.TAG_TYPE_NUMBER, **more)


def enumeration(code: str, values: Sequence[str], **more: Any) -> tag_pb2.Tag:
    listed = [tag_pb2.EnumValue(code=value, label=f"标签{value}") for value in values]
    return tag(code, tag_pb2.TAG_TYPE_ENUMERATION, values=listed, **more)


def flag(code: str, **more: Any) -> tag_pb2.Tag:
    return tag(code, tag_pb2.TAG_TYPE_FLAG, **more)


def tag(code: str, kind: Any, **more: Any) -> tag_pb2.Tag:
    given: dict[str, Any] = {
        "display_name": code,
        "tag_class": tag_pb2.TAG_CLASS_BEHAVIOUR,
        "frequency": tag_pb2.FREQUENCY_DAY,
        **more,
    }
    return tag_pb2.Tag(code=code, type=kind, **given)


def numbers(code: str, values: Any) -> tag_pb2.TagColumn:
    return tag_pb2.TagColumn(tag=code, data=np.asarray(values, dtype="<f8").tobytes())


def codes(code: str, values: Any) -> tag_pb2.TagColumn:
    return tag_pb2.TagColumn(tag=code, data=np.asarray(values, dtype="<i4").tobytes())


def flags(code: str, values: Any) -> tag_pb2.TagColumn:
    return tag_pb2.TagColumn(tag=code, data=np.asarray(values, dtype="u1").tobytes())


def texts(code: str, values: Sequence[str]) -> tag_pb2.TagColumn:
    return tag_pb2.TagColumn(tag=code, texts=values)


def compare(field: str, operator: str, *values: Any, **more: Any) -> condition_pb2.Condition:
    """compare("spend", "BETWEEN", 28, 38, lower_open=True); a text that starts with `date:` is a date."""
    constants = []
    for value in values:
        if isinstance(value, bool):
            constants.append(condition_pb2.Value(flag=value))
        elif isinstance(value, int | float):
            constants.append(condition_pb2.Value(number=value))
        elif value.startswith("date:"):
            constants.append(condition_pb2.Value(date=value[5:]))
        else:
            constants.append(condition_pb2.Value(text=value))
    kind = condition_pb2.Operator.Value(f"OPERATOR_{operator}")
    comparison = condition_pb2.Comparison(field=field, operator=kind, values=constants, **more)
    return condition_pb2.Condition(comparison=comparison)


def all_of(*children: condition_pb2.Condition) -> condition_pb2.Condition:
    return condition_pb2.Condition(all_of=condition_pb2.Conditions(conditions=children))


def any_of(*children: condition_pb2.Condition) -> condition_pb2.Condition:
    return condition_pb2.Condition(any_of=condition_pb2.Conditions(conditions=children))


def member(name: str) -> condition_pb2.Condition:
    return condition_pb2.Condition(membership=condition_pb2.Membership(set=name))


def selection(condition: condition_pb2.Condition | None = None, **more: Any) -> audience_pb2.Selection:
    return audience_pb2.Selection(condition=condition, **more)


def count_request(
    condition: condition_pb2.Condition | None = None, **more: Any
) -> audience_pb2.CountAudienceRequest:
    return audience_pb2.CountAudienceRequest(selection=selection(condition, **more))
