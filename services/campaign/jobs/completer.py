"""Ends activities after their last day and campaigns after their last activity, by the business clock."""

from services.campaign import lifecycle
from services.campaign.domain.states import LIVE, ActivityState, CampaignState
from services.campaign.store import activities, campaigns
from services.kit.app import Service
from services.kit.db import Connection, Database


class Completer:
    """The job `completer`."""

    def __init__(self, service: Service, database: Database) -> None:
        self._service = service
        self._db = database

    async def run(self) -> bool:
        """End what is over; True when something was."""
        clock = self._service.clock
        today = clock.today(self._service.runtime.timezone)
        due = await self._db.read(lambda tx: activities.due(tx, today))
        for campaign_id, number in due:
            await self._db.transaction(lambda tx, c=campaign_id, n=number: self._end_activity(tx, c, n))  # type: ignore[misc]
        over = await self._db.read(lambda tx: campaigns.over(tx, today))
        for campaign_id in over:
            await self._db.transaction(lambda tx, c=campaign_id: self._end_campaign(tx, c))  # type: ignore[misc]
        return bool(due or over)

    def _end_activity(self, tx: Connection, campaign_id: str, number: int) -> None:
        campaigns.get(tx, campaign_id, lock=True)
        activity = activities.by_number(tx, [number])[number]
        if activity.state in LIVE:
            lifecycle.move_activity(tx, activity, ActivityState.COMPLETED, self._service.clock.now())

    def _end_campaign(self, tx: Connection, campaign_id: str) -> None:
        campaign = campaigns.get(tx, campaign_id, lock=True)
        if campaign.state in (CampaignState.RUNNING, CampaignState.PAUSED):
            actor = f"service:{self._service.name}"
            lifecycle.move_campaign(tx, campaign, "complete", actor, "", self._service.clock.now())
