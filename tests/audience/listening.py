"""What a service has announced on the bus, read back from its stream."""

from __future__ import annotations

from typing import Any, TypeVar

import nats
from google.protobuf.message import Message

from services.kit import envelope
from services.kit.app import Service

M = TypeVar("M", bound=Message)


async def announcements(service: Service, kind: type[M], count: int, stream: str = "IOP_AUDIENCE") -> list[M]:
    """The first `count` messages of a kind; waits until they have come, and fails when more have."""
    connection = await nats.connect(service.runtime.nats_url)
    try:
        js = connection.jetstream()
        subject = envelope.filter_of(kind)
        subscription = await js.pull_subscribe(subject, stream=stream)
        found: list[Any] = []
        while len(found) < count:
            found += await subscription.fetch(count - len(found), timeout=10)
        try:
            more = await subscription.fetch(1, timeout=0.3)
        except (TimeoutError, nats.errors.TimeoutError):
            more = []
        assert not more, f"more than {count} {kind.__name__}"
        return [kind.FromString(message.data) for message in found]
    finally:
        await connection.close()
