"""population.changed: an activity listens to a definition, or no longer does."""

from __future__ import annotations

from iop.event.v1 import events_pb2

from services.event import announce, store
from services.event.announce import POPULATIONS
from services.kit import inbox
from services.kit.bus import Delivery, Handler
from services.kit.db import Connection, Database


def handler(database: Database, partitions: int) -> Handler:
    """Copies each change into every partition's log, once, in the order of its versions."""

    def copy(tx: Connection, deliveries: list[Delivery]) -> None:
        new = inbox.accept(tx, POPULATIONS.name, [delivery.id for delivery in deliveries])
        for delivery in deliveries:
            if delivery.id in new:
                new.discard(delivery.id)  # the same message twice in one batch
                _copy(tx, delivery.message, partitions)

    async def handle(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            message = delivery.message
            if not message.unbound and not message.bitmap.digest:
                raise delivery.invalid(f"activity {message.activity_number} is bound without a bitmap")
        await database.transaction(lambda tx: copy(tx, deliveries))

    return handle


def _copy(tx: Connection, changed: events_pb2.PopulationBound, partitions: int) -> None:
    message = events_pb2.PopulationBound(
        definition_number=changed.definition_number,
        activity_number=changed.activity_number,
        bitmap=changed.bitmap,
        unbound=changed.unbound,
        start_date=changed.start_date,
        end_date=changed.end_date,
        version=changed.version,
    )
    newer = store.write_binding(
        tx,
        changed.activity_number,
        changed.definition_number,
        changed.version,
        changed.unbound,
        message.SerializeToString(),
    )
    if newer:
        announce.population_bound(tx, message, partitions)
