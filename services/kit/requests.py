"""Idempotency of mutations: the same request_id gives the same answer and changes nothing again."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from services.kit import call, db, errors
from services.kit.actor import Actor

M = TypeVar("M", bound=Message)


def table(metadata: sa.MetaData) -> sa.Table:
    """The table of answered requests, one per service."""
    return sa.Table(
        "request",
        metadata,
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("actor", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), index=True
        ),
    )


_CLAIM = sa.text(
    "INSERT INTO request (method, actor, request_id, digest) VALUES (:method, :actor, :id, :digest)"
    " ON CONFLICT DO NOTHING"
)
_READ = sa.text(
    "SELECT digest, response FROM request WHERE method = :method AND actor = :actor AND request_id = :id"
)
_ANSWER = sa.text(
    "UPDATE request SET response = :response WHERE method = :method AND actor = :actor AND request_id = :id"
)


def once(
    tx: db.Connection,
    method: str,
    request_id: str,
    actor: Actor | str,
    message_type: type[M],
    fn: Callable[[], M],
    request: Message | None = None,
) -> M:
    """Run `fn()` once per (method, actor, request_id) and keep its response with its effect.

    A repetition gets the stored response; two at once run one after the other. Another request under
    the same id is errors.Invalid, reason REQUEST_ID_REUSED. `request` is the message compared; by
    default it is that of the current call. An empty request_id just runs `fn`.
    """
    if not request_id:
        return fn()
    subject = actor.subject if isinstance(actor, Actor) else actor
    key = {"method": method, "actor": subject, "id": request_id}
    digest = _digest(request)
    # The insert waits for a concurrent twin to commit or to give up.
    if tx.execute(_CLAIM, {**key, "digest": digest}).rowcount:
        response = fn()
        tx.execute(_ANSWER, {**key, "response": response.SerializeToString()})
        return response
    stored = tx.execute(_READ, key).one()
    if bytes(stored.digest) != digest:
        raise errors.Invalid(
            "this request_id was used for another request",
            reason="REQUEST_ID_REUSED",
            fields=[("request_id", "use a new one for a new request")],
        )
    return message_type.FromString(bytes(stored.response))


def prune(tx: db.Connection, days: float = 16) -> None:
    """Forget old answers. Done hourly by the outbox relay."""
    tx.execute(
        sa.text("DELETE FROM request WHERE created_at < now() - make_interval(secs => :s)"),
        {"s": days * 86400},
    )


def _digest(request: Message | None) -> bytes:
    if request is None:
        current = call.current.get()
        request = current.request if current is not None and isinstance(current.request, Message) else None
    body = b"" if request is None else request.SerializeToString(deterministic=True)
    return hashlib.blake2b(body, digest_size=16).digest()
