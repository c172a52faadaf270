"""Hands out pages of running push activities at the pace at which their touchpoints take them in.

Of one activity and touchpoint at most `window` touches are on their way, and never more than the
touchpoint has room for. Cursor, counters and pages are one transaction.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from services.campaign import announce
from services.campaign.bitmaps import Bitmaps
from services.campaign.domain import pages
from services.campaign.domain.model import touchpoint_word
from services.campaign.domain.states import ActivityState
from services.campaign.neighbours import Intake, Neighbours
from services.campaign.store import activities, work
from services.kit import attributes, errors, outbox, telemetry
from services.kit.app import Service
from services.kit.db import Connection, Database
from services.kit.partition import partition_of


class Planner:
    """The job `planner`, and the first pages of a launch."""

    def __init__(
        self,
        service: Service,
        database: Database,
        neighbours: Neighbours,
        bitmaps: Bitmaps,
        *,
        page_size: int,
        outstanding_pages: int,
        trace_budget: int,
    ) -> None:
        self._service = service
        self._db = database
        self._neighbours = neighbours
        self._bitmaps = bitmaps
        self._size = page_size
        self._window = page_size * outstanding_pages
        self._trace_budget = trace_budget
        self._traced: Counter[tuple[int, date]] = Counter()
        self._launching: set[int] = set()
        self._waiting = 0  # plans that the last look left because of the pace
        self._looked_at = 0.0
        self._asked_at = 0.0
        service.status.busy("pages", self._in_hand)

    async def run(self) -> int:
        """Hand out what is wanted now; the number of touches handed."""
        looked_at = time.monotonic()
        found = [
            which
            for which in await self._db.read(work.open_plans)
            if which.activity_number not in self._launching
        ]
        total = waiting = 0
        if found:
            numbers = sorted({which.activity_number for which in found})
            known = await self._db.read(lambda tx: activities.by_number(tx, numbers))
            intakes = await self._neighbours.intake(numbers)
            for which in found:
                activity = known[which.activity_number]
                intake = intakes.get((which.activity_number, which.touchpoint))
                try:
                    handed = await self._hand(activity, which, intake, within_launch=False)
                except (errors.NotFound, errors.Conflict) as problem:
                    # A set that cannot be read holds up nobody else's pages.
                    self._service.log.error("no page of activity %d: %s", activity.number, problem)
                    handed = 0
                total += handed or 0
                waiting += handed == 0
        self._waiting, self._looked_at = waiting, looked_at
        return total

    @contextmanager
    def left_to_launch(self, number: int) -> Iterator[None]:
        """Keep the job off an activity while its launch hands out its first pages, in its own trace."""
        self._launching.add(number)
        try:
            yield
        finally:
            self._launching.discard(number)

    async def first_pages(self, number: int) -> int:
        """Hand one page to each touchpoint of an activity just launched, in the trace of its launch."""
        total = 0
        found = await self._db.read(lambda tx: work.open_plans(tx, number))
        known = await self._db.read(lambda tx: activities.by_number(tx, [number]))
        for which in found:
            total += await self._hand(known[number], which, None, within_launch=True) or 0
        return total

    async def _hand(
        self,
        activity: activities.Activity,
        which: work.OpenPlan,
        intake: Intake | None,
        *,
        within_launch: bool,
    ) -> int | None:
        """Touches handed; 0 when the pace allows none, None when the touchpoint's days forbid it."""
        setting = next(
            item.setting for item in activity.settings if item.setting.touchpoint == which.touchpoint
        )
        today = self._service.clock.today(self._service.runtime.timezone)
        if today not in setting.period:
            return None
        # A touchpoint that has not heard of the activity yet gets one page to begin with.
        received, room = (intake.received, intake.room) if intake else (0, self._size)
        bitmaps, handed = await self._db.read(
            lambda tx: (
                work.cursors(tx, which, lock=False)[1],
                work.handed(tx, which.activity_number, which.touchpoint),
            )
        )
        if not pages.allowance(received, room, handed, self._window):
            return 0
        sets = {digest: await self._bitmaps.get(bitmap) for digest, bitmap in bitmaps.items()}
        day, count = pages.planned_day(today), self._service.runtime.partitions

        def hand(tx: Connection) -> int:
            if activities.states(tx, [activity.number]).get(activity.number) is not ActivityState.RUNNING:
                return 0
            cursors, _, first = work.cursors(tx, which, lock=True)
            before = work.handed(tx, activity.number, which.touchpoint)
            allowed = pages.allowance(received, room, before, self._window)
            rows, total, cut = [], 0, Counter[str]()
            for page in pages.next_pages(cursors, sets, allowed, first, self._size, quiet=before <= received):
                cut[page.group] += 1
                total += len(page.ordinals)
                rows.append(
                    announce.push_page(
                        tx,
                        page_id=pages.push_page_id(activity.number, which.touchpoint, which.wave, page.index),
                        activity=activity,
                        setting=setting,
                        day=day,
                        wave=which.wave,
                        group=page.group,
                        ordinals=page.ordinals,
                        partition=partition_of(activity.number << 32 | page.index, count),
                    )
                )
            for cursor in cursors:
                if cut[cursor.group]:
                    work.move_cursor(tx, which, cursor, cut[cursor.group])
            key = (activity.number, which.touchpoint)
            work.add_counts(tx, {(*key, "unplanned", ""): -total, (*key, "handed", ""): total})
            outbox.add_all(tx, rows)
            return total

        root = not within_launch and self._may_trace(activity.number, today)
        with self._service.telemetry.span(
            "campaign.plan_pages",
            {
                attributes.ACTIVITY_NUMBER: activity.number,
                attributes.TOUCHPOINT: touchpoint_word(which.touchpoint),
            },
            root=root,
            links=telemetry.link({"traceparent": activity.launch_trace}) if root else (),
        ) as span:
            total = await self._db.transaction(hand)
            span.set_attribute(attributes.ROWS, total)
        return total

    def _may_trace(self, number: int, today: date) -> bool:
        """One span tree per planning run, at most `trace_budget` an activity and day."""
        if self._traced[number, today] >= self._trace_budget:
            return False
        if len(self._traced) > 10_000:
            self._traced = Counter({key: n for key, n in self._traced.items() if key[1] == today})
        self._traced[number, today] += 1
        return True

    def _in_hand(self) -> int:
        """Work in hand for the status: plans held back by the pace count until a look that began after
        the last question found them still held back."""
        if not self._waiting:
            return 0
        fresh = self._looked_at > self._asked_at
        self._asked_at = time.monotonic()
        self._service.status.jobs["planner"].kick.set()
        return 0 if fresh else self._waiting
