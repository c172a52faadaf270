"""The fixtures themselves: each test gets servers and databases of its own."""

from __future__ import annotations

import nats
import psycopg
import redis

from tests.conftest import MakeDatabase


def test_each_database_is_new_and_belongs_to_its_service(make_database: MakeDatabase) -> None:
    first, second = (make_database("audience").replace("+psycopg", "") for _ in range(2))
    assert first != second
    with psycopg.connect(first) as database:
        database.execute("CREATE TABLE mine (line text)")
        assert database.execute("SELECT current_user").fetchone() == ("iop_audience",)
    with psycopg.connect(second) as database:
        assert database.execute("SELECT to_regclass('mine')").fetchone() == (None,)


async def test_the_bus_starts_without_streams(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        assert await connection.jetstream().streams_info() == []
        await connection.jetstream().add_stream(name="LEFT", subjects=["left"])
    finally:
        await connection.close()


async def test_the_bus_starts_without_streams_again(nats_url: str) -> None:
    await test_the_bus_starts_without_streams(nats_url)


def test_the_cache_starts_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as cache:
        assert cache.dbsize() == 0
        cache.set("left", 1)


def test_the_cache_starts_empty_again(redis_url: str) -> None:
    test_the_cache_starts_empty(redis_url)
