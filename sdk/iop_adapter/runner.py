"""Runs an adapter: leases touches, hands them to it, reports what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from iop.adapter.v1 import adapter_pb2

from iop_adapter.connection import Connection, Endpoint, SessionLost
from iop_adapter.journal import Journal
from iop_adapter.model import Capabilities, Receipt, Result, Status, Touch, Touchpoint
from iop_adapter.reports import Reports

log = logging.getLogger("iop_adapter")

_WAIT_MILLISECONDS = 2000


class Adapter(Protocol):
    """What a channel owner writes.

    Translate, send, classify: no retry loops, no rate limits, no windows, no
    duplicates; the platform and the SDK do these.
    """

    capabilities: Capabilities

    async def start(self, reports: Reports) -> None:
        """Connects to the provider. `reports` takes later news and replies."""

    async def send(self, touches: Sequence[Touch]) -> Sequence[Result]:
        """Sends touches; one result each, in order.

        An exception means that none of them may have been taken for certain:
        they are in doubt and reported as UNKNOWN.
        """

    async def stop(self) -> None:
        """Disconnects."""


class Runner:
    """One adapter process at work."""

    def __init__(self, name: str, adapter: Adapter, endpoint: Endpoint, journal: Path | str) -> None:
        self._name = name
        self._adapter = adapter
        self._connection = Connection(endpoint)
        self._journal = Journal(journal)
        self._reports = Reports(self._connection, self._current_session)
        self._session: str = ""
        self._lease_seconds = 30.0
        self._opening = asyncio.Lock()
        self._leases: dict[str, set[str]] = {}
        self._recalled: set[str] = set()
        self._bucket = _Bucket(adapter.capabilities.rate)
        self._stopping = asyncio.Event()
        self.opened = asyncio.Event()  # set once the platform has given a session

    async def run(self) -> None:
        """Works until `stop` is called, then finishes what is in hand."""
        await self._reports.start()
        await self._adapter.start(self._reports)
        await self._open("")
        keeper = asyncio.create_task(self._keep_leases())
        workers = [asyncio.create_task(self._work()) for _ in range(self._adapter.capabilities.concurrency)]
        try:
            waiting = set(workers)
            while waiting:
                done, _ = await asyncio.wait({keeper, *waiting}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # a failure ends the process
                waiting -= done
        finally:
            keeper.cancel()
            for worker in workers:
                worker.cancel()
            await asyncio.gather(keeper, *workers, return_exceptions=True)
            await self._adapter.stop()
            await self._reports.stop()
            await self._connection.close()
            self._journal.close()

    def stop(self) -> None:
        """Asks the runner to finish."""
        self._stopping.set()

    async def _current_session(self, lost: str) -> str:
        if lost == self._session:
            await self._open(lost)
        return self._session

    async def _open(self, lost: str) -> None:
        async with self._opening:
            if self._session != lost:
                return  # another task opened it meanwhile
            self._session, self._lease_seconds = await self._connection.open(
                self._name, self._adapter.capabilities
            )
            self.opened.set()
            log.info(
                "session open: %s serves %s",
                self._name,
                [t.name for t in self._adapter.capabilities.touchpoints],
            )

    async def _work(self) -> None:
        while not self._stopping.is_set():
            session = self._session
            want = self._bucket.room(self._adapter.capabilities.max_batch)
            if want == 0:
                await asyncio.sleep(0.01)
                continue
            try:
                lease = await self._connection.persist(partial(self._lease, session, want))
            except SessionLost:
                await self._open(session)
                continue
            if not lease.touches:
                continue
            self._bucket.spend(len(lease.touches))
            touches = [_touch(t) for t in lease.touches]
            now = lease.now.ToDatetime(UTC) if lease.HasField("now") else datetime.now(UTC)
            self._leases[lease.lease] = {t.touch_id for t in touches}
            try:
                await self._deliver(touches, now)
            finally:
                done = self._leases.pop(lease.lease, set())
                self._recalled -= done

    async def _lease(self, session: str, want: int) -> adapter_pb2.LeaseTouchesResponse:
        request = adapter_pb2.LeaseTouchesRequest(
            session=session, max_touches=want, wait_milliseconds=_WAIT_MILLISECONDS
        )
        answer: adapter_pb2.LeaseTouchesResponse = await self._connection.adapter.LeaseTouches(
            request, metadata=self._connection.metadata(), timeout=10
        )
        return answer

    async def _extend(self, session: str) -> adapter_pb2.ExtendLeasesResponse:
        request = adapter_pb2.ExtendLeasesRequest(session=session, leases=list(self._leases))
        answer: adapter_pb2.ExtendLeasesResponse = await self._connection.adapter.ExtendLeases(
            request, metadata=self._connection.metadata(), timeout=10
        )
        return answer

    async def _deliver(self, touches: Sequence[Touch], now: datetime) -> None:
        """Sends what may be sent and reports every touch of the lease."""
        results: dict[str, Result] = {}
        known = await asyncio.to_thread(self._journal.begin, [t.touch_id for t in touches])
        new: list[Touch] = []
        for touch in touches:
            if touch.touch_id in known:
                results[touch.touch_id] = known[touch.touch_id] or Result(Status.UNKNOWN, code="IN_DOUBT")
            elif touch.touch_id in self._recalled:
                results[touch.touch_id] = Result(Status.DROPPED, code="RECALLED")
            elif touch.expire_time is not None and touch.expire_time <= now:
                results[touch.touch_id] = Result(Status.DROPPED, code="EXPIRED")
            else:
                new.append(touch)
        if new:
            try:
                for touch, result in zip(new, await self._adapter.send(new), strict=True):
                    results[touch.touch_id] = result
            except Exception:
                log.exception("send failed; %d touches are in doubt", len(new))
                for touch in new:
                    results[touch.touch_id] = Result(Status.UNKNOWN, code="SEND_FAILED")
        await asyncio.to_thread(self._journal.finish, {t: r for t, r in results.items() if t not in known})
        await self._reports.results(results)

    async def _keep_leases(self) -> None:
        """Extends leases at a third of their life and learns of recalls."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            if not self._leases:
                continue
            session = self._session
            try:
                answer = await self._connection.persist(partial(self._extend, session))
            except SessionLost:
                await self._open(session)
                continue
            self._recalled.update(answer.recalled)
            for lease in answer.lost:
                self._recalled.update(self._leases.get(lease, ()))


def run(name: str, adapter: Adapter, endpoint: Endpoint, journal: Path | str) -> None:
    """Runs the adapter until SIGTERM or SIGINT; the main function of an adapter process."""

    async def main() -> None:
        runner = Runner(name, adapter, endpoint, journal)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runner.stop)
        await runner.run()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


class _Bucket:
    """Token bucket of `rate` touches a second with one second's burst; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._at = time.monotonic()

    def room(self, most: int) -> int:
        if self._rate <= 0:
            return most
        now = time.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0, min(most, int(self._tokens)))

    def spend(self, count: int) -> None:
        if self._rate > 0:
            self._tokens -= count


def _touch(message: adapter_pb2.Touch) -> Touch:
    expire = message.expire_time.ToDatetime(UTC) if message.HasField("expire_time") else None
    return Touch(
        touch_id=message.touch_id,
        touchpoint=Touchpoint(message.touchpoint),
        phone=message.phone,
        text=message.text,
        fields=dict(message.fields),
        activity_code=message.activity_code,
        expire_time=expire,
        traceparent=message.traceparent,
    )


__all__ = ["Adapter", "Receipt", "Runner", "run"]
