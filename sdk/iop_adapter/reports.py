"""Reports what became of touches, and replies, until the platform has stored them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from iop.adapter.v1 import adapter_pb2

from iop_adapter.connection import Connection, SessionLost
from iop_adapter.model import Receipt, Reply, ReplyResult, Result

log = logging.getLogger("iop_adapter")

# A receipt can overtake the report that tells the platform the provider's id.
_UNKNOWN_RETRIES = 6
_UNKNOWN_DELAY = 0.5


class Reports:
    """Batches receipts and replies; each call returns once the platform has stored its news.

    A provider's own delivery report should be acknowledged to the provider
    only after `receipt` returned: then no report is lost in a crash.
    """

    def __init__(self, connection: Connection, session: Callable[[str], Awaitable[str]]) -> None:
        self._connection = connection
        self._session = session
        self._queue: asyncio.Queue[tuple[adapter_pb2.Receipt, asyncio.Future[bool]]] = asyncio.Queue(20000)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to report."""
        self._task = asyncio.create_task(self._flush())

    async def stop(self) -> None:
        """Reports what is in hand for at most ten seconds, then ends."""
        try:
            async with asyncio.timeout(10):
                await self._queue.join()
        except TimeoutError:
            log.warning("%d receipts were not reported; the provider will repeat them", self._queue.qsize())
        if self._task is not None:
            self._task.cancel()

    async def results(self, results: Mapping[str, Result]) -> None:
        """Reports the results of one lease."""
        receipts = [
            adapter_pb2.Receipt(
                touch_id=touch_id,
                provider_message_id=result.provider_message_id,
                status=result.status.value,
                code=result.code,
                retry_after_seconds=result.retry_after,
            )
            for touch_id, result in results.items()
        ]
        await self._send(receipts)

    async def receipt(self, receipt: Receipt) -> bool:
        """Reports later news of a touch; False when nobody knows the touch."""
        message = adapter_pb2.Receipt(
            touch_id=receipt.touch_id,
            provider_message_id=receipt.provider_message_id,
            status=receipt.status.value,
            code=receipt.code,
            time=_timestamp(receipt.time),
        )
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self._queue.put((message, future))
        return await future

    async def replies(self, replies: Sequence[Reply]) -> list[ReplyResult]:
        """Reports replies; returns what each was taken as and what to answer."""
        request = adapter_pb2.ReportRepliesRequest(
            replies=[
                adapter_pb2.Reply(
                    reply_id=r.reply_id,
                    phone=r.phone,
                    text=r.text[:500],
                    touchpoint=r.touchpoint.value,
                    time=_timestamp(r.time),
                )
                for r in replies
            ]
        )
        answer = await self._call(request, self._connection.adapter.ReportReplies)
        return [ReplyResult(r.reply_id, r.kind, r.answer) for r in answer.results]

    async def _flush(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < 1000 and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                unknown = set(await self._send([message for message, _ in batch]))
                for index, (_, future) in enumerate(batch):
                    if not future.done():
                        future.set_result(index not in unknown)
            except grpc.aio.AioRpcError as error:
                # Refused for good, so the provider may forget it; the platform logged why.
                log.error("receipts refused: %s %s", error.code(), error.details())
                for _, future in batch:
                    if not future.done():
                        future.set_result(False)
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _send(self, receipts: list[adapter_pb2.Receipt]) -> list[int]:
        """Sends receipts; returns the positions of those whose touch nobody knows."""
        positions = list(range(len(receipts)))
        for attempt in range(_UNKNOWN_RETRIES):
            request = adapter_pb2.ReportReceiptsRequest(receipts=[receipts[p] for p in positions])
            answer = await self._call(request, self._connection.adapter.ReportReceipts)
            positions = [positions[i] for i in answer.unknown]
            if not positions:
                return []
            if attempt + 1 < _UNKNOWN_RETRIES:
                await asyncio.sleep(_UNKNOWN_DELAY * (attempt + 1))
        log.warning("%d receipts name touches that nobody knows", len(positions))
        return positions

    async def _call(self, request, method):  # type: ignore[no-untyped-def]
        """Calls with the current session, opening a new one when the platform lost it."""
        lost = ""
        while True:
            request.session = lost = await self._session(lost)
            try:
                return await self._connection.persist(
                    lambda: method(request, metadata=self._connection.metadata(), timeout=30)
                )
            except SessionLost:
                continue


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp
