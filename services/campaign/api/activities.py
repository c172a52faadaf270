"""ActivityService: activities, the cart, progress, and on which side a subscriber stands."""

from typing import Any

import numpy as np
from google.protobuf import empty_pb2
from iop.campaign.v1 import activity_pb2, activity_pb2_grpc

from services.campaign import translate
from services.campaign.api.base import Base, regions_of, visible_activity, visible_campaign
from services.campaign.bitmaps import Bitmaps
from services.campaign.domain import completeness, split
from services.campaign.domain.states import ActivityState, next_state
from services.campaign.jobs.launcher import Launcher
from services.campaign.neighbours import Neighbours
from services.campaign.store import activities, campaigns, work
from services.kit import errors, page, resource, rpc
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.db import Connection, Database

_Activity = activity_pb2.Activity


class ActivityApi(Base, activity_pb2_grpc.ActivityServiceServicer):
    """iop.campaign.v1.ActivityService."""

    def __init__(
        self,
        service: Service,
        database: Database,
        neighbours: Neighbours,
        launcher: Launcher,
        bitmaps: Bitmaps,
    ) -> None:
        super().__init__(service, database, neighbours, launcher)
        self.bitmaps = bitmaps

    async def CreateActivity(self, request: Any, context: Any) -> Any:
        """A new activity of a draft."""
        plan = translate.activity_plan(request.activity)
        completeness.check_activity(plan)

        def create(tx: Connection, actor: Actor) -> _Activity:
            campaign = visible_campaign(tx, request.parent, actor, lock=True, field="parent")
            activity_id = request.activity_id or resource.new_id()
            now = self.now()
            campaigns.edit(tx, campaign, actor.subject, now, f"activity {activity_id} added")
            return translate.activity(activities.create(tx, campaign.id, activity_id, plan, now))

        return await self.once(request, _Activity, create)

    async def GetActivity(self, request: Any, context: Any) -> Any:
        """One activity with its settings in force."""
        actor = rpc.actor()
        _, found = await self.db.read(lambda tx: visible_activity(tx, request.name, actor))
        return translate.activity(found)

    async def ListActivities(self, request: Any, context: Any) -> Any:
        """Activities of a campaign, or with `campaigns/-` of all the caller's regions; oldest first."""
        actor, size = rpc.actor(), page.size(request.page_size)
        last = page.read(request.page_token, request)
        after = last[0] if last else None

        def read(tx: Connection) -> list[activities.Activity]:
            campaign_id = None
            if request.parent != "campaigns/-":
                campaign_id = visible_campaign(tx, request.parent, actor, field="parent").id
            return activities.page(tx, campaign_id, regions_of(actor), after, size + 1)

        found = await self.db.read(read)
        response = activity_pb2.ListActivitiesResponse(
            activities=[translate.activity(a) for a in found[:size]]
        )
        if len(found) > size:
            response.next_page_token = page.token([found[size - 1].number], request)
        return response

    async def UpdateActivity(self, request: Any, context: Any) -> Any:
        """New content; voids a submission or approval of the campaign."""
        given = request.activity

        def update(tx: Connection, actor: Actor) -> _Activity:
            campaign, found = visible_activity(tx, given.name, actor, lock=True, field="activity.name")
            resource.check_etag(given.etag, found.version)
            merged = translate.masked(
                translate.activity(found), given, request.update_mask, translate.ACTIVITY_FIELDS, "activity"
            )
            plan = translate.activity_plan(merged)
            completeness.check_activity(plan)
            now = self.now()
            campaigns.edit(tx, campaign, actor.subject, now, f"activity {found.id}")
            return translate.activity(activities.update(tx, found, plan, now))

        return await self.once(request, _Activity, update)

    async def DeleteActivity(self, request: Any, context: Any) -> Any:
        """Remove an activity of a draft with its settings and cart items."""

        def delete(tx: Connection, actor: Actor) -> empty_pb2.Empty:
            campaign, found = visible_activity(tx, request.name, actor, lock=True)
            campaigns.edit(tx, campaign, actor.subject, self.now(), f"activity {found.id} removed")
            activities.delete(tx, found)
            return empty_pb2.Empty()

        return await self.once(request, empty_pb2.Empty, delete)

    # --- cart ---

    async def AddToCart(self, request: Any, context: Any) -> Any:
        """Park a setting of a complete activity in the caller's cart (CMP-19, CMP-20, TCH-21)."""
        setting = translate.setting_value(request.setting)
        catalogue = await self.neighbours.catalogue()

        def park(tx: Connection, actor: Actor) -> activity_pb2.CartItem:
            campaign, found = visible_activity(tx, request.activity, actor, lock=True, field="activity")
            next_state("park", campaign.state)
            completeness.require_complete(completeness.missing(found.plan))
            completeness.check_setting(setting, found.plan, campaign.plan, catalogue)
            return translate.cart_item(activities.park(tx, actor.subject, found, setting, self.now()))

        return await self.once(request, activity_pb2.CartItem, park)

    async def RemoveFromCart(self, request: Any, context: Any) -> Any:
        """Take an item out of the caller's own cart."""

        def remove(tx: Connection, actor: Actor) -> empty_pb2.Empty:
            if not activities.unpark(tx, actor.subject, [request.item_id]):
                raise errors.NotFound(f"your cart holds no item {request.item_id}")
            return empty_pb2.Empty()

        return await self.once(request, empty_pb2.Empty, remove)

    async def ListCart(self, request: Any, context: Any) -> Any:
        """The caller's own cart, oldest first."""
        actor, size = rpc.actor(), page.size(request.page_size)
        last = page.read(request.page_token, request)
        after = last[0] if last else None
        found = await self.db.read(lambda tx: activities.cart(tx, actor.subject, after=after, limit=size + 1))
        response = activity_pb2.ListCartResponse(items=[translate.cart_item(item) for item in found[:size]])
        if len(found) > size:
            response.next_page_token = page.token([found[size - 1].number], request)
        return response

    # --- progress ---

    async def GetActivityProgress(self, request: Any, context: Any) -> Any:
        """Counters of an activity's touchpoints, of one moment."""
        actor = rpc.actor()

        def read(tx: Connection) -> Any:
            _, found = visible_activity(tx, request.name, actor)
            return found, work.counts(tx, [found.number]), work.get_population(tx, found.number)

        found, counts, population = await self.db.read(read)
        response = activity_pb2.ActivityProgress(name=found.name, activity_number=found.number)
        if population is not None and population.bound:
            response.population = population.bitmap.cardinality
        for item in found.settings:
            own = counts.get((found.number, item.setting.touchpoint), {})
            row = response.touchpoints.add(
                touchpoint=item.setting.touchpoint,
                target=own.get(("target", ""), 0),
                control=own.get(("control", ""), 0),
                excluded=translate.reasons({r: n for (c, r), n in own.items() if c == "excluded" and n}),
                unplanned=own.get(("unplanned", ""), 0),
                handed=own.get(("handed", ""), 0),
            )
            if found.plan.by_event:
                row.population_control = item.control
                row.population_excluded.extend(translate.reasons(item.excluded))
        return response

    async def ExplainTarget(self, request: Any, context: Any) -> Any:
        """On which side of the split a number stands."""
        actor = rpc.actor()
        _, found = await self.db.read(lambda tx: visible_activity(tx, request.name, actor))
        if found.state is ActivityState.NOT_LAUNCHED or found.target is None or found.control is None:
            return activity_pb2.ExplainTargetResponse(side="not_launched")
        ordinal = await self.neighbours.ordinal_of(request.phone)
        if ordinal is None:
            raise errors.NotFound("nobody has this number", fields=[("phone", "is not in the directory")])
        if ordinal in await self.bitmaps.get(found.control):
            return activity_pb2.ExplainTargetResponse(side="control")
        if ordinal not in await self.bitmaps.get(found.target):
            return activity_pb2.ExplainTargetResponse(side="not_selected")
        hashed = split.hashes(split.seed_of(found.name), np.array([ordinal], np.uint32))
        group = int(split.groups_of(hashed, found.plan.splits)[0])
        if group < 0:
            return activity_pb2.ExplainTargetResponse(side="unplanned")
        name = split.group_name(found.plan.splits, group)
        return activity_pb2.ExplainTargetResponse(side="target", group=name)
