"""Things that simulators do later, by the business clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

log = logging.getLogger("demo.simulators")
_TICK = 0.02


class Agenda:
    """Runs actions once the business clock reaches their time.

    `due` counts what is late or running now: 0 says that nothing will happen
    until the clock moves.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._heap: list[tuple[datetime, int, Callable[[], Awaitable[None]]]] = []
        self._counter = itertools.count()
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def add(self, at: datetime, action: Callable[[], Awaitable[None]]) -> None:
        """Plans an action."""
        heapq.heappush(self._heap, (at, next(self._counter), action))
        self._wake.set()

    def due(self) -> int:
        """Actions that are running, or whose time has come."""
        now = self._now()
        return len(self._running) + sum(1 for at, _, _ in self._heap if at <= now)

    def planned(self) -> int:
        """Actions of a later time."""
        return len(self._heap)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            now = self._now()
            while self._heap and self._heap[0][0] <= now:
                # At most so many at once: a channel has a window too.
                while len(self._running) >= 256:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                _, _, action = heapq.heappop(self._heap)
                task = asyncio.ensure_future(self._act(action))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            self._wake.clear()
            try:
                async with asyncio.timeout(_TICK):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _act(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Exception:
            log.exception("an action failed")
