"""The tables. `content` columns hold values of domain.model as JSON; what is searched has its own column."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.kit import inbox, outbox, requests

metadata = sa.MetaData()

outbox.table(metadata)
inbox.table(metadata)
requests.table(metadata)


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


campaign = sa.Table(
    "campaign",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column(
        "number", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True
    ),  # order of creation
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("region", sa.Integer, nullable=False),
    sa.Column("content", JSONB, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("editors", ARRAY(sa.Text), nullable=False),  # who wrote, changed or submitted the content
    sa.Column("scope", ARRAY(sa.Integer), nullable=False),  # regions of who submitted it, frozen; empty: all
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("approver", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("submit_trace", sa.Text, nullable=False),
    sa.Column("approve_trace", sa.Text, nullable=False),
    sa.Column("launch_trace", sa.Text, nullable=False),
    _time("create_time"),
    _time("update_time"),
    _time("launch_time", nullable=True),
)

activity = sa.Table(
    "activity",
    metadata,
    sa.Column("campaign_id", sa.Text, sa.ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("content", JSONB, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("state_version", sa.BigInteger, nullable=False),
    sa.Column("last_day", sa.Date, nullable=True),  # last day of any touchpoint, set at launch
    sa.Column("refreshed_day", sa.Date, nullable=True),  # day of the launch or of the last periodic update
    sa.Column("wave", sa.Integer, nullable=False),
    sa.Column("snapshot", sa.Text, nullable=False),
    sa.Column("target", JSONB, nullable=True),  # {object, digest, cardinality, directory_version}
    sa.Column("control", JSONB, nullable=True),
    sa.Column("launch_trace", sa.Text, nullable=False),
    _time("create_time"),
    _time("update_time"),
    sa.Index("activity_live", "last_day", postgresql_where=sa.text("state IN (1, 2)")),
)

setting = sa.Table(
    "setting",
    metadata,
    sa.Column(
        "activity_number",
        sa.BigInteger,
        sa.ForeignKey("activity.number", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
    sa.Column("content", JSONB, nullable=False),
    sa.Column("selected", JSONB, nullable=True),  # launched: bitmap of who was selected, after lists
    sa.Column("control", sa.BigInteger, nullable=False),
    sa.Column("excluded", JSONB, nullable=False),  # {reason: subscribers}
)

cart_item = sa.Table(
    "cart_item",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column(
        "activity_number", sa.BigInteger, sa.ForeignKey("activity.number", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("touchpoint", sa.SmallInteger, nullable=False),
    sa.Column("content", JSONB, nullable=False),
    _time("create_time"),
    sa.UniqueConstraint("owner", "activity_number", "touchpoint"),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("campaign_id", sa.Text, nullable=False),  # stays when a draft is removed
    _time("time"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Index("journal_campaign", "campaign_id", "number"),
)

# Activities on their way from RUNNING campaign to running activity; the row goes when it is done.
launch = sa.Table(
    "launch",
    metadata,
    sa.Column(
        "activity_number",
        sa.BigInteger,
        sa.ForeignKey("activity.number", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("trace", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("problem", sa.Text, nullable=False),
    _time("try_after"),  # real time, not the business clock
)

# What is handed page by page: the members of one group to one touchpoint in one wave.
plan = sa.Table(
    "plan",
    metadata,
    sa.Column(
        "activity_number",
        sa.BigInteger,
        sa.ForeignKey("activity.number", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
    sa.Column("wave", sa.Integer, primary_key=True),
    sa.Column("group_index", sa.SmallInteger, primary_key=True),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("bitmap", JSONB, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("handed", sa.BigInteger, nullable=False),
    sa.Column("pages", sa.Integer, nullable=False),
    sa.Index("plan_open", "activity_number", postgresql_where=sa.text("handed < size")),
)

# Running totals: target = control + sum of excluded(reason) + unplanned + handed.
counter = sa.Table(
    "counter",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
    sa.Column("counter", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)

population = sa.Table(
    "population",
    metadata,
    sa.Column(
        "activity_number",
        sa.BigInteger,
        sa.ForeignKey("activity.number", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("definition_number", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("bitmap", JSONB, nullable=False),
    sa.Column("bound", sa.Boolean, nullable=False),
)
