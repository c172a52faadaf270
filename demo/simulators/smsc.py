"""The operator's SMS gateway: a CMPP 3.0 server for one SP.

Checks the authenticator, answers SUBMITs, reports on them, brings customers'
answers, repeats a DELIVER until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from adapters.sms import cmpp
from adapters.sms.adapter import SENDERS
from adapters.sms.client import read_message
from demo.simulators import fate
from demo.simulators.agenda import Agenda
from demo.simulators.log import MessageLog

log = logging.getLogger("demo.smsc")

_TOUCHPOINTS = {sender: touchpoint.name.lower() for touchpoint, sender in SENDERS.items()}
_DELIVER_SECONDS = 10.0
_CHATS = ("收到", "谢谢", "在哪里办理", "多少钱")


class Smsc:
    """The gateway. `instructions` maps an activity code to what customers send to order."""

    def __init__(
        self,
        source: str,
        secret: str,
        seed: int,
        now: Callable[[], datetime],
        messages: MessageLog,
        instructions: Mapping[str, str],
    ) -> None:
        self._source, self._secret, self._seed, self._now = source, secret, seed, now
        self._log = messages
        self._instructions = instructions
        self._ids = itertools.count(int(now().timestamp()) << 20)
        self._sequence = itertools.cycle(range(1, 0xFFFFFFFF))
        self._parts: dict[tuple[str, str, str], list[tuple[int, bytes, int]]] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self._unacknowledged: dict[int, asyncio.Future[int]] = {}
        # Message id to the business microseconds at which it was taken, until its report is delivered.
        self.unreported: dict[int, int] = {}
        self.agenda = Agenda(now)
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """SPs that are bound now."""
        return len(self._writers)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self._agenda_task = asyncio.create_task(self.agenda.run())
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stops listening."""
        self._agenda_task.cancel()
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not await self._admit(reader, writer):
                return
            self._writers.append(writer)
            while True:
                command, sequence, body = await read_message(reader)
                if command == cmpp.SUBMIT:
                    answer = self._submit(cmpp.Submit.decode(body))
                    writer.write(cmpp.pack(cmpp.SUBMIT_RESP, sequence, answer.encode()))
                    await writer.drain()
                elif command == cmpp.DELIVER_RESP:
                    future = self._unacknowledged.get(sequence)
                    if future is not None and not future.done():
                        future.set_result(cmpp.DeliverResp.decode(body).result)
                elif command == cmpp.ACTIVE_TEST:
                    writer.write(cmpp.pack(cmpp.ACTIVE_TEST_RESP, sequence, b"\0"))
                elif command == cmpp.TERMINATE:
                    writer.write(cmpp.pack(cmpp.TERMINATE_RESP, sequence))
                    return
        except (asyncio.IncompleteReadError, ConnectionError, cmpp.ProtocolError) as error:
            log.info("connection ended: %s", error)
        finally:
            if writer in self._writers:
                self._writers.remove(writer)
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        command, sequence, body = await read_message(reader)
        if command != cmpp.CONNECT:
            return False
        connect = cmpp.Connect.decode(body)
        expected = cmpp.authenticator(self._source, self._secret, connect.timestamp)
        status = 0
        if connect.version != cmpp.VERSION:
            status = 4
        elif connect.source != self._source:
            status = 2
        elif connect.authenticator != expected:
            status = 3
        writer.write(cmpp.pack(cmpp.CONNECT_RESP, sequence, cmpp.ConnectResp(status).encode()))
        await writer.drain()
        return status == 0

    def _submit(self, message: cmpp.Submit) -> cmpp.SubmitResp:
        message_id = next(self._ids)
        touchpoint = _TOUCHPOINTS.get(message.sender, "sms")
        if message.service_id == "ANSWER":
            self._log.write(kind="answer", phone=message.phone, part=message.part)
            self._log.flush()
            return cmpp.SubmitResp(message_id, 0)
        one = fate.one(self._seed, message.service_id, int(message.phone), touchpoint)
        if one.refused:
            if message.part == 1:
                self._log.write(
                    kind="refused", code=message.service_id, phone=message.phone, touchpoint=touchpoint
                )
                self._log.flush()
            return cmpp.SubmitResp(0, 13)
        key = (message.service_id, message.phone, touchpoint)
        parts = self._parts.setdefault(key, [])
        parts.append((message.part, message.content, message.udhi))
        if len(parts) == message.parts:
            del self._parts[key]
            self._taken(message, message_id, touchpoint, cmpp.join(parts), one)
        return cmpp.SubmitResp(message_id, 0)

    def _taken(
        self, message: cmpp.Submit, message_id: int, touchpoint: str, text: str, one: fate.Fate
    ) -> None:
        """A whole message is here: log it, plan its report and the customer's answer."""
        now = self._now()
        code, phone = message.service_id, message.phone
        self._log.write(
            kind="message", id=str(message_id), code=code, phone=phone, touchpoint=touchpoint,
            parts=message.parts, text=text, at=now.isoformat(),
        )  # fmt: skip
        self._log.flush()
        state = "DELIVRD" if one.delivered else "UNDELIV"
        stamp = now.strftime("%y%m%d%H%M")
        report = cmpp.Report(message_id, state, stamp, stamp, phone)
        at = now + timedelta(hours=fate.LATE_HOURS if one.late else 0)
        self.unreported[message_id] = round(now.timestamp() * 1_000_000)
        delivery = cmpp.Deliver(message_id, message.sender, phone, report.encode(), report=True, format=0)
        for _ in range(2 if one.duplicate else 1):
            self.agenda.add(at, lambda: self._report(message_id, delivery))
        answer = ""
        if one.opt_out:
            answer = "TD"
        elif one.instruction:
            answer = self._instructions.get(code, "")
        elif one.chat:
            answer = _CHATS[int(phone) % len(_CHATS)]
        if answer:
            reply_id = next(self._ids)
            self._log.write(kind="answered", code=code, phone=phone, touchpoint=touchpoint, text=answer)
            self.agenda.add(
                now + timedelta(minutes=fate.REPLY_MINUTES),
                lambda: self._deliver(
                    cmpp.Deliver(reply_id, message.sender, phone, answer.encode("utf-16-be"))
                ),
            )

    async def _report(self, message_id: int, delivery: cmpp.Deliver) -> None:
        await self._deliver(delivery)
        self.unreported.pop(message_id, None)

    async def _deliver(self, message: cmpp.Deliver) -> None:
        """Delivers to the SP until it acknowledges."""
        while True:
            if not self._writers:
                await asyncio.sleep(0.1)
                continue
            sequence = next(self._sequence)
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._unacknowledged[sequence] = future
            try:
                writer = self._writers[sequence % len(self._writers)]
                writer.write(cmpp.pack(cmpp.DELIVER, sequence, message.encode()))
                async with asyncio.timeout(_DELIVER_SECONDS):
                    if await future == 0:
                        return
            except (TimeoutError, ConnectionError):
                continue
            finally:
                self._unacknowledged.pop(sequence, None)
