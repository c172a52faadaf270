"""A pull consumer: continuous pulls with credit, batches handled in stream order, dead letters.

A failing message is tried again in place, so that what follows it does not overtake it. Messages held
are kept alive with progress marks, whatever a handler takes.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from opentelemetry.trace import Link, SpanKind

from services.kit import attributes, envelope, errors, telemetry
from services.kit.streams import Consumer, ensure_consumer, stream_exists

if TYPE_CHECKING:
    from services.kit.app import Service

_PULL_EXPIRES_S = 20.0
_HEARTBEAT_S = 2.0
_CRASHES = 4  # times max_deliver: so often may a message be handed out before it is taken for a killer


class Delivery:
    """One message as received."""

    __slots__ = (
        "attempts",
        "headers",
        "id",
        "lane",
        "message",
        "msg",
        "partition",
        "redelivered",
        "sequence",
        "subject",
    )

    def __init__(self, msg: Msg, message: Message) -> None:
        self.msg = msg
        self.message: Any = message
        self.headers: dict[str, str] = msg.headers or {}
        self.id = envelope.identity(self.headers)
        self.subject: str = msg.subject
        self.partition, self.lane = envelope.split(msg.subject, envelope.subject_of(type(message)))
        self.sequence: int = msg.metadata.sequence.stream
        self.redelivered: int = msg.metadata.num_delivered - 1
        self.attempts = 0

    @property
    def time(self) -> datetime:
        """When it was published (ce-time), UTC."""
        raw = envelope.text(self.headers, "time")
        return datetime.fromisoformat(raw) if raw else self.msg.metadata.timestamp.astimezone(UTC)

    @property
    def context(self) -> telemetry.Context:
        """The trace context of its publisher."""
        return telemetry.extract(self.headers)

    @property
    def ref(self) -> str:
        """The resource it is about (ce-subject)."""
        return envelope.text(self.headers, "subject")

    def invalid(self, message: str, reason: str = "") -> errors.Invalid:
        """The error to raise when this one delivery can never be handled."""
        problem = errors.Invalid(message, reason=reason)
        problem.delivery = self
        return problem


Handler = Callable[[list[Delivery]], Awaitable[None]]


class Subscription:
    """The running loop of one consumer; made by `Bus.consume`."""

    def __init__(
        self,
        service: "Service",
        connection: Client,
        js: JetStreamContext,
        consumer: Consumer,
        handler: Handler,
        batch: int,
        linger_s: float,
    ) -> None:
        self.consumer = consumer
        self.handled = 0
        self._service, self._nc, self._js = service, connection, js
        self._log: logging.Logger = service.log
        self._handler, self._batch, self._linger_s = handler, batch, linger_s
        self._buffer: deque[Msg] = deque()
        self._hand: list[Delivery] = []
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._credit = 0  # messages asked for and not yet come
        self._heard = time.monotonic()
        self._inbox = ""
        self._sub: Any = None
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def busy(self) -> int:
        """Messages here that are not settled."""
        return len(self._buffer) + len(self._hand)

    async def info(self) -> tuple[int, int]:
        """(messages not delivered, messages delivered and not settled) as the server counts them.

        (-1, -1) while the subscription is not open yet; nothing waits in a stream that is not there.
        """
        if self._sub is None:
            there = await stream_exists(self._js, self.consumer.stream)
            return (-1, -1) if there else (0, 0)
        info = await self._js.consumer_info(self.consumer.stream, self.consumer.name)
        return info.num_pending or 0, info.num_ack_pending or 0

    async def open(self, start_sequence: int | None) -> None:
        """Take the consumer up where its last run stopped, or at `start_sequence`."""
        stream, name = self.consumer.stream, self.consumer.name
        info = await self._js.consumer_info(stream, name)
        if start_sequence is not None:
            # A consumer's start lies one above its acknowledged floor; reset moves both back.
            await self._js.reset_consumer(stream, name, seq=max(1, start_sequence))
        elif not self.consumer.shared and info.num_ack_pending:
            # A predecessor died with these in hand; without the reset they would come late, after newer ones.
            await self._js.reset_consumer(stream, name)
        if self._sub is None:
            self._inbox = self._nc.new_inbox()
            self._sub = await self._nc.subscribe(
                self._inbox, cb=self._on_message, pending_msgs_limit=-1, pending_bytes_limit=-1
            )

    async def run(self) -> None:
        """Handle batches until `close`."""
        self._tasks = [asyncio.create_task(self._pull()), asyncio.create_task(self._keep_alive())]
        try:
            while not self._closing:
                if not self._buffer:
                    self._arrived.clear()
                    await self._arrived.wait()
                    continue
                if self._linger_s and len(self._buffer) < self._batch:
                    await asyncio.sleep(self._linger_s)
                await self._take(min(self._batch, len(self._buffer)))
        finally:
            for task in self._tasks:
                task.cancel()

    async def close(self) -> None:
        """Stop pulling, finish the batch in hand, give the rest back."""
        self._closing = True
        self._arrived.set()
        deadline = time.monotonic() + 8
        while self._hand and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self._sub is None:
            return
        with contextlib.suppress(Exception):
            await self._sub.unsubscribe()
            for msg in self._buffer:
                await self._nc.publish(msg.reply, Msg.Ack.Nak)
        self._buffer.clear()

    def reconnected(self) -> None:
        """The server has forgotten our pulls."""
        self._credit = 0
        self._wanted.set()

    async def _take(self, count: int) -> None:
        hand: list[Delivery] = []
        for _ in range(count):
            msg = self._buffer.popleft()
            try:
                delivery = Delivery(msg, envelope.unwrap(msg.headers or {}, msg.data))
            except (errors.Invalid, ValueError) as unknown:
                await self._dead(msg, str(unknown))
                continue
            if delivery.redelivered >= _CRASHES * self.consumer.max_deliver:
                await self._dead(msg, f"handed out {delivery.redelivered + 1} times without an answer")
                continue
            hand.append(delivery)
        self._wanted.set()
        self._hand = hand
        try:
            # What was handed out before and not settled may have killed its process: alone it harms nobody.
            if any(delivery.redelivered > 1 for delivery in hand):
                for delivery in hand:
                    await self._settle([delivery])
            elif hand:
                await self._settle(hand)
        finally:
            self._hand = []
            self._service.status.touch()

    async def _settle(self, batch: list[Delivery]) -> None:
        """Bring every delivery of the batch to an end: acknowledged or dead."""
        pause = 0.05
        while batch and not self._closing:
            try:
                await self._handle(batch)
            except (errors.Unavailable, errors.Exhausted) as away:
                # Not the message's fault: wait for what is missing, however long that takes.
                if pause > 1:
                    self._log.warning("%s waits: %s", self.consumer.name, away)
            except errors.Invalid as bad:
                guilty = bad.delivery if bad.delivery in batch else batch[0] if len(batch) == 1 else None
                if guilty is not None:
                    await self._dead(guilty.msg, f"{bad.reason}: {bad.message}")
                    batch = [delivery for delivery in batch if delivery is not guilty]
                    continue
                await self._one_by_one(batch)
                return
            except Exception as problem:
                if len(batch) > 1:
                    self._log.warning(
                        "%s: a batch of %d failed, trying each alone: %s",
                        self.consumer.name,
                        len(batch),
                        problem,
                    )
                    await self._one_by_one(batch)
                    return
                batch[0].attempts += 1
                if batch[0].attempts >= self.consumer.max_deliver:
                    self._log.error(
                        "%s: a message failed for the last time", self.consumer.name, exc_info=problem
                    )
                    await self._dead(batch[0].msg, f"{type(problem).__name__}: {problem}")
                    return
                self._log.warning("%s: attempt %d failed: %r", self.consumer.name, batch[0].attempts, problem)
            else:
                for delivery in batch:
                    await self._answer(delivery.msg, b"")
                self.handled += len(batch)
                self._service.status.handled += len(batch)
                return
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    async def _one_by_one(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            await self._settle([delivery])

    async def _handle(self, batch: list[Delivery]) -> None:
        parents = dict.fromkeys(d.headers["traceparent"] for d in batch if "traceparent" in d.headers)
        if not parents or not self._service.telemetry.enabled:
            await self._handler(batch)
            return
        first = envelope.subject_of(type(batch[0].message))
        values: dict[str, str | int] = {
            attributes.MESSAGING_SYSTEM: "nats",
            attributes.MESSAGING_OPERATION: "process",
            attributes.MESSAGING_OPERATION_TYPE: "process",
            attributes.MESSAGING_DESTINATION: first,
            attributes.MESSAGING_CONSUMER: self.consumer.name,
        }
        if len(batch) > 1:
            values[attributes.MESSAGING_BATCH] = len(batch)
        else:
            values[attributes.MESSAGING_MESSAGE_ID] = batch[0].id
        if batch[0].partition is not None:
            values[attributes.MESSAGING_PARTITION] = str(batch[0].partition)
        telemetry_ = self._service.telemetry
        if len(parents) == 1:
            span = telemetry_.span(
                f"process {first}", values, kind=SpanKind.CONSUMER, parent=batch[0].context
            )
        else:
            # A batch of several causes is its own trace, linked to each; recorded if one of them is.
            remotes = [telemetry.parse(parent) for parent in itertools.islice(parents, 128)]
            links = [Link(remote) for remote in remotes if remote is not None]
            sampled = any(item.context.trace_flags.sampled for item in links)
            span = telemetry_.span(
                f"process {first}",
                values,
                kind=SpanKind.CONSUMER,
                links=links,
                root=True,
                ratio=1.0 if sampled else 0.0,
            )
        away: errors.Error | None = None
        with span as recorded:
            try:
                await self._handler(batch)
            except (errors.Unavailable, errors.Exhausted) as problem:
                # To wait for a neighbour is no failure of the message's trace.
                recorded.set_attribute(attributes.ERROR_REASON, problem.reason)
                away = problem
        if away is not None:
            raise away

    async def _dead(self, msg: Msg, reason: str) -> None:
        """Put the message and why it is there into the dead letters, then end it in its stream."""
        meta = msg.metadata
        headers = {
            **(msg.headers or {}),
            envelope.MESSAGE_ID: f"dlq:{self.consumer.name}:{meta.stream}:{meta.sequence.stream}",
            "iop-dlq-reason": reason.encode("ascii", "backslashreplace").decode().replace("\n", " ")[:500],
            "iop-dlq-subject": msg.subject,
            "iop-dlq-sequence": str(meta.sequence.stream),
            "iop-dlq-consumer": self.consumer.name,
        }
        pause = 0.1
        while not self._closing:
            try:
                await self._js.publish(f"iop.dlq.v1.{self.consumer.name}", msg.data, headers=headers)
                await self._answer(msg, Msg.Ack.Term)
                self._log.error("%s: dead letter from %s: %s", self.consumer.name, msg.subject, reason)
                self._service.status.dead += 1
                return
            except (nats_errors.Error, js_errors.Error, OSError) as away:
                self._log.warning("%s: cannot write a dead letter yet: %s", self.consumer.name, away)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    async def _answer(self, msg: Msg, body: bytes) -> None:
        # A lost answer means a second delivery, which the inbox expects.
        with contextlib.suppress(nats_errors.Error, OSError):
            await self._nc.publish(msg.reply, body)

    async def _on_message(self, msg: Msg) -> None:
        self._heard = time.monotonic()
        status = (msg.headers or {}).get("Status") if not msg.data else None
        if status is None or msg.reply.startswith("$JS.ACK"):
            self._credit = max(0, self._credit - 1)
            self._buffer.append(msg)
            self._arrived.set()
            return
        headers = msg.headers or {}
        if status == "100":  # heartbeat
            return
        if status in ("404", "408"):  # this pull has ended with some of its credit unused
            self._credit = max(0, self._credit - int(headers.get("Nats-Pending-Messages", self._credit)))
        else:  # 409 consumer deleted or moved, 503 nobody there
            self._credit = 0
            await asyncio.sleep(0.1)
        self._wanted.set()

    async def _pull(self) -> None:
        """Keep up to two batches asked for or waiting, so that handling never waits for the network."""
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.consumer.stream}.{self.consumer.name}"
        window = min(2 * self._batch, self.consumer.max_ack_pending)
        while not self._closing:
            silent = time.monotonic() - self._heard
            if self._credit and silent > 3 * _HEARTBEAT_S:
                self._credit = 0
                await self._restore()
            want = window - self._credit - len(self._buffer)
            if want > window // 2 or (want > 0 and self._credit == 0):
                request = {
                    "batch": want,
                    "expires": int(_PULL_EXPIRES_S * 1e9),
                    "idle_heartbeat": int(_HEARTBEAT_S * 1e9),
                }
                self._credit += want
                self._heard = time.monotonic()
                try:
                    await self._nc.publish(subject, json.dumps(request).encode(), reply=self._inbox)
                except (nats_errors.Error, OSError):
                    self._credit = 0
                    await asyncio.sleep(0.25)
                    continue
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), _HEARTBEAT_S)

    async def _restore(self) -> None:
        """The server has been silent: see that the consumer is still there."""
        try:
            await self._js.consumer_info(self.consumer.stream, self.consumer.name)
        except js_errors.NotFoundError:
            self._log.warning("%s has vanished and is created again", self.consumer.name)
            await ensure_consumer(self._js, self.consumer, self._log)
        except (nats_errors.Error, OSError):
            pass

    async def _keep_alive(self) -> None:
        """Tell the server that what we hold is being worked on."""
        pause = self.consumer.ack_wait_s / 3
        while True:
            await asyncio.sleep(pause)
            held: Sequence[Msg] = [*(delivery.msg for delivery in self._hand), *self._buffer]
            for msg in held:
                if not msg.is_acked:
                    await self._answer(msg, Msg.Ack.Progress)


__all__ = ["Delivery", "Handler", "Subscription"]
