"""What both servicers share."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message

from services.campaign.jobs.launcher import Launcher
from services.campaign.neighbours import Neighbours
from services.campaign.store import activities, campaigns
from services.kit import requests, resource, rpc
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.db import Connection, Database

M = TypeVar("M", bound=Message)


class Base:
    """Database, clock, neighbours; reads within the caller's regions; mutations once per request id."""

    def __init__(
        self, service: Service, database: Database, neighbours: Neighbours, launcher: Launcher
    ) -> None:
        self.service = service
        self.db = database
        self.neighbours = neighbours
        self.launcher = launcher

    def now(self) -> datetime:
        """Business time."""
        return self.service.clock.now()

    async def once(self, request: Any, kind: type[M], fn: Callable[[Connection, Actor], M]) -> M:
        """Run `fn(tx, actor)` in a transaction, once for each request id of the actor."""
        actor = rpc.actor()
        method = request.DESCRIPTOR.name.removesuffix("Request")

        def work(tx: Connection) -> M:
            return requests.once(tx, method, request.request_id, actor, kind, lambda: fn(tx, actor))

        return await self.db.transaction(work)


def regions_of(actor: Actor) -> tuple[int, ...] | None:
    """Regions to list, None for all."""
    return None if actor.whole_province else actor.regions


def visible_campaign(
    tx: Connection, name: str, actor: Actor, *, lock: bool = False, field: str = "name"
) -> Any:
    """The campaign of that name; NotFound, or Denied when it is of another region than the actor's."""
    found = campaigns.get(tx, resource.parse(name, "campaigns", field), lock=lock)
    actor.require_region(found.plan.region)
    return found


def visible_activity(
    tx: Connection, name: str, actor: Actor, *, lock: bool = False, field: str = "name"
) -> tuple[campaigns.Campaign, activities.Activity]:
    """The activity of that name and its campaign, which is locked if asked; errors as `visible_campaign`."""
    campaign_id, activity_id = resource.ids(name, "campaigns", "activities", field=field)
    campaign = campaigns.get(tx, campaign_id, lock=lock)
    actor.require_region(campaign.plan.region)
    return campaign, activities.get(tx, campaign_id, activity_id)
