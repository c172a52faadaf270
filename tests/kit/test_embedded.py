"""The embedded servers: data survives, crashes leave nothing behind, roles are apart."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nats
import psycopg
import pytest
import redis

from services.kit import embedded
from services.kit.embedded import postgres as postgres_module
from services.kit.embedded.process import started_at

ROOT = Path(__file__).resolve().parents[2]
NOTHING: dict[str, str] = {}


def plain(url: str) -> str:
    """The address as libpq reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def pids(servers: embedded.Servers) -> list[int]:
    return [server.pid for server in servers.running.values() if server.pid is not None]


def folder_of(servers: embedded.Servers) -> Path:
    return servers.running["nats"].folder.parent


def gone(found: list[int], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if all(started_at(pid) is None for pid in found):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[embedded.Servers]:
    with embedded.start(tmp_path / "data", ["audience", "campaign"], NOTHING, durable=False) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Servers]:
    """One installation for the tests that change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    with embedded.start(folder, ["audience", "campaign"], NOTHING, durable=False) as running:
        yield running


async def write(servers: embedded.Servers, text: str) -> None:
    with psycopg.connect(plain(servers.database_urls["audience"])) as database:
        database.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
        database.execute("INSERT INTO kept VALUES (%s)", (text,))
    bus = await nats.connect(servers.nats_url)
    jetstream = bus.jetstream()
    await jetstream.add_stream(name="KEPT", subjects=["kept"])
    await jetstream.publish("kept", text.encode())
    await bus.close()
    with redis.Redis.from_url(servers.redis_url) as cache:
        cache.rpush("kept", text)


async def read(servers: embedded.Servers) -> tuple[list[str], list[str], list[str]]:
    with psycopg.connect(plain(servers.database_urls["audience"])) as database:
        rows = [line for (line,) in database.execute("SELECT line FROM kept")]
    bus = await nats.connect(servers.nats_url)
    stream = await bus.jetstream().stream_info("KEPT")
    message = await bus.jetstream().get_msg("KEPT", stream.state.last_seq)
    await bus.close()
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as cache:
        keys = cache.lrange("kept", 0, -1)
    return rows, [(message.data or b"").decode()], keys


async def test_a_second_start_finds_the_data_of_the_first(tmp_path: Path) -> None:
    with embedded.start(tmp_path, ["audience"], NOTHING) as first:
        await write(first, "here")
        ports = {name: server.port for name, server in first.running.items()}
        found = pids(first)
    assert gone(found)
    with embedded.start(tmp_path, ["audience", "event"], NOTHING) as second:
        assert await read(second) == (["here"], ["here"], ["here"])
        assert set(second.database_urls) == {"audience", "event"}
        # A page somebody bookmarked still answers, unless another program took the port meanwhile.
        assert {name: server.port for name, server in second.running.items()} == ports


@pytest.mark.parametrize("which", ["postgres", "nats", "valkey"])
async def test_restart_kills_and_comes_back_on_the_same_port(servers: embedded.Servers, which: str) -> None:
    await write(servers, "before")
    server = servers.running[which]
    old_pid, port = server.pid, server.port
    servers.restart(which)
    assert server.pid != old_pid
    assert server.port == port
    assert servers.dead() == []
    assert await read(servers) == (["before"], ["before"], ["before"])


def test_a_server_that_ended_is_named(servers: embedded.Servers) -> None:
    pid = servers.running["nats"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while not servers.dead() and time.monotonic() < end:
        time.sleep(0.01)
    assert servers.dead() == ["nats"]
    servers.restart("nats")
    assert servers.dead() == []


PARENT = """
import sys, time
from pathlib import Path
from services.kit import embedded
from services.kit.embedded import process
if sys.argv[2] == "no setpriv":
    process._understands_pdeathsig = lambda path: False
servers = embedded.start(Path(sys.argv[1]), ["audience"], {}, durable=False)
print(*[server.pid for server in servers.running.values()], flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("machine", ["setpriv", "no setpriv"])
def test_a_killed_parent_leaves_nothing_running(tmp_path: Path, machine: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), machine], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    found = [int(word) for word in parent.stdout.readline().split()]
    assert len(found) == 3
    assert all(started_at(pid) is not None for pid in found)
    parent.kill()
    parent.wait()
    # A start at once meets servers that are still closing, waits for them, and works.
    with embedded.start(tmp_path, ["audience"], NOTHING, durable=False) as servers:
        assert gone(found, 0.1)
        with psycopg.connect(plain(servers.database_urls["audience"])) as database:
            assert database.execute("SELECT 1").fetchone() == (1,)
    assert "was not properly shut down" not in (tmp_path / "postgres" / "server.log").read_text()


def test_servers_outlive_the_thread_that_started_them(tmp_path: Path) -> None:
    started: list[embedded.Nats] = []
    thread = threading.Thread(target=lambda: started.append(embedded.start_nats(tmp_path)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert started[0].alive()
    started[0].stop()


def test_a_folder_in_use_is_refused_with_its_holder(shared: embedded.Servers) -> None:
    with pytest.raises(embedded.EmbeddedError, match=f"process {os.getpid()}.*IOP_DATA_DIR"):
        embedded.start(folder_of(shared), ["audience"], NOTHING)


def test_a_role_reaches_its_own_database_only(shared: embedded.Servers) -> None:
    foreign = re.sub(r"/[^/]*$", "/iop_campaign", plain(shared.database_urls["audience"]))
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(foreign)
    for common in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(re.sub(r"/[^/]*$", f"/{common}", foreign))


async def test_nobody_enters_without_the_password(shared: embedded.Servers) -> None:
    without = re.compile(r"//([^:]*):[^@]*@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(without.sub(r"//\1:wrong@", plain(shared.database_urls["audience"])))
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis.from_url(without.sub("//", shared.redis_url)) as cache,
    ):
        cache.ping()

    async def quiet(_: Exception) -> None:
        return None

    with pytest.raises(nats.errors.Error, match="(?i)authorization"):
        await nats.connect(
            without.sub("//", shared.nats_url),
            allow_reconnect=False,
            max_reconnect_attempts=0,
            error_cb=quiet,
        )


def test_secrets_are_private_and_not_shown(shared: embedded.Servers) -> None:
    files = [
        *(folder_of(shared) / "postgres" / "secrets").iterdir(),
        folder_of(shared) / "nats" / "password",
        folder_of(shared) / "nats" / "nats.conf",
        folder_of(shared) / "valkey" / "password",
        folder_of(shared) / "valkey" / "valkey.conf",
    ]
    assert len(files) == 7
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        if path.suffix != ".conf":
            assert path.read_text() not in repr(shared)


def test_the_environment_replaces_each_part(tmp_path: Path) -> None:
    mounted = tmp_path / "database-url"
    mounted.write_text("postgresql://u:p@db/a\n")
    env = {
        "DATABASE_URL_AUDIENCE_FILE": str(mounted),
        "NATS_URL": "nats://elsewhere:4222",
        "REDIS_URL": "redis://elsewhere/0",
    }
    servers = embedded.start(tmp_path / "data", ["audience"], env)
    assert servers.database_urls == {"audience": "postgresql+psycopg://u:p@db/a"}
    assert (servers.nats_url, servers.redis_url) == ("nats://elsewhere:4222", "redis://elsewhere/0")
    assert servers.admin_database_url is None
    assert servers.running == {}
    assert not (tmp_path / "data").exists()
    with pytest.raises(embedded.EmbeddedError, match="not an embedded server"):
        servers.restart("nats")


def test_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with embedded.start(tmp_path / "one", [], {"REDIS_URL": "redis://elsewhere"}) as servers:
        port = str(servers.running["nats"].port)
        with pytest.raises(embedded.EmbeddedError, match=f"NATS did not start: port {port} .* is in use"):
            embedded.start(tmp_path / "two", [], {"REDIS_URL": "redis://elsewhere", "IOP_NATS_PORT": port})
    with pytest.raises(embedded.EmbeddedError, match="IOP_NATS_PORT='x' is not a port"):
        embedded.start(tmp_path / "two", [], {"IOP_NATS_PORT": "x"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes identity: run as root")
def test_postgres_runs_as_nobody_where_namespaces_are_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "_namespaces_work", lambda: False)
    monkeypatch.setattr(postgres_module, "_SHARED", Path("/var/lib") / f"iop-embedded-test-{os.getpid()}")
    try:
        for _ in range(2):
            server = embedded.start_postgres(tmp_path, ["audience"], durable=False)
            try:
                owner = Path(f"/proc/{server.pid}").stat().st_uid
                assert owner == 65534
                with psycopg.connect(plain(server.database_urls["audience"])) as database:
                    database.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
            finally:
                server.stop()
    finally:
        subprocess.run(["rm", "-rf", "--", str(postgres_module._SHARED)], check=True)
