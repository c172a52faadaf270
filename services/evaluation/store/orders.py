"""Orders of the BOSS: each once, with the activity it is owed to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert

from services.evaluation.engine.report import Rows
from services.evaluation.store.facts import Spans, within
from services.evaluation.store.tables import product_order
from services.kit.db import Connection


def known(tx: Connection, order_ids: Sequence[str]) -> set[str]:
    """Those of the orders that were recorded before."""
    return set(
        tx.execute(
            sa.select(product_order.c.order_id).where(product_order.c.order_id.in_(order_ids))
        ).scalars()
    )


def record(tx: Connection, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Keep orders; the ids of those that are new."""
    if not rows:
        return set()
    statement = insert(product_order).on_conflict_do_nothing(index_elements=["order_id"])
    return set(tx.execute(statement.returning(product_order.c.order_id), rows).scalars())


def attributed(tx: Connection, number: int, last: int) -> Rows:
    """Orders owed to an activity up to a day, amounts in fen; its control group's are not among them."""
    rows = tx.execute(
        sa.select(product_order.c.day, product_order.c.ordinal, product_order.c.price_fen).where(
            product_order.c.activity_number == number,
            product_order.c.day <= last,
            sa.not_(product_order.c.control),
        )
    ).all()
    return Rows(
        np.array([row.day for row in rows], np.int64),
        np.array([row.ordinal for row in rows], np.int64),
        np.array([row.price_fen for row in rows], np.int64),
    )


def buyers(tx: Connection, product: str, launched_at: int, last: int) -> NDArray[np.int64]:
    """Ordinals of everybody who ordered a product since a launch, up to a day, whatever led to it."""
    rows = tx.execute(
        sa.select(product_order.c.ordinal)
        .distinct()
        .where(
            product_order.c.product_code == product,
            product_order.c.ordered_at >= launched_at,
            product_order.c.day <= last,
        )
    ).scalars()
    return np.fromiter(rows, np.int64)


def counts(
    tx: Connection, numbers: Sequence[int], first: int, last: int, spans: Spans | None
) -> Sequence[Any]:
    """Rows (activity_number, touchpoint, day, n, fen) of orders owed to activities."""
    keys = (product_order.c.activity_number, product_order.c.touchpoint, product_order.c.day)
    return tx.execute(
        sa.select(*keys, sa.func.count().label("n"), sa.func.sum(product_order.c.price_fen).label("fen"))
        .where(
            product_order.c.activity_number.in_(numbers),
            product_order.c.day.between(first, last),
            sa.not_(product_order.c.control),
            within(product_order.c.county, spans),
        )
        .group_by(*keys)
    ).all()
