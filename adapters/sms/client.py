"""A long CMPP 3.0 connection: window of 16, keep-alive, reconnection.

Knows nothing of touches: it submits messages and hands deliveries on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from adapters.sms import cmpp

log = logging.getLogger("adapters.sms")

WINDOW = 16  # unanswered submits that gateways usually allow
_ANSWER_SECONDS = 30.0
_ACTIVE_TEST_SECONDS = 30.0


class NotSent(Exception):
    """The message certainly did not reach the gateway."""


class InDoubt(Exception):
    """The message was written, but the gateway's answer did not come."""


class Client:
    """One connection to the gateway at `host:port` as SP `source`."""

    def __init__(
        self,
        host: str,
        port: int,
        source: str,
        secret: str,
        on_deliver: Callable[[cmpp.Deliver], Awaitable[int]],
    ) -> None:
        """`on_deliver` returns the result of DELIVER_RESP, 0 once the news is stored."""
        self._host, self._port, self._source, self._secret = host, port, source, secret
        self._on_deliver = on_deliver
        self._sequence = itertools.cycle(range(1, 0xFFFFFFFF))
        self._waiting: dict[int, asyncio.Future[cmpp.SubmitResp]] = {}
        self._window = asyncio.Semaphore(WINDOW)
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects, and stays connected until `stop`."""
        self._task = asyncio.create_task(self._stay())

    async def stop(self) -> None:
        """Says goodbye and disconnects."""
        if self._writer is not None:
            with contextlib.suppress(Exception):
                self._write(cmpp.TERMINATE)
                await self._writer.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def submit(self, message: cmpp.Submit) -> cmpp.SubmitResp:
        """Submits one part; raises NotSent or InDoubt when the connection fails."""
        async with self._window:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._connected.wait()
            except TimeoutError as error:
                raise NotSent("no connection to the gateway") from error
            sequence = next(self._sequence)
            future: asyncio.Future[cmpp.SubmitResp] = asyncio.get_running_loop().create_future()
            self._waiting[sequence] = future
            try:
                self._write(cmpp.SUBMIT, message.encode(), sequence)
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await future
            except TimeoutError as error:
                raise InDoubt("the gateway did not answer a submit") from error
            finally:
                self._waiting.pop(sequence, None)

    def _write(self, command: int, body: bytes = b"", sequence: int | None = None) -> None:
        if self._writer is None:
            raise NotSent("no connection to the gateway")
        self._writer.write(cmpp.pack(command, next(self._sequence) if sequence is None else sequence, body))

    async def _stay(self) -> None:
        delay = 0.1
        while True:
            try:
                reader = await self._connect()
                delay = 0.1
                await self._read(reader)
            except (OSError, asyncio.IncompleteReadError, cmpp.ProtocolError) as error:
                log.warning("gateway connection lost, again in %.1f s: %s", delay, error)
            finally:
                self._disconnected()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _connect(self) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._writer = writer
        timestamp = int(datetime.now().strftime("%m%d%H%M%S"))
        digest = cmpp.authenticator(self._source, self._secret, timestamp)
        self._write(cmpp.CONNECT, cmpp.Connect(self._source, digest, timestamp).encode())
        command, _, body = await read_message(reader)
        if command != cmpp.CONNECT_RESP:
            raise cmpp.ProtocolError(f"CONNECT_RESP expected, not {command:#x}")
        status = cmpp.ConnectResp.decode(body).status
        if status != 0:
            raise cmpp.ProtocolError(f"the gateway refused the connection with status {status}")
        self._connected.set()
        log.info("connected to the gateway as %s", self._source)
        return reader

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                async with asyncio.timeout(_ACTIVE_TEST_SECONDS):
                    command, sequence, body = await read_message(reader)
            except TimeoutError:
                self._write(cmpp.ACTIVE_TEST)
                continue
            if command == cmpp.SUBMIT_RESP:
                future = self._waiting.get(sequence)
                if future is not None and not future.done():
                    future.set_result(cmpp.SubmitResp.decode(body))
            elif command == cmpp.DELIVER:
                # Deliveries wait for the platform; submits must not wait for them.
                task = asyncio.create_task(self._deliver(sequence, cmpp.Deliver.decode(body)))
                self._deliveries.add(task)
                task.add_done_callback(self._deliveries.discard)
            elif command == cmpp.ACTIVE_TEST:
                self._write(cmpp.ACTIVE_TEST_RESP, b"\0", sequence)
            elif command == cmpp.TERMINATE:
                self._write(cmpp.TERMINATE_RESP, b"", sequence)
                raise cmpp.ProtocolError("the gateway ended the connection")

    async def _deliver(self, sequence: int, message: cmpp.Deliver) -> None:
        try:
            result = await self._on_deliver(message)
        except Exception:
            log.exception("a delivery could not be handled; the gateway will repeat it")
            return
        with contextlib.suppress(NotSent):
            self._write(cmpp.DELIVER_RESP, cmpp.DeliverResp(message.message_id, result).encode(), sequence)

    def _disconnected(self) -> None:
        self._connected.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(InDoubt("the connection broke before the gateway answered"))


async def read_message(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """The next message: command, sequence, body."""
    length, command, sequence = cmpp.HEADER.unpack(await reader.readexactly(cmpp.HEADER.size))
    if not cmpp.HEADER.size <= length <= cmpp.MOST:
        raise cmpp.ProtocolError(f"a message of {length} octets")
    return command, sequence, await reader.readexactly(length - cmpp.HEADER.size)
