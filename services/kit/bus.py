"""NATS JetStream: connect, declare, publish by message type, keep objects. Consuming is in `consume`."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js import JetStreamContext, kv
from nats.js import errors as js_errors
from opentelemetry.trace import SpanKind

from services.kit import attributes, envelope, errors
from services.kit.consume import Delivery, Handler, Subscription
from services.kit.publisher import Publisher, unavailable
from services.kit.streams import (
    DEAD_LETTERS,
    Bucket,
    Consumer,
    KeyValue,
    Stream,
    ensure_bucket,
    ensure_consumer,
    ensure_kv,
    ensure_stream,
    stream_exists,
    wait_for,
)

if TYPE_CHECKING:
    from services.kit.app import Service

__all__ = ["Bucket", "Bus", "Consumer", "Delivery", "Handler", "KeyValue", "Stream"]

ACK_TIMEOUT_S = 10.0


class Bus:
    """One connection to NATS. `bus = await Bus.connect(service)`; closed with the service."""

    def __init__(self, service: "Service", connection: Client) -> None:
        self._service = service
        self._nc = connection
        self._log: logging.Logger = service.log
        self._subscriptions: list[Subscription] = []
        self._declared: dict[str, asyncio.Event] = {}  # consumer -> set once the server has it
        self._publisher = Publisher(connection)
        self.js: JetStreamContext = connection.jetstream(timeout=ACK_TIMEOUT_S)

    @classmethod
    async def connect(cls, service: "Service") -> "Bus":
        """Connect, waiting for the server as long as it takes; reconnects for ever."""
        connection = Client()
        bus = cls(service, connection)
        pause = 0.1
        while True:
            try:
                await connection.connect(
                    service.runtime.nats_url.split(","),
                    name=service.name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]
                    connect_timeout=5,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    pending_size=32 * 1024 * 1024,
                    flusher_queue_size=16384,
                    drain_timeout=5,
                    error_cb=bus._on_error,
                    disconnected_cb=bus._on_lost,
                    reconnected_cb=bus._on_back,
                    skip_subject_validation=True,
                )
                break
            except (TimeoutError, OSError, nats_errors.Error) as problem:
                if pause > 1:
                    service.log.warning("NATS does not answer yet: %s", problem)
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
        service.on_stop("nats", bus._close)
        return bus

    @property
    def connected(self) -> bool:
        """True while the connection stands."""
        return bool(self._nc.is_connected)

    async def ensure(
        self,
        streams: Sequence[Stream] = (),
        consumers: Sequence[Consumer] = (),
        buckets: Sequence[Bucket] = (),
        kvs: Sequence[KeyValue] = (),
    ) -> None:
        """Create or update what is declared, read it back, refuse a difference (errors.Precondition).

        A consumer on a stream that its owner has not declared yet is made in the background, as soon
        as it is there: `consume` may be called at once and then begins by itself.
        """
        for stream in (DEAD_LETTERS, *streams):
            await self._patiently(partial(ensure_stream, self.js, stream))
        for bucket in buckets:
            await self._patiently(partial(ensure_bucket, self.js, bucket))
        for kv_bucket in kvs:
            await self._patiently(partial(ensure_kv, self.js, kv_bucket))
        for consumer in consumers:
            declared = self._declared[consumer.name] = asyncio.Event()
            there = await self._patiently(partial(stream_exists, self.js, consumer.stream))
            if there:
                await self._declare(consumer, declared)
            else:
                self._service.spawn(f"declare {consumer.name}", self._declare(consumer, declared))

    async def _declare(self, consumer: Consumer, declared: asyncio.Event) -> None:
        await self._patiently(partial(ensure_consumer, self.js, consumer, self._log))
        declared.set()

    async def publish(
        self,
        message: Message,
        partition: int | None = None,
        lane: str = "",
        message_id: str | None = None,
        key: str = "",
        subject_ref: str = "",
    ) -> None:
        """Publish one message and wait until the stream has stored it.

        errors.Exhausted when the stream is full, errors.Unavailable when nobody confirmed (it may have
        arrived all the same: repeat it with the same `message_id`).
        """
        with self._service.telemetry.span(
            f"publish {envelope.subject_of(type(message))}",
            {
                attributes.MESSAGING_SYSTEM: "nats",
                attributes.MESSAGING_OPERATION: "publish",
                attributes.MESSAGING_OPERATION_TYPE: "send",
            },
            kind=SpanKind.PRODUCER,
        ):
            sent = envelope.wrap(
                message,
                source=self._service.name,
                partition=partition,
                lane=lane,
                key=key,
                message_id=message_id,
                subject_ref=subject_ref,
            )
            problem = (await self.send_all([sent]))[0]
        if problem is not None:
            raise problem
        self._service.status.published += 1

    async def publish_all(self, envelopes: Sequence[envelope.Envelope]) -> None:
        """Publish many at once (made by `envelope.wrap`), in order; raises the first failure."""
        results = await self.send_all(envelopes)
        self._service.status.published += sum(1 for problem in results if problem is None)
        for problem in results:
            if problem is not None:
                raise problem

    async def send_all(self, envelopes: Sequence[envelope.Envelope]) -> list[errors.Error | None]:
        """Send envelopes in order, await every confirmation; one result each, None for a stored one."""
        return await self._publisher.send(list(envelopes), ACK_TIMEOUT_S)

    async def consume(
        self,
        consumer: Consumer,
        handler: Handler,
        batch: int = 64,
        linger_s: float = 0.0,
        start_sequence: int | None = None,
    ) -> Subscription:
        """Hand the consumer's messages to `handler(deliveries)` in stream order, up to `batch` at a time.

        Runs in the background until the service stops; returns at once. Returning from the handler
        acknowledges the batch. It is called again with the same deliveries, after a pause, when it
        raises errors.Unavailable or errors.Exhausted; with one delivery at a time when it raises
        anything else. A delivery goes to the dead letters at once when the handler raises
        errors.Invalid for it (`raise delivery.invalid("why")`), otherwise after `max_deliver` attempts.
        With `linger_s` a batch that is not full waits that long for more. `start_sequence` replays the
        stream from there (state rebuilt from a checkpoint).
        """
        subscription = Subscription(self._service, self._nc, self.js, consumer, handler, batch, linger_s)
        declared = self._declared.get(consumer.name)
        if declared is None:
            await self.ensure(consumers=[consumer])
            declared = self._declared[consumer.name]
        self._subscriptions.append(subscription)
        self._service.status.consumers[consumer.name] = subscription
        self._service.spawn(
            f"consume {consumer.name}",
            self._consume(subscription, declared, start_sequence),
            stop=subscription.close,
        )
        return subscription

    async def _consume(
        self, subscription: Subscription, declared: asyncio.Event, start_sequence: int | None
    ) -> None:
        await declared.wait()
        await self._patiently(partial(subscription.open, start_sequence))
        await subscription.run()

    async def replay_dead_letters(self, consumer: str) -> int:
        """Send the dead letters of a consumer to their subjects again; returns how many.

        They keep their ids, so consumers that have had them before do nothing.
        """
        subject, count = f"iop.dlq.v1.{consumer}", 0
        while True:
            try:
                dead = await self.js.get_msg(DEAD_LETTERS.name, seq=1, subject=subject, next=True)
            except js_errors.NotFoundError:
                return count
            headers = {k: v for k, v in (dead.headers or {}).items() if not k.lower().startswith("iop-dlq-")}
            headers[envelope.MESSAGE_ID] = f"replay:{consumer}:{dead.seq}"
            target = (dead.headers or {})["iop-dlq-subject"]
            problem = (
                await self.send_all([envelope.Envelope(target, headers, dead.data or b"", "", target)])
            )[0]
            if problem is not None:
                raise problem
            await self.js.delete_msg(DEAD_LETTERS.name, int(dead.seq or 0))
            count += 1

    async def put_object(self, bucket: str, name: str, data: bytes) -> str:
        """Store `data` under `name`; returns its sha256 in hex. Storing the same again is cheap."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            store = await self.js.object_store(bucket)
            with contextlib.suppress(js_errors.NotFoundError, js_errors.ObjectNotFoundError):
                if (await store.get_info(name)).description == digest:
                    return digest
            from nats.js import api

            await store.put(name, data, meta=api.ObjectMeta(name=name, description=digest))
        except (nats_errors.Error, OSError) as problem:
            raise unavailable(problem) from problem
        return digest

    async def get_object(self, bucket: str, name: str, digest: str = "") -> bytes:
        """The object `name`, verified against `digest`; NotFound, or Conflict when it is another one.

        A bucket that its owner has not declared yet is waited for.
        """
        try:
            store = await wait_for(f"bucket {bucket}", lambda: self.js.object_store(bucket), self._log)
            data = await asyncio.wait_for(_read_object(store, name), 60)
        except (js_errors.ObjectNotFoundError, js_errors.NotFoundError):
            raise errors.NotFound(f"there is no object {name} in {bucket}") from None
        except (TimeoutError, nats_errors.Error, OSError) as problem:
            raise unavailable(problem) from problem
        if digest and hashlib.sha256(data).hexdigest() != digest:
            raise errors.Conflict(f"the object {name} in {bucket} has another digest")
        return data

    async def delete_object(self, bucket: str, name: str) -> None:
        """Remove an object; none of that name is fine."""
        with contextlib.suppress(js_errors.ObjectNotFoundError, js_errors.NotFoundError):
            store = await self.js.object_store(bucket)
            await store.delete(name)

    async def kv(self, name: str) -> kv.KeyValue:
        """The key-value bucket of that name (nats.js.kv.KeyValue), declared by `ensure`."""
        return await self.js.key_value(name)

    async def _patiently(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Repeat a declaration while the server is away or JetStream is still starting."""
        pause = 0.1
        while True:
            try:
                return await work()
            except (
                nats_errors.TimeoutError,
                nats_errors.NoRespondersError,
                js_errors.ServiceUnavailableError,
            ) as away:
                self._log.warning("JetStream does not answer: %s", away)
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 2)

    async def _on_error(self, problem: Exception) -> None:
        self._log.debug("NATS: %s", problem)

    async def _on_lost(self) -> None:
        self._publisher.lost()
        if not self._nc.is_closed and not self._nc.is_draining:
            self._log.warning("the connection to NATS is lost; reconnecting")

    async def _on_back(self) -> None:
        self._log.info("connected to NATS again")
        for subscription in self._subscriptions:
            subscription.reconnected()

    async def _close(self) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._nc.flush(2), 2)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._nc.close(), 3)


async def _read_object(store: Any, name: str) -> bytes:
    return bytes((await store.get(name)).data or b"")
