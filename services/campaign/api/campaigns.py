"""CampaignService: plans, approval, launch and life of campaigns (CMP-01 to CMP-38)."""

from typing import Any

from google.protobuf import empty_pb2
from iop.campaign.v1 import campaign_pb2, campaign_pb2_grpc

from services.campaign import lifecycle, translate
from services.campaign.api.base import Base, regions_of, visible_campaign
from services.campaign.domain import approval, completeness, reasons
from services.campaign.domain.completeness import TouchpointRules
from services.campaign.domain.states import DONE, next_state
from services.campaign.store import activities, campaigns, work
from services.kit import errors, page, resource, rpc, telemetry
from services.kit.actor import Actor
from services.kit.db import Connection

_Campaign = campaign_pb2.Campaign


class CampaignApi(Base, campaign_pb2_grpc.CampaignServiceServicer):
    """iop.campaign.v1.CampaignService."""

    async def CreateCampaign(self, request: Any, context: Any) -> Any:
        """A new draft of one of the caller's regions."""
        plan = translate.campaign_plan(request.campaign)

        def create(tx: Connection, actor: Actor) -> _Campaign:
            actor.require_region(plan.region)
            campaign_id = request.campaign_id or resource.new_id()
            return translate.campaign(campaigns.create(tx, campaign_id, plan, actor.subject, self.now()))

        return await self.once(request, _Campaign, create)

    async def GetCampaign(self, request: Any, context: Any) -> Any:
        """One campaign."""
        actor = rpc.actor()
        return translate.campaign(await self.db.read(lambda tx: visible_campaign(tx, request.name, actor)))

    async def ListCampaigns(self, request: Any, context: Any) -> Any:
        """Campaigns of the caller's regions, newest first."""
        actor, size = rpc.actor(), page.size(request.page_size)
        last = page.read(request.page_token, request)
        before = last[0] if last else None
        found = await self.db.read(
            lambda tx: campaigns.page(tx, regions_of(actor), request.state, before, size + 1)
        )
        response = campaign_pb2.ListCampaignsResponse(campaigns=[translate.campaign(c) for c in found[:size]])
        if len(found) > size:
            response.next_page_token = page.token([found[size - 1].number], request)
        return response

    async def UpdateCampaign(self, request: Any, context: Any) -> Any:
        """New content; what was submitted or approved has to be submitted again."""
        given = request.campaign

        def update(tx: Connection, actor: Actor) -> _Campaign:
            found = visible_campaign(tx, given.name, actor, lock=True, field="campaign.name")
            resource.check_etag(given.etag, found.version)
            merged = translate.masked(
                translate.campaign(found), given, request.update_mask, translate.CAMPAIGN_FIELDS, "campaign"
            )
            plan = translate.campaign_plan(merged)
            actor.require_region(plan.region)
            return translate.campaign(campaigns.edit(tx, found, actor.subject, self.now(), "campaign", plan))

        return await self.once(request, _Campaign, update)

    async def DeleteCampaign(self, request: Any, context: Any) -> Any:
        """Remove a draft with its activities."""

        def delete(tx: Connection, actor: Actor) -> empty_pb2.Empty:
            found = visible_campaign(tx, request.name, actor, lock=True)
            campaigns.delete(tx, found, actor.subject, self.now())
            return empty_pb2.Empty()

        return await self.once(request, empty_pb2.Empty, delete)

    async def SubmitCampaign(self, request: Any, context: Any) -> Any:
        """Take the caller's cart items of the campaign into force and ask for approval (POR-12)."""
        catalogue = await self.neighbours.catalogue()
        await self._check_definitions(request.name)

        def submit(tx: Connection, actor: Actor) -> _Campaign:
            found = visible_campaign(tx, request.name, actor, lock=True)
            resource.check_etag(request.etag, found.version)
            after = next_state("submit", found.state)
            items = activities.cart(tx, actor.subject, campaign_id=found.id)
            for item in items:
                activities.put_setting(tx, item.activity_number, item.setting)
            activities.unpark(tx, actor.subject, [item.id for item in items])
            _check_content(tx, found, catalogue)
            scope = () if actor.whole_province else actor.regions
            now = self.now()
            campaigns.note(
                tx, found.id, now, actor.subject, DONE["submit"], f"{len(items)} settings from the cart"
            )
            return translate.campaign(
                campaigns.change(
                    tx,
                    found,
                    now,
                    state=after,
                    scope=list(scope),
                    digest=_digest(tx, found, scope),
                    editors=sorted({*found.editors, actor.subject}),
                    submit_trace=_trace(),
                    approver="",
                    approve_trace="",
                )
            )

        return await self.once(request, _Campaign, submit)

    async def ApproveCampaign(self, request: Any, context: Any) -> Any:
        """Approve exactly the content whose digest is quoted; someone else than its authors."""

        def approve(tx: Connection, actor: Actor) -> _Campaign:
            found = visible_campaign(tx, request.name, actor, lock=True)
            after = next_state("approve", found.state)
            approval.require_four_eyes(actor.subject, found.editors)
            approval.require_current(request.content_digest, found.digest)
            approval.require_current(found.digest, _digest(tx, found, found.scope))
            now = self.now()
            campaigns.note(tx, found.id, now, actor.subject, DONE["approve"], request.comment)
            values = {"approver": actor.subject, "comment": request.comment, "approve_trace": _trace()}
            return translate.campaign(campaigns.change(tx, found, now, state=after, **values))

        return await self.once(request, _Campaign, approve)

    async def RejectCampaign(self, request: Any, context: Any) -> Any:
        """Return the campaign to its author."""

        def reject(tx: Connection, actor: Actor) -> _Campaign:
            found = visible_campaign(tx, request.name, actor, lock=True)
            after = next_state("return", found.state)
            now = self.now()
            campaigns.note(tx, found.id, now, actor.subject, DONE["return"], request.comment)
            return translate.campaign(
                campaigns.change(tx, found, now, state=after, comment=request.comment, digest="")
            )

        return await self.once(request, _Campaign, reject)

    async def LaunchCampaign(self, request: Any, context: Any) -> Any:
        """Start an approved campaign; exactly one of several callers wins.

        The campaign runs from the transaction on. Selecting, splitting and the first pages follow within
        the call; what fails then, or is cut off, the job `launcher` finishes.
        """

        def launch(tx: Connection, actor: Actor) -> _Campaign:
            found = visible_campaign(tx, request.name, actor, lock=True)
            after = next_state("launch", found.state)
            approval.require_current(found.digest, _digest(tx, found, found.scope))
            now = self.now()
            numbers = [activity.number for activity in activities.of_campaign(tx, found.id)]
            work.begin_launches(tx, found.id, numbers, _trace())
            campaigns.note(tx, found.id, now, actor.subject, DONE["launch"])
            return translate.campaign(
                campaigns.change(tx, found, now, state=after, launch_time=now, launch_trace=_trace())
            )

        launched = await self.once(request, _Campaign, launch)
        await self.launcher.launch(resource.parse(request.name, "campaigns"))
        return launched

    async def PauseCampaign(self, request: Any, context: Any) -> Any:
        """Pause every activity; leased work is recalled by touchpoint."""
        return await self._move(request, "pause", request.comment)

    async def ResumeCampaign(self, request: Any, context: Any) -> Any:
        """Go on where the pause began; nothing is repeated."""
        return await self._move(request, "resume", "")

    async def TerminateCampaign(self, request: Any, context: Any) -> Any:
        """End before its time; waiting touches are cancelled by touchpoint."""
        return await self._move(request, "terminate", request.comment)

    async def ListJournal(self, request: Any, context: Any) -> Any:
        """Who did what, when; oldest first."""
        actor, size = rpc.actor(), page.size(request.page_size)
        last = page.read(request.page_token, request)
        after = last[0] if last else None

        def read(tx: Connection) -> list[Any]:
            found = visible_campaign(tx, request.parent, actor, field="parent")
            return campaigns.journal_page(tx, found.id, after, size + 1)

        lines = await self.db.read(read)
        response = campaign_pb2.ListJournalResponse(
            entries=[
                campaign_pb2.JournalEntry(
                    time=translate.timestamp(line.time),
                    actor=line.actor,
                    action=line.action,
                    comment=line.comment,
                    trace_id=line.trace_id,
                )
                for line in lines[:size]
            ]
        )
        if len(lines) > size:
            response.next_page_token = page.token([lines[size - 1].number], request)
        return response

    async def _move(self, request: Any, verb: str, comment: str) -> Any:
        def move(tx: Connection, actor: Actor) -> _Campaign:
            found = visible_campaign(tx, request.name, actor, lock=True)
            return translate.campaign(
                lifecycle.move_campaign(tx, found, verb, actor.subject, comment, self.now())
            )

        return await self.once(request, _Campaign, move)

    async def _check_definitions(self, name: str) -> None:
        """Every event that an activity names exists; else Precondition ACTIVITY_INCOMPLETE."""
        actor = rpc.actor()

        def read(tx: Connection) -> list[activities.Activity]:
            return activities.of_campaign(tx, visible_campaign(tx, name, actor).id)

        problems = []
        for activity in await self.db.read(read):
            if activity.plan.by_event and activity.plan.definition:
                try:
                    await self.neighbours.definition_number(activity.plan.definition)
                except errors.NotFound:
                    path = f'activities["{activity.id}"].definition'
                    problems.append((path, f"there is no event {activity.plan.definition}"))
        completeness.require_complete(problems)


def _check_content(tx: Connection, found: campaigns.Campaign, catalogue: dict[int, TouchpointRules]) -> None:
    """Everything that a launch needs is there and fits, now."""
    everything = activities.of_campaign(tx, found.id)
    if not any(activity.settings for activity in everything):
        raise errors.Precondition(
            "the cart holds nothing to submit: park a touchpoint setting first", reason=reasons.CART_EMPTY
        )
    problems = []
    for activity in everything:
        path = f'activities["{activity.id}"]'
        problems += completeness.missing(activity.plan, path)
        if not activity.settings:
            problems.append((f"{path}.settings", "has no touchpoint"))
    completeness.require_complete(problems)
    for activity in everything:
        for item in activity.settings:
            path = f'activities["{activity.id}"].settings[{item.setting.touchpoint}]'
            completeness.check_setting(item.setting, activity.plan, found.plan, catalogue, path)


def _digest(tx: Connection, found: campaigns.Campaign, scope: tuple[int, ...]) -> str:
    content = [
        (activity.id, activity.plan, [item.setting for item in activity.settings])
        for activity in activities.of_campaign(tx, found.id)
    ]
    return approval.content_digest(found.id, found.plan, scope, content)


def _trace() -> str:
    return telemetry.inject().get("traceparent", "")
