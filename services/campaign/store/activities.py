"""Activities, their settings in force, and the carts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.campaign.domain.model import ActivityPlan, Setting, as_json, from_json
from services.campaign.domain.states import ActivityState
from services.campaign.store import campaigns
from services.campaign.store.tables import activity, campaign, cart_item, setting
from services.kit import errors, resource
from services.kit.db import Connection


@dataclass(frozen=True)
class Bitmap:
    """A bitmap in the object store."""

    object: str
    digest: str
    cardinality: int
    directory_version: int


@dataclass(frozen=True)
class InForce:
    """A setting of a submitted activity, and what its launch found."""

    setting: Setting
    selected: Bitmap | None
    control: int
    excluded: dict[str, int]


@dataclass(frozen=True)
class Activity:
    """A row of the table `activity` with its settings in order of the touchpoints."""

    campaign_id: str
    id: str
    number: int
    version: int
    plan: ActivityPlan
    state: ActivityState
    state_version: int
    last_day: date | None
    refreshed_day: date | None
    wave: int
    snapshot: str
    target: Bitmap | None
    control: Bitmap | None
    launch_trace: str
    create_time: datetime
    update_time: datetime
    settings: tuple[InForce, ...]

    @property
    def name(self) -> str:
        """Resource name."""
        return f"campaigns/{self.campaign_id}/activities/{self.id}"


@dataclass(frozen=True)
class CartItem:
    """A parked setting."""

    id: str
    number: int
    owner: str
    activity: str  # resource name
    activity_number: int
    setting: Setting
    create_time: datetime


def create(tx: Connection, campaign_id: str, activity_id: str, plan: ActivityPlan, now: datetime) -> Activity:
    """A new activity of a locked campaign; Exists when the id is taken."""
    where = (activity.c.campaign_id == campaign_id, activity.c.id == activity_id)
    if tx.execute(sa.select(activity.c.number).where(*where)).first() is not None:
        name = f"campaigns/{campaign_id}/activities/{activity_id}"
        raise errors.Exists(f"{name} exists already", fields=[("activity_id", "is taken")])
    tx.execute(
        sa.insert(activity).values(
            campaign_id=campaign_id, id=activity_id, version=1, content=as_json(plan),
            state=ActivityState.NOT_LAUNCHED, state_version=0, wave=0, snapshot="", launch_trace="",
            create_time=now, update_time=now,
        )
    )  # fmt: skip
    return get(tx, campaign_id, activity_id)


def get(tx: Connection, campaign_id: str, activity_id: str) -> Activity:
    """The activity; NotFound."""
    found = _select(tx, sa.and_(activity.c.campaign_id == campaign_id, activity.c.id == activity_id))
    if not found:
        name = f"campaigns/{campaign_id}/activities/{activity_id}"
        raise errors.NotFound(f"there is no activity {name}", metadata={"name": name})
    return found[0]


def by_number(tx: Connection, numbers: Iterable[int]) -> dict[int, Activity]:
    """Those of the numbers that exist."""
    return {found.number: found for found in _select(tx, activity.c.number.in_(list(numbers)))}


def of_campaign(tx: Connection, campaign_id: str) -> list[Activity]:
    """All activities of a campaign, oldest first."""
    return _select(tx, activity.c.campaign_id == campaign_id)


def page(
    tx: Connection, campaign_id: str | None, regions: Sequence[int] | None, after: int | None, limit: int
) -> list[Activity]:
    """Oldest first, of one campaign or (None) of all in the regions (None: everywhere)."""
    query = sa.select(activity.c.number).join(campaign).order_by(activity.c.number).limit(limit)
    if campaign_id is not None:
        query = query.where(activity.c.campaign_id == campaign_id)
    if regions is not None:
        query = query.where(campaigns.in_regions(regions))
    if after is not None:
        query = query.where(activity.c.number > after)
    return _select(tx, activity.c.number.in_(list(tx.execute(query).scalars())))


def update(tx: Connection, found: Activity, plan: ActivityPlan, now: datetime) -> Activity:
    """New content."""
    where = activity.c.number == found.number
    tx.execute(
        sa.update(activity)
        .where(where)
        .values(content=as_json(plan), version=found.version + 1, update_time=now)
    )
    return get(tx, found.campaign_id, found.id)


def delete(tx: Connection, found: Activity) -> None:
    """Remove an activity with its settings and cart items."""
    tx.execute(sa.delete(activity).where(activity.c.number == found.number))


def set_state(tx: Connection, found: Activity, state: ActivityState, now: datetime, **values: Any) -> int:
    """Move an activity of a locked campaign on; the new version of its state."""
    version = found.state_version + 1
    tx.execute(
        sa.update(activity)
        .where(activity.c.number == found.number)
        .values(state=state, state_version=version, update_time=now, version=found.version + 1, **values)
    )
    return version


def note_refresh(tx: Connection, number: int, day: date, **values: Any) -> None:
    """Remember the day of the last periodic update."""
    tx.execute(sa.update(activity).where(activity.c.number == number).values(refreshed_day=day, **values))


def states(tx: Connection, numbers: Iterable[int]) -> dict[int, ActivityState]:
    """States of activities, which cannot change before we commit."""
    query = sa.select(activity.c.number, activity.c.state).where(activity.c.number.in_(list(numbers)))
    query = query.order_by(activity.c.number).with_for_update(read=True, key_share=False)
    return {row.number: ActivityState(row.state) for row in tx.execute(query)}


def due(tx: Connection, today: date) -> list[tuple[str, int]]:
    """(campaign id, number) of live activities whose last day is over."""
    query = sa.select(activity.c.campaign_id, activity.c.number).where(
        activity.c.state.in_((ActivityState.RUNNING, ActivityState.PAUSED)), activity.c.last_day < today
    )
    return [(row.campaign_id, row.number) for row in tx.execute(query)]


def to_refresh(tx: Connection, today: date) -> list[int]:
    """Numbers of running activities with a periodic update that they have not had today."""
    periodic = sa.select(setting.c.activity_number).where(
        setting.c.activity_number == activity.c.number,
        setting.c.content["periodic_update"].astext == "true",
    )
    query = sa.select(activity.c.number).where(
        activity.c.state == ActivityState.RUNNING, activity.c.refreshed_day < today, sa.exists(periodic)
    )
    return list(tx.execute(query.order_by(activity.c.number)).scalars())


# --- settings in force ---


def put_setting(tx: Connection, number: int, value: Setting) -> None:
    """A submitted setting takes the place of an earlier one for the same touchpoint."""
    row = {"content": as_json(value), "selected": None, "control": 0, "excluded": {}}
    statement = insert(setting).values(activity_number=number, touchpoint=value.touchpoint, **row)
    tx.execute(statement.on_conflict_do_update(index_elements=["activity_number", "touchpoint"], set_=row))


def note_selection(
    tx: Connection, number: int, touchpoint: int, selected: Bitmap, control: int, excluded: dict[str, int]
) -> None:
    """What a launch or a periodic update selected for one touchpoint."""
    tx.execute(
        sa.update(setting)
        .where(setting.c.activity_number == number, setting.c.touchpoint == touchpoint)
        .values(selected=vars(selected), control=control, excluded=excluded)
    )


# --- cart ---


def park(tx: Connection, owner: str, found: Activity, value: Setting, now: datetime) -> CartItem:
    """Put a setting into the owner's cart; one for the same touchpoint of the activity is replaced."""
    statement = insert(cart_item).values(
        id=resource.new_id(), owner=owner, activity_number=found.number, touchpoint=value.touchpoint,
        content=as_json(value), create_time=now,
    )  # fmt: skip
    statement = statement.on_conflict_do_update(
        index_elements=["owner", "activity_number", "touchpoint"],
        set_={"content": statement.excluded.content, "create_time": now},
    )
    item_id = tx.execute(statement.returning(cart_item.c.id)).scalar_one()
    return cart(tx, owner, item_id=item_id)[0]


def cart(
    tx: Connection,
    owner: str,
    *,
    item_id: str = "",
    campaign_id: str = "",
    after: int | None = None,
    limit: int | None = None,
) -> list[CartItem]:
    """Items of a cart, oldest first."""
    query = (
        sa.select(cart_item, activity.c.campaign_id, activity.c.id.label("activity_id"))
        .join(activity, activity.c.number == cart_item.c.activity_number)
        .where(cart_item.c.owner == owner)
        .order_by(cart_item.c.number)
        .limit(limit)
    )
    if item_id:
        query = query.where(cart_item.c.id == item_id)
    if campaign_id:
        query = query.where(activity.c.campaign_id == campaign_id)
    if after is not None:
        query = query.where(cart_item.c.number > after)
    return [
        CartItem(
            id=row.id,
            number=row.number,
            owner=row.owner,
            activity=f"campaigns/{row.campaign_id}/activities/{row.activity_id}",
            activity_number=row.activity_number,
            setting=from_json(Setting, row.content),
            create_time=row.create_time,
        )
        for row in tx.execute(query)
    ]


def unpark(tx: Connection, owner: str, item_ids: Sequence[str]) -> int:
    """Take items out of a cart; how many were there."""
    statement = sa.delete(cart_item).where(cart_item.c.owner == owner, cart_item.c.id.in_(item_ids))
    return tx.execute(statement).rowcount


def _select(tx: Connection, condition: sa.ColumnElement[bool]) -> list[Activity]:
    rows = tx.execute(sa.select(activity).where(condition).order_by(activity.c.number)).mappings().all()
    numbers = [row["number"] for row in rows]
    in_force: dict[int, list[InForce]] = {number: [] for number in numbers}
    if numbers:
        query = (
            sa.select(setting).where(setting.c.activity_number.in_(numbers)).order_by(setting.c.touchpoint)
        )
        for row in tx.execute(query):
            value = from_json(Setting, row.content)
            in_force[row.activity_number].append(
                InForce(value, bitmap(row.selected), row.control, row.excluded)
            )
    found = []
    for mapping in rows:
        values = dict(mapping)
        values["plan"] = from_json(ActivityPlan, values.pop("content"))
        values["state"] = ActivityState(values["state"])
        values["target"], values["control"] = bitmap(values["target"]), bitmap(values["control"])
        found.append(Activity(settings=tuple(in_force[values["number"]]), **values))
    return found


def bitmap(data: dict[str, Any] | None) -> Bitmap | None:
    """A bitmap column as a value."""
    return None if data is None else Bitmap(**data)
