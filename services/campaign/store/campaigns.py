"""Campaigns, their journal, and whom they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.campaign.domain import scope as data_scope
from services.campaign.domain.model import CampaignPlan, as_json, from_json
from services.campaign.domain.states import DONE, CampaignState, next_state
from services.campaign.store.tables import activity, campaign, journal
from services.kit import errors, telemetry
from services.kit.db import Connection


@dataclass(frozen=True)
class Campaign:
    """A row of the table `campaign`."""

    id: str
    number: int
    version: int
    state: CampaignState
    plan: CampaignPlan
    author: str
    editors: tuple[str, ...]
    scope: tuple[int, ...]
    digest: str
    approver: str
    comment: str
    submit_trace: str
    approve_trace: str
    launch_trace: str
    create_time: datetime
    update_time: datetime
    launch_time: datetime | None

    @property
    def name(self) -> str:
        """Resource name."""
        return f"campaigns/{self.id}"


def create(tx: Connection, campaign_id: str, plan: CampaignPlan, author: str, now: datetime) -> Campaign:
    """A new draft; Exists when the id is taken."""
    taken = tx.execute(sa.select(campaign.c.id).where(campaign.c.id == campaign_id)).first()
    if taken is not None:
        raise errors.Exists(f"campaigns/{campaign_id} exists already", fields=[("campaign_id", "is taken")])
    tx.execute(
        sa.insert(campaign).values(
            id=campaign_id, version=1, state=CampaignState.DRAFT, region=plan.region, content=as_json(plan),
            author=author, editors=[author], scope=[], digest="", approver="", comment="", submit_trace="",
            approve_trace="", launch_trace="", create_time=now, update_time=now,
        )
    )  # fmt: skip
    note(tx, campaign_id, now, author, "created")
    return get(tx, campaign_id)


def get(tx: Connection, campaign_id: str, *, lock: bool = False) -> Campaign:
    """The campaign; NotFound. With `lock` nobody else changes it or its activities before we commit."""
    query = sa.select(campaign).where(campaign.c.id == campaign_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise errors.NotFound(f"there is no campaign campaigns/{campaign_id}", metadata={"name": campaign_id})
    return _campaign(row)


def page(
    tx: Connection, regions: Sequence[int] | None, state: int, before: int | None, limit: int
) -> list[Campaign]:
    """Newest first; `regions` None sees all, `before` is the number of the last campaign already seen."""
    query = sa.select(campaign).order_by(campaign.c.number.desc()).limit(limit)
    if regions is not None:
        query = query.where(in_regions(regions))
    if state:
        query = query.where(campaign.c.state == state)
    if before is not None:
        query = query.where(campaign.c.number < before)
    return [_campaign(row) for row in tx.execute(query).mappings()]


def in_regions(regions: Sequence[int]) -> sa.ColumnElement[bool]:
    """Whether a campaign's region lies in one of the regions."""
    covered = [campaign.c.region.between(low, high) for low, high in data_scope.ranges(regions)]
    return sa.or_(*covered) if covered else sa.false()


def change(tx: Connection, found: Campaign, now: datetime, **values: Any) -> Campaign:
    """Write columns of a locked campaign; its version moves on."""
    statement = sa.update(campaign).where(campaign.c.id == found.id)
    tx.execute(statement.values(version=found.version + 1, update_time=now, **values))
    return get(tx, found.id)


def edit(
    tx: Connection, found: Campaign, actor: str, now: datetime, what: str, plan: CampaignPlan | None = None
) -> Campaign:
    """The content of a locked campaign changes: an approval or submission of it is void.

    Precondition STATE_FORBIDS once it runs. `what` goes into the journal.
    """
    after = next_state("edit", found.state)
    values: dict[str, Any] = {
        "state": after,
        "digest": "",
        "approver": "",
        "approve_trace": "",
        "submit_trace": "",
    }
    values["editors"] = sorted({*found.editors, actor})
    if plan is not None:
        values.update(content=as_json(plan), region=plan.region)
    if after is not found.state:
        what += "; it has to be submitted again"
    note(tx, found.id, now, actor, DONE["edit"], what)
    return change(tx, found, now, **values)


def delete(tx: Connection, found: Campaign, actor: str, now: datetime) -> None:
    """Remove a draft with its activities; the journal stays."""
    next_state("delete", found.state)
    tx.execute(sa.delete(campaign).where(campaign.c.id == found.id))
    note(tx, found.id, now, actor, "deleted")


def over(tx: Connection, today: Any) -> list[str]:
    """Ids of campaigns that still run although none of their activities can any more."""
    last = sa.cast(campaign.c.content["period"]["end"].astext, sa.Date)
    alive = sa.select(activity.c.number).where(
        activity.c.campaign_id == campaign.c.id, activity.c.state.in_((1, 2))
    )
    waiting = sa.select(activity.c.number).where(
        activity.c.campaign_id == campaign.c.id, activity.c.state == 0
    )
    query = sa.select(campaign.c.id).where(
        campaign.c.state.in_((CampaignState.RUNNING, CampaignState.PAUSED)),
        ~sa.exists(alive),
        sa.or_(last < today, ~sa.exists(waiting)),
    )
    return list(tx.execute(query).scalars())


def note(tx: Connection, campaign_id: str, now: datetime, actor: str, action: str, comment: str = "") -> None:
    """Write a line of the journal, with the trace of the call in hand."""
    tx.execute(
        sa.insert(journal).values(
            campaign_id=campaign_id, time=now, actor=actor, action=action, comment=comment,
            trace_id=telemetry.current_trace_id(),
        )
    )  # fmt: skip


def journal_page(tx: Connection, campaign_id: str, after: int | None, limit: int) -> list[Any]:
    """Lines of the journal, oldest first."""
    query = (
        sa.select(journal).where(journal.c.campaign_id == campaign_id).order_by(journal.c.number).limit(limit)
    )
    if after is not None:
        query = query.where(journal.c.number > after)
    return list(tx.execute(query).all())


def _campaign(row: Any) -> Campaign:
    values = dict(row)
    values["plan"] = from_json(CampaignPlan, values.pop("content"))
    values["state"] = CampaignState(values["state"])
    values["editors"], values["scope"] = tuple(values["editors"]), tuple(values["scope"])
    values.pop("region")
    return Campaign(**values)
