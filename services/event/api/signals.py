"""SignalService: batches of signals into the partition logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from iop.event.v1 import events_pb2, signal_pb2, signal_pb2_grpc

from services.event import store
from services.event.copies import Catalogue, DirectoryCopy
from services.event.engine.columns import Ragged, Signals
from services.event.engine.intake import Intake, split, take_in
from services.kit import envelope, errors
from services.kit.app import Service
from services.kit.bus import Bus
from services.kit.db import Database
from services.kit.partition import token

ROWS_A_MESSAGE = 5_000
BYTES_A_MESSAGE = 700_000  # NATS takes a megabyte unless told otherwise
INLINE_ROWS = 20_000  # more are checked in a thread


class SignalApi(signal_pb2_grpc.SignalServiceServicer):
    """Checks, translates and splits batches; answers once the log has stored them."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        service: Service,
        catalogue: Catalogue,
        directory: DirectoryCopy,
    ) -> None:
        self._db, self._bus, self._service = database, bus, service
        self._catalogue, self._directory = catalogue, directory

    async def IngestSignals(  # type: ignore[override]
        self, request: signal_pb2.IngestSignalsRequest, context: Any
    ) -> signal_pb2.IngestSignalsResponse:
        """Take one batch."""
        return await self._take(request.batch)

    async def StreamSignals(  # type: ignore[override]
        self, request_iterator: AsyncIterator[signal_pb2.StreamSignalsRequest], context: Any
    ) -> AsyncIterator[signal_pb2.IngestSignalsResponse]:
        """Take batches one after the other, so that a subscriber's signals stay in order."""
        async for request in request_iterator:
            yield await self._take(request.batch)

    async def _take(self, batch: signal_pb2.SignalBatch) -> signal_pb2.IngestSignalsResponse:
        before = await self._db.read(lambda tx: store.taken_batch(tx, batch.batch_id))
        if before is not None:
            return signal_pb2.IngestSignalsResponse(
                batch_id=batch.batch_id,
                accepted=before.accepted,
                unknown=before.unknown,
                refused_count=before.refused,
                duplicate=True,
            )
        taken = await self._intake(batch)
        # The ids make a repetition after a lost answer harmless: the log keeps each message once.
        await self._bus.publish_all(self._messages(batch.batch_id, taken.signals))
        accepted = len(taken.signals)
        await self._db.transaction(
            lambda tx: store.record_batch(tx, batch.batch_id, accepted, taken.unknown, taken.refused_count)
        )
        return signal_pb2.IngestSignalsResponse(
            batch_id=batch.batch_id,
            accepted=accepted,
            unknown=taken.unknown,
            refused=[
                signal_pb2.RefusedSignal(index=row.index, field=row.field, description=row.description)
                for row in taken.refused
            ],
            refused_count=taken.refused_count,
        )

    async def _intake(self, batch: signal_pb2.SignalBatch) -> Intake:
        directory = await self._directory.current()
        try:
            taken = await self._run(batch, directory)
            if taken.unknown:
                # Perhaps they are newer than our copy.
                newer = await self._directory.newer()
                taken = taken if newer is None else await self._run(batch, newer)
            return taken
        except Ragged as problem:
            raise errors.Invalid(
                str(problem), reason="BATCH_RAGGED", fields=[(f"batch.{problem.column}", str(problem))]
            ) from None

    async def _run(self, batch: signal_pb2.SignalBatch, directory: Any) -> Intake:
        cells = self._catalogue.cells
        if len(batch.subscriber_ids) > 8 * INLINE_ROWS:
            return await asyncio.to_thread(take_in, batch, directory, cells)
        return take_in(batch, directory, cells)

    def _messages(self, batch_id: str, signals: Signals) -> list[envelope.Envelope]:
        made: list[envelope.Envelope] = []
        for partition, rows in split(signals, self._service.runtime.partitions):
            for i, message in enumerate(_pieces(rows)):
                id_ = f"{batch_id}.{token(partition)}" + (f".{i}" if i else "")
                made.append(
                    envelope.wrap(message, source=self._service.name, partition=partition, message_id=id_)
                )
        return made


def _pieces(signals: Signals) -> list[events_pb2.SignalReceived]:
    """The rows as messages that the bus takes, in order."""
    if len(signals) <= ROWS_A_MESSAGE:
        message = events_pb2.SignalReceived(**signals.encode())
        if message.ByteSize() <= BYTES_A_MESSAGE or len(signals) == 1:
            return [message]
    half = len(signals) // 2
    return [*_pieces(signals.part(0, half)), *_pieces(signals.part(half, len(signals)))]
