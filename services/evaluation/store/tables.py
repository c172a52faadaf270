"""The tables. Bitmaps are portable Roaring of directory ordinals."""

import sqlalchemy as sa

from services.kit import inbox, outbox, requests

metadata = sa.MetaData()
outbox.table(metadata)
inbox.table(metadata)
requests.table(metadata)

activity = sa.Table(
    "activity",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("campaign_display_name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("case_id", sa.Text, nullable=False),
    sa.Column("region", sa.Integer, nullable=False),
    sa.Column("product_code", sa.Text, nullable=False, index=True),
    sa.Column("launched_at", sa.BigInteger, nullable=False),  # microseconds since 1970
    sa.Column("target", sa.LargeBinary, nullable=True),  # NULL: every customer outside the control group
    sa.Column("control", sa.LargeBinary, nullable=False),
    sa.Column("indicators", sa.ARRAY(sa.Text), nullable=False, server_default="{}"),
)

# Settled touches: what becomes of touches, additive.
fact = sa.Table(
    "fact",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),  # days since 1970, region time zone
    sa.Column("county", sa.Integer, primary_key=True),
    sa.Column("outcome", sa.SmallInteger, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)

# Sets of subscribers by day: who was reached (kind 0), whose outcome may still be amended (its number).
touch_set = sa.Table(
    "touch_set",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True),
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
    sa.Column("planned_day", sa.Integer, primary_key=True),
    sa.Column("occurrence", sa.BigInteger, primary_key=True),
    sa.Column("chunk", sa.Integer, primary_key=True),  # ordinal >> 16
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("kind", sa.SmallInteger, primary_key=True),
    sa.Column("members", sa.LargeBinary, nullable=False),
    sa.Index("touch_set_reach", "activity_number", "kind", "day", "chunk"),
)

# Clicks and replies, by who and when.
response = sa.Table(
    "response",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),  # clicks, replies, opt_outs
    sa.Column("touchpoint", sa.SmallInteger, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("ordinal", sa.BigInteger, primary_key=True),
    sa.Column("county", sa.Integer, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
)

product_order = sa.Table(
    "product_order",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("subscriber_id", sa.BigInteger, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("county", sa.Integer, nullable=False),
    sa.Column("product_code", sa.Text, nullable=False),
    sa.Column("price_fen", sa.BigInteger, nullable=False),
    sa.Column("ordered_at", sa.BigInteger, nullable=False),  # microseconds since 1970
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("touch_id", sa.Text, nullable=False),
    sa.Column("activity_number", sa.BigInteger, nullable=False),  # 0: owed to none
    sa.Column("touchpoint", sa.SmallInteger, nullable=False),
    sa.Column("control", sa.Boolean, nullable=False),
    sa.Index("product_order_activity", "activity_number", "day"),
    sa.Index("product_order_product", "product_code", "ordered_at"),
)

# Identified students, one row a campus, as the campus service announced them last.
campus = sa.Table(
    "campus",
    metadata,
    sa.Column("campus", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("school", sa.Text, nullable=False, index=True),
    sa.Column("county", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),  # of the announcement in its stream
    sa.Column("students", sa.LargeBinary, nullable=False),
)
