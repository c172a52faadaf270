"""Schools, their versions and their audit trail."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.campus.domain.schools import Content, State
from services.campus.store.tables import audit, school, school_version
from services.kit.db import Connection

Spans = Sequence[tuple[int, int]]


def create(tx: Connection, school_id: str, content: Content, editor: str, at: datetime) -> bool:
    """Enter a school with its first version, waiting for review; False when it is there already."""
    row = {
        "school_id": school_id,
        "revision": 1,
        "newest": 1,
        "approved": None,
        "state": State.PENDING,
        "city": content["city"],
        "county": content["county"],
        "editor": editor,
        "changed_at": at,
    }
    made = insert(school).values(row).on_conflict_do_nothing().returning(school.c.school_id)
    if tx.execute(made).scalar() is None:
        return False
    _add_version(tx, school_id, 1, content, editor, at)
    return True


def get(tx: Connection, school_id: str, lock: bool = False) -> Any | None:
    """The row of a school with `content`, its newest; None when there is none. `lock` holds it."""
    statement = sa.select(school, school_version.c.content).join(
        school_version,
        (school_version.c.school_id == school.c.school_id) & (school_version.c.version == school.c.newest),
    )
    statement = statement.where(school.c.school_id == school_id)
    return tx.execute(statement.with_for_update(of=school) if lock else statement).one_or_none()


def version(tx: Connection, school_id: str, number: int) -> Any:
    """The row of one version."""
    return tx.execute(
        sa.select(school_version).where(
            school_version.c.school_id == school_id, school_version.c.version == number
        )
    ).one()


def editors(tx: Connection, school_id: str, after: int) -> set[str]:
    """Everybody who edited a version later than `after`."""
    return set(
        tx.execute(
            sa.select(school_version.c.editor).where(
                school_version.c.school_id == school_id, school_version.c.version > after
            )
        ).scalars()
    )


def change(tx: Connection, row: Any, content: Content, editor: str, at: datetime) -> None:
    """Add a version that waits for review; the approved one stays in force."""
    tx.execute(
        sa.update(school)
        .where(school.c.school_id == row.school_id)
        .values(
            revision=row.revision + 1,
            newest=row.newest + 1,
            state=State.PENDING,
            city=content["city"],
            county=content["county"],
            comment="",
            editor=editor,
            changed_at=at,
        )
    )
    _add_version(tx, row.school_id, row.newest + 1, content, editor, at)


def review(tx: Connection, row: Any, approve: bool, comment: str) -> None:
    """Put the newest version into force, or return it."""
    values = {
        "revision": row.revision + 1,
        "state": State.APPROVED if approve else State.RETURNED,
        "comment": comment,
        "approved": row.newest if approve else row.approved,
    }
    tx.execute(sa.update(school).where(school.c.school_id == row.school_id).values(values))


def page(
    tx: Connection,
    spans: Spans | None,
    schools: Sequence[str],
    region: tuple[int, int] | None,
    state: str,
    after: str,
    size: int,
) -> Sequence[Any]:
    """Schools with their newest content by code, of the regions, and of `schools` unless empty."""
    statement = (
        sa.select(school, school_version.c.content)
        .join(
            school_version,
            (school_version.c.school_id == school.c.school_id)
            & (school_version.c.version == school.c.newest),
        )
        .where(school.c.school_id > after)
        .order_by(school.c.school_id)
        .limit(size)
    )
    if spans is not None:
        statement = statement.where(sa.or_(sa.false(), *(school.c.county.between(*span) for span in spans)))
    if schools:
        statement = statement.where(school.c.school_id.in_(schools))
    if region is not None:
        statement = statement.where(school.c.county.between(*region))
    if state:
        statement = statement.where(school.c.state == state)
    return tx.execute(statement).all()


def note(tx: Connection, school_id: str, at: datetime, actor: str, action: str, detail: str) -> None:
    """Add to the audit trail."""
    tx.execute(sa.insert(audit).values(school_id=school_id, at=at, actor=actor, action=action, detail=detail))


def trail(tx: Connection, school_id: str, after: int, size: int) -> Sequence[Any]:
    """Audit rows of a school, oldest first."""
    return tx.execute(
        sa.select(audit)
        .where(audit.c.school_id == school_id, audit.c.id > after)
        .order_by(audit.c.id)
        .limit(size)
    ).all()


def _add_version(
    tx: Connection, school_id: str, number: int, content: Content, editor: str, at: datetime
) -> None:
    tx.execute(
        sa.insert(school_version).values(
            school_id=school_id, version=number, content=content, editor=editor, edited_at=at
        )
    )
