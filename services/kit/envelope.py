"""Messages on the bus: CloudEvents 1.0 in binary mode, body = protobuf, headers = who, what, when, trace."""

import base64
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from services.kit import errors, partition, telemetry

MESSAGE_ID = "Nats-Msg-Id"

_options: dict[type[Message], tuple[str, bool, tuple[str, ...]]] = {}


@dataclass(frozen=True)
class Envelope:
    """A message ready to be sent."""

    subject: str
    headers: dict[str, str]
    body: bytes
    id: str
    template: str  # the subject without lane and partition, the name used in traces


def wrap(
    message: Message,
    *,
    source: str = "",
    partition: int | None = None,
    lane: str = "",
    key: str = "",
    message_id: str | None = None,
    subject_ref: str = "",
    headers: Mapping[str, str] | None = None,
) -> Envelope:
    """The envelope of `message`, published by the service `source`, with the current trace context.

    The subject comes from the message's `(iop.common.v1.event)` option: `<subject>[.<lane>][.pNN]`.
    `key` orders messages and is shown as ce-partitionkey, `subject_ref` is the resource it is about,
    `message_id` a deterministic id where the cause has one. ValueError when partition or lane do not
    fit the option: a fault of the caller's code.
    """
    template = subject_of(type(message))
    identity = message_id or _new_id()
    owner = message.DESCRIPTOR.full_name.split(".")[1]
    made = {
        "ce-specversion": "1.0",
        "ce-id": _ascii(identity),
        "ce-source": f"/iop/{source or owner}",
        "ce-type": message.DESCRIPTOR.full_name,
        "ce-time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ce-datacontenttype": "application/protobuf",
        MESSAGE_ID: _ascii(identity),
    }
    if subject_ref:
        made["ce-subject"] = _ascii(subject_ref)
    if key:
        made["ce-partitionkey"] = _ascii(key)
    made.update(telemetry.inject())
    if headers:
        made.update(headers)
    subject = address(type(message), partition, lane)
    return Envelope(subject, made, message.SerializeToString(), identity, template)


def subject_of(kind: type[Message]) -> str:
    """The subject of a message type without lane and partition."""
    return _event_option(kind)[0]


def address(kind: type[Message], partition_number: int | None = None, lane: str = "") -> str:
    """The full subject of a message type for a partition and lane."""
    subject, partitioned, lanes = _event_option(kind)
    name = kind.DESCRIPTOR.full_name
    if partitioned != (partition_number is not None):
        raise ValueError(f"{name} is {'' if partitioned else 'not '}partitioned")
    if lanes or lane:
        if lane not in lanes:
            raise ValueError(f"{name} has no lane {lane!r}; it has {', '.join(lanes) or 'none'}")
        subject = f"{subject}.{lane}"
    return f"{subject}.{partition.token(partition_number)}" if partition_number is not None else subject


def filter_of(kind: type[Message], partition_number: int | None = None, lane: str = "") -> str:
    """The consumer filter for a message type: wildcards where lane or partition are left open."""
    subject, partitioned, lanes = _event_option(kind)
    if lanes:
        subject += f".{lane or '*'}"
    if partitioned:
        subject += f".{'*' if partition_number is None else partition.token(partition_number)}"
    return subject


def split(subject: str, template: str) -> tuple[int | None, str]:
    """(partition, lane) of a subject on the wire."""
    number: int | None = None
    rest = [part for part in subject[len(template) :].split(".") if part]
    if rest and rest[-1][0] == "p" and rest[-1][1:].isdigit():
        number = int(rest.pop()[1:])
    return number, rest[0] if rest else ""


def identity(headers: Mapping[str, str]) -> str:
    """The id of a received message."""
    return unquote(headers.get("ce-id", ""))


def text(headers: Mapping[str, str], name: str) -> str:
    """A CloudEvents attribute of a received message, decoded; "" when it is missing."""
    return unquote(headers.get(f"ce-{name}", ""))


def unwrap(headers: Mapping[str, str], body: bytes) -> Message:
    """The message in a body by its ce-type; errors.Invalid when the type is unknown or the body broken."""
    name = headers.get("ce-type", "")
    kind = message_type(name)
    if kind is None:
        raise errors.Invalid(f"unknown message type {name!r}", metadata={"type": name})
    try:
        return kind.FromString(body)
    except DecodeError:
        raise errors.Invalid(f"the body is not a {name}", metadata={"type": name}) from None


@lru_cache(maxsize=4096)
def message_type(name: str) -> type[Message] | None:
    """The class of a message of our contracts, importing its package's events where needed."""
    pool = descriptor_pool.Default()
    for attempt in range(2):
        try:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))  # type: ignore[no-any-return]
        except KeyError:
            package = name.rpartition(".")[0]
            if attempt or not package.startswith("iop."):
                return None
            try:
                importlib.import_module(f"{package}.events_pb2")
            except ImportError:
                return None
    return None


def _event_option(kind: type[Message]) -> tuple[str, bool, tuple[str, ...]]:
    known = _options.get(kind)
    if known is None:
        from iop.common.v1 import options_pb2

        extensions: Any = kind.DESCRIPTOR.GetOptions().Extensions
        option = extensions[options_pb2.event]
        if not option.subject:
            raise ValueError(f"{kind.DESCRIPTOR.full_name} has no (iop.common.v1.event) option")
        known = _options[kind] = option.subject, option.partitioned, tuple(option.lanes)
    return known


def _new_id() -> str:
    return base64.b32encode(os.urandom(15)).decode().lower()


def _ascii(value: str) -> str:
    """Headers are ASCII: the binding percent-encodes the rest."""
    return (
        value
        if value.isascii() and value.isprintable() and "%" not in value
        else quote(value, safe="/:@!$&'()*+,;=-._~ ")
    )
