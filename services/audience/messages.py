"""What the service hears from others."""

from collections.abc import Awaitable, Callable
from datetime import UTC

import numpy as np
from iop.touchpoint.v1 import events_pb2 as touchpoint_events

from services.audience.domain.suppression import SuppressionList
from services.audience.memory import Memory
from services.audience.store import lists as list_rows
from services.audience.suppressing import change
from services.kit import db, envelope, inbox
from services.kit.bus import Consumer, Delivery

REPLIES = Consumer(
    "IOP_TOUCHPOINT",
    "audience-replies",
    filters=(envelope.filter_of(touchpoint_events.ReplyReceived),),
)


def replies(memory: Memory, database: db.Database) -> Callable[[list[Delivery]], Awaitable[None]]:
    """An opt-out by reply enters the opt-out list with the reply as its evidence; other replies pass by."""

    async def handle(deliveries: list[Delivery]) -> None:
        outs = [delivery for delivery in deliveries if delivery.message.kind == "opt_out"]
        for delivery in outs:
            if memory.directory.find_ids(np.array([delivery.message.subscriber_id]))[0] < 0:
                raise delivery.invalid("the directory does not know the subscriber")
        if not outs:
            return

        def write(tx: db.Connection) -> bool:
            fresh = inbox.accept(tx, REPLIES.name, [delivery.id for delivery in outs])
            changed = False
            for delivery in outs:
                if delivery.id not in fresh:
                    continue
                fresh.discard(delivery.id)
                reply = delivery.message
                ordinals = memory.directory.find_ids(np.array([reply.subscriber_id]))
                why = list_rows.Evidence(
                    reason=f"replied {reply.text}",
                    source=f"reply:{reply.reply_id} touch:{reply.touch_id}",
                    actor=f"subscriber:{reply.subscriber_id}",
                    time=reply.reply_time.ToDatetime(tzinfo=UTC),
                )
                nobody = np.zeros(0, dtype=np.int64)
                changed |= change(tx, SuppressionList.OPT_OUT, ordinals, nobody, why) is not None
            return changed

        if await database.transaction(write):
            await memory.follow_suppression()

    return handle
