"""The first tables of evaluation."""

from alembic import op

from services.kit import migrate

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrate.kit_tables(op)
    op.execute(
        """
        CREATE TABLE activity (
            activity_number bigint PRIMARY KEY,
            name text NOT NULL,
            display_name text NOT NULL,
            campaign_display_name text NOT NULL,
            description text NOT NULL,
            case_id text NOT NULL,
            region integer NOT NULL,
            product_code text NOT NULL,
            launched_at bigint NOT NULL,
            target bytea,
            control bytea NOT NULL,
            indicators text[] NOT NULL DEFAULT '{}'
        )
        """
    )
    op.execute("CREATE INDEX ix_activity_product_code ON activity (product_code)")
    op.execute(
        """
        CREATE TABLE fact (
            activity_number bigint NOT NULL,
            touchpoint smallint NOT NULL,
            day integer NOT NULL,
            county integer NOT NULL,
            outcome smallint NOT NULL,
            reason text NOT NULL,
            n bigint NOT NULL,
            PRIMARY KEY (activity_number, touchpoint, day, county, outcome, reason)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE touch_set (
            activity_number bigint NOT NULL,
            touchpoint smallint NOT NULL,
            planned_day integer NOT NULL,
            occurrence bigint NOT NULL,
            chunk integer NOT NULL,
            day integer NOT NULL,
            kind smallint NOT NULL,
            members bytea NOT NULL,
            PRIMARY KEY (activity_number, touchpoint, planned_day, occurrence, chunk, day, kind)
        )
        """
    )
    op.execute("CREATE INDEX touch_set_reach ON touch_set (activity_number, kind, day, chunk)")
    op.execute(
        """
        CREATE TABLE response (
            activity_number bigint NOT NULL,
            kind text NOT NULL,
            touchpoint smallint NOT NULL,
            day integer NOT NULL,
            ordinal bigint NOT NULL,
            county integer NOT NULL,
            n bigint NOT NULL,
            PRIMARY KEY (activity_number, kind, touchpoint, day, ordinal)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE product_order (
            order_id text PRIMARY KEY,
            subscriber_id bigint NOT NULL,
            ordinal bigint NOT NULL,
            county integer NOT NULL,
            product_code text NOT NULL,
            price_fen bigint NOT NULL,
            ordered_at bigint NOT NULL,
            day integer NOT NULL,
            channel text NOT NULL,
            touch_id text NOT NULL,
            activity_number bigint NOT NULL,
            touchpoint smallint NOT NULL,
            control boolean NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX product_order_activity ON product_order (activity_number, day)")
    op.execute("CREATE INDEX product_order_product ON product_order (product_code, ordered_at)")
    op.execute(
        """
        CREATE TABLE campus (
            campus bigint PRIMARY KEY,
            school text NOT NULL,
            county integer NOT NULL,
            version bigint NOT NULL,
            position bigint NOT NULL,
            students bytea NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX ix_campus_school ON campus (school)")
