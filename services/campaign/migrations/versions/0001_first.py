"""Campaigns, activities, carts, launches, page plans, counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.kit import migrate

revision = "0001"
down_revision = None


def _activity(**options: bool) -> sa.Column[int]:
    owner = sa.ForeignKey("activity.number", ondelete="CASCADE")
    return sa.Column("activity_number", sa.BigInteger, owner, autoincrement=False, **options)


def upgrade() -> None:
    migrate.kit_tables(op)
    op.create_table(
        "campaign",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("region", sa.Integer, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("editors", ARRAY(sa.Text), nullable=False),
        sa.Column("scope", ARRAY(sa.Integer), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("submit_trace", sa.Text, nullable=False),
        sa.Column("approve_trace", sa.Text, nullable=False),
        sa.Column("launch_trace", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("launch_time", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "activity",
        sa.Column("campaign_id", sa.Text, sa.ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("state_version", sa.BigInteger, nullable=False),
        sa.Column("last_day", sa.Date, nullable=True),
        sa.Column("refreshed_day", sa.Date, nullable=True),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("target", JSONB, nullable=True),
        sa.Column("control", JSONB, nullable=True),
        sa.Column("launch_trace", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("activity_live", "activity", ["last_day"], postgresql_where=sa.text("state IN (1, 2)"))
    op.create_table(
        "setting",
        _activity(primary_key=True),
        sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("selected", JSONB, nullable=True),
        sa.Column("control", sa.BigInteger, nullable=False),
        sa.Column("excluded", JSONB, nullable=False),
    )
    op.create_table(
        "cart_item",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        _activity(nullable=False),
        sa.Column("touchpoint", sa.SmallInteger, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("owner", "activity_number", "touchpoint"),
    )
    op.create_table(
        "journal",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
    )
    op.create_index("journal_campaign", "journal", ["campaign_id", "number"])
    op.create_table(
        "launch",
        _activity(primary_key=True),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("try_after", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "plan",
        _activity(primary_key=True),
        sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
        sa.Column("wave", sa.Integer, primary_key=True),
        sa.Column("group_index", sa.SmallInteger, primary_key=True),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("bitmap", JSONB, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("handed", sa.BigInteger, nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
    )
    op.create_index("plan_open", "plan", ["activity_number"], postgresql_where=sa.text("handed < size"))
    op.create_table(
        "counter",
        sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("touchpoint", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "population",
        _activity(primary_key=True),
        sa.Column("definition_number", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("bitmap", JSONB, nullable=False),
        sa.Column("bound", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("the first migration is not undone")
