"""Migrations: Alembic's engine and version files, without an environment script per service.

The files are `services/<service>/migrations/versions/*.py` (the gateway's: `gateway/migrations/versions`).
The first of each service creates the kit's three tables with `migrate.kit_tables(op)`.
"""

import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from services.kit import db, inbox, outbox, requests

_ROOT = Path(__file__).resolve().parent.parent.parent
_LOCK_KEY = 0x10B1
_one_at_a_time = threading.Lock()  # Alembic's `op` is a global of the process


def folder(service: str) -> Path:
    """Where the migrations of a service lie."""
    room = _ROOT / "gateway" if service == "gateway" else _ROOT / "services" / service
    return room / "migrations"


def upgrade(service: str, url: str, target: str = "head") -> None:
    """Bring the service's database to `target`. Safe to call from several replicas at once."""
    versions = folder(service) / "versions"
    if not versions.is_dir():
        return
    config = Config()
    config.set_main_option("script_location", str(folder(service)).replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs(target, revision)

    engine = db.engine(url, pool=1, statement_timeout_s=0, name=f"iop-{service}-migrate")
    try:
        with _one_at_a_time, engine.connect() as tx:
            tx.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
            with EnvironmentContext(config, script, fn=steps, destination_rev=target) as environment:
                environment.configure(connection=tx, transactional_ddl=True)
                with environment.begin_transaction():
                    environment.run_migrations()
            tx.commit()
    finally:
        engine.dispose()


def kit_tables(op: Any) -> None:
    """Create the outbox, inbox and request tables: `migrate.kit_tables(op)` in a first migration."""
    metadata = sa.MetaData()
    for make in (outbox.table, inbox.table, requests.table):
        make(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)
