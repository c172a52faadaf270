"""Streams of this service, and the records it writes into every partition's log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message
from iop.audience.v1 import events_pb2 as audience_pb2
from iop.campaign.v1 import events_pb2 as campaign_pb2
from iop.event.v1 import definition_pb2, events_pb2

from services.kit import envelope, outbox
from services.kit.bus import Bucket, Consumer, Stream
from services.kit.db import Connection
from services.kit.partition import token

RECORDS = (
    events_pb2.SignalReceived,
    events_pb2.DefinitionChanged,
    events_pb2.PopulationBound,
    events_pb2.WatermarkAdvanced,
)

# The order of the log is the order of the stream. Far longer than the pause between two checkpoints.
LOG = Stream(
    "IOP_EVENT_LOG",
    tuple(envelope.filter_of(record) for record in RECORDS),
    max_age_s=2 * 86400,
    duplicate_window_s=600,
)
MATCHES = Stream("IOP_EVENT", ("iop.event.v1.event.>",), duplicate_window_s=600)
CHECKPOINTS = Bucket("IOP_EVENT_STATE")
BITMAPS = Bucket("IOP_BITMAPS")

POPULATIONS = Consumer(
    "IOP_CAMPAIGN", "event-populations", (envelope.filter_of(campaign_pb2.PopulationChanged),)
)
DIRECTORY = Consumer(
    "IOP_AUDIENCE", "event-directory", (envelope.filter_of(audience_pb2.DirectoryChanged),), from_now=True
)


def log_consumer(partition: int) -> Consumer:
    """The reader of a partition's log."""
    filters = tuple(envelope.address(record, partition) for record in RECORDS)
    return Consumer(LOG.name, f"event-match-{token(partition)}", filters)


def definition_changed(
    tx: Connection,
    definition: definition_pb2.Definition,
    revision: int,
    partitions: int,
    *,
    deleted: bool = False,
) -> None:
    """Tell every partition of a definition; `definition` is as the matcher compares it."""
    number = definition.definition_number
    message = events_pb2.DefinitionChanged(definition=definition, deleted=deleted)
    word = "deleted" if deleted else f"r{revision}"
    _everywhere(tx, message, f"definition.{number}.{word}", f"definition/{number}", partitions)


def population_bound(
    tx: Connection, message: events_pb2.PopulationBound, partitions: int, suffix: str = ""
) -> None:
    """Tell every partition of a population."""
    number = message.activity_number
    id_ = f"population.{number}.v{message.version}{suffix}"
    _everywhere(tx, message, id_, f"activity/{number}", partitions)


def _everywhere(tx: Connection, message: Message, id_: str, key: str, partitions: int) -> None:
    rows: Iterable[dict[str, Any]] = (
        outbox.row(tx, message, partition=number, key=key, message_id=f"{id_}.{token(number)}")
        for number in range(partitions)
    )
    outbox.add_all(tx, list(rows))
