"""The tables, as the migrations make them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.kit import inbox, outbox, requests

metadata = sa.MetaData()
outbox.table(metadata)
inbox.table(metadata)
requests.table(metadata)
_TIME = sa.DateTime(timezone=True)

state = sa.Table(
    "state",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("update_time", _TIME),
)
tag = sa.Table(
    "tag",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("display_name", sa.Text),
    sa.Column("display_name_en", sa.Text),
    sa.Column("tag_class", sa.SmallInteger),
    sa.Column("category", sa.Text),
    sa.Column("type", sa.SmallInteger),
    sa.Column("unit", sa.Text),
    sa.Column("frequency", sa.SmallInteger),
    sa.Column("description", sa.Text),
    sa.Column("value_codes", JSONB),
    sa.Column("lineage", ARRAY(sa.Text)),
    sa.Column("decimals", sa.SmallInteger),
    sa.Column("usage_count", sa.BigInteger),
    sa.Column("update_time", _TIME),
)
tag_column = sa.Table(
    "tag_column",
    metadata,
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("data_date", sa.Date, primary_key=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("file", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("rows", sa.BigInteger),
    sa.Column("has_texts", sa.Boolean),
    sa.Column("publish_time", _TIME),
)
audience = sa.Table(
    "audience",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True)),
    sa.Column("display_name", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("selection", JSONB),
    sa.Column("condition_text", sa.Text),
    sa.Column("creator", sa.Text),
    sa.Column("create_time", _TIME),
    sa.Column("update_time", _TIME),
    sa.Column("version", sa.BigInteger),
)
snapshot = sa.Table(
    "snapshot",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("actor", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("request_digest", sa.LargeBinary),
    sa.Column("source", sa.Text),
    sa.Column("data_date", sa.Text),
    sa.Column("matched", sa.BigInteger),
    sa.Column("excluded", JSONB),
    sa.Column("object", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("cardinality", sa.BigInteger),
    sa.Column("directory_version", sa.BigInteger),
    sa.Column("create_time", _TIME),
)
customer_list = sa.Table(
    "customer_list",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True)),
    sa.Column("display_name", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("creator", sa.Text),
    sa.Column("create_time", _TIME),
    sa.Column("update_time", _TIME),
    sa.Column("version", sa.BigInteger),
)
look = sa.Table(
    "look",
    metadata,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("actor", sa.Text),
    sa.Column("method", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("subscribers", sa.BigInteger),
    sa.Column("time", _TIME),
)


def versions(tx: sa.Connection) -> dict[str, int]:
    """Versions of the directory, the catalogue and the suppression lists."""
    return {row.name: row.version for row in tx.execute(sa.select(state.c.name, state.c.version))}


def next_version(tx: sa.Connection, name: str, now: object) -> int:
    """Raise a version by one and give it; writers of the same thing wait for each other here."""
    change = sa.update(state).where(state.c.name == name).values(version=state.c.version + 1, update_time=now)
    return int(tx.execute(change.returning(state.c.version)).scalar_one())
