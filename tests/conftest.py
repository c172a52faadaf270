"""Real servers for every test: one PostgreSQL a session, a fresh NATS and Valkey a test.

`DATABASE_URL_<SERVICE>`, `NATS_URL` and `REDIS_URL` put the tests on servers that run elsewhere. Those
must be scratch servers: streams and keys found there are removed before each test, and the database role
must be allowed to create databases.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from services.kit import embedded
from services.kit.embedded.postgres import Postgres, role

pytest_plugins = [
    f"tests.fixtures.{path.stem}"
    for path in sorted((Path(__file__).parent / "fixtures").glob("*.py"))
    if path.stem != "__init__"
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The portal's tests come last: Playwright keeps an event loop in the main thread from then on."""
    items.sort(key=lambda item: "tests/portal/" in item.nodeid)


SERVICES = ("audience", "event", "campaign", "touchpoint", "evaluation", "campus", "gateway")
_numbers = itertools.count(1)

MakeDatabase = Callable[[str], str]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The session's PostgreSQL, without fsync."""
    server = embedded.start_postgres(tmp_path_factory.mktemp("postgres"), SERVICES, durable=False)
    yield server
    server.stop()


class _Databases:
    """Databases of one session: a migrated template per service, and copies of it."""

    def __init__(self, server: Postgres | None) -> None:
        self._server = server
        self._templates: dict[str, str] = {}

    def _base(self, service: str) -> str:
        given = os.environ.get(f"DATABASE_URL_{service.upper()}", "")
        if given:
            return given.replace("postgres://", "postgresql://", 1).replace(
                "postgresql://", "postgresql+psycopg://", 1
            )
        assert self._server is not None
        return self._server.database_urls[service]

    def _admin(self, service: str) -> psycopg.Connection[tuple[object, ...]]:
        if os.environ.get(f"DATABASE_URL_{service.upper()}"):
            url = make_url(self._base(service)).set(drivername="postgresql")
            return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
        assert self._server is not None
        return self._server.connect()

    def _create(self, service: str, name: str, template: str | None) -> str:
        url = make_url(self._base(service))
        with self._admin(service) as admin:
            Postgres.create_database(admin, name, url.username or role(service), template)
        return url.set(database=name).render_as_string(hide_password=False)

    def fresh(self, service: str) -> str:
        """Address of a new database with that service's migrated tables and nothing in them."""
        if service not in self._templates:
            from services.kit import migrate

            name = f"iop_template_{service}_{os.getpid()}"
            migrate.upgrade(service, self._create(service, name, None))
            self._templates[service] = name
        return self._create(
            service, f"iop_test_{service}_{os.getpid()}_{next(_numbers)}", self._templates[service]
        )

    def drop(self, service: str, name: str) -> None:
        with self._admin(service) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        for service, name in self._templates.items():
            self.drop(service, name)


@pytest.fixture(scope="session")
def _databases(request: pytest.FixtureRequest) -> Iterator[_Databases]:
    external = all(os.environ.get(f"DATABASE_URL_{name.upper()}") for name in SERVICES)
    databases = _Databases(None if external else request.getfixturevalue("postgres"))
    yield databases
    databases.close()


@pytest.fixture
def make_database(_databases: _Databases) -> Iterator[MakeDatabase]:
    """`make_database("audience")` gives the address of a new, migrated database; gone after the test."""
    made: list[tuple[str, str]] = []

    def make(service: str) -> str:
        url = _databases.fresh(service)
        made.append((service, make_url(url).database or ""))
        return url

    yield make
    for service, name in made:
        _databases.drop(service, name)


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """Address of a NATS server with JetStream and no streams."""
    if url := os.environ.get("NATS_URL"):
        asyncio.run(_without_streams(url))
        yield url
        return
    server = embedded.start_nats(tmp_path / "nats", durable=False)
    yield server.url
    server.stop()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Address of a Valkey server without keys."""
    if url := os.environ.get("REDIS_URL"):
        import redis

        with redis.Redis.from_url(url) as client:
            client.flushdb()
        yield url
        return
    server = embedded.start_valkey(tmp_path / "valkey")
    yield server.url
    server.stop()


async def _without_streams(url: str) -> None:
    import nats

    connection = await nats.connect(url)
    try:
        jetstream = connection.jetstream()
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(str(stream.config.name))
    finally:
        await connection.close()
