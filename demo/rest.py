"""Waits until the platform, the adapters and the channels have nothing left to do at this business time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
from iop.common.v1 import runtime_pb2, runtime_pb2_grpc
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc

from demo.platform import Platform
from demo.schedule import RECEIPT_HOURS
from services.kit.clock import to_micros
from services.kit.errors import Error

SERVICES = ("audience", "event", "touchpoint", "campaign", "evaluation", "campus")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.03, 0.25


class NotAtRest(Exception):
    """It did not come to rest in time; the text says who is still at work."""


class Rest:
    """Asks everybody who may have work in hand."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._channels = {name: platform.channel(name) for name in SERVICES}
        self._status: dict[str, Any] = {
            name: runtime_pb2_grpc.RuntimeServiceStub(channel) for name, channel in self._channels.items()
        }
        self._ledger: Any = ledger_pb2_grpc.LedgerServiceStub(self._channels["touchpoint"])
        self._http = httpx.AsyncClient(base_url=platform.account_url, timeout=10)
        self.seconds = 0.0  # spent waiting
        self.rounds = 0
        self._dead_letters: dict[str, int] = {}
        self._blamed: Counter[str] = Counter()  # who was waited for, in looks

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
        for channel in self._channels.values():
            await channel.close()

    async def wait(self, seconds: float = 300) -> None:
        """Returns once two looks in a row find everybody idle and nothing moved in between."""
        begun, before, pause = time.monotonic(), -1, _FIRST_PAUSE_S
        while True:
            busy, moved = await self._look()
            if not busy and moved == before:
                break
            before = -1 if busy else moved
            self._blamed.update(text.partition(" ")[0].rstrip(":") for text in busy)
            if time.monotonic() - begun > seconds:
                raise NotAtRest(f"not at rest after {seconds:.0f} s: {'; '.join(busy)}")
            if dead := self._platform.dead():
                raise NotAtRest(f"{', '.join(dead)} ended; see {self._platform.data / 'logs'}")
            if busy:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        self.seconds += time.monotonic() - begun
        self.rounds += 1

    @property
    def dead_letters(self) -> int:
        """Messages in the dead letters since the services started."""
        return sum(self._dead_letters.values())

    def most_waited_for(self) -> list[tuple[str, int]]:
        """Who kept the day waiting, in looks."""
        return self._blamed.most_common(5)

    async def _look(self) -> tuple[list[str], int]:
        """Who is busy and with what, and a number that grows with everything that moves.

        To look costs those who are looked at: whoever is likely to be last is asked first.
        """
        channels = await self._channel_status()
        if channels["due"]:
            return [f"channels: {channels['due']} due"], 0
        busy, moved = await self._statuses("touchpoint")
        if busy:
            return busy, 0
        queued, leased = await self._counters()
        # Touches whose report comes late stay leased until they settle as unknown.
        now = to_micros(self._platform.now())
        out = sum(taken + RECEIPT_HOURS * 3_600_000_000 > now for taken in channels["unreported"])
        if queued or leased != out:
            return [f"adapters: {queued} queued, {leased} leased, {out} of them unreported"], 0
        busy, others = await self._statuses(*(name for name in SERVICES if name != "touchpoint"))
        return busy, moved + others

    async def _statuses(self, *names: str) -> tuple[list[str], int]:
        """Which of the services are busy, and the sum of what they handled and published."""
        busy, moved = [], 0
        for name, status in zip(names, await asyncio.gather(*(self._of(n) for n in names)), strict=True):
            if status is None:
                busy.append(f"{name} does not answer")
                continue
            moved += status.handled + status.published
            self._dead_letters[name] = status.dead_letters
            if not status.idle:
                busy.append(f"{name}{_why(status)}")
        return busy, moved

    async def _of(self, name: str) -> Any:
        try:
            return await self._status[name].GetStatus(runtime_pb2.GetStatusRequest(), timeout=10)
        except Error:
            return None  # being restarted

    async def _counters(self) -> tuple[int, int]:
        try:
            answer = await self._ledger.ListTouchCounters(ledger_pb2.ListTouchCountersRequest(), timeout=10)
        except Error:
            return -1, 0
        return sum(c.queued for c in answer.counters), sum(c.leased for c in answer.counters)

    async def _channel_status(self) -> dict[str, Any]:
        answer = await self._http.get("/status")
        found: dict[str, Any] = answer.json()
        return found


def _why(status: Any) -> str:
    """What a service that is not idle has in hand, as far as its status tells."""
    parts = [f"{name} {count}" for name, count in sorted(status.busy.items()) if count]
    if status.outbox_rows:
        parts.append(f"outbox {status.outbox_rows}")
    parts += [f"{c.name} {c.pending}+{c.ack_pending}" for c in status.consumers if c.pending or c.ack_pending]
    return f" ({', '.join(parts)})" if parts else ""
