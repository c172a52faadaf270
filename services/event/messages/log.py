"""One partition's log: its records go through the matcher in order, its matches are announced.

What comes out depends on the log alone. A match is announced under an id made of the record it came
from, and is stored before the next records are read; a checkpoint is taken only when nothing is left to
announce. So a process that dies reads again from its checkpoint and announces the same ids again, which
their readers know already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iop.event.v1 import events_pb2

from services.event import store, translate
from services.event.announce import BITMAPS, CHECKPOINTS, LOG, log_consumer
from services.event.domain.model import Definition
from services.event.engine import checkpoint
from services.event.engine.columns import LocalTime, Signals
from services.event.engine.matcher import Matcher, Plans
from services.event.engine.populations import Populations, members_of
from services.event.engine.state import Binding, State
from services.kit import envelope, errors
from services.kit.app import Service
from services.kit.bus import Bus, Delivery
from services.kit.db import Database
from services.kit.partition import token

ROWS_AT_ONCE = 16_384  # rows of signals matched together


@dataclass(frozen=True)
class Record:
    """A record of the log, read and checked."""

    sequence: int
    delivery: Delivery
    signals: Signals | None = None
    definition: tuple[Definition, bytes] | None = None
    deleted: int = 0  # number of a removed definition
    binding: Binding | None = None
    bitmap: Any = None
    unbound: int = 0  # number of an activity
    watermark: int = 0


class Shared:
    """What the partitions of a process have in common."""

    def __init__(self, service: Service, database: Database, bus: Bus) -> None:
        self.service, self.database, self.bus = service, database, bus
        self.populations = Populations()
        self.plans = Plans()
        self.time = LocalTime(service.runtime.timezone)


class PartitionLog:
    """The reader of one partition's log with its matcher. Make it with `open`."""

    def __init__(self, shared: Shared, partition: int, state: State | None) -> None:
        self.partition = partition
        self._shared = shared
        self._matcher = Matcher(shared.service.runtime.timezone, shared.populations, shared.plans, state)
        self._unsent: list[envelope.Envelope] = []
        self._lock = asyncio.Lock()
        self._saved = self.state.sequence
        self._saved_applied = self.state.applied
        self._saved_at = time.monotonic()

    @classmethod
    async def open(cls, shared: Shared, partition: int) -> PartitionLog:
        """The partition as its newest checkpoint has it, or empty."""
        state = await _restore(shared, partition)
        for binding in list(state.bindings.values()) if state else ():
            bound = events_pb2.PopulationBound.FromString(binding.record)
            try:
                data = await shared.bus.get_object(BITMAPS.name, bound.bitmap.object, bound.bitmap.digest)
            except (errors.NotFound, errors.Conflict) as gone:
                shared.service.log.error("the population of activity %d: %s", bound.activity_number, gone)
                continue
            shared.populations.add(binding.digest, await asyncio.to_thread(members_of, data))
        return cls(shared, partition, state)

    async def start(self) -> None:
        """Read from behind the state on."""
        await self._shared.bus.consume(
            log_consumer(self.partition), self.handle, batch=64, start_sequence=self.state.sequence + 1
        )

    @property
    def state(self) -> State:
        """What the partition remembers."""
        return self._matcher.state

    async def handle(self, deliveries: list[Delivery]) -> None:
        """Take in records, announce matches. Called again with the same records it only announces."""
        async with self._lock:
            # Called again after a failed announcement: these are in the state already.
            fresh = [item for item in deliveries if item.sequence > self.state.sequence]
            records = [self._read(delivery) for delivery in fresh]
            pinned: list[str] = []
            try:
                await self._pin(records, pinned)
                await self._apply(records)
            finally:
                for digest in pinned:
                    self._shared.populations.release(digest)
            await self._announce()

    async def save(self, every_s: float, every_records: int) -> None:
        """Take a checkpoint when one is due."""
        behind = self.state.applied - self._saved_applied
        if self.state.sequence == self._saved or (
            behind < every_records and time.monotonic() - self._saved_at < every_s
        ):
            return
        async with self._lock:
            if self._unsent:
                return
            sequence, applied = self.state.sequence, self.state.applied
            arrays = checkpoint.freeze(self.state)
        data = await asyncio.to_thread(checkpoint.encode, arrays)
        name = f"{token(self.partition)}/{sequence:020d}"
        bus, partitions = self._shared.bus, self._shared.service.runtime.partitions
        digest = await bus.put_object(CHECKPOINTS.name, name, data)
        made = store.Checkpoint(self.partition, partitions, name, digest, sequence)
        before = await self._shared.database.transaction(lambda tx: store.write_checkpoint(tx, made))
        self._saved, self._saved_applied, self._saved_at = sequence, applied, time.monotonic()
        if before and before != name:
            await bus.delete_object(CHECKPOINTS.name, before)

    async def tick(self, watermark: int, least_us: int) -> None:
        """Tell a quiet partition that time has passed, when it remembers something that ends with time."""
        state = self.state
        waiting = any(table.size for table in (*state.parts.values(), *state.counts.values(), state.power))
        if waiting and watermark - state.watermark >= least_us:
            await self._shared.bus.publish(
                events_pb2.WatermarkAdvanced(watermark=watermark),
                partition=self.partition,
                message_id=f"watermark.{watermark}.{token(self.partition)}",
            )

    def _read(self, delivery: Delivery) -> Record:
        message, sequence = delivery.message, delivery.sequence
        try:
            if isinstance(message, events_pb2.SignalReceived):
                return Record(sequence, delivery, signals=Signals.of(message))
            if isinstance(message, events_pb2.DefinitionChanged):
                if message.deleted:
                    return Record(sequence, delivery, deleted=message.definition.definition_number)
                definition = translate.definition_of(message.definition)
                self._shared.plans.of(definition)
                return Record(sequence, delivery, definition=(definition, message.SerializeToString()))
            if isinstance(message, events_pb2.PopulationBound):
                if message.unbound:
                    return Record(sequence, delivery, unbound=message.activity_number)
                binding = translate.binding_record(message.SerializeToString(), self._shared.time)
                return Record(sequence, delivery, binding=binding, bitmap=message.bitmap)
            return Record(sequence, delivery, watermark=message.watermark)
        except ValueError as problem:
            raise delivery.invalid(str(problem)) from problem

    async def _pin(self, records: Sequence[Record], pinned: list[str]) -> None:
        """Have the populations that records name in memory, and keep them there while in hand."""
        populations = self._shared.populations
        for record in records:
            if record.binding is None:
                continue
            digest = record.binding.digest
            if digest not in populations:
                ref = record.bitmap
                data = await self._shared.bus.get_object(BITMAPS.name, ref.object, ref.digest)
                try:
                    members = await asyncio.to_thread(members_of, data)
                except ValueError as problem:
                    raise record.delivery.invalid(f"{ref.object}: {problem}") from None
                populations.add(digest, members)
            populations.hold(digest)
            pinned.append(digest)

    async def _apply(self, records: Sequence[Record]) -> None:
        run: list[Record] = []
        rows = 0
        for record in records:
            if record.signals is None:
                await self._match(run)
                self._control(record)
                run, rows = [], 0
                continue
            run.append(record)
            rows += len(record.signals)
            if rows >= ROWS_AT_ONCE or len(run) == self._matcher.until_compaction():
                await self._match(run)
                run, rows = [], 0
        await self._match(run)

    async def _match(self, run: Sequence[Record]) -> None:
        if not run:
            return
        if self._matcher.stale:
            await asyncio.to_thread(self._matcher.build)
        matches = self._matcher.match([record.signals for record in run if record.signals is not None])
        self._matcher.applied(len(run), run[-1].sequence)
        for match in matches:
            sequence = run[match.batch].sequence
            cause = f"{match.definition_number}.{match.activity_number}.{match.period}"
            self._unsent.append(
                envelope.wrap(
                    translate.match_message(match),
                    source=self._shared.service.name,
                    partition=self.partition,
                    message_id=f"m.{self.partition}.{sequence}.{cause}",
                    key=f"activity/{match.activity_number}",
                )
            )

    def _control(self, record: Record) -> None:
        matcher = self._matcher
        if record.definition is not None:
            matcher.define(*record.definition)
        elif record.deleted:
            matcher.forget(record.deleted)
        elif record.binding is not None:
            matcher.bind(record.binding)
        elif record.unbound:
            matcher.unbind(record.unbound)
        else:
            matcher.advance(record.watermark)
        matcher.applied(1, record.sequence)

    async def _announce(self) -> None:
        while self._unsent:
            part = self._unsent[:1000]
            await self._shared.bus.publish_all(part)
            del self._unsent[: len(part)]


async def _restore(shared: Shared, partition: int) -> State | None:
    """The state of the newest checkpoint; None when there is none that fits the log."""
    partitions = shared.service.runtime.partitions
    named = await shared.database.read(lambda tx: store.read_checkpoint(tx, partition, partitions))
    if named is None:
        return None
    log = shared.service.log
    info = await shared.bus.js.stream_info(LOG.name)
    if info.state.last_seq < named.sequence:
        log.error("%s: the log is younger than the checkpoint; starting without it", token(partition))
        return None
    try:
        data = await shared.bus.get_object(CHECKPOINTS.name, named.object, named.digest)
        return await asyncio.to_thread(
            checkpoint.decode,
            data,
            translate.definition_record,
            lambda record: translate.binding_record(record, shared.time),
        )
    except (errors.NotFound, errors.Conflict, checkpoint.Unreadable) as problem:
        log.error("%s: the checkpoint cannot be used: %s", token(partition), problem)
        return None


async def log_is_cut(bus: Bus) -> bool:
    """True when the log no longer reaches back to its first record."""
    info = await bus.js.stream_info(LOG.name)
    return info.state.first_seq > 1 or info.state.messages == 0
