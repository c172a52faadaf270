"""Plays the demo day: walks the clock from position to position and lets happen what happens there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from iop.event.v1 import signal_pb2, signal_pb2_grpc

from demo import visits
from demo.again import again
from demo.boss import Boss
from demo.door import Door
from demo.planning import Planned, Planning
from demo.platform import PROBES, Platform
from demo.rest import Rest
from demo.schedule import BEHAVIOUR, BEHAVIOURS, LAUNCH, LOCATION, REAL_TIME, Position, positions
from demo.signals import TEXTS, Signals
from demo.simulators import fate
from demo.world import World, at, micros
from iop_adapter import Endpoint, FeedbackKind, Touchpoint
from iop_adapter.decisions import Decisions

_BATCH = 50_000  # signals of one batch
_AT_ONCE = 8  # customers served at the same time


class Day:
    """The player. `tell(position, what)` is told what happens."""

    def __init__(
        self,
        platform: Platform,
        world: World,
        door: Door,
        planned: dict[str, Planned],
        rest: Rest,
        boss: Boss,
        tell: Callable[[Position, str], None],
    ) -> None:
        self._platform, self._world, self._door = platform, world, door
        self._planned, self._rest, self._boss, self._tell = planned, rest, boss, tell
        self._planning = Planning(door)
        self._channel = platform.channel("event", PROBES)
        self._probes: Any = signal_pb2_grpc.SignalServiceStub(self._channel)
        self.counts: Counter[str] = Counter()

    async def play(self) -> None:
        """The whole day, to its last position."""
        await self._boss.start()
        token = self._platform.token_file("toolbar-1", ("toolbar",))
        endpoint = Endpoint(self._platform.supervisor.addresses["touchpoint"], token)
        async with Decisions(endpoint) as toolbar:
            for position in positions():
                await self._stop_at(position, toolbar)
        self._boss.spontaneous(self._platform.now())
        await self._boss.settle()
        await self._rest.wait()
        await self._channel.close()

    async def _stop_at(self, position: Position, toolbar: Decisions) -> None:
        self._platform.set_clock(at(position.minute))
        await self._rest.wait()
        for case in position.launches:
            self._tell(position, f"launching {case}")
            await self._planning.launch(self._planned[case])
            await self._rest.wait()
        if position.part in (LOCATION, BEHAVIOUR):
            sources = REAL_TIME if position.part == LOCATION else BEHAVIOURS
            sent = await self._signals(position, sources)
            self._tell(position, f"{sent:,} {position.part} signals")
            await self._rest.wait()
            if position.part == LOCATION:
                await self._counters(position)
            else:
                await self._browsers(position, toolbar)
        elif position.part != LAUNCH:
            self._tell(position, "reports and replies")
        await self._boss.settle()

    async def _signals(self, position: Position, sources: tuple[int, ...]) -> int:
        begin, end = micros(position.begin), micros(position.end)
        rows = self._world.day.between(begin, end)
        rows = rows.take(np.isin(rows.source, sources))
        name = f"{position.part}-{self._world.seed}-{position.minute}"
        batches = [
            signal_pb2.StreamSignalsRequest(
                batch=batch(rows.take(slice(start, start + _BATCH)), f"{name}-{i}")
            )
            for i, start in enumerate(range(0, len(rows), _BATCH))
        ]

        async def send() -> list[Any]:
            return [answer async for answer in self._probes.StreamSignals(_each(batches))]

        # A batch has its id: sent again it is taken once.
        answers = await again(send)
        lost = len(rows) - sum(a.accepted for a in answers) if not any(a.duplicate for a in answers) else 0
        if lost or len(answers) != len(batches):
            raise AssertionError(
                f"{position.text}: of {len(rows)} signals {lost} were not taken: "
                f"{[(a.unknown, a.refused_count, list(a.refused[:3])) for a in answers]}"
            )
        self.counts["signals"] += len(rows)
        return len(rows)

    async def _counters(self, position: Position) -> None:
        """Clerks ask what to offer to whom they serve, and say what the customer answered."""
        came = self._world.counter_visits.between(micros(position.begin), micros(position.end))
        slots = asyncio.Semaphore(_AT_ONCE)
        now = at(position.minute)

        async def serve(index: int) -> None:
            phone = int(came.phone[index])
            async with slots:
                answer = await self._door.post(
                    "clerk",
                    "/touchpoint/v1/decisions:decide",
                    {
                        "touchpoint": "TOUCHPOINT_STORE_COUNTER",
                        "phone": str(phone),
                        "place": came.names[came.where[index]],
                    },
                )
                for offer in answer["offers"]:
                    said = str(
                        fate.pull(self._world.seed, offer["activityCode"], [phone], visits.STORE_COUNTER)[0]
                    )
                    await self._door.post(
                        "clerk",
                        "/touchpoint/v1/decisions:feedback",
                        {
                            "feedback": [
                                {"touch_id": offer["touchId"], "kind": f"FEEDBACK_KIND_{said.upper()}"}
                            ]
                        },
                    )
                    self._answered(
                        visits.STORE_COUNTER, said, int(came.subscriber_id[index]), offer["productCode"], now,
                        offer["touchId"],
                    )  # fmt: skip

        await asyncio.gather(*(serve(i) for i in range(len(came))))
        self.counts["counter visits"] += len(came)

    async def _browsers(self, position: Position, toolbar: Decisions) -> None:
        """The Toolbar asks whether there is something to show, through the SDK."""
        came = self._world.toolbar_sessions.between(micros(position.begin), micros(position.end))
        slots = asyncio.Semaphore(_AT_ONCE)
        now = at(position.minute)

        async def browse(index: int) -> None:
            phone = int(came.phone[index])
            async with slots:
                offers = await toolbar.decide(
                    Touchpoint.TOOLBAR, str(phone), place=came.names[came.where[index]]
                )
                for offer in offers:
                    said = str(fate.pull(self._world.seed, offer.activity_code, [phone], visits.TOOLBAR)[0])
                    await toolbar.feedback([(offer.touch_id, FeedbackKind[said.upper()])])
                    self._answered(
                        visits.TOOLBAR,
                        said,
                        int(came.subscriber_id[index]),
                        offer.product_code,
                        now,
                        offer.touch_id,
                    )

        await asyncio.gather(*(browse(i) for i in range(len(came))))
        self.counts["toolbar sessions"] += len(came)

    def _answered(
        self, channel: str, said: str, subscriber: int, product: str, now: datetime, touch_id: str
    ) -> None:
        self.counts[f"{channel} {said}"] += 1
        if said == "accepted":
            self._boss.sold(subscriber, product, now, channel, touch_id)


def batch(rows: Signals, batch_id: str) -> Any:
    """Rows as a batch of the contract."""
    columns = {name: column.tobytes() for name, column in rows.columns().items()}
    return signal_pb2.SignalBatch(batch_id=batch_id, texts=TEXTS, **columns)


async def _each(requests: list[Any]) -> Any:
    for request in requests:
        yield request
