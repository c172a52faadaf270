"""Launched activities, the indicators chosen for them, and identified students."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.dialects.postgresql import insert

from services.evaluation.domain import attribution
from services.evaluation.engine import report
from services.evaluation.store.tables import activity, campus
from services.kit.db import Connection

# Everything of an activity but its bitmaps.
_ROW = [column for column in activity.c if column.name not in ("target", "control")]


def launch(tx: Connection, row: dict[str, Any]) -> None:
    """Keep an activity as launched; a later launch of it replaces the row, chosen indicators stay."""
    statement = insert(activity).values(row)
    changed = {name: statement.excluded[name] for name in row if name != "activity_number"}
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["activity_number"],
            set_=changed,
            where=statement.excluded.launched_at >= activity.c.launched_at,
        )
    )


def get(tx: Connection, number: int) -> Any | None:
    """An activity without its bitmaps, None when it was not launched."""
    return tx.execute(sa.select(*_ROW).where(activity.c.activity_number == number)).one_or_none()


def groups(tx: Connection, number: int) -> tuple[BitMap | None, BitMap]:
    """(target, control) of an activity; target None stands for every customer outside the control group."""
    row = tx.execute(
        sa.select(activity.c.target, activity.c.control).where(activity.c.activity_number == number)
    ).one()
    target = None if row.target is None else BitMap.deserialize(bytes(row.target))
    return target, BitMap.deserialize(bytes(row.control))


def page(
    tx: Connection,
    query: str,
    spans: Sequence[tuple[int, int]] | None,
    after: Sequence[int] | None,
    size: int,
) -> Sequence[Any]:
    """Activities with `query` in their or their campaign's name, newest first, that concern the regions."""
    statement = (
        sa.select(*_ROW)
        .order_by(activity.c.launched_at.desc(), activity.c.activity_number.desc())
        .limit(size)
    )
    if query:
        wanted = f"%{_escaped(query)}%"
        statement = statement.where(
            activity.c.display_name.ilike(wanted) | activity.c.campaign_display_name.ilike(wanted)
        )
    if spans is not None:
        statement = statement.where(concern(spans))
    if after is not None:
        statement = statement.where(
            sa.tuple_(activity.c.launched_at, activity.c.activity_number) < sa.tuple_(*map(sa.literal, after))
        )
    return tx.execute(statement).all()


def concern(spans: Sequence[tuple[int, int]]) -> sa.ColumnElement[bool]:
    """Activities of a region that lies in one of the spans, or above one of them."""
    region = activity.c.region
    return sa.or_(
        sa.false(),
        *(
            region.between(low, high) | (region == low // 100 * 100) | (region == low // 10000 * 10000)
            for low, high in spans
        ),
    )


def visible(tx: Connection, numbers: Sequence[int], spans: Sequence[tuple[int, int]] | None) -> list[int]:
    """The launched activities among `numbers` (all when empty) that concern the regions."""
    statement = sa.select(activity.c.activity_number)
    if numbers:
        statement = statement.where(activity.c.activity_number.in_(numbers))
    if spans is not None:
        statement = statement.where(concern(spans))
    return list(tx.execute(statement).scalars())


def choose(tx: Connection, number: int, indicators: Sequence[str]) -> None:
    """Keep the indicators chosen for an activity."""
    tx.execute(
        sa.update(activity).where(activity.c.activity_number == number).values(indicators=list(indicators))
    )


def of_products(tx: Connection, products: Sequence[str]) -> dict[int, tuple[str, int]]:
    """{activity: (product, launch in microseconds)} of the activities that offer one of the products."""
    rows = tx.execute(
        sa.select(activity.c.activity_number, activity.c.product_code, activity.c.launched_at).where(
            activity.c.product_code.in_(products)
        )
    )
    return {row.activity_number: (row.product_code, row.launched_at) for row in rows}


def controls(tx: Connection, numbers: Sequence[int]) -> list[attribution.Control]:
    """The control groups of some activities; empty ones are left out."""
    rows = tx.execute(
        sa.select(
            activity.c.activity_number, activity.c.product_code, activity.c.launched_at, activity.c.control
        ).where(activity.c.activity_number.in_(numbers))
    )
    found = [
        attribution.Control(
            row.activity_number, row.product_code, row.launched_at, BitMap.deserialize(bytes(row.control))
        )
        for row in rows
    ]
    return [control for control in found if control.members]


def identified(
    tx: Connection, school: str, version: int, position: int, campuses: Sequence[tuple[int, int, BitMap]]
) -> None:
    """Replace the students of a school by `(campus, county, students)`, unless a later version is known."""
    tx.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:school, 0))"), {"school": school})
    known = tx.execute(sa.select(sa.func.max(campus.c.version)).where(campus.c.school == school)).scalar()
    if known is not None and known >= version:
        return
    tx.execute(sa.delete(campus).where(campus.c.school == school))
    if campuses:
        rows = [
            {
                "campus": code,
                "school": school,
                "county": county,
                "version": version,
                "position": position,
                "students": students.serialize(),
            }
            for code, county, students in campuses
        ]
        tx.execute(sa.insert(campus), rows)


def campuses(tx: Connection) -> list[report.Campus]:
    """Identified students by campus."""
    rows = tx.execute(sa.select(campus).order_by(campus.c.campus))
    return [
        report.Campus(row.campus, row.county, row.position, BitMap.deserialize(bytes(row.students)))
        for row in rows
    ]


def _escaped(query: str) -> str:
    return query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
