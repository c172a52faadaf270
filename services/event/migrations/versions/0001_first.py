"""The tables of the event service."""

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
    time = sa.DateTime(timezone=True)
    now = sa.func.now()
    op.create_table(
        "catalogue",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO catalogue (id, version) VALUES (1, 0)")
    op.create_table(
        "cell",
        sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("longitude", sa.Float(53), nullable=False),
        sa.Column("latitude", sa.Float(53), nullable=False),
        sa.Column("county", sa.Integer, nullable=False),
    )
    op.create_index("cell_county", "cell", ["county", "key"])
    op.create_table(
        "outlet",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("longitude", sa.Float(53), nullable=False),
        sa.Column("latitude", sa.Float(53), nullable=False),
        sa.Column("range_metres", sa.Integer, nullable=False),
        sa.Column("county", sa.Integer, nullable=False),
    )
    op.execute(sa.schema.CreateSequence(sa.Sequence("definition_number")))
    op.create_table(
        "definition",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("expression", sa.LargeBinary, nullable=False),
        sa.Column("expression_text", sa.Text, nullable=False),
        sa.Column("combination_seconds", sa.Integer, nullable=False),
        sa.Column("outlets", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("create_time", time, nullable=False),
        sa.Column("update_time", time, nullable=False),
    )
    op.create_table(
        "binding",
        sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("definition_number", sa.BigInteger, nullable=False, index=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("unbound", sa.Boolean, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "batch",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("accepted", sa.Integer, nullable=False),
        sa.Column("unknown", sa.Integer, nullable=False),
        sa.Column("refused", sa.Integer, nullable=False),
        sa.Column("taken_at", time, nullable=False, server_default=now),
    )
    op.create_index("batch_taken_at", "batch", ["taken_at"], postgresql_using="brin")
    op.create_table(
        "checkpoint",
        sa.Column("partition", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("partitions", sa.SmallInteger, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("taken_at", time, nullable=False, server_default=now),
    )
