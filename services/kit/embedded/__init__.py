"""The real servers of the embedded default: PostgreSQL, NATS with JetStream, and Valkey, from wheels.

    with embedded.start(Path(".data"), ["audience", "campaign"]) as servers:
        servers.database_urls["audience"], servers.nats_url, servers.redis_url

Loopback only, random passwords per installation in files of mode 0600. Data stays below the data
folder, and a second start finds it again. `DATABASE_URL_<SERVICE>`, `NATS_URL` and `REDIS_URL` replace
each part by a server that runs elsewhere. The servers die with the process that started them, however
it ends.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from services.kit.embedded.nats import Nats, start_nats
from services.kit.embedded.postgres import Postgres, start_postgres
from services.kit.embedded.process import EmbeddedError, Server
from services.kit.embedded.valkey import Valkey, start_valkey

__all__ = [
    "EmbeddedError",
    "Nats",
    "Postgres",
    "Servers",
    "Valkey",
    "start",
    "start_nats",
    "start_postgres",
    "start_valkey",
]


@dataclass(frozen=True)
class Servers:
    """Addresses of what runs; each is the external one when the environment names it."""

    nats_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    # service -> "postgresql+psycopg://role:password@host:port/database"
    database_urls: dict[str, str] = field(repr=False)
    # A superuser's address of the embedded PostgreSQL; None when every database is external.
    admin_database_url: str | None = field(repr=False)
    running: dict[str, Server] = field(default_factory=dict, repr=False)
    _cleanup: ExitStack = field(default_factory=ExitStack, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def restart(self, which: str) -> None:
        """Kills "postgres", "nats" or "valkey" at once and starts it again on the same port and data.

        For fault tests and for a supervisor whose server died. EmbeddedError when that part is external.
        """
        with self._guard:
            server = self.running.get(which)
            if server is None:
                raise EmbeddedError(f"{which} is not an embedded server of this installation")
            server.kill()
            server.launch()

    def dead(self) -> list[str]:
        """Names of the embedded servers that have ended by themselves."""
        return [name for name, server in self.running.items() if not server.alive()]

    def stop(self) -> None:
        """Stops what runs, in reverse order; a second call does nothing."""
        with self._guard:
            self._cleanup.close()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    data_dir: Path,
    services: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    durable: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> Servers:
    """Starts what the environment does not name, with a database and a role for each service.

    `durable` False skips fsync, for tests: a killed server still keeps its data, a lost machine does not.
    Ports are free ones (those of the last start when they still are) unless `IOP_POSTGRES_PORT`,
    `IOP_NATS_PORT` or `IOP_VALKEY_PORT` is set. Raises EmbeddedError with one line to act on.
    """
    env = os.environ if env is None else env
    external = {
        name: _sqlalchemy_url(given)
        for name in services
        if (given := _given(env, f"DATABASE_URL_{name.upper()}"))
    }
    wanted = [name for name in services if name not in external]
    nats_url, redis_url = _given(env, "NATS_URL"), _given(env, "REDIS_URL")
    running: dict[str, Server] = {}
    admin_url: str | None = None
    database_urls = dict(external)
    with ExitStack() as stack:
        if wanted or not nats_url or not redis_url:
            stack.enter_context(_own(data_dir))
        if wanted:
            progress("PostgreSQL")
            postgres = start_postgres(
                data_dir / "postgres", wanted, durable=durable, port=_port(env, "IOP_POSTGRES_PORT")
            )
            running["postgres"] = postgres
            stack.callback(postgres.stop)
            database_urls |= postgres.database_urls
            admin_url = postgres.admin_url
        if not nats_url:
            progress("NATS")
            nats = start_nats(data_dir / "nats", durable=durable, port=_port(env, "IOP_NATS_PORT"))
            running["nats"] = nats
            stack.callback(nats.stop)
            nats_url = nats.url
        if not redis_url:
            progress("Valkey")
            valkey = start_valkey(data_dir / "valkey", port=_port(env, "IOP_VALKEY_PORT"))
            running["valkey"] = valkey
            stack.callback(valkey.stop)
            redis_url = valkey.url
        return Servers(
            nats_url=nats_url,
            redis_url=redis_url,
            database_urls={name: database_urls[name] for name in services},
            admin_database_url=admin_url,
            running=running,
            _cleanup=stack.pop_all(),
        )
    raise AssertionError("unreachable")


def _own(data_dir: Path) -> IO[str]:
    """Holds the data folder for this process alone; the kernel lets go of it however we end."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = open(data_dir / "lock", "a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise EmbeddedError(
            f"{data_dir} is in use by process {holder}: stop it, or set IOP_DATA_DIR to another folder"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _given(env: Mapping[str, str], variable: str) -> str:
    """An address from the environment, or from the file that `<variable>_FILE` names."""
    if path := env.get(f"{variable}_FILE"):
        return env.get(variable) or Path(path).read_text().strip()
    return env.get(variable, "")


def _port(env: Mapping[str, str], variable: str) -> int:
    text = env.get(variable, "0")
    if not text.isdecimal() or int(text) > 65535:
        raise EmbeddedError(f"{variable}={text!r} is not a port number")
    return int(text)


def _sqlalchemy_url(url: str) -> str:
    """A plain libpq address gets the driver that the services use."""
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url
