"""The first tables of the campus service."""

from alembic import op

from services.kit import migrate

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrate.kit_tables(op)
    op.execute(
        """
        CREATE TABLE school (
            school_id text PRIMARY KEY,
            revision bigint NOT NULL,
            newest bigint NOT NULL,
            approved bigint,
            state text NOT NULL,
            city integer NOT NULL,
            county integer NOT NULL,
            comment text NOT NULL DEFAULT '',
            editor text NOT NULL,
            changed_at timestamptz NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE school_version (
            school_id text NOT NULL,
            version bigint NOT NULL,
            content jsonb NOT NULL,
            editor text NOT NULL,
            edited_at timestamptz NOT NULL,
            PRIMARY KEY (school_id, version)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            school_id text NOT NULL,
            at timestamptz NOT NULL,
            actor text NOT NULL,
            action text NOT NULL,
            detail text NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX audit_school ON audit (school_id, id)")
    op.execute(
        """
        CREATE TABLE student (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            school_id text NOT NULL,
            campus bigint NOT NULL,
            enrolment_year integer NOT NULL,
            faculty text NOT NULL,
            class_name text NOT NULL,
            display_name text NOT NULL,
            gender text NOT NULL,
            phone text NOT NULL,
            degree text NOT NULL,
            CONSTRAINT student_once UNIQUE (school_id, phone, display_name)
        )
        """
    )
    op.execute("CREATE INDEX student_phone ON student (phone, id)")
    op.execute("CREATE INDEX student_page ON student (school_id, id)")
    op.execute(
        """
        CREATE TABLE campus_cells (
            school_id text PRIMARY KEY,
            cells bigint[] NOT NULL,
            found_at timestamptz NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE identification (
            school_id text PRIMARY KEY,
            version bigint NOT NULL,
            registered integer NOT NULL,
            identified integer NOT NULL,
            identified_at timestamptz NOT NULL
        )
        """
    )
