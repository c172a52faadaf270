"""Registered students, campus cells, identifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.campus.domain.students import Student
from services.campus.store.tables import campus_cells, identification, student
from services.kit.db import Connection


def known(tx: Connection, school_id: str, phones: Sequence[str]) -> set[tuple[str, str]]:
    """(name, number) of the school's students with one of the numbers."""
    rows = tx.execute(
        sa.select(student.c.display_name, student.c.phone).where(
            student.c.school_id == school_id,
            student.c.phone == sa.any_(sa.literal(list(phones), sa.ARRAY(sa.Text))),
        )
    )
    return {(row.display_name, row.phone) for row in rows}


def add(tx: Connection, school_id: str, rows: Sequence[Student]) -> None:
    """Register students, in their order."""
    if rows:
        tx.execute(sa.insert(student), [{"school_id": school_id, **vars(row)} for row in rows])


def page(tx: Connection, school_id: str, year: int, after: int, size: int) -> Sequence[Any]:
    """Students of a school, of one enrolment year unless 0, by registration."""
    statement = sa.select(student).where(student.c.school_id == school_id, student.c.id > after)
    if year:
        statement = statement.where(student.c.enrolment_year == year)
    return tx.execute(statement.order_by(student.c.id).limit(size)).all()


def registered(tx: Connection, school_id: str) -> tuple[int, Sequence[Any]]:
    """(students of the school, rows (phone, campus, enrolment_year) of the numbers that are its own).

    A number that several schools registered belongs to the one that did so last.
    """
    count = tx.execute(sa.select(sa.func.count()).where(student.c.school_id == school_id)).scalar_one()
    other = student.alias()
    of_school = sa.select(other.c.phone).where(other.c.school_id == school_id)
    latest = (
        sa.select(student.c.phone, student.c.school_id, student.c.campus, student.c.enrolment_year)
        .distinct(student.c.phone)
        .where(student.c.phone.in_(of_school))
        .order_by(student.c.phone, student.c.id.desc())
        .subquery()
    )
    rows = tx.execute(sa.select(latest).where(latest.c.school_id == school_id).order_by(latest.c.phone)).all()
    return int(count), rows


def keep_cells(tx: Connection, school_id: str, cells: Sequence[int], at: datetime) -> None:
    """Replace the cells of a school."""
    statement = insert(campus_cells).values(school_id=school_id, cells=list(cells), found_at=at)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["school_id"], set_={"cells": statement.excluded.cells, "found_at": at}
        )
    )


def cells(tx: Connection, school_id: str) -> Any | None:
    """The row (cells, found_at) of a school, None before the first search."""
    return tx.execute(sa.select(campus_cells).where(campus_cells.c.school_id == school_id)).one_or_none()


def identified(tx: Connection, school_id: str, registered: int, identified: int, at: datetime) -> int:
    """Keep the result of an identification; its version, one more each time."""
    statement = insert(identification).values(
        school_id=school_id, version=1, registered=registered, identified=identified, identified_at=at
    )
    return int(
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=["school_id"],
                set_={
                    "version": identification.c.version + 1,
                    "registered": registered,
                    "identified": identified,
                    "identified_at": at,
                },
            ).returning(identification.c.version)
        ).scalar_one()
    )
