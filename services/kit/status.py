"""What a process has in hand, for operators and for those who wait until all is done."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from nats import errors as nats_errors
from nats.js import errors as js_errors

from services.kit import clock, errors

if TYPE_CHECKING:
    from services.kit.app import Service
    from services.kit.consume import Subscription


class Run:
    """One run of a job."""

    def __init__(self, tick: int, business: int) -> None:
        self.tick, self.business, self.started = tick, business, time.time_ns() // 1000
        self.touched = False


_run: ContextVar[Run | None] = ContextVar("iop_job_run", default=None)


class Job:
    """A recurring job as the status sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.idle: Run | None = None  # the last run that found nothing to do
        self.failures = 0
        self.kick = asyncio.Event()


class Status:
    """Counters of one service. `busy` numbers are zero at rest; `gauge` numbers are only shown."""

    def __init__(self, business: clock.Clock) -> None:
        self.outbox: Callable[[], Awaitable[int]] | None = None
        self.consumers: dict[str, Subscription] = {}
        self.jobs: dict[str, Job] = {}
        self.handled = 0
        self.published = 0
        self.dead = 0
        self._clock = business
        self._busy: dict[str, Callable[[], int]] = {}
        self._gauges: dict[str, Callable[[], int]] = {}
        self._ticks = itertools.count(1)
        self._touched = 0

    def busy(self, name: str, fn: Callable[[], int]) -> None:
        """Add an amount of work in hand; the service is idle only while it is zero."""
        self._busy[name] = fn

    def gauge(self, name: str, fn: Callable[[], int]) -> None:
        """Add a number to show."""
        self._gauges[name] = fn

    def touch(self) -> None:
        """Something happened that a job may have to look at: the service is idle once each has looked.

        The kit calls it for every write to the database and every message handled.
        """
        run = _run.get()
        if run is not None:
            run.touched = True  # the job's own doing; counts only if the job says that it worked
        else:
            self._touched = next(self._ticks)

    def begin_run(self, job: Job) -> tuple[Run, Any]:
        """A run of `job` begins."""
        run = Run(next(self._ticks), self._clock.micros())
        return run, _run.set(run)

    def end_run(self, job: Job, run: Run, mark: Any, worked: bool) -> None:
        """It ends, having found work or not."""
        _run.reset(mark)
        if worked:
            self.touch()
        else:
            job.idle = run

    def job_idle(self, job: Job) -> bool:
        """True when the job has found nothing to do since the last change of anything, the clock included."""
        run = job.idle
        return run is not None and run.tick > self._touched and run.started >= self._clock.changed_micros()

    async def report(self, service: str) -> Any:
        """The iop.common.v1.RuntimeStatus of now."""
        from iop.common.v1 import runtime_pb2

        status = runtime_pb2.RuntimeStatus(service=service)
        status.business_time.FromMicroseconds(self._clock.micros())
        idle = True
        for job in self.jobs.values():
            shown = status.jobs.add(name=job.name, failures=job.failures)
            if job.idle is not None:
                shown.idle_time.FromMicroseconds(job.idle.business)
            if not self.job_idle(job):
                idle = False
                job.kick.set()
        for name, fn in self._busy.items():
            status.busy[name] = int(fn())
            idle = idle and status.busy[name] == 0
        for name, fn in self._gauges.items():
            status.gauges[name] = int(fn())
        subscriptions = list(self.consumers.values())  # more may come while we ask
        lags = await asyncio.gather(*(self._lag(subscription) for subscription in subscriptions))
        for subscription, (pending, unsettled) in zip(subscriptions, lags, strict=True):
            status.consumers.add(
                name=subscription.consumer.name,
                pending=pending,
                ack_pending=unsettled,
                handled=subscription.handled,
            )
            idle = idle and pending == 0 and unsettled == 0 and subscription.busy == 0
        if self.outbox is not None:
            try:
                status.outbox_rows = await self.outbox()
            except errors.Error:
                status.outbox_rows = -1
            idle = idle and status.outbox_rows == 0
        status.handled, status.published, status.dead_letters = self.handled, self.published, self.dead
        status.idle = idle
        return status

    @staticmethod
    async def _lag(subscription: Subscription) -> tuple[int, int]:
        try:
            return await asyncio.wait_for(subscription.info(), 2)
        except (TimeoutError, nats_errors.Error, js_errors.Error, OSError):
            return -1, -1  # not known, and therefore not idle


class RuntimeApi:
    """iop.common.v1.RuntimeService."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def GetStatus(self, request: Any, context: Any) -> Any:
        """The status of this process."""
        return await self._service.status.report(self._service.name)
