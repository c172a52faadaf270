"""Periodic update (TCH-16, CMP-24): once a business day the target of such settings is selected again.

An event activity gets a new population. A push gets another wave with the newcomers only: who was
selected before keeps the side of the split he was on and is not touched again.
"""

import time
from datetime import date

from services.campaign import announce
from services.campaign.bitmaps import Bitmaps
from services.campaign.domain import split
from services.campaign.domain.states import ActivityState
from services.campaign.jobs import selection
from services.campaign.neighbours import Neighbours
from services.campaign.store import activities, campaigns, work
from services.kit import attributes, errors, telemetry
from services.kit.app import Service
from services.kit.db import Connection, Database

RETRY_S = 30.0


class Refresher:
    """The job `refresher`."""

    def __init__(
        self, service: Service, database: Database, neighbours: Neighbours, bitmaps: Bitmaps
    ) -> None:
        self._service = service
        self._db = database
        self._neighbours = neighbours
        self._bitmaps = bitmaps
        self._again: dict[int, float] = {}  # activity whose update failed -> when to try again

    async def run(self) -> bool:
        """Select again what is due today; True when something was."""
        today = self._service.clock.today(self._service.runtime.timezone)
        due = await self._db.read(lambda tx: activities.to_refresh(tx, today))
        done = 0
        for number in due:
            if self._again.get(number, 0.0) > time.monotonic():
                continue
            try:
                await self._refresh(number, today)
                self._again.pop(number, None)
                done += 1
            except errors.Error as problem:
                # It keeps yesterday's customers meanwhile; the others are not held up.
                self._again[number] = time.monotonic() + RETRY_S
                self._service.log.warning("activity %d is not updated yet: %s", number, problem)
        return done > 0

    async def _refresh(self, number: int, today: date) -> None:
        def read(tx: Connection) -> tuple[activities.Activity, campaigns.Campaign]:
            found = activities.by_number(tx, [number])[number]
            return found, campaigns.get(tx, found.campaign_id)

        activity, campaign = await self._db.read(read)
        settings = [
            item.setting
            for item in activity.settings
            if item.setting.periodic_update and today in item.setting.period
        ]
        with self._service.telemetry.span(
            "campaign.refresh_activity",
            {attributes.ACTIVITY_NUMBER: number},
            root=True,
            links=telemetry.link({"traceparent": activity.launch_trace}),
        ):
            found = await selection.select(
                activity,
                settings,
                campaign.scope,
                f"refresh-{number}-{today}",
                self._neighbours,
                self._bitmaps,
            )
            if activity.plan.by_event:
                await self._new_population(activity, found, today)
            else:
                await self._new_wave(activity, found, today)

    async def _new_population(
        self, activity: activities.Activity, found: list[selection.Selection], today: date
    ) -> None:
        fresh = {touchpoint: s for s in found for touchpoint in s.touchpoints}
        kept = [
            await self._bitmaps.get(item.selected)
            for item in activity.settings
            if item.selected is not None and item.setting.touchpoint not in fresh
        ]
        everyone = selection.union([*kept, *(s.members for s in found)])
        prefix, version = f"activity-{activity.number}", max((s.directory_version for s in found), default=0)
        seed, percent = split.seed_of(activity.name), activity.plan.control_percent
        control, _ = split.divide(everyone, seed, percent, ())
        target = await self._bitmaps.put(f"{prefix}-target", everyone - control, version)
        apart = await self._bitmaps.put(f"{prefix}-control", control, version)
        first_day = min(item.setting.period.start for item in activity.settings)
        last_day = max(item.setting.period.end for item in activity.settings)

        def write(tx: Connection) -> None:
            if not self._still_due(tx, activity, today):
                return
            activities.note_refresh(tx, activity.number, today)
            population = work.get_population(tx, activity.number)
            if not found or population is None:
                return
            for s in found:
                for touchpoint in s.touchpoints:
                    activities.note_selection(
                        tx, activity.number, touchpoint, s.stored, len(s.control), s.excluded
                    )
            activities.note_refresh(
                tx,
                activity.number,
                today,
                target=vars(target),
                control=vars(apart),
                snapshot=found[0].snapshot.name,
            )
            definition = population.definition_number
            new_version = work.put_population(tx, activity.number, definition, target)
            announce.population_bound(tx, activity, definition, new_version, target, first_day, last_day)

        await self._db.transaction(write)

    async def _new_wave(
        self, activity: activities.Activity, found: list[selection.Selection], today: date
    ) -> None:
        """Newcomers of each setting: selected now and never before."""
        wave, prefix = activity.wave + 1, f"activity-{activity.number}"
        before = {item.setting.touchpoint: item for item in activity.settings}
        plans, everyone = [], []
        for s in found:
            for touchpoint in s.touchpoints:
                earlier = before[touchpoint]
                assert earlier.selected is not None  # launched
                known = await self._bitmaps.get(earlier.selected)
                newcomers = s.members - known
                seed, percent = split.seed_of(activity.name), activity.plan.control_percent
                control, groups = split.divide(newcomers, seed, percent, activity.plan.splits)
                stored = {
                    index: await self._bitmaps.put(f"{prefix}-group", members, s.directory_version)
                    for index, members in groups.items()
                }
                all_known = await self._bitmaps.put(
                    f"{prefix}-selected", known | s.members, s.directory_version
                )
                everyone.append(newcomers)
                plans.append((touchpoint, earlier, newcomers, control, stored, all_known))
        version = max((s.directory_version for s in found), default=0)
        assert activity.target is not None and activity.control is not None  # launched
        everyone_new = selection.union(everyone)
        control_new, _ = split.divide(
            everyone_new, split.seed_of(activity.name), activity.plan.control_percent, ()
        )
        target_bits = (await self._bitmaps.get(activity.target)) | (everyone_new - control_new)
        control_bits = (await self._bitmaps.get(activity.control)) | control_new
        target = await self._bitmaps.put(f"{prefix}-target", target_bits, version)
        apart = await self._bitmaps.put(f"{prefix}-control", control_bits, version)

        def write(tx: Connection) -> None:
            if not self._still_due(tx, activity, today):
                return
            activities.note_refresh(
                tx, activity.number, today, wave=wave, target=vars(target), control=vars(apart)
            )
            splits = activity.plan.splits
            for touchpoint, earlier, newcomers, control, stored, all_known in plans:
                activities.note_selection(
                    tx,
                    activity.number,
                    touchpoint,
                    all_known,
                    earlier.control + len(control),
                    earlier.excluded,
                )
                key = (activity.number, touchpoint)
                work.add_counts(
                    tx,
                    {
                        (*key, "target", ""): len(newcomers),
                        (*key, "control", ""): len(control),
                        (*key, "unplanned", ""): len(newcomers) - len(control),
                    },
                )
                served = split.serving(splits, touchpoint)
                groups = [(index, split.group_name(splits, index), stored[index]) for index in served]
                work.add_plans(tx, activity.number, touchpoint, wave, groups)

        await self._db.transaction(write)

    @staticmethod
    def _still_due(tx: Connection, activity: activities.Activity, today: date) -> bool:
        """Whether nobody else refreshed, paused or ended the activity meanwhile."""
        campaigns.get(tx, activity.campaign_id, lock=True)
        now = activities.by_number(tx, [activity.number])[activity.number]
        due = now.refreshed_day is not None and now.refreshed_day < today
        return now.state is ActivityState.RUNNING and due
