"""Launches under way, page plans, populations and the counters of the conservation law."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.campaign.domain.pages import Cursor
from services.campaign.domain.states import ActivityState
from services.campaign.store.activities import Bitmap
from services.campaign.store.tables import activity, counter, launch, plan, population
from services.kit.db import Connection

CounterKey = tuple[int, int, str, str]  # activity number, touchpoint, counter, reason


@dataclass(frozen=True)
class Launch:
    """An activity that waits to be launched."""

    activity_number: int
    campaign_id: str
    trace: str
    attempts: int
    problem: str


@dataclass(frozen=True)
class OpenPlan:
    """An activity's touchpoint with touches to hand."""

    activity_number: int
    touchpoint: int
    wave: int


@dataclass(frozen=True)
class Population:
    """Who may match the definition of an event activity."""

    activity_number: int
    definition_number: int
    version: int
    bitmap: Bitmap
    bound: bool


# --- launches ---


def begin_launches(tx: Connection, campaign_id: str, numbers: Iterable[int], trace: str) -> None:
    """Remember that these activities have to be launched."""
    now = datetime.now(UTC)
    rows = [
        {
            "activity_number": n,
            "campaign_id": campaign_id,
            "trace": trace,
            "attempts": 0,
            "problem": "",
            "try_after": now,
        }
        for n in numbers
    ]
    if rows:
        tx.execute(sa.insert(launch), rows)


def pending_launches(tx: Connection, campaign_id: str = "", *, due_only: bool = False) -> list[Launch]:
    """Launches not finished, in order; with `due_only` without those that wait after a failure."""
    query = sa.select(launch).order_by(launch.c.activity_number)
    if campaign_id:
        query = query.where(launch.c.campaign_id == campaign_id)
    if due_only:
        query = query.where(launch.c.try_after <= datetime.now(UTC))
    return [
        Launch(row.activity_number, row.campaign_id, row.trace, row.attempts, row.problem)
        for row in tx.execute(query)
    ]


def fail_launch(tx: Connection, number: int, problem: str) -> bool:
    """Note why a launch failed and when to try again; True when this problem is news."""
    row = tx.execute(sa.select(launch).where(launch.c.activity_number == number).with_for_update()).first()
    if row is None:
        return False
    pause = timedelta(seconds=min(60.0, 0.5 * 2.0 ** min(row.attempts, 8)))
    tx.execute(
        sa.update(launch)
        .where(launch.c.activity_number == number)
        .values(attempts=row.attempts + 1, problem=problem, try_after=datetime.now(UTC) + pause)
    )
    return bool(row.problem != problem)


def end_launch(tx: Connection, number: int) -> bool:
    """The launch is done or given up; False when someone else ended it first."""
    return bool(tx.execute(sa.delete(launch).where(launch.c.activity_number == number)).rowcount)


def cancel_launches(tx: Connection, campaign_id: str) -> None:
    """Give up what has not been launched."""
    tx.execute(sa.delete(launch).where(launch.c.campaign_id == campaign_id))


# --- page plans ---


def add_plans(
    tx: Connection, number: int, touchpoint: int, wave: int, groups: Iterable[tuple[int, str, Bitmap]]
) -> None:
    """What is to be handed in one wave: (group index, group, members)."""
    rows = [
        {
            "activity_number": number, "touchpoint": touchpoint, "wave": wave, "group_index": index,
            "group": group, "bitmap": vars(members), "size": members.cardinality, "position": 0, "handed": 0,
            "pages": 0,
        }
        for index, group, members in groups
        if members.cardinality
    ]  # fmt: skip
    if rows:
        tx.execute(sa.insert(plan), rows)


def open_plans(tx: Connection, number: int | None = None) -> list[OpenPlan]:
    """Touchpoints of running activities with something left to hand; the oldest wave of each."""
    query = (
        sa.select(plan.c.activity_number, plan.c.touchpoint, sa.func.min(plan.c.wave).label("wave"))
        .join(activity, activity.c.number == plan.c.activity_number)
        .where(plan.c.handed < plan.c.size, activity.c.state == ActivityState.RUNNING)
        .group_by(plan.c.activity_number, plan.c.touchpoint)
        .order_by(plan.c.activity_number, plan.c.touchpoint)
    )
    if number is not None:
        query = query.where(plan.c.activity_number == number)
    return [OpenPlan(row.activity_number, row.touchpoint, row.wave) for row in tx.execute(query)]


def cursors(tx: Connection, which: OpenPlan, *, lock: bool) -> tuple[list[Cursor], dict[str, Bitmap], int]:
    """Cursors of a wave in order of the groups, their bitmaps by digest, and pages handed so far."""
    query = (
        sa.select(plan)
        .where(
            plan.c.activity_number == which.activity_number,
            plan.c.touchpoint == which.touchpoint,
            plan.c.wave == which.wave,
        )
        .order_by(plan.c.group_index)
    )
    rows = tx.execute(query.with_for_update() if lock else query).all()
    found = [
        Cursor(row.group_index, row.group, row.bitmap["digest"], row.size, row.position, row.handed)
        for row in rows
    ]
    return found, {row.bitmap["digest"]: Bitmap(**row.bitmap) for row in rows}, sum(row.pages for row in rows)


def move_cursor(tx: Connection, which: OpenPlan, cursor: Cursor, pages: int) -> None:
    """Write a cursor that moved on by `pages` pages."""
    tx.execute(
        sa.update(plan)
        .where(
            plan.c.activity_number == which.activity_number,
            plan.c.touchpoint == which.touchpoint,
            plan.c.wave == which.wave,
            plan.c.group_index == cursor.group_index,
        )
        .values(position=cursor.position, handed=cursor.handed, pages=plan.c.pages + pages)
    )


def planned(tx: Connection, number: int, touchpoint: int) -> list[Bitmap]:
    """The members of all waves so far."""
    query = sa.select(plan.c.bitmap).where(plan.c.activity_number == number, plan.c.touchpoint == touchpoint)
    return [Bitmap(**data) for data in tx.execute(query).scalars()]


# --- counters ---


def add_counts(tx: Connection, deltas: Mapping[CounterKey, int]) -> None:
    """Add to running totals; in one order, so that two transactions do not wait for each other."""
    rows = [
        {"activity_number": key[0], "touchpoint": key[1], "counter": key[2], "reason": key[3], "n": delta}
        for key, delta in sorted(deltas.items())
        if delta
    ]
    if rows:
        statement = insert(counter)
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=["activity_number", "touchpoint", "counter", "reason"],
                set_={"n": counter.c.n + statement.excluded.n},
            ),
            rows,
        )


def counts(tx: Connection, numbers: Sequence[int]) -> dict[tuple[int, int], dict[tuple[str, str], int]]:
    """{(activity number, touchpoint): {(counter, reason): n}}."""
    found: dict[tuple[int, int], dict[tuple[str, str], int]] = defaultdict(dict)
    for row in tx.execute(sa.select(counter).where(counter.c.activity_number.in_(numbers))):
        found[row.activity_number, row.touchpoint][row.counter, row.reason] = row.n
    return found


def handed(tx: Connection, number: int, touchpoint: int) -> int:
    """Touches handed so far."""
    query = sa.select(counter.c.n).where(
        counter.c.activity_number == number, counter.c.touchpoint == touchpoint, counter.c.counter == "handed"
    )
    return int(tx.execute(query).scalar() or 0)


# --- populations ---


def put_population(tx: Connection, number: int, definition_number: int, bitmap: Bitmap) -> int:
    """Bind a population, or replace it; its new version."""
    row: dict[str, Any] = {"definition_number": definition_number, "bitmap": vars(bitmap), "bound": True}
    statement = insert(population).values(activity_number=number, version=1, **row)
    statement = statement.on_conflict_do_update(
        index_elements=["activity_number"], set_={**row, "version": population.c.version + 1}
    )
    return int(tx.execute(statement.returning(population.c.version)).scalar_one())


def unbind_population(tx: Connection, number: int) -> tuple[int, int] | None:
    """(definition number, new version) when a population was bound until now."""
    statement = (
        sa.update(population)
        .where(population.c.activity_number == number, population.c.bound)
        .values(bound=False, version=population.c.version + 1)
    )
    row = tx.execute(statement.returning(population.c.definition_number, population.c.version)).first()
    return None if row is None else (row.definition_number, row.version)


def get_population(tx: Connection, number: int) -> Population | None:
    """The population of an event activity, None before its launch."""
    row = tx.execute(sa.select(population).where(population.c.activity_number == number)).first()
    if row is None:
        return None
    return Population(
        row.activity_number, row.definition_number, row.version, Bitmap(**row.bitmap), row.bound
    )
