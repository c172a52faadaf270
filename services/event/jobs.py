"""What is done again and again: checkpoints, ticks for quiet partitions, copies, old batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from services.event import store
from services.event.messages.log import PartitionLog
from services.kit.clock import Clock
from services.kit.db import Database

TICK_US = 15 * 60 * 1_000_000  # a partition this far behind the clock is quiet
LATENESS_US = 10 * 60 * 1_000_000  # signals come at most this late

Job = Callable[[], Awaitable[None]]


def checkpoints(logs: Sequence[PartitionLog], every_s: float, every_records: int) -> Job:
    """Takes the checkpoints that are due."""

    async def run() -> None:
        for log in logs:
            await log.save(every_s, every_records)

    return run


def ticks(logs: Sequence[PartitionLog], clock: Clock) -> Job:
    """Tells quiet partitions that time has passed. Nothing waits for a tick: it only lets them forget."""

    async def run() -> None:
        for log in logs:
            await log.tick(clock.micros() - LATENESS_US, TICK_US)

    return run


def prune(database: Database) -> Job:
    """Forgets ids of batches after two days."""

    async def run() -> None:
        await database.transaction(store.prune_batches)

    return run
