"""What all rooms of this service share: the state of one process that owns the queues.

Truth is in the tables; everything here can be rebuilt from them and from the owners of the copies.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.kit import db, errors
from services.touchpoint.domain import catalogue
from services.touchpoint.domain.activity import Activity
from services.touchpoint.domain.policy import ContactPolicy, Moment, moment
from services.touchpoint.engine.caps import Caps
from services.touchpoint.engine.flags import DoNotDisturb, Flags
from services.touchpoint.engine.leases import Leases, Sessions
from services.touchpoint.engine.offers import Offers, Wave
from services.touchpoint.engine.queue import Piece, TouchQueue
from services.touchpoint.flow.tracing import Tracing

if TYPE_CHECKING:
    from services.kit.app import Service
    from services.touchpoint.copies import Copies
    from services.touchpoint.store.slices import Slice

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Numbers that an operator sets."""

    lease_seconds: float
    session_seconds: float
    queue_limit: int
    default_policy: ContactPolicy


class Centre:
    """The touchpoint centre of one process."""

    def __init__(self, service: "Service", database: db.Database, caps: Caps, limits: Limits) -> None:
        self.service = service
        self.db = database
        self.caps = caps
        self.limits = limits
        self.zone = service.runtime.timezone
        self.partitions = service.runtime.partitions
        self.copies: Copies
        self.activities: dict[int, Activity] = {}
        self.policy = limits.default_policy
        self.flags = Flags()
        self.do_not_disturb = DoNotDisturb()
        self.queues = {item.number: TouchQueue() for item in catalogue.CATALOGUE if item.push}
        self.offers = {item.number: Offers() for item in catalogue.CATALOGUE if not item.push}
        self.sessions = Sessions(limits.session_seconds)
        self.leases = Leases()
        self.tracing = Tracing(service.telemetry)
        self.days: set[int] = set()  # planned days whose partitions exist
        self.epoch = 0
        self.in_hand = 0  # touches taken out of a queue and not leased yet
        self.reserving = 0  # attempts to lease between reserving contact slots and their commit
        self.suspect = (
            False  # a commit may have gone through unseen: what is in memory is completed from the tables
        )
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def written(self, fn: Callable[[db.Connection], T]) -> T:
        """A transaction after which memory changes; when its end is not known, memory is completed later."""
        try:
            return await self.db.transaction(fn)
        except errors.Unavailable:
            self.suspect = True
            raise

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end even if the caller goes away: tables and memory change together."""
        return await asyncio.shield(self.later(work))

    def later(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `work` in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self) -> None:
        """Wait for what is under way; called when the service stops."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def now(self) -> Moment:
        """The business time as the rules read it."""
        return moment(self.service.clock.now(), self.zone)

    def leasable(self, touchpoint: int, now: Moment | None = None) -> Callable[[int], bool]:
        """Which activities' touches may leave a queue now."""
        at = now or self.now()

        def admitted(number: int) -> bool:
            activity = self.activities.get(number)
            return activity is not None and activity.leasable(touchpoint, self.policy, at)

        return admitted

    def lane(self, number: int, touchpoint: int) -> int:
        """The lane of an activity at a touchpoint."""
        activity = self.activities.get(number)
        setting = activity.settings.get(touchpoint) if activity else None
        return int(setting.lane) if setting else 2

    def enqueue(self, pieces: list[Piece]) -> None:
        """Put committed work into the queues and wake the adapters that wait for it."""
        for piece in pieces:
            self.queues[piece.touchpoint].put(piece, self.lane(piece.activity, piece.touchpoint))
        if pieces:
            self.wake()

    def return_later(self, piece: Piece, delay: float) -> None:
        """Put a piece into its queue once `delay` seconds have passed."""
        lane = self.lane(piece.activity, piece.touchpoint)
        if delay <= 0:
            self.queues[piece.touchpoint].put(piece, lane)
        else:
            self.queues[piece.touchpoint].put_later(piece, lane, time.monotonic() + delay)
        self.wake()

    def offer(self, item: "Slice", positions: NDArray[np.intp]) -> None:
        """Make committed offers available."""
        wave = Wave(item.planned_day, item.activity, item.occurrence)
        self.offers[item.touchpoint].add(wave, item.ordinals[positions])

    def wake(self) -> None:
        """Work may have come: whoever waits looks again."""
        waiting, self._work = self._work, asyncio.Event()
        waiting.set()

    def next_work(self) -> asyncio.Event:
        """Set at the next `wake`."""
        return self._work

    def ready_to_lease(self) -> int:
        """Touches that an adapter that is connected could lease now."""
        now = self.now()
        served = self.sessions.touchpoints(time.monotonic())
        return self.in_hand + sum(
            self.queues[number].size(self.leasable(number, now)) for number in served if number in self.queues
        )

    def under_lease(self) -> int:
        """Touches that a connected adapter has in hand."""
        return self.leases.size(self.sessions.touchpoints(time.monotonic()))

    def lost_ownership(self, problem: errors.Precondition) -> None:
        """Another process owns the queues: this one must not go on."""
        self.service.fail("owner", problem)


def piece_of(item: "Slice", positions: ArrayLike) -> Piece:
    """The rows of a slice as a piece of work."""
    rows = np.asarray(positions).astype(np.uint16)
    return Piece(
        item.slice_id,
        item.activity,
        item.touchpoint,
        item.planned_day,
        item.occurrence,
        rows,
        item.ordinals[rows],
        None if item.expires is None else item.expires[rows],
    )
