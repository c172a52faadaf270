"""Snapshots: a selection frozen into a bitmap in the object store, a row and an announcement."""

import asyncio
import hashlib
from datetime import UTC
from typing import Any

from iop.audience.v1 import audience_pb2, events_pb2

from services.audience import convert, research
from services.audience.domain.condition import AllOf, Member, Node
from services.audience.domain.selection import SMS_CONTRACT, Selection
from services.audience.engine import bitmap
from services.audience.store import audiences as rows
from services.kit import attributes, db, errors, outbox, resource
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.bus import Bus


class Snapshots:
    """Makes snapshots."""

    def __init__(
        self, service: Service, database: db.Database, bus: Bus, researcher: research.Research
    ) -> None:
        self._service, self._db, self._bus, self._research = service, database, bus, researcher

    async def create(
        self, request: audience_pb2.CreateSnapshotRequest, actor: Actor
    ) -> audience_pb2.Snapshot:
        """The snapshot of a request; a repetition gets the first one, whatever has changed since.

        The object is written before the row, so a row always names an object that is there.
        """
        digest = hashlib.blake2b(request.SerializeToString(deterministic=True), digest_size=16).digest()
        known = await self._db.read(
            lambda tx: rows.snapshot_of_request(tx, actor.subject, request.request_id)
        )
        if known is None:
            with self._service.telemetry.span("select audience") as span:
                values, data = await self._freeze(request, actor)
                span.set_attributes(
                    {attributes.SNAPSHOT_ID: values["id"], attributes.ROWS: values["cardinality"]}
                )
            values |= {"actor": actor.subject, "request_id": request.request_id, "request_digest": digest}
            values["digest"] = await self._bus.put_object(research.BITMAPS, values["object"], data)
            known = await self._db.transaction(lambda tx: self._insert(tx, values))
            if known is None:  # a twin of this request was faster
                await self._bus.delete_object(research.BITMAPS, values["object"])
                known = await self._db.read(
                    lambda tx: rows.snapshot_of_request(tx, actor.subject, request.request_id)
                )
        assert known is not None  # rows of snapshots are never removed
        if bytes(known.request_digest) != digest:
            raise errors.Invalid(
                "this request_id was used for another request",
                reason="REQUEST_ID_REUSED",
                fields=[("request_id", "use a new one for a new request")],
            )
        return convert.snapshot(known)

    def _insert(self, tx: db.Connection, values: dict[str, Any]) -> Any:
        row = rows.insert_snapshot(tx, values)
        if row is not None:
            event = events_pb2.SnapshotCreated(snapshot=convert.snapshot(row))
            outbox.add(tx, event, message_id=f"snapshot:{row.id}", subject_ref=f"snapshots/{row.id}")
        return row

    async def _freeze(
        self, request: audience_pb2.CreateSnapshotRequest, actor: Actor
    ) -> tuple[dict[str, Any], bytes]:
        source, selection = await self._source(request)
        prepared = await self._research.prepare(selection, actor, bound=request.regions, path="source")

        def work() -> tuple[research.Outcome, bytes]:
            outcome = research.run(prepared)
            return outcome, bitmap.serialize(bitmap.from_mask(outcome.mask))

        outcome, data = await asyncio.to_thread(work)
        key = resource.new_id()
        values = {
            "id": key,
            "source": source,
            "data_date": prepared.data_date.isoformat() if prepared.data_date else "",
            "matched": outcome.matched,
            "excluded": [[reason, count] for reason, count in outcome.excluded],
            "object": f"snapshots/{key}",
            "cardinality": outcome.count,
            "directory_version": prepared.directory_version,
            "create_time": self._service.clock.now().astimezone(UTC),
        }
        return values, data

    async def _source(self, request: audience_pb2.CreateSnapshotRequest) -> tuple[str, Selection]:
        """Name and selection of what is frozen."""
        kind = request.WhichOneof("source")
        condition: Node = AllOf()
        own = Selection()
        if kind == "audience":
            source = request.audience
            key = resource.parse(source, "audiences", "audience")
            row = await self._db.read(lambda tx: rows.audience(tx, key))
            own = convert.selection(convert.selection_from_json(row.selection))
            condition = own.condition
        elif kind == "customer_list":
            source = request.customer_list
            resource.parse(source, "lists", "customer_list")
            condition = Member(source)
        else:
            source = "all_customers"
            if not request.all_customers:
                raise errors.Invalid("no source", fields=[("all_customers", "must be true when it is given")])
        if request.sms_contract_only:
            condition = AllOf((condition, SMS_CONTRACT))
        choice = convert.choice(request.suppression) if request.HasField("suppression") else own.suppression
        return source, Selection(
            condition, own.regions, convert.day(request.data_date, "data_date") or own.data_date, choice
        )
