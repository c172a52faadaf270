"""event.matched: batches of matches become pages of touches, without state per subscriber."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from iop.event.v1 import events_pb2
from numpy.typing import NDArray
from pyroaring import BitMap

from services.campaign import announce
from services.campaign.bitmaps import Bitmaps
from services.campaign.domain import pages, split
from services.campaign.domain.states import ActivityState
from services.campaign.store import activities, work
from services.kit import envelope, inbox, outbox
from services.kit.app import Service
from services.kit.bus import Bus, Consumer, Delivery
from services.kit.db import Connection, Database
from services.kit.partition import token

EVENT_STREAM = "IOP_EVENT"

# Why a match is no touch: the activity's state, the touchpoint's days, its own lists.
PAUSED, ENDED, OUTSIDE_PERIOD, NOT_SELECTED = "paused", "ended", "outside_period", "not_selected"


def consumers(partitions: int) -> list[Consumer]:
    """One durable consumer a partition, so that partitions do not wait for each other."""
    return [
        Consumer(
            EVENT_STREAM,
            f"campaign-matched-{token(p)}",
            (envelope.filter_of(events_pb2.EventMatched, p),),
        )
        for p in range(partitions)
    ]


@dataclass(frozen=True)
class Batch:
    """One message of matches."""

    id: str
    activity_number: int
    period: int
    partition: int
    ordinals: NDArray[np.uint32]
    occurred_at: NDArray[np.int64]


class Matches:
    """The handler of event.matched."""

    def __init__(self, service: Service, database: Database, bitmaps: Bitmaps, page_size: int) -> None:
        self._db = database
        self._bitmaps = bitmaps
        self._timezone = service.runtime.timezone
        self._size = page_size
        self._waiting = True
        service.status.busy("consumers waiting for their stream", lambda: int(self._waiting))

    async def consume(self, bus: Bus, partitions: int) -> None:
        """Consume every partition as soon as the event service has declared its stream."""
        for consumer in consumers(partitions):

            async def handle(deliveries: list[Delivery], name: str = consumer.name) -> None:
                await self.handle(name, deliveries)

            await bus.ensure(consumers=[consumer])
            await bus.consume(consumer, handle, batch=64)
        self._waiting = False

    async def handle(self, consumer: str, deliveries: list[Delivery]) -> None:
        """Count the matches and put their pages into the outbox, once for each message."""
        batches = [_read(delivery) for delivery in deliveries]
        numbers = sorted({batch.activity_number for batch in batches})
        known = await self._db.read(lambda tx: activities.by_number(tx, numbers))
        for batch, delivery in zip(batches, deliveries, strict=True):
            found = known.get(batch.activity_number)
            if found is None or found.state is ActivityState.NOT_LAUNCHED:
                raise delivery.invalid(f"no event activity has the number {batch.activity_number}")
        own_lists = {number: await self._own_lists(known[number]) for number in numbers}

        def write(tx: Connection) -> None:
            new = inbox.accept(tx, consumer, [batch.id for batch in batches])
            states = activities.states(tx, numbers)
            counts: Counter[work.CounterKey] = Counter()
            rows = []
            for batch in batches:
                if batch.id not in new:
                    continue
                new.discard(batch.id)  # the same message twice in one batch
                activity, state = known[batch.activity_number], states[batch.activity_number]
                rows += self._pages(tx, batch, activity, state, own_lists[activity.number], counts)
            work.add_counts(tx, counts)
            outbox.add_all(tx, rows)

        await self._db.transaction(write)

    async def _own_lists(self, activity: activities.Activity) -> dict[int, BitMap]:
        """Members by touchpoint, for touchpoints whose choice of lists is narrower than the population."""
        digests = {item.selected.digest for item in activity.settings if item.selected is not None}
        if len(digests) < 2:
            return {}
        return {
            item.setting.touchpoint: await self._bitmaps.get(item.selected)
            for item in activity.settings
            if item.selected is not None
        }

    def _pages(
        self,
        tx: Connection,
        batch: Batch,
        activity: activities.Activity,
        state: ActivityState,
        own_lists: dict[int, BitMap],
        counts: Counter[work.CounterKey],
    ) -> list[dict[str, object]]:
        """Outbox rows of a batch; adds to `counts` so that target = excluded + unplanned + handed."""
        number, splits, total = activity.number, activity.plan.splits, len(batch.ordinals)
        days = pages.days_of(batch.occurred_at, self._timezone)
        group_of = split.groups_of(split.hashes(split.seed_of(activity.name), batch.ordinals), splits)
        rows: list[dict[str, object]] = []
        for item in activity.settings:
            setting = item.setting
            key = (number, setting.touchpoint)
            counts[*key, "target", ""] += total
            if state is not ActivityState.RUNNING:
                counts[*key, "excluded", PAUSED if state is ActivityState.PAUSED else ENDED] += total
                continue
            first, last = pages.planned_day(setting.period.start), pages.planned_day(setting.period.end)
            wanted = (days >= first) & (days <= last)
            counts[*key, "excluded", OUTSIDE_PERIOD] += total - int(wanted.sum())
            if setting.touchpoint in own_lists:
                members = own_lists[setting.touchpoint]
                selected = np.isin(batch.ordinals, (BitMap(batch.ordinals) & members).to_array())
                counts[*key, "excluded", NOT_SELECTED] += int((wanted & ~selected).sum())
                wanted &= selected
            served = split.serving(splits, setting.touchpoint)
            reached = wanted & np.isin(group_of, served)
            counts[*key, "unplanned", ""] += int(wanted.sum()) - int(reached.sum())
            counts[*key, "handed", ""] += int(reached.sum())
            index = 0
            for group in served:
                in_group = np.flatnonzero(reached & (group_of == group))
                for part in pages.by_day(days, in_group):
                    for start in range(0, len(part.rows), self._size):
                        chosen = part.rows[start : start + self._size]
                        rows.append(
                            announce.match_page(
                                tx,
                                page_id=pages.match_page_id(batch.id, setting.touchpoint, index),
                                activity=activity,
                                setting=setting,
                                day=part.day,
                                period=batch.period,
                                group=split.group_name(splits, group),
                                ordinals=batch.ordinals[chosen],
                                occurred_at=batch.occurred_at[chosen],
                                partition=batch.partition,
                            )
                        )
                        index += 1
        return rows


def _read(delivery: Delivery) -> Batch:
    message = delivery.message
    if not isinstance(message, events_pb2.EventMatched):
        raise delivery.invalid(f"{message.DESCRIPTOR.full_name} is not event.matched")
    if len(message.ordinals) % 4 or len(message.ordinals) // 4 != len(message.occurred_at) / 8:
        raise delivery.invalid("ordinals and occurred_at differ in length", reason="BATCH_RAGGED")
    return Batch(
        id=delivery.id,
        activity_number=message.activity_number,
        period=message.period,
        partition=delivery.partition or 0,
        ordinals=np.frombuffer(message.ordinals, "<u4"),
        occurred_at=np.frombuffer(message.occurred_at, "<i8"),
    )
