"""SMS, event SMS and COMP SMS over the operator's CMPP 3.0 gateway (TCH-01, TCH-02, TCH-11)."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

from adapters.sms import cmpp
from adapters.sms.client import Client, InDoubt, NotSent
from iop_adapter import Capabilities, Receipt, Reply, Reports, Result, Status, Touch, Touchpoint

# The number a message comes from tells which touchpoint a reply answers.
SENDERS = {
    Touchpoint.SMS: "10086",
    Touchpoint.EVENT_SMS: "1008601",
    Touchpoint.COMP: "10658666",
}
_TOUCHPOINTS = {sender: touchpoint for touchpoint, sender in SENDERS.items()}
_STATES = {
    "DELIVRD": Status.DELIVERED,
    "ACCEPTD": None,
    "REJECTD": Status.REJECTED,
    "UNKNOWN": Status.UNKNOWN,
}
_FLOW_CONTROL = 8
_FLOW_CONTROL_TRIES = 5


class SmsAdapter:
    """Translates touches into SUBMITs, and reports and customers' messages back."""

    def __init__(self, host: str, port: int, source: str, secret: str, *, rate: float = 0.0) -> None:
        self.capabilities = Capabilities(
            touchpoints=list(SENDERS), max_batch=500, rate=rate, receipts=True, concurrency=2
        )
        self._source = source
        self._client = Client(host, port, source, secret, self._on_deliver)
        self._references = itertools.count(random.randrange(256))
        self._reports: Reports | None = None

    async def start(self, reports: Reports) -> None:
        self._reports = reports
        await self._client.start()

    async def stop(self) -> None:
        await self._client.stop()

    async def send(self, touches: Sequence[Touch]) -> Sequence[Result]:
        return await asyncio.gather(*(self._send(touch) for touch in touches))

    async def _send(self, touch: Touch) -> Result:
        parts = cmpp.split(touch.text, next(self._references))
        sent = 0
        try:
            for number, (content, udhi) in enumerate(parts, 1):
                message = cmpp.Submit(
                    source=self._source,
                    service_id=touch.activity_code,
                    sender=SENDERS[touch.touchpoint],
                    phone=touch.phone,
                    content=content,
                    part=number,
                    parts=len(parts),
                    udhi=udhi,
                    # One report per message: that of its last part.
                    report=int(number == len(parts)),
                )
                answer = await self._submit(message)
                if answer.result != 0:
                    break
                sent += 1
        except NotSent:
            return (
                Result(Status.UNKNOWN, code="PARTLY_SENT") if sent else Result(Status.RETRY, retry_after=1.0)
            )
        except InDoubt:
            return Result(Status.UNKNOWN, code="NO_ANSWER")
        if answer.result == 0:
            return Result(Status.ACCEPTED, provider_message_id=str(answer.message_id))
        if sent:
            return Result(Status.FAILED, code=f"PARTLY_SENT_{answer.result}")
        if answer.result == _FLOW_CONTROL:
            return Result(Status.RETRY, code="FLOW_CONTROL", retry_after=1.0)
        return Result(Status.REJECTED, code=f"SUBMIT_{answer.result}")

    async def _submit(self, message: cmpp.Submit) -> cmpp.SubmitResp:
        """Submits a part, waiting out flow control for a while."""
        for attempt in range(_FLOW_CONTROL_TRIES):
            answer = await self._client.submit(message)
            if answer.result != _FLOW_CONTROL:
                break
            await asyncio.sleep(0.05 * 2**attempt)
        return answer

    async def _on_deliver(self, message: cmpp.Deliver) -> int:
        assert self._reports is not None
        if message.report:
            report = cmpp.Report.decode(message.content)
            status = _STATES.get(report.state, Status.FAILED)
            if status is not None:
                await self._reports.receipt(
                    Receipt(status, provider_message_id=str(report.message_id), code=report.state)
                )
            return 0
        touchpoint = _TOUCHPOINTS.get(message.destination, Touchpoint.SMS)
        reply = Reply(str(message.message_id), message.phone[-11:], message.text(), touchpoint)
        for result in await self._reports.replies([reply]):
            if result.answer:
                await self._answer(message, result.answer)
        return 0

    async def _answer(self, message: cmpp.Deliver, text: str) -> None:
        """Answers the customer; an answer that does not get through is not worth a second try."""
        try:
            for number, (content, udhi) in enumerate(parts := cmpp.split(text, next(self._references)), 1):
                await self._submit(
                    cmpp.Submit(
                        self._source, "ANSWER", message.destination, message.phone, content,
                        number, len(parts), udhi, report=0,
                    )
                )  # fmt: skip
        except (NotSent, InDoubt):
            return
