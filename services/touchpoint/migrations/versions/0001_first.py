"""The ledger, its queue rows, policy and lists."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from services.kit import migrate

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)


def _key(name: str, kind: type[sa.types.TypeEngine] = sa.BigInteger) -> sa.Column:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _needed(name: str, kind) -> sa.Column:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    migrate.kit_tables(op)
    op.execute("CREATE SEQUENCE slice_id_seq")
    op.execute("CREATE SEQUENCE lease_id_seq")
    op.create_table(
        "activity",
        _key("activity_number"),
        _needed("state", sa.SmallInteger),
        _needed("state_version", sa.BigInteger),
        _needed("launched", sa.LargeBinary),
    )
    op.create_table(
        "setting",
        _key("activity_number"),
        _key("touchpoint", sa.SmallInteger),
        _needed("lane", sa.SmallInteger),
        _needed("enabled", sa.Boolean),
    )
    op.create_table(
        "touch",
        _key("planned_day", sa.Integer),
        _key("activity_number"),
        _key("occurrence"),
        _key("touchpoint", sa.SmallInteger),
        _key("ordinal"),
        _needed("slice_id", sa.BigInteger),
        _needed("position", sa.Integer),
        _needed("state", sa.SmallInteger),
        _needed("reason", sa.Text),
        postgresql_partition_by="LIST (planned_day)",
    )
    op.create_table(
        "slice",
        _key("slice_id"),
        _needed("page_id", sa.Text),
        _needed("planned_day", sa.Integer),
        _needed("activity_number", sa.BigInteger),
        _needed("occurrence", sa.BigInteger),
        _needed("touchpoint", sa.SmallInteger),
        _needed("group_name", sa.Text),
        _needed("ordinals", sa.LargeBinary),
        sa.Column("expires", sa.LargeBinary, nullable=True),
        _needed("states", sa.LargeBinary),
        _needed("marks", sa.LargeBinary),
        _needed("received_at", TIME),
        _needed("traceparent", sa.Text),
        _needed("waiting", sa.Integer),
        _needed("held", sa.Integer),
        _needed("queued", sa.Integer),
        _needed("leased", sa.Integer),
        _needed("inflight", sa.Integer),
        _needed("shown", sa.Integer),
        sa.Column("next_expiry", sa.BigInteger, nullable=True),
        sa.Column("inflight_since", sa.BigInteger, nullable=True),
        _needed("live", sa.Boolean),
    )
    # What never changes lies outside of the row, so that an update copies only the states.
    op.execute("ALTER TABLE slice ALTER ordinals SET STORAGE EXTERNAL, ALTER expires SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE slice SET (fillfactor = 70, toast_tuple_target = 1024)")
    op.create_index("slice_live", "slice", ["slice_id"], postgresql_where=sa.text("live"))
    op.create_table(
        "wave",
        _key("planned_day", sa.Integer),
        _key("activity_number"),
        _key("occurrence"),
        _key("touchpoint", sa.SmallInteger),
    )
    op.create_table(
        "lease",
        _key("lease_id"),
        _needed("adapter", sa.Text),
        _needed("idempotent", sa.Boolean),
        _needed("leased_at", TIME),
        _needed("day", sa.Integer),
    )
    op.create_index("lease_day", "lease", ["day"])
    op.create_table(
        "lease_item",
        _key("slice_id"),
        _key("lease_id"),
        _needed("positions", sa.LargeBinary),
        sa.Column("variables", JSONB, nullable=True),
    )
    op.create_index("lease_item_lease", "lease_item", ["lease_id"])
    op.create_table(
        "outcome",
        _key("planned_day", sa.Integer),
        _key("slice_id"),
        _key("position", sa.Integer),
        _key("step", sa.SmallInteger),
        _key("lease_id"),
        _needed("previous", sa.SmallInteger),
        _needed("code", sa.Text),
        _needed("at", TIME),
        sa.Column("provider_message_id", sa.Text, nullable=True),
        postgresql_partition_by="LIST (planned_day)",
    )
    op.create_index(
        "outcome_provider",
        "outcome",
        ["provider_message_id"],
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )
    op.create_table(
        "counter",
        _key("activity_number"),
        _key("touchpoint", sa.SmallInteger),
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        _needed("n", sa.BigInteger),
    )
    op.execute("ALTER TABLE counter SET (fillfactor = 50)")
    op.create_table(
        "refund",
        sa.Column("refund_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _needed("keys", sa.LargeBinary),
    )
    op.create_table(
        "touch_trace",
        _key("slice_id"),
        _key("position", sa.Integer),
        _needed("traceparent", sa.Text),
        _needed("activity_number", sa.BigInteger),
        _needed("planned_day", sa.Integer),
        _needed("failed", sa.Boolean),
    )
    op.create_index("touch_trace_budget", "touch_trace", ["activity_number", "planned_day"])
    op.create_table("opt_out", _key("ordinal"), _needed("at", TIME), _needed("reply_id", sa.Text))
    op.create_table(
        "do_not_disturb",
        _key("ordinal"),
        _key("touchpoint", sa.SmallInteger),
        sa.Column("marketing_type", sa.Text, primary_key=True),
        _needed("creator", sa.Text),
        _needed("at", TIME),
    )
    op.create_table(
        "reply",
        sa.Column("reply_id", sa.Text, primary_key=True),
        _needed("touchpoint", sa.SmallInteger),
        sa.Column("ordinal", sa.BigInteger, nullable=True),
        _needed("kind", sa.Text),
        _needed("text", sa.Text),
        _needed("activity_number", sa.BigInteger),
        _needed("at", TIME),
    )
    op.create_table(
        "policy",
        sa.Column("one", sa.Boolean, primary_key=True),
        _needed("version", sa.BigInteger),
        _needed("body", sa.LargeBinary),
        _needed("at", TIME),
    )
    op.create_table(
        "owner",
        sa.Column("one", sa.Boolean, primary_key=True),
        _needed("epoch", sa.BigInteger),
        _needed("cap_generation", sa.Text),
    )
    op.execute("INSERT INTO owner VALUES (true, 0, '')")
