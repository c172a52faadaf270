"""The outbox: messages committed with the state they tell of, sent by a relay, deleted once acknowledged.

Rows carry the trace context of their writer. A key's rows live in one shard; a relay owns the shard it
sends from by an advisory lock, so several relays keep the order of each key.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.kit import attributes, db, envelope, errors, inbox, requests, telemetry

if TYPE_CHECKING:
    from services.kit.app import Service
    from services.kit.bus import Bus

SHARDS = 4
BATCH = 500
_LOCK_CLASS = 0x10B0  # first half of the advisory lock's key; the shard is the second


def table(metadata: sa.MetaData) -> sa.Table:
    """The outbox table, one per service."""
    return sa.Table(
        "outbox",
        metadata,
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()
        ),
    )


_OUTBOX = table(sa.MetaData())


def add(
    tx: db.Connection,
    message: Message,
    *,
    partition: int | None = None,
    lane: str = "",
    key: str = "",
    message_id: str | None = None,
    subject_ref: str = "",
) -> str:
    """Put one message into the outbox within the transaction; returns its id.

    Messages with the same `key` are sent in the order of their rows, provided that writers lock or
    version-check the thing that `key` names before they add. The same `message_id` twice is one message.
    """
    return add_all(tx, [row(tx, message, partition, lane, key, message_id, subject_ref)])[0]


def row(
    tx: db.Connection,
    message: Message,
    partition: int | None = None,
    lane: str = "",
    key: str = "",
    message_id: str | None = None,
    subject_ref: str = "",
) -> dict[str, Any]:
    """A row for `add_all`, which writes many at once."""
    sent = envelope.wrap(
        message,
        source=db.service_of(tx),
        partition=partition,
        lane=lane,
        key=key,
        message_id=message_id,
        subject_ref=subject_ref,
    )
    return {
        "id": sent.id,
        "shard": zlib.crc32((key or sent.id).encode()) % SHARDS,
        "subject": sent.subject,
        "template": sent.template,
        "headers": sent.headers,
        "body": sent.body,
    }


def add_all(tx: db.Connection, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write rows made by `row`, in their order; returns their ids."""
    if not rows:
        return []
    tx.execute(insert(_OUTBOX).on_conflict_do_nothing(index_elements=["id"]), rows)
    db.note_outbox(tx)
    return [str(item["id"]) for item in rows]


def count(tx: db.Connection) -> int:
    """Rows not sent yet; above 100,000 it says 100,001."""
    some = sa.select(sa.literal(1)).select_from(_OUTBOX).limit(100_001).subquery()
    return int(tx.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


class Relay:
    """Sends outbox rows: `service.spawn("outbox", relay.run())`. Any number of replicas may run one."""

    def __init__(self, database: db.Database, bus: "Bus", service: "Service") -> None:
        self._db, self._bus, self._service = database, bus, service
        self._log: logging.Logger = service.log
        self._woken = asyncio.Event()
        self._blocked: dict[str, float] = {}  # subject whose stream is full -> when to try again
        self._trouble = ""
        self._step: asyncio.Task[tuple[int, int]] | None = None
        database.on_outbox.append(self.wake)
        service.status.outbox = self._count

    def wake(self) -> None:
        """Look at the table now; called after each commit that added rows."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled. Trouble of the bus or the database is waited out."""
        prune_at = time.monotonic() + 60
        while True:
            self._woken.clear()
            pause = 1.0
            try:
                sent, left = await asyncio.shield(self._step_task())
                if left:
                    pause = 0.1
                elif sent:
                    continue
                if time.monotonic() > prune_at:
                    prune_at = time.monotonic() + 3600
                    await self._db.transaction(_prune)
            except (errors.Unavailable, errors.Exhausted, errors.Conflict) as problem:
                self._report(str(problem))
            except asyncio.CancelledError:
                await self._finish()
                raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)

    def _step_task(self) -> "asyncio.Task[tuple[int, int]]":
        # Shielded: a stop lets the batch in hand finish, so that fewer rows are sent twice.
        self._step = asyncio.get_running_loop().create_task(self.step())
        return self._step

    async def _finish(self) -> None:
        if self._step is not None and not self._step.done():
            await asyncio.wait({self._step}, timeout=5)

    async def step(self) -> tuple[int, int]:
        """Send one batch; (rows sent, rows that could not be sent)."""
        tx: Any = await self._db.in_thread(self._open)
        try:
            rows = await self._db.in_thread(_claim, tx, self._blocked_subjects())
            if not rows:
                return 0, 0
            done, problem = await self._send(rows)
            if done:
                await self._db.in_thread(_delete, tx, [rows[i].seq for i in done])
                self._service.status.published += len(done)
            if problem is not None:
                self._report(str(problem))
            elif self._trouble:
                self._log.info("the outbox is sending again")
                self._trouble = ""
            return len(done), len(rows) - len(done)
        except sa.exc.DBAPIError as lost:
            raise errors.Unavailable("the database went away under the outbox") from lost
        finally:
            await self._db.in_thread(_close, tx)

    async def _send(self, rows: Sequence[Any]) -> tuple[list[int], Exception | None]:
        envelopes = [envelope.Envelope(r.subject, r.headers, bytes(r.body), r.id, r.template) for r in rows]
        started = time.time_ns()
        results = await self._bus.send_all(envelopes)
        done = [i for i, problem in enumerate(results) if problem is None]
        failed = next((problem for problem in results if problem is not None), None)
        for i, problem in enumerate(results):
            if isinstance(problem, errors.Exhausted):
                self._blocked[rows[i].subject] = time.monotonic() + 0.1
        self._trace([rows[i] for i in done], started)
        return done, failed

    def _trace(self, rows: Iterable[Any], started: int) -> None:
        """One publish span per context and subject: the wait in the outbox is the gap before it."""
        if not self._service.telemetry.enabled:
            return
        groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for item in rows:
            parent = item.headers.get("traceparent", "")
            if telemetry.sampled(parent):
                groups[parent, item.template].append(item)
        for (_, template), group in groups.items():
            span = self._service.telemetry.start_span(
                f"publish {template}",
                {
                    attributes.MESSAGING_SYSTEM: "nats",
                    attributes.MESSAGING_OPERATION: "publish",
                    attributes.MESSAGING_OPERATION_TYPE: "send",
                    attributes.MESSAGING_DESTINATION: template,
                    attributes.MESSAGING_BATCH: len(group),
                    attributes.OUTBOX_WAIT_MS: max(
                        0, started // 1_000_000 - int(group[0].created_at.timestamp() * 1000)
                    ),
                },
                kind=SpanKind.PRODUCER,
                parent=telemetry.extract(group[0].headers),
            )
            span.end()

    def _blocked_subjects(self) -> list[str]:
        now = time.monotonic()
        self._blocked = {subject: until for subject, until in self._blocked.items() if until > now}
        return list(self._blocked)

    def _open(self) -> db.Connection:
        try:
            return self._db.engine.connect()
        except sa.exc.DBAPIError as lost:
            raise errors.Unavailable("the database does not answer") from lost

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._log.warning("the outbox waits: %s", trouble)

    async def _count(self) -> int:
        return await self._db.read(count)


def _claim(tx: db.Connection, blocked: list[str]) -> Sequence[Any]:
    """The next rows of every shard whose lock we get; the locks end with the transaction."""
    free = tx.execute(
        sa.text("SELECT s FROM generate_series(0, :n) AS s WHERE pg_try_advisory_xact_lock(:class, s)"),
        {"n": SHARDS - 1, "class": _LOCK_CLASS},
    ).scalars()
    query = sa.select(_OUTBOX).where(_OUTBOX.c.shard.in_(list(free))).order_by(_OUTBOX.c.seq).limit(BATCH)
    if blocked:
        query = query.where(_OUTBOX.c.subject.not_in(blocked))
    return tx.execute(query).all()


def _delete(tx: db.Connection, seqs: list[int]) -> None:
    tx.execute(sa.delete(_OUTBOX).where(_OUTBOX.c.seq.in_(seqs)))
    tx.commit()


def _close(tx: db.Connection) -> None:
    with contextlib.suppress(sa.exc.DBAPIError):
        tx.close()


def _prune(tx: db.Connection) -> None:
    inbox.prune(tx)
    requests.prune(tx)
