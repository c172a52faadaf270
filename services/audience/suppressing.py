"""A change of a suppression list: rows, evidence and announcement in one transaction."""

import numpy as np
from iop.audience.v1 import events_pb2
from numpy.typing import NDArray

from services.audience.domain.suppression import SuppressionList
from services.audience.store import lists as list_rows
from services.kit import db, outbox


def change(
    tx: db.Connection,
    kind: SuppressionList,
    add: NDArray[np.integer],
    remove: NDArray[np.integer],
    why: list_rows.Evidence,
) -> list_rows.SuppressionDelta | None:
    """Change a list by ordinals and announce it; None when nobody entered or left."""
    delta = list_rows.change_suppression(tx, int(kind), add, remove, why)
    if delta is not None:
        event = events_pb2.SuppressionChanged(
            version=delta.version,
            suppression_list=int(kind),  # type: ignore[arg-type]
            added=delta.added.astype("<u4").tobytes(),
            removed=delta.removed.astype("<u4").tobytes(),
        )
        outbox.add(tx, event, key="suppression", message_id=f"suppression:{delta.version}")
    return delta
