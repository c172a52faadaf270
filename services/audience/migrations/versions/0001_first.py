"""The tables of the audience service."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from services.kit import migrate

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    migrate.kit_tables(op)
    now = sa.func.now()
    time = sa.DateTime(timezone=True)
    op.create_table(
        "state",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("update_time", time, nullable=True),
    )
    op.execute("INSERT INTO state (name) VALUES ('directory'), ('catalogue'), ('suppression')")
    op.create_table(
        "subscriber",
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("subscriber_id", sa.BigInteger, nullable=False, unique=True),
        sa.Column("phone", sa.BigInteger, nullable=False),
        sa.Column("county", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    # 0 is no number; every other has one holder.
    op.create_index(
        "subscriber_phone", "subscriber", ["phone"], unique=True, postgresql_where=sa.text("phone <> 0")
    )
    # Replicas that follow read the few newest rows.
    op.create_index("subscriber_version", "subscriber", ["version"], postgresql_using="brin")
    op.create_table(
        "tag",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("display_name_en", sa.Text, nullable=False),
        sa.Column("tag_class", sa.SmallInteger, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("type", sa.SmallInteger, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("frequency", sa.SmallInteger, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("value_codes", postgresql.JSONB, nullable=False),
        sa.Column("lineage", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("decimals", sa.SmallInteger, nullable=False),
        sa.Column("usage_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("update_time", time, nullable=False),
    )
    op.create_table(
        "tag_column",
        sa.Column("tag", sa.Text, sa.ForeignKey("tag.code"), primary_key=True),
        sa.Column("data_date", sa.Date, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("has_texts", sa.Boolean, nullable=False),
        sa.Column("publish_time", time, nullable=False, server_default=now),
    )
    op.create_table(
        "audience",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("selection", postgresql.JSONB, nullable=False),
        sa.Column("condition_text", sa.Text, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("update_time", time, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("data_date", sa.Text, nullable=False),
        sa.Column("matched", sa.BigInteger, nullable=False),
        sa.Column("excluded", postgresql.JSONB, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("cardinality", sa.BigInteger, nullable=False),
        sa.Column("directory_version", sa.BigInteger, nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.UniqueConstraint("actor", "request_id", name="snapshot_request"),
    )
    op.create_table(
        "customer_list",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("update_time", time, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "customer_list_member",
        sa.Column("list_id", sa.Text, sa.ForeignKey("customer_list.id"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
    )
    op.create_table(
        "suppression_member",
        sa.Column("list", sa.SmallInteger, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
    )
    # Who entered or left a list, when and on what evidence; rows are never changed.
    op.create_table(
        "suppression_change",
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("list", sa.SmallInteger, nullable=False),
        sa.Column("added", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("time", time, nullable=False),
    )
    op.create_index("suppression_change_ordinal", "suppression_change", ["ordinal"])
    # Every look at a list of customers.
    op.create_table(
        "look",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("subscribers", sa.BigInteger, nullable=False),
        sa.Column("time", time, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "look", "suppression_change", "suppression_member", "customer_list_member", "customer_list",
        "snapshot", "audience", "tag_column", "tag", "subscriber", "state", "outbox", "inbox", "request",
    ):  # fmt: skip
        op.drop_table(table)
