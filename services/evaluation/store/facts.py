"""Facts about touches: counts, sets of subscribers, responses. Written with the inbox, read by reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy.dialects.postgresql import insert

from services.evaluation.domain import attribution
from services.evaluation.domain.settling import REACHED_SET, Scope, SetKey, Settling, Touches, scopes
from services.evaluation.engine.report import Rows
from services.evaluation.store.tables import fact, response, touch_set
from services.kit.db import Connection

_LOCK_CLASS = 0x10E0

_SETS = sa.text(
    "SELECT t.* FROM touch_set AS t JOIN unnest("
    " CAST(:activities AS bigint[]), CAST(:touchpoints AS smallint[]), CAST(:planned AS int[]),"
    " CAST(:occurrences AS bigint[]), CAST(:chunks AS int[])"
    ") AS s (activity_number, touchpoint, planned_day, occurrence, chunk)"
    " USING (activity_number, touchpoint, planned_day, occurrence, chunk)"
)

Spans = Sequence[tuple[int, int]]


def settle(tx: Connection, batch: Sequence[Touches]) -> None:
    """Apply settled touches in their order. Writers of one activity go one after the other."""
    numbers = sorted({touches.activity_number for touches in batch})
    for number in numbers:
        tx.execute(
            sa.text("SELECT pg_advisory_xact_lock(:class, :number)"),
            {"class": _LOCK_CLASS, "number": number & 0x7FFFFFFF},
        )
    settling = Settling(_load_sets(tx, scopes(batch)))
    for touches in batch:
        settling.apply(touches)
    _add_facts(tx, settling)
    _keep_sets(tx, settling)


def _load_sets(tx: Connection, wanted: Sequence[Scope]) -> dict[SetKey, BitMap]:
    rows = tx.execute(
        _SETS,
        {
            "activities": [scope.activity_number for scope in wanted],
            "touchpoints": [scope.touchpoint for scope in wanted],
            "planned": [scope.planned_day for scope in wanted],
            "occurrences": [scope.occurrence for scope in wanted],
            "chunks": [scope.chunk for scope in wanted],
        },
    )
    return {
        (
            Scope(row.activity_number, row.touchpoint, row.planned_day, row.occurrence, row.chunk),
            row.day,
            row.kind,
        ): BitMap.deserialize(bytes(row.members))
        for row in rows
    }


def _add_facts(tx: Connection, settling: Settling) -> None:
    rows = [
        {
            "activity_number": key.activity_number,
            "touchpoint": key.touchpoint,
            "day": key.day,
            "county": key.county,
            "outcome": key.outcome,
            "reason": key.reason,
            "n": n,
        }
        for key, n in sorted(settling.facts.items())
        if n
    ]
    if rows:
        statement = insert(fact)
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=list(fact.primary_key), set_={"n": fact.c.n + statement.excluded.n}
            ),
            rows,
        )


def _keep_sets(tx: Connection, settling: Settling) -> None:
    rows = [
        {
            "activity_number": scope.activity_number,
            "touchpoint": scope.touchpoint,
            "planned_day": scope.planned_day,
            "occurrence": scope.occurrence,
            "chunk": scope.chunk,
            "day": day,
            "kind": kind,
            "members": settling.members((scope, day, kind)).serialize(),
        }
        for scope, day, kind in sorted(settling.changed)
    ]
    if rows:
        statement = insert(touch_set)
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=list(touch_set.primary_key), set_={"members": statement.excluded.members}
            ),
            rows,
        )


@dataclass(frozen=True)
class Response:
    """A click or a reply."""

    activity_number: int
    kind: str  # clicks, replies, opt_outs
    touchpoint: int
    day: int
    ordinal: int
    county: int


def respond(tx: Connection, responses: Iterable[Response]) -> None:
    """Count responses."""
    counted: dict[Response, int] = {}
    for one in responses:
        counted[one] = counted.get(one, 0) + 1
    if not counted:
        return
    rows = [{**vars(one), "n": n} for one, n in counted.items()]
    rows.sort(key=lambda row: tuple(row[column.name] for column in response.primary_key))
    statement = insert(response)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=list(response.primary_key), set_={"n": response.c.n + statement.excluded.n}
        ),
        rows,
    )


def reached(tx: Connection, number: int, last: int) -> dict[int, BitMap]:
    """Subscribers that an activity reached, by day up to `last`."""
    rows = tx.execute(
        sa.select(touch_set.c.day, touch_set.c.members).where(
            touch_set.c.activity_number == number, touch_set.c.kind == REACHED_SET, touch_set.c.day <= last
        )
    )
    found: dict[int, BitMap] = {}
    for row in rows:
        found.setdefault(row.day, BitMap()).update(BitMap.deserialize(bytes(row.members)))
    return found


def responses(tx: Connection, number: int, first: int, last: int) -> dict[str, Rows]:
    """Clicks, replies and opt-outs of an activity between two days."""
    rows = tx.execute(
        sa.select(response.c.kind, response.c.day, response.c.ordinal, response.c.n).where(
            response.c.activity_number == number, response.c.day.between(first, last)
        )
    ).all()
    found = {}
    for kind in ("clicks", "replies", "opt_outs"):
        of_kind = [row for row in rows if row.kind == kind]
        found[kind] = Rows(
            np.array([row.day for row in of_kind], np.int64),
            np.array([row.ordinal for row in of_kind], np.int64),
            np.array([row.n for row in of_kind], np.int64),
        )
    return found


def reaches(
    tx: Connection, products: Mapping[int, str], first: int, last: int, ordinals: Sequence[int]
) -> list[attribution.Reach]:
    """Whom the activities `{number: product}` reached between two days, near the given ordinals."""
    rows = tx.execute(
        sa.select(touch_set).where(
            touch_set.c.activity_number.in_(list(products)),
            touch_set.c.kind == REACHED_SET,
            touch_set.c.day.between(first, last),
            touch_set.c.chunk.in_(sorted({ordinal >> 16 for ordinal in ordinals})),
        )
    )
    return [
        attribution.Reach(
            row.activity_number,
            row.touchpoint,
            row.day,
            products[row.activity_number],
            BitMap.deserialize(bytes(row.members)),
        )
        for row in rows
    ]


def within(column: sa.ColumnElement[Any], spans: Spans | None) -> sa.ColumnElement[bool]:
    """The condition that a county lies in one of the spans; None allows all."""
    if spans is None:
        return sa.true()
    return sa.or_(sa.false(), *(column.between(low, high) for low, high in spans))


def outcomes(
    tx: Connection, numbers: Sequence[int], first: int, last: int, spans: Spans | None
) -> Sequence[Any]:
    """Rows (activity_number, touchpoint, day, outcome, reason, n) of counted touches."""
    keys = (fact.c.activity_number, fact.c.touchpoint, fact.c.day, fact.c.outcome, fact.c.reason)
    return tx.execute(
        sa.select(*keys, sa.func.sum(fact.c.n).label("n"))
        .where(
            fact.c.activity_number.in_(numbers), fact.c.day.between(first, last), within(fact.c.county, spans)
        )
        .group_by(*keys)
        .having(sa.func.sum(fact.c.n) != 0)
    ).all()


def response_counts(
    tx: Connection, numbers: Sequence[int], first: int, last: int, spans: Spans | None
) -> Sequence[Any]:
    """Rows (activity_number, touchpoint, day, kind, n)."""
    keys = (response.c.activity_number, response.c.touchpoint, response.c.day, response.c.kind)
    return tx.execute(
        sa.select(*keys, sa.func.sum(response.c.n).label("n"))
        .where(
            response.c.activity_number.in_(numbers),
            response.c.day.between(first, last),
            within(response.c.county, spans),
        )
        .group_by(*keys)
    ).all()


def reached_by_touchpoint(
    tx: Connection, numbers: Sequence[int], first: int, last: int
) -> dict[tuple[int, int, int], BitMap]:
    """{(activity, touchpoint, day): subscribers reached}."""
    rows = tx.execute(
        sa.select(
            touch_set.c.activity_number, touch_set.c.touchpoint, touch_set.c.day, touch_set.c.members
        ).where(
            touch_set.c.activity_number.in_(numbers),
            touch_set.c.kind == REACHED_SET,
            touch_set.c.day.between(first, last),
        )
    )
    found: dict[tuple[int, int, int], BitMap] = {}
    for row in rows:
        key = (row.activity_number, row.touchpoint, row.day)
        found.setdefault(key, BitMap()).update(BitMap.deserialize(bytes(row.members)))
    return found
