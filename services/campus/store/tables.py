"""The tables. Times are business times, UTC."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.kit import inbox, outbox, requests

metadata = sa.MetaData()
outbox.table(metadata)
inbox.table(metadata)
requests.table(metadata)

_TIME = sa.DateTime(timezone=True)

school = sa.Table(
    "school",
    metadata,
    sa.Column("school_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),  # one more with each operation; the etag
    sa.Column("newest", sa.BigInteger, nullable=False),  # version of the newest change
    sa.Column("approved", sa.BigInteger, nullable=True),  # version in force
    sa.Column("state", sa.Text, nullable=False),  # review of the newest change
    sa.Column("city", sa.Integer, nullable=False),
    sa.Column("county", sa.Integer, nullable=False),
    sa.Column("comment", sa.Text, nullable=False, server_default=""),
    sa.Column("editor", sa.Text, nullable=False),
    sa.Column("changed_at", _TIME, nullable=False),
)

# Append-only: history can be looked up for ever (CAM-75).
school_version = sa.Table(
    "school_version",
    metadata,
    sa.Column("school_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("content", JSONB, nullable=False),
    sa.Column("editor", sa.Text, nullable=False),
    sa.Column("edited_at", _TIME, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("school_id", sa.Text, nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("audit_school", "school_id", "id"),
)

student = sa.Table(
    "student",
    metadata,
    sa.Column(
        "id", sa.BigInteger, sa.Identity(always=True), primary_key=True
    ),  # later imports have higher ids
    sa.Column("school_id", sa.Text, nullable=False),
    sa.Column("campus", sa.BigInteger, nullable=False),
    sa.Column("enrolment_year", sa.Integer, nullable=False),
    sa.Column("faculty", sa.Text, nullable=False),
    sa.Column("class_name", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("gender", sa.Text, nullable=False),
    sa.Column("phone", sa.Text, nullable=False),
    sa.Column("degree", sa.Text, nullable=False),
    sa.UniqueConstraint("school_id", "phone", "display_name", name="student_once"),
    sa.Index("student_phone", "phone", "id"),
    sa.Index("student_page", "school_id", "id"),
)

campus_cells = sa.Table(
    "campus_cells",
    metadata,
    sa.Column("school_id", sa.Text, primary_key=True),
    sa.Column("cells", sa.ARRAY(sa.BigInteger), nullable=False),  # tac << 32 | cell_id
    sa.Column("found_at", _TIME, nullable=False),
)

identification = sa.Table(
    "identification",
    metadata,
    sa.Column("school_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("registered", sa.Integer, nullable=False),
    sa.Column("identified", sa.Integer, nullable=False),
    sa.Column("identified_at", _TIME, nullable=False),
)
