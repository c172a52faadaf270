"""`make run` after the day: the clock runs at its real rate and signals keep flowing."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from iop.event.v1 import signal_pb2, signal_pb2_grpc
from rich.console import Console

from demo.day import batch
from demo.platform import PROBES, Platform
from demo.signals import REGION_TIME, Day, Signals
from demo.world import World
from services.kit.clock import to_micros
from services.kit.errors import Error

PER_SECOND = 200
_DAY_S = 86_400
_REFILL = 900 * 1_000_000  # micros of the day that are generated at once


class Stay:
    """Signals at 200 a second until cancelled."""

    def __init__(self, platform: Platform, world: World, console: Console) -> None:
        self._platform, self._world, self._console = platform, world, console
        self.sent = 0

    async def flow(self) -> None:
        """Never returns by itself."""
        self._platform.set_clock(self._platform.now(), rate=1.0)
        self._console.print(f"Up at {self._platform.url}; {PER_SECOND} signals a second. Ctrl-C ends it.")
        rows = self._rows()
        async with self._platform.channel("event", PROBES) as channel:
            probes: Any = signal_pb2_grpc.SignalServiceStub(channel)
            while True:
                begun = asyncio.get_running_loop().time()
                if dead := self._platform.dead():
                    raise RuntimeError(f"{', '.join(dead)} ended; see {self._platform.data / 'logs'}")
                await self._send(probes, next(rows))
                await asyncio.sleep(max(0.0, begun + 1 - asyncio.get_running_loop().time()))

    async def _send(self, probes: Any, rows: Signals) -> None:
        now = to_micros(self._platform.now())
        # Played now, in the order in which they were drawn.
        stamped = Signals(**{**vars(rows), "occurred_at": now - np.arange(len(rows), 0, -1) * 1_000})
        request = signal_pb2.IngestSignalsRequest(batch=batch(stamped, f"flow-{now}"))
        while True:
            try:
                await probes.IngestSignals(request)
                break
            except Error as problem:
                # A service is being restarted: the batch has its id, sending it again is harmless.
                self._console.print(f"[dim]signals wait: {problem}[/dim]")
                await asyncio.sleep(1)
        self.sent += len(rows)

    def _rows(self) -> Any:
        """Signals of the current day from now on, a second's worth at a time, day after day."""
        while True:
            now = self._platform.now()
            today = now.astimezone(REGION_TIME).date()
            day = Day(
                self._world.people, today, self._world.seed + 1, PER_SECOND * _DAY_S / self._world.count
            )
            at = to_micros(now)
            end = to_micros(day.start) + _DAY_S * 1_000_000
            while at < end:
                rows = day.between(at, at + _REFILL)
                at += _REFILL
                for start in range(0, len(rows) - PER_SECOND + 1, PER_SECOND):
                    yield rows.take(slice(start, start + PER_SECOND))
