"""The operator's BOSS beside IOP: hears what customers order, and reports orders to evaluation.

It listens on the bus as any other system would: a durable consumer of `reply.received`. What is ordered at
the counter or in the browser it knows from its own front ends. Some customers order without being asked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import nats
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from iop.evaluation.v1 import report_pb2, report_pb2_grpc
from iop.touchpoint.v1 import events_pb2
from nats.errors import TimeoutError as NatsTimeout

from demo.again import again
from demo.cases import cases
from demo.platform import LOADER, Platform
from demo.simulators import fate
from demo.world import World

_SUBJECT = "iop.touchpoint.v1.reply.received"
_BATCH = 5_000


class Boss:
    """Keeps the orders of the day and hands them to evaluation."""

    def __init__(self, platform: Platform, world: World) -> None:
        self._platform, self._world = platform, world
        self._prices = {case.product[0]: case.product[2] for case in cases()}
        self._waiting: list[Any] = []
        self._channel = platform.channel("evaluation", LOADER)
        self._stub: Any = report_pb2_grpc.OrderServiceStub(self._channel)
        self._nats: Any = None
        self._replies: Any = None
        self._orders: set[str] = set()  # ids that evaluation has taken
        self.recorded = 0

    async def start(self) -> None:
        """Subscribes."""
        self._nats = await nats.connect(self._platform.supervisor.servers.nats_url)
        jetstream = self._nats.jetstream()
        self._replies = await jetstream.pull_subscribe(_SUBJECT, durable="boss", stream="IOP_TOUCHPOINT")

    async def stop(self) -> None:
        """Leaves the bus."""
        if self._nats is not None:
            await self._nats.close()
        await self._channel.close()

    def sold(self, subscriber_id: int, product: str, at: datetime, channel: str, touch_id: str) -> None:
        """A front end took an order for an offer it showed."""
        self._add(f"S{touch_id}", subscriber_id, product, at, channel, touch_id)

    async def settle(self) -> None:
        """Turns instructions that have come in into orders, and reports all orders so far."""
        while (await again(self._replies.consumer_info)).num_pending:
            for message in await again(self._fetch):
                reply = events_pb2.ReplyReceived.FromString(message.data)
                if reply.kind == "instruction":
                    self._add(
                        f"R{reply.touch_id}",
                        reply.subscriber_id,
                        reply.product_code,
                        reply.reply_time.ToDatetime(),
                        "sms_reply",
                        reply.touch_id,
                    )
                await message.ack()
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            self._orders.update(order.order_id for order in batch)
            request = report_pb2.RecordOrdersRequest(orders=batch)
            await again(lambda request=request: self._stub.RecordOrders(request))  # type: ignore[misc]
        self.recorded = len(self._orders)

    async def _fetch(self) -> Any:
        try:
            return await self._replies.fetch(500, timeout=1)
        except NatsTimeout:
            return []

    def spontaneous(self, at: datetime) -> None:
        """Customers who order one of the products by themselves."""
        phones, ids = self._world.people.phone, self._world.people.subscriber_id
        for product in sorted(self._prices):
            for row in np.flatnonzero(fate.spontaneous(self._world.seed, product, phones)).tolist():
                self._add(f"P{product}-{ids[row]}", int(ids[row]), product, at, "store", "")

    def _add(
        self, order_id: str, subscriber_id: int, product: str, at: datetime, channel: str, touch_id: str
    ) -> None:
        stamp = Timestamp()
        stamp.FromDatetime(at)
        self._waiting.append(
            report_pb2.Order(
                order_id=order_id,
                subscriber_id=subscriber_id,
                product_code=product,
                price_fen=self._prices.get(product, 0),
                order_time=stamp,
                channel=channel,
                touch_id=touch_id,
            )
        )
