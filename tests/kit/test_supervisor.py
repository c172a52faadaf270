"""The supervisor with small services of its own in a tree that holds only them and the kit."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.kit import errors
from services.kit.embedded.process import started_at
from services.kit.supervisor import ROOT, SERVICES, Supervisor

MAIN = """
from services.kit import rpc

async def start(service):
    service.log.info("hello")
    server = rpc.Server(service)
    await server.start()
    service.on_stop("rpc", server.stop)
"""


@pytest.fixture
def tree(tmp_path):
    """A folder with the kit and two services that only serve their health."""
    services = tmp_path / "tree" / "services"
    services.mkdir(parents=True)
    for shared in ("__init__.py", "__main__.py", "kit"):
        (services / shared).symlink_to(ROOT / "services" / shared)
    (services.parent / "build").symlink_to(ROOT / "build")
    for name in ("campus", "evaluation"):
        (services / name).mkdir()
        (services / name / "main.py").write_text(MAIN)
    return services.parent


def supervisor(tmp_path, tree, says, **fields):
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    names = ("evaluation", "campus")
    made = Supervisor(
        tmp_path / "data", env, services=names, say=says.append, durable=False, root=tree, **fields
    )
    made._migrate = lambda name: None  # these services have no tables
    return made


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.mark.slow
def test_it_starts_revives_and_stops_what_it_runs(tmp_path, tree):
    says: list[str] = []
    with supervisor(tmp_path, tree, says) as platform:
        run = tmp_path / "data" / "run.json"
        assert stat.S_IMODE(run.stat().st_mode) == 0o600
        told = json.loads(run.read_text())
        assert told["addresses"] == platform.addresses
        assert told["pids"] == {name: platform.pid(name) for name in platform.services}
        keys = tmp_path / "data" / "secrets" / "actor_keys"
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600

        first = platform.pid("campus")
        platform.kill("campus", signal.SIGKILL)
        until(lambda: platform.pid("campus") not in (0, first))
        platform.wait_healthy(["campus"])
        assert any("campus ended (SIGKILL)" in line for line in says)
        assert json.loads(run.read_text())["pids"]["campus"] == platform.pid("campus")

        second = platform.pid("evaluation")
        platform.restart("evaluation")
        assert platform.pid("evaluation") != second
        platform.restart("nats")
        pids = [platform.pid(name) for name in platform.services]
    assert all(started_at(pid) is None for pid in pids)
    assert not run.exists()
    assert "hello" in (tmp_path / "data" / "logs" / "campus.log").read_text()


@pytest.mark.slow
def test_one_that_cannot_start_is_named_with_its_last_words(tmp_path, tree):
    (tree / "services" / "campus" / "main.py").write_text(
        "from services.kit import errors\n\n"
        "async def start(service):\n    raise errors.Precondition('IOP_MAP is not set')\n"
    )
    says: list[str] = []
    platform = supervisor(tmp_path, tree, says)
    with pytest.raises(errors.Unavailable, match=r"campus does not start: .*IOP_MAP is not set"):
        platform.start()
    assert platform.pid("evaluation") == 0


@pytest.mark.slow
def test_nothing_survives_a_killed_supervisor(tmp_path, tree):
    script = tmp_path / "keep.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from services.kit.supervisor import Supervisor\n"
        f"p = Supervisor({str(tmp_path / 'data')!r}, services=('evaluation', 'campus'),"
        f" durable=False, root=Path({str(tree)!r}))\n"
        "p._migrate = lambda name: None\n"
        "p.start()\nprint(*[p.pid(n) for n in p.services], flush=True)\ntime.sleep(600)\n"
    )
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
    finally:
        process.kill()
        process.wait()
    until(lambda: all(started_at(pid) is None for pid in pids), 10)


def test_the_command_line_explains_itself():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "services"]
    helped = subprocess.run([*run, "--help"], capture_output=True, text=True, cwd=ROOT, env=env, timeout=60)
    assert helped.returncode == 0
    assert all(word in helped.stdout for word in ("up", "all", "migrate", "DATABASE_URL"))
    wrong = subprocess.run([*run, "migrate"], capture_output=True, text=True, cwd=ROOT, env=env, timeout=60)
    assert wrong.returncode == 2
    clocked = {**env, "IOP_CLOCK": str(Path(__file__))}
    clocked.pop("IOP_EMBEDDED", None)
    refused = subprocess.run(
        [*run, "campus"], capture_output=True, text=True, cwd=ROOT, env=clocked, timeout=60
    )
    assert refused.returncode == 2
    assert refused.stderr.strip() == "campus: IOP_CLOCK is honoured with the embedded servers only"
    assert SERVICES[0] == "audience" and SERVICES[-1] == "gateway"
