"""Tables. The ledger (touch, slice, lease, outcome) only grows; of a touch one byte of its slice changes.

A slice is a page as taken in: ordinals in order, and beside them `states` (domain.states.State) and
`marks` (leases so far in bits 0-6, clicked in bit 7). `touch` and `outcome` are partitioned by planned
day; a day's partition is made when its first page comes.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.kit import inbox, outbox, requests

metadata = sa.MetaData()
outbox.table(metadata)
inbox.table(metadata)
requests.table(metadata)

TIME = sa.DateTime(timezone=True)

activity = sa.Table(
    "activity",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("state_version", sa.BigInteger, nullable=False),
    sa.Column("launched", sa.LargeBinary, nullable=False),  # iop.campaign.v1.ActivityLaunched
)

setting = sa.Table(
    "setting",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("lane", sa.SmallInteger, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
)

touch = sa.Table(
    "touch",
    metadata,
    sa.Column("planned_day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("occurrence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("slice_id", sa.BigInteger, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),  # of entry
    sa.Column("reason", sa.Text, nullable=False),
    postgresql_partition_by="LIST (planned_day)",
)

slice_ = sa.Table(
    "slice",
    metadata,
    sa.Column("slice_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("page_id", sa.Text, nullable=False),
    sa.Column("planned_day", sa.Integer, nullable=False),
    sa.Column("activity_number", sa.BigInteger, nullable=False),
    sa.Column("occurrence", sa.BigInteger, nullable=False),
    sa.Column("touchpoint", sa.SmallInteger, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("ordinals", sa.LargeBinary, nullable=False),  # uint32
    sa.Column("expires", sa.LargeBinary, nullable=True),  # int64 micros, 0 for never
    sa.Column("states", sa.LargeBinary, nullable=False),
    sa.Column("marks", sa.LargeBinary, nullable=False),
    sa.Column("received_at", TIME, nullable=False),
    sa.Column("traceparent", sa.Text, nullable=False),
    # How many rows are in each state that a job or a restart asks for.
    sa.Column("waiting", sa.Integer, nullable=False),
    sa.Column("held", sa.Integer, nullable=False),
    sa.Column("queued", sa.Integer, nullable=False),
    sa.Column("leased", sa.Integer, nullable=False),
    sa.Column("inflight", sa.Integer, nullable=False),
    sa.Column("shown", sa.Integer, nullable=False),
    sa.Column("next_expiry", sa.BigInteger, nullable=True),  # micros, of held and queued rows
    sa.Column("inflight_since", sa.BigInteger, nullable=True),  # micros, earliest of the rows in flight
    sa.Column("live", sa.Boolean, nullable=False),  # something may still become of it
)

wave = sa.Table(
    "wave",
    metadata,
    sa.Column("planned_day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("occurrence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True, autoincrement=False),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("lease_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("idempotent", sa.Boolean, nullable=False),
    sa.Column("leased_at", TIME, nullable=False),
    sa.Column("day", sa.Integer, nullable=False),  # on which its contacts count
)

lease_item = sa.Table(
    "lease_item",
    metadata,
    sa.Column("slice_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("lease_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("positions", sa.LargeBinary, nullable=False),  # uint16
    sa.Column("variables", JSONB, nullable=True),  # {tag: [value by position]} as sent
)

outcome = sa.Table(
    "outcome",
    metadata,
    sa.Column("planned_day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("slice_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("step", sa.SmallInteger, primary_key=True, autoincrement=False),  # Outcome or Step
    sa.Column("lease_id", sa.BigInteger, primary_key=True, autoincrement=False),  # of a RETURNED step, else 0
    sa.Column("previous", sa.SmallInteger, nullable=False),  # Outcome that it replaces
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("provider_message_id", sa.Text, nullable=True),
    postgresql_partition_by="LIST (planned_day)",
)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("counter", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)

# Slots to give back in Redis; written with the change, deleted once given back.
refund = sa.Table(
    "refund",
    metadata,
    sa.Column("refund_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("keys", sa.LargeBinary, nullable=False),  # packed touch keys, 15 bytes each
)

touch_trace = sa.Table(
    "touch_trace",
    metadata,
    sa.Column("slice_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("traceparent", sa.Text, nullable=False),
    sa.Column("activity_number", sa.BigInteger, nullable=False),
    sa.Column("planned_day", sa.Integer, nullable=False),
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Index("touch_trace_budget", "activity_number", "planned_day"),
)

opt_out = sa.Table(
    "opt_out",
    metadata,
    sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("reply_id", sa.Text, nullable=False),
)

do_not_disturb = sa.Table(
    "do_not_disturb",
    metadata,
    sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("marketing_type", sa.Text, primary_key=True),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),
)

reply = sa.Table(
    "reply",
    metadata,
    sa.Column("reply_id", sa.Text, primary_key=True),
    sa.Column("touchpoint", sa.SmallInteger, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=True),  # NULL when nobody has the number
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("activity_number", sa.BigInteger, nullable=False),
    sa.Column("at", TIME, nullable=False),
)

# One row each.
policy = sa.Table(
    "policy",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # iop.touchpoint.v1.ContactPolicy
    sa.Column("at", TIME, nullable=False),
)

owner = sa.Table(
    "owner",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),  # of the process that owns the queues
    sa.Column("cap_generation", sa.Text, nullable=False),
)

slice_ids = sa.Sequence("slice_id_seq", metadata=metadata)
lease_ids = sa.Sequence("lease_id_seq", metadata=metadata)
