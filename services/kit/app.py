"""The life of a service: start in one straight line, stop in reverse, say clearly what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health, health_pb2
from opentelemetry.sdk.trace.export import SpanExporter

from services.kit import config, db, errors, log
from services.kit.actor import Signer
from services.kit.clock import Clock
from services.kit.config import Runtime
from services.kit.status import Status
from services.kit.telemetry import Telemetry

if TYPE_CHECKING:
    from services.kit.rpc import Server

STOP_LIMIT_S = 10.0

Stop = Callable[[], Any]


class Service:
    """What the rooms of a service share: runtime, clock, log, telemetry, status, and its own life."""

    def __init__(self, name: str, runtime: Runtime, *, exporter: SpanExporter | None = None) -> None:
        self.name = name
        self.runtime = runtime
        self.clock = Clock.file(runtime.clock) if runtime.clock else Clock.system()
        self.telemetry = Telemetry(name, runtime.otlp_endpoint, ratio=runtime.trace_ratio, exporter=exporter)
        self.log: logging.Logger = log.make(name, runtime.log_level)
        self.status = Status(self.clock)
        self.health = health.aio.HealthServicer()
        self.signer = Signer(runtime.actor_keys, f"iop-{name}")
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.is_ready = False
        self.rpc: Server | None = None  # set by rpc.Server.start
        self._stops: list[tuple[str, Stop]] = []
        self._stopped = False
        if runtime.metrics_listen:
            self.telemetry.serve_metrics(runtime.metrics_listen)

    def database(self, pool: int = 8, *, statement_timeout_s: float = 60) -> db.Database:
        """The service's own database, closed with it."""
        if not self.runtime.database_url:
            raise errors.Precondition(f"DATABASE_URL_{self.name.upper()} is not set")
        database = db.Database(
            self.runtime.database_url,
            pool,
            service=self.name,
            statement_timeout_s=statement_timeout_s,
            on_write=self.status.touch,
        )
        self.on_stop("database", database.close)
        return database

    def on_stop(self, label: str, fn: Stop) -> None:
        """Call `fn` (plain or async) when the service stops: last registered first, with a time limit."""
        self._stops.append((label, fn))

    def spawn(
        self, label: str, work: Coroutine[Any, Any, Any], *, stop: Stop | None = None
    ) -> asyncio.Task[Any]:
        """Run `work` in the background until the service stops: then `stop()`, if given, and cancel it.

        An exception that escapes it ends the process with one clear line.
        """
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}:{label}")
        task.add_done_callback(lambda done: self._background_ended(label, done))

        async def end() -> None:
            if stop is not None:
                result = stop()
                if inspect.isawaitable(result):
                    await result
            task.cancel()
            await asyncio.wait({task}, timeout=STOP_LIMIT_S)

        self.on_stop(label, end)
        return task

    def job(self, label: str, fn: Callable[[], Awaitable[Any]], every: float) -> None:
        """Run `await fn()` at once, again whenever it was truthy ("I did work"), else after `every` seconds.

        A failure is logged and waited out with growing pauses; the service is not idle meanwhile.
        """
        from services.kit.status import Job

        job = Job(label)
        self.status.jobs[label] = job
        self.spawn(label, self._job_loop(job, fn, every))

    async def _job_loop(self, job: Any, fn: Callable[[], Awaitable[Any]], every: float) -> None:
        row = 0  # failures in a row
        while True:
            job.kick.clear()
            run, mark = self.status.begin_run(job)
            worked, failed = False, False
            try:
                worked = bool(await fn())
                row = 0
            except (errors.Unavailable, errors.Exhausted, errors.Conflict) as problem:
                failed = True
                if row == 2:
                    self.log.warning("job %s waits: %s", job.name, problem)
            except Exception:
                failed = True
                self.log.exception("job %s failed", job.name)
            finally:
                self.status.end_run(job, run, mark, worked or failed)
            if failed:
                row += 1
                job.failures += 1
                await asyncio.sleep(min(15.0, 0.1 * 2 ** min(row, 8)))
            elif not worked:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(job.kick.wait(), every)
            else:
                await asyncio.sleep(0)

    def ready(self) -> None:
        """Health says SERVING from now on. Called once start has returned, unless start calls it itself."""
        if not self.is_ready:
            self.is_ready = True
            self._health_task = asyncio.ensure_future(
                self.health.set("", health_pb2.HealthCheckResponse.SERVING)
            )

    async def stop(self) -> None:
        """Health to NOT_SERVING, then every registered stop in reverse; a second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        await self.health.enter_graceful_shutdown()
        while self._stops:
            label, fn = self._stops.pop()
            started = time.monotonic()
            try:
                result = fn()
                if inspect.isawaitable(result):
                    await asyncio.wait_for(result, STOP_LIMIT_S)
            except TimeoutError:
                self.log.warning("stopping %s took longer than %.0f s", label, STOP_LIMIT_S)
            except Exception:
                self.log.exception("stopping %s failed after %.1f s", label, time.monotonic() - started)
        await asyncio.to_thread(self.telemetry.close)

    def fail(self, label: str, problem: BaseException) -> None:
        """End the process: something it cannot live without has failed."""
        if self.failure is None:
            self.failure = problem
            self.log.critical("%s failed: %s", label, problem or type(problem).__name__, exc_info=problem)
            self.failed.set()

    def _background_ended(self, label: str, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._stopped:
            self.fail(label, task.exception())  # type: ignore[arg-type]


def module_of(name: str) -> str:
    """The module whose `start(service)` runs the service `name`."""
    return "gateway.main" if name == "gateway" else f"services.{name}.main"


async def start_in_process(name: str, runtime: Runtime, *, exporter: SpanExporter | None = None) -> Service:
    """Start a service in this process; several keep apart. End it with `await service.stop()`."""
    module = importlib.import_module(module_of(name))
    service = Service(name, runtime, exporter=exporter)
    try:
        await module.start(service)
    except BaseException:
        await service.stop()
        raise
    service.ready()
    return service


def run(*names: str, runtimes: dict[str, Runtime] | None = None) -> int:
    """Run services until SIGTERM or SIGINT; the exit status of the process."""
    log.capture_libraries(names[0])
    try:
        runtimes = runtimes or {name: config.runtime(name) for name in names}
        if any(runtime.clock for runtime in runtimes.values()) and not os.environ.get("IOP_EMBEDDED"):
            raise errors.Precondition("IOP_CLOCK is honoured with the embedded servers only")
    except errors.Error as problem:
        print(f"{'+'.join(names)}: {problem}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(runtimes))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop  # type: ignore[no-any-return]


async def _run(runtimes: dict[str, Runtime]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    services: list[Service] = []
    try:
        # Side by side, since each may wait for what another declares.
        starting = asyncio.gather(*(_start(name, runtime, services) for name, runtime in runtimes.items()))
        if not await _before(starting, stopping):
            return 0
        if not all(starting.result()):
            return 1
        ends = [asyncio.ensure_future(service.failed.wait()) for service in services]
        await _first([asyncio.ensure_future(stopping.wait()), *ends])
        return 1 if any(service.failure for service in services) else 0
    finally:
        for service in reversed(services):
            await service.stop()


async def _start(name: str, runtime: Runtime, services: list[Service]) -> bool:
    try:
        service = await start_in_process(name, runtime)
    except Exception as problem:
        foreseen = isinstance(problem, errors.Error)
        log.make(name).critical("%s cannot start: %s", name, problem, exc_info=None if foreseen else problem)
        return False
    services.append(service)
    service.log.info("ready")
    return True


async def _before(work: asyncio.Future[Any], event: asyncio.Event) -> bool:
    """Wait for `work`, giving up and cancelling it when `event` comes first."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if work.done():
        return True
    work.cancel()
    await asyncio.wait({work}, timeout=STOP_LIMIT_S)
    return False


async def _first(futures: list[asyncio.Future[Any]]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    for future in futures:
        future.cancel()
