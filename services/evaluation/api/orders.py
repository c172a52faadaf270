"""Orders from the BOSS: read the rows, decide to whom each is owed, keep the new ones, announce them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from iop.evaluation.v1 import events_pb2, report_pb2, report_pb2_grpc
from numpy.typing import NDArray

from services.evaluation.domain import attribution, days
from services.evaluation.domain.attribution import Bought, Owed
from services.evaluation.engine.directory import Directory
from services.evaluation.store import activities, facts
from services.evaluation.store import orders as store
from services.kit import clock, db, errors, outbox
from services.kit.app import Service
from services.kit.db import Connection

Row = dict[str, Any]


class OrderApi(report_pb2_grpc.OrderServiceServicer):
    """Orders from the BOSS."""

    def __init__(self, service: Service, database: db.Database, directory: Directory) -> None:
        self._tz = service.runtime.timezone
        self._db = database
        self._directory = directory

    async def RecordOrders(self, request: Any, context: Any) -> Any:
        """Record and attribute orders, each order_id once (EVA-10)."""
        found = self._directory.ordinals_of([order.subscriber_id for order in request.orders])
        if (found < 0).any():
            await self._directory.refresh()
            found = self._directory.ordinals_of([order.subscriber_id for order in request.orders])
        batch = read(request.orders, found, self._directory.county_of, self._tz)

        def record(tx: db.Connection) -> Any:
            recorded = keep(tx, batch)
            outbox.add_all(
                tx,
                [
                    outbox.row(
                        tx,
                        _recorded(row),
                        key=str(row["subscriber_id"]),
                        message_id=f"order:{row['order_id']}",
                    )
                    for row in recorded
                ],
            )
            return report_pb2.RecordOrdersResponse(
                recorded=len(recorded),
                duplicates=len(batch) - len(recorded),
                attributed=sum(1 for row in recorded if row["activity_number"] and not row["control"]),
                unknown=[i for i, ordinal in enumerate(found) if ordinal < 0],
            )

        return await self._db.transaction(record)


def read(
    orders: Sequence[Any],
    ordinals: NDArray[np.int64],
    county_of: Callable[[NDArray[Any]], NDArray[Any]],
    tz: str,
) -> list[Row]:
    """Rows of the orders whose subscriber is known; errors.Invalid ROW_REFUSED names each bad touch id."""
    bad = [
        (f"orders[{i}].touch_id", "is not a touch id")
        for i, order in enumerate(orders)
        if order.touch_id and attribution.decode(order.touch_id) is None
    ]
    if bad:
        raise errors.Invalid("rows of the batch are refused", reason="ROW_REFUSED", fields=bad)
    chosen = np.flatnonzero(ordinals >= 0).tolist()
    at = np.array([orders[i].order_time.ToMicroseconds() for i in chosen], np.int64)
    order_days = days.days_of(at, tz)
    counties = county_of(ordinals[chosen])
    return [
        {
            "order_id": orders[i].order_id,
            "subscriber_id": orders[i].subscriber_id,
            "ordinal": int(ordinals[i]),
            "county": int(counties[k]),
            "product_code": orders[i].product_code,
            "price_fen": orders[i].price_fen,
            "ordered_at": int(at[k]),
            "day": int(order_days[k]),
            "channel": orders[i].channel,
            "touch_id": orders[i].touch_id,
        }
        for k, i in enumerate(chosen)
    ]


def keep(tx: Connection, batch: Sequence[Row]) -> list[Row]:
    """Keep the orders that are new, each with `activity_number` (0 for none), `touchpoint`, `control`."""
    before = store.known(tx, [row["order_id"] for row in batch])
    fresh = list({row["order_id"]: row for row in reversed(batch) if row["order_id"] not in before}.values())[
        ::-1
    ]
    for row, owed in zip(fresh, _owed(tx, fresh), strict=True):
        row["activity_number"] = owed.activity_number if owed else 0
        row["touchpoint"] = owed.touchpoint if owed else 0
        row["control"] = bool(owed and owed.control)
    new = store.record(tx, fresh)
    return [row for row in fresh if row["order_id"] in new]


def _owed(tx: Connection, rows: Sequence[Row]) -> list[Owed | None]:
    owed = [_by_touch(row) for row in rows]
    open_rows = [i for i, found in enumerate(owed) if found is None]
    if not open_rows:
        return owed
    orders = [
        Bought(rows[i]["ordinal"], rows[i]["product_code"], rows[i]["day"], rows[i]["ordered_at"])
        for i in open_rows
    ]
    offered = activities.of_products(tx, sorted({order.product for order in orders}))
    if not offered:
        return owed
    order_days = [order.day for order in orders]
    reaches = facts.reaches(
        tx,
        {number: product for number, (product, _) in offered.items()},
        min(order_days) - attribution.WINDOW_DAYS,
        max(order_days),
        [order.ordinal for order in orders],
    )
    for i, found in zip(open_rows, attribution.by_reach(orders, reaches), strict=True):
        owed[i] = found
    if any(owed[i] is None for i in open_rows):
        controls = activities.controls(tx, list(offered))
        for i, order in zip(open_rows, orders, strict=True):
            if owed[i] is None:
                owed[i] = attribution.by_control(order, controls)
    return owed


def _by_touch(row: Row) -> Owed | None:
    key = attribution.decode(row["touch_id"]) if row["touch_id"] else None
    # A touch of somebody else, forwarded perhaps, tells nothing about this customer.
    if key is None or key.ordinal != row["ordinal"]:
        return None
    return Owed(key.activity_number, key.touchpoint)


def _recorded(row: dict[str, Any]) -> Any:
    message = events_pb2.OrderRecorded(
        order_id=row["order_id"],
        subscriber_id=row["subscriber_id"],
        ordinal=row["ordinal"],
        product_code=row["product_code"],
        activity_number=row["activity_number"],
        control=row["control"],
    )
    message.order_time.FromDatetime(clock.from_micros(row["ordered_at"]))
    return message
