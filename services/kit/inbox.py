"""The inbox: every message may come twice and late, its effect is applied once.

Record the ids in the transaction of the effect and apply only the new ones; acknowledge after commit.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from services.kit import db


def table(metadata: sa.MetaData) -> sa.Table:
    """The inbox table, one per service."""
    return sa.Table(
        "inbox",
        metadata,
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), index=True
        ),
    )


_ACCEPT = sa.text(
    "INSERT INTO inbox (consumer, id) SELECT DISTINCT :consumer, u FROM unnest(CAST(:ids AS text[])) AS u"
    " ORDER BY u ON CONFLICT DO NOTHING RETURNING id"
)


def accept(tx: db.Connection, consumer: str, ids: Iterable[str]) -> set[str]:
    """Record the ids as seen by `consumer` and return those that are new."""
    return set(tx.execute(_ACCEPT, {"consumer": consumer, "ids": list(ids)}).scalars())


def prune(tx: db.Connection, days: float = 16) -> None:
    """Forget ids older than any stream keeps messages. Done hourly by the outbox relay."""
    tx.execute(
        sa.text("DELETE FROM inbox WHERE seen_at < now() - make_interval(secs => :s)"), {"s": days * 86400}
    )
