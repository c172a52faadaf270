"""Between the contract's messages and the domain's values."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from iop.audience.v1 import audience_pb2, list_pb2, tag_pb2
from iop.common.v1 import condition_pb2, types_pb2

from services.audience.domain.catalogue import Frequency, Tag, TagClass, TagType
from services.audience.domain.condition import (
    EVERYBODY,
    AllOf,
    AnyOf,
    Comparison,
    Constant,
    Member,
    Node,
    Not,
    Operator,
)
from services.audience.domain.selection import Selection
from services.audience.domain.suppression import Choice
from services.kit import errors


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A time for the wire."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def condition(message: condition_pb2.Condition) -> Node:
    """The tree of a condition."""
    kind = message.WhichOneof("node")
    if kind == "all_of":
        return AllOf(tuple(condition(child) for child in message.all_of.conditions))
    if kind == "any_of":
        return AnyOf(tuple(condition(child) for child in message.any_of.conditions))
    if kind == "not":
        return Not(condition(getattr(message, "not")))
    if kind == "membership":
        return Member(message.membership.set)
    leaf = message.comparison
    return Comparison(
        leaf.field,
        Operator(leaf.operator),
        tuple(map(_constant, leaf.values)),
        leaf.lower_open,
        leaf.upper_open,
    )


def _constant(value: condition_pb2.Value) -> Constant:
    kind = value.WhichOneof("kind")
    assert kind is not None  # a rule of the contract
    return Constant(kind, getattr(value, kind))


def choice(message: types_pb2.SuppressionChoice) -> Choice:
    """Which lists are kept in."""
    return Choice(message.keep_block_list, message.keep_red_list, message.keep_sensitive_list, message.reason)


def day(text: str, path: str) -> date | None:
    """A date `YYYY-MM-DD`, None for an empty text."""
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        problem = [(path, "must be a day of the calendar")]
        raise errors.Invalid(f"{text!r} is no date", fields=problem) from None


def selection(message: audience_pb2.Selection, path: str = "selection") -> Selection:
    """A selection; an absent condition means all customers."""
    return Selection(
        condition(message.condition) if message.HasField("condition") else EVERYBODY,
        tuple(message.regions),
        day(message.data_date, f"{path}.data_date"),
        choice(message.suppression),
    )


def selection_to_json(message: audience_pb2.Selection) -> dict[str, object]:
    """A selection as it is stored."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def selection_from_json(stored: dict[str, object]) -> audience_pb2.Selection:
    """A stored selection."""
    return json_format.ParseDict(stored, audience_pb2.Selection(), ignore_unknown_fields=True)


def tag(message: tag_pb2.Tag) -> Tag:
    """An entry of the catalogue."""
    return Tag(
        code=message.code,
        name=message.display_name,
        name_en=message.display_name_en,
        tag_class=TagClass(message.tag_class),
        category=message.category,
        type=TagType(message.type),
        unit=message.unit,
        frequency=Frequency(message.frequency),
        description=message.description,
        values=tuple((value.code, value.label) for value in message.values),
        lineage=tuple(message.lineage),
        decimals=message.decimals,
    )


def tag_message(entry: Tag, dates: Sequence[date], usage: int, updated: datetime) -> tag_pb2.Tag:
    """An entry for the wire."""
    return tag_pb2.Tag(
        name=f"tags/{entry.code}",
        code=entry.code,
        display_name=entry.name,
        display_name_en=entry.name_en,
        tag_class=int(entry.tag_class),  # type: ignore[arg-type]
        category=entry.category,
        type=int(entry.type),  # type: ignore[arg-type]
        unit=entry.unit,
        frequency=int(entry.frequency),  # type: ignore[arg-type]
        description=entry.description,
        values=[tag_pb2.EnumValue(code=code, label=label) for code, label in entry.values],
        lineage=entry.lineage,
        data_dates=[day.isoformat() for day in dates],
        usage_count=usage,
        update_time=timestamp(updated),
        decimals=entry.decimals,
    )


def reason_counts(excluded: Sequence[tuple[str, int]]) -> list[types_pb2.ReasonCount]:
    """Counts by reason, those that took nobody out left away."""
    return [types_pb2.ReasonCount(reason=reason, count=count) for reason, count in excluded if count]


def customer_list(row: Any) -> list_pb2.CustomerList:
    """A customer list from its row."""
    return list_pb2.CustomerList(
        name=f"lists/{row.id}",
        display_name=row.display_name,
        source=row.source,
        size=row.size,
        creator=row.creator,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
    )


def snapshot(row: Any) -> audience_pb2.Snapshot:
    """A snapshot from its row."""
    return audience_pb2.Snapshot(
        name=f"snapshots/{row.id}",
        source=row.source,
        data_date=row.data_date,
        matched=row.matched,
        excluded=reason_counts([(r, n) for r, n in row.excluded]),
        bitmap=types_pb2.BitmapRef(
            object=row.object,
            digest=row.digest,
            cardinality=row.cardinality,
            directory_version=row.directory_version,
        ),
        create_time=timestamp(row.create_time),
    )


def audience(row: Any) -> audience_pb2.Audience:
    """An audience from its row."""
    return audience_pb2.Audience(
        name=f"audiences/{row.id}",
        display_name=row.display_name,
        description=row.description,
        selection=selection_from_json(row.selection),
        condition_text=row.condition_text,
        creator=row.creator,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=f"v{row.version}",
    )
