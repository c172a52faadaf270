"""Streams, consumers and buckets as data: ensured at start, read back, refused on a difference.

An older server drops settings it does not know without a word, and another team's declaration may
have come first; so what the server says it stored is compared with what we asked for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from services.kit import errors

T = TypeVar("T")


@dataclass(frozen=True)
class Stream:
    """A stream on file. With `discard="new"` a full stream refuses: publishers get errors.Exhausted."""

    name: str
    subjects: Sequence[str]
    retention: str = "limits"  # "limits", "workqueue" or "interest"
    max_age_s: float = 14 * 86400
    max_bytes: int = -1
    discard: str = "old"
    duplicate_window_s: float = 120
    replicas: int = 1


@dataclass(frozen=True)
class Consumer:
    """A durable pull consumer. An empty `filters` takes the whole stream.

    `max_deliver` counts the attempts of a handler before a message goes to the dead letters. A consumer
    that several replicas pull from at once is `shared`; any other starts where its last run stopped,
    in stream order, without waiting for `ack_wait_s` to pass. `from_now` skips what is already there
    when the consumer is first created.
    """

    stream: str
    name: str
    filters: tuple[str, ...] = ()
    ack_wait_s: float = 30
    max_ack_pending: int = 1024
    max_deliver: int = 6
    shared: bool = False
    from_now: bool = False


@dataclass(frozen=True)
class Bucket:
    """An object store bucket of immutable objects."""

    name: str
    max_age_s: float = 0
    replicas: int = 1


@dataclass(frozen=True)
class KeyValue:
    """A key-value bucket. `ttl_s` is the life of a key that is not renewed."""

    name: str
    ttl_s: float = 0
    history: int = 1
    replicas: int = 1


DEAD_LETTERS = Stream("IOP_DLQ", ("iop.dlq.>",), max_age_s=30 * 86400)


async def ensure_stream(js: JetStreamContext, stream: Stream) -> None:
    """Create or update the stream; errors.Precondition lists what the server stored otherwise."""
    config = api.StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=api.RetentionPolicy(stream.retention),
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy(stream.discard),
        max_age=stream.max_age_s,
        max_bytes=stream.max_bytes,
        max_msgs=-1,
        num_replicas=stream.replicas,
        # The server wants a window no longer than the life of a message.
        duplicate_window=min(stream.duplicate_window_s, stream.max_age_s or stream.duplicate_window_s),
        allow_direct=True,
    )
    stored = await _stored(js, config)
    _compare(
        f"stream {stream.name}",
        {
            "subjects": (sorted(stream.subjects), sorted(stored.subjects or [])),
            "retention": (stream.retention, _text(stored.retention)),
            "storage": ("file", _text(stored.storage)),
            "discard": (stream.discard, _text(stored.discard)),
            "max_age": (float(stream.max_age_s), float(stored.max_age or 0)),
            "max_bytes": (stream.max_bytes, stored.max_bytes),
            "replicas": (stream.replicas, stored.num_replicas),
            "duplicate_window": (float(config.duplicate_window), float(stored.duplicate_window)),
        },
    )


async def _stored(js: JetStreamContext, config: api.StreamConfig) -> api.StreamConfig:
    name = str(config.name)
    try:
        existing = (await js.stream_info(name)).config
    except js_errors.NotFoundError:
        return (await js.add_stream(config)).config
    unchangeable = {
        "retention": (_text(config.retention), _text(existing.retention)),
        "storage": (_text(config.storage), _text(existing.storage)),
    }
    _compare(f"stream {name}", unchangeable)
    await js.update_stream(config)
    return (await js.stream_info(name)).config


async def stream_exists(js: JetStreamContext, name: str) -> bool:
    """True when the stream has been declared by its owner."""
    try:
        await js.stream_info(name)
    except js_errors.NotFoundError:
        return False
    return True


async def ensure_consumer(js: JetStreamContext, consumer: Consumer, log: logging.Logger) -> None:
    """Create or update the durable consumer, waiting for its stream to be declared by its owner."""
    await wait_for(f"stream {consumer.stream}", lambda: js.stream_info(consumer.stream), log)
    config = api.ConsumerConfig(
        name=consumer.name,
        durable_name=consumer.name,
        deliver_policy=api.DeliverPolicy.NEW if consumer.from_now else api.DeliverPolicy.ALL,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=consumer.ack_wait_s,
        max_ack_pending=consumer.max_ack_pending,
        # Attempts are counted by the handler's loop: the server's count also grows with every restart.
        max_deliver=-1,
        max_waiting=512,
    )
    if len(consumer.filters) == 1:
        config.filter_subject = consumer.filters[0]
    elif consumer.filters:
        config.filter_subjects = list(consumer.filters)
    await js.add_consumer(consumer.stream, config)
    stored = (await js.consumer_info(consumer.stream, consumer.name)).config
    filters = stored.filter_subjects or ([stored.filter_subject] if stored.filter_subject else [])
    _compare(
        f"consumer {consumer.name}",
        {
            "filters": (sorted(consumer.filters), sorted(filters)),
            "ack_wait": (float(consumer.ack_wait_s), float(stored.ack_wait or 0)),
            "max_ack_pending": (consumer.max_ack_pending, stored.max_ack_pending),
            "ack_policy": ("explicit", _text(stored.ack_policy)),
        },
    )


async def ensure_bucket(js: JetStreamContext, bucket: Bucket) -> None:
    """Create the object bucket if it is not there."""
    stream = f"OBJ_{bucket.name}"
    try:
        stored = (await js.stream_info(stream)).config
    except js_errors.NotFoundError:
        await js.create_object_store(bucket.name, ttl=bucket.max_age_s or None, replicas=bucket.replicas)
        stored = (await js.stream_info(stream)).config
    _compare(
        f"bucket {bucket.name}",
        {
            "max_age": (float(bucket.max_age_s), float(stored.max_age or 0)),
            "storage": ("file", _text(stored.storage)),
            "replicas": (bucket.replicas, stored.num_replicas),
        },
    )


async def ensure_kv(js: JetStreamContext, kv: KeyValue) -> None:
    """Create the key-value bucket if it is not there."""
    stream = f"KV_{kv.name}"
    try:
        stored = (await js.stream_info(stream)).config
    except js_errors.NotFoundError:
        await js.create_key_value(
            bucket=kv.name,
            ttl=kv.ttl_s or None,
            history=kv.history,
            replicas=kv.replicas,
            storage=api.StorageType.FILE,
        )
        stored = (await js.stream_info(stream)).config
    _compare(
        f"key-value bucket {kv.name}",
        {
            "ttl": (float(kv.ttl_s), float(stored.max_age or 0)),
            "history": (kv.history, stored.max_msgs_per_subject),
            "replicas": (kv.replicas, stored.num_replicas),
        },
    )


async def wait_for(what: str, look: Callable[[], Awaitable[T]], log: logging.Logger) -> T:
    """`await look()` until what another service declares is there; says so once it takes long."""
    started, pause, said = time.monotonic(), 0.05, False
    while True:
        try:
            return await look()
        except js_errors.NotFoundError:
            if not said and time.monotonic() - started > 2:
                said = True
                log.info("waiting for %s, which its owner has not declared yet", what)
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.6)


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))


def _compare(what: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if different:
        listed = "; ".join(
            f"{name}: declared {ours!r}, stored {theirs!r}" for name, (ours, theirs) in different.items()
        )
        raise errors.Precondition(f"{what} is not as declared: {listed}")
