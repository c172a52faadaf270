"""Launches activities: snapshots, split, announcement, first pages. Resumes after a crash where it stopped.

Everything that a launch computes is a function of the activity, and the last transaction takes the
launch row away: two that work on the same launch change nothing twice.
"""

import asyncio
from collections import defaultdict

from services.campaign import announce
from services.campaign.bitmaps import Bitmaps
from services.campaign.domain import split
from services.campaign.domain.states import ActivityState, CampaignState
from services.campaign.jobs import selection
from services.campaign.jobs.planner import Planner
from services.campaign.neighbours import Neighbours
from services.campaign.store import activities, campaigns, work
from services.kit import attributes, errors, telemetry
from services.kit.app import Service
from services.kit.db import Connection, Database


class Launcher:
    """Brings the activities of running campaigns to life."""

    def __init__(
        self,
        service: Service,
        database: Database,
        neighbours: Neighbours,
        bitmaps: Bitmaps,
        planner: Planner,
        trace_budget: int,
    ) -> None:
        self._service = service
        self._db = database
        self._neighbours = neighbours
        self._bitmaps = bitmaps
        self._planner = planner
        self._trace_budget = trace_budget
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pending = 0
        service.status.busy("launches", lambda: self._pending)

    async def launch(self, campaign_id: str) -> None:
        """Launch what is pending of a campaign, within the call in hand; failures are left to the job."""
        for pending in await self._db.read(lambda tx: work.pending_launches(tx, campaign_id)):
            await self._attempt(pending, None)

    async def run(self) -> bool:
        """Launch whatever is pending anywhere; True when something was launched."""
        due = await self._db.read(lambda tx: work.pending_launches(tx, due_only=True))
        results = [await self._attempt(item, telemetry.extract({"traceparent": item.trace})) for item in due]
        self._pending = len(await self._db.read(work.pending_launches))
        return any(results)

    async def _attempt(self, pending: work.Launch, parent: telemetry.Context | None) -> bool:
        async with self._locks[pending.activity_number]:
            try:
                return await self._launch(pending, parent)
            except Exception as problem:
                # Foreseen or not: it is noted where the planner sees it, and tried again later.
                if not isinstance(problem, errors.Error):
                    self._service.log.exception("the launch of activity %d failed", pending.activity_number)
                await self._note_failure(pending, str(problem) or type(problem).__name__)
                return False
            finally:
                self._locks.pop(pending.activity_number, None)

    async def _launch(self, pending: work.Launch, parent: telemetry.Context | None) -> bool:
        number = pending.activity_number

        def read(tx: Connection) -> tuple[campaigns.Campaign, activities.Activity | None]:
            found = activities.by_number(tx, [number]).get(number)
            return campaigns.get(tx, pending.campaign_id), found

        campaign, activity = await self._db.read(read)
        if activity is None or campaign.state is not CampaignState.RUNNING:
            return False
        links = [
            link
            for trace in (campaign.submit_trace, campaign.approve_trace)
            for link in telemetry.link({"traceparent": trace})
        ]
        with self._service.telemetry.span(
            "campaign.launch_activity",
            {
                attributes.CAMPAIGN_ID: campaign.id,
                attributes.ACTIVITY_ID: activity.id,
                attributes.ACTIVITY_NUMBER: number,
            },
            links=links,
            parent=parent,
        ) as span:
            selections = await selection.select(
                activity,
                [item.setting for item in activity.settings],
                campaign.scope,
                f"launch-{number}",
                self._neighbours,
                self._bitmaps,
            )
            prepared = await self._prepare(activity, selections)
            span.set_attribute(attributes.ROWS, prepared.target.cardinality)
            with self._planner.left_to_launch(number):
                if not await self._db.transaction(lambda tx: self._finish(tx, pending, selections, prepared)):
                    return False
                if not activity.plan.by_event:
                    await self._planner.first_pages(number)
        return True

    async def _prepare(
        self, activity: activities.Activity, selections: list[selection.Selection]
    ) -> "Prepared":
        """Store the sets that others need and ask for the definition, before the transaction."""
        prefix = f"activity-{activity.number}"
        version = max((s.directory_version for s in selections), default=0)
        control = selection.union(s.control for s in selections)
        target = selection.union(s.members for s in selections) - control
        groups = {}
        if not activity.plan.by_event:
            for s in selections:
                for index, members in s.groups.items():
                    stored = await self._bitmaps.put(f"{prefix}-group", members, s.directory_version)
                    groups[s.stored.digest, index] = stored
        definition = 0
        if activity.plan.by_event:
            definition = await self._neighbours.definition_number(activity.plan.definition)
        return Prepared(
            target=await self._bitmaps.put(f"{prefix}-target", target, version),
            control=await self._bitmaps.put(f"{prefix}-control", control, version),
            groups=groups,
            definition_number=definition,
        )

    def _finish(
        self,
        tx: Connection,
        pending: work.Launch,
        selections: list[selection.Selection],
        prepared: "Prepared",
    ) -> bool:
        number = pending.activity_number
        campaign = campaigns.get(tx, pending.campaign_id, lock=True)
        if campaign.state is not CampaignState.RUNNING or not work.end_launch(tx, number):
            return False
        activity = activities.by_number(tx, [number])[number]
        now = self._service.clock.now()
        last_day = max(item.setting.period.end for item in activity.settings)
        activities.set_state(
            tx,
            activity,
            ActivityState.RUNNING,
            now,
            last_day=last_day,
            refreshed_day=self._service.clock.today(self._service.runtime.timezone),
            wave=1,
            snapshot=selections[0].snapshot.name,
            target=vars(prepared.target),
            control=vars(prepared.control),
            launch_trace=pending.trace,
        )
        for s in selections:
            for touchpoint in s.touchpoints:
                activities.note_selection(tx, number, touchpoint, s.stored, len(s.control), s.excluded)
                if not activity.plan.by_event:
                    open_push(tx, activity, touchpoint, 1, s, prepared.groups)
        after = activities.by_number(tx, [number])[number]
        announce.launched(
            tx, campaign, after, selections[0].snapshot.matched, selections[0].excluded, self._trace_budget
        )
        if activity.plan.by_event:
            first_day = min(item.setting.period.start for item in activity.settings)
            definition = prepared.definition_number
            version = work.put_population(tx, number, definition, prepared.target)
            announce.population_bound(tx, after, definition, version, prepared.target, first_day, last_day)
        return True

    async def _note_failure(self, pending: work.Launch, problem: str) -> None:
        self._pending = max(self._pending, 1)

        def note(tx: Connection) -> None:
            if work.fail_launch(tx, pending.activity_number, problem):
                comment = f"activity {pending.activity_number}: {problem}"
                now, actor = self._service.clock.now(), f"service:{self._service.name}"
                campaigns.note(tx, pending.campaign_id, now, actor, "launch_failed", comment)

        self._service.log.warning("activity %d is not launched yet: %s", pending.activity_number, problem)
        await self._db.transaction(note)


class Prepared:
    """The stored sets of a launch."""

    def __init__(
        self,
        target: activities.Bitmap,
        control: activities.Bitmap,
        groups: dict[tuple[str, int], activities.Bitmap],
        definition_number: int,
    ) -> None:
        self.target, self.control = target, control
        self.groups = groups  # by digest of the snapshot and index of the group
        self.definition_number = definition_number


def open_push(
    tx: Connection,
    activity: activities.Activity,
    touchpoint: int,
    wave: int,
    found: selection.Selection,
    groups: dict[tuple[str, int], activities.Bitmap],
) -> None:
    """Count a push's selection for one touchpoint; whoever may be contacted is unplanned at first."""
    number, splits = activity.number, activity.plan.splits
    counts = {
        (number, touchpoint, "target", ""): found.snapshot.matched,
        (number, touchpoint, "control", ""): len(found.control),
        (number, touchpoint, "unplanned", ""): len(found.members) - len(found.control),
        (number, touchpoint, "handed", ""): 0,
    }
    for reason, count in found.excluded.items():
        counts[number, touchpoint, "excluded", reason] = count
    work.add_counts(tx, counts)
    served = [
        (index, split.group_name(splits, index), groups[found.stored.digest, index])
        for index in split.serving(splits, touchpoint)
    ]
    work.add_plans(tx, number, touchpoint, wave, served)
