"""The platform on one machine: embedded servers, a process per service and the gateway, kept running.

    with Supervisor(Path(".data")) as platform:
        platform.addresses["campaign"], platform.http_address

Processes are started together, in order of dependency, and waited for by gRPC health; one that crashes
is started again after a growing pause; all are stopped in reverse. They die with the supervisor.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kit import config, embedded, errors, migrate
from services.kit.embedded.process import dying_with_parent, free_port, spawn, write_private

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = ("audience", "event", "touchpoint", "campaign", "evaluation", "campus", "gateway")

Say = Callable[[str], None]


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class Child:
    """One service process."""

    name: str
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    crashes: int = 0  # in a row, without having been healthy for a while
    restart_at: float = 0.0
    wanted: bool = True
    history: list[int] = field(default_factory=list)  # exit statuses

    def alive(self) -> bool:
        """True while its process runs."""
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """The last thing its log says, as one line."""
        with contextlib.suppress(OSError):
            for line in reversed(self.log.read_text(errors="replace").strip().splitlines()[-20:]):
                try:
                    return str(json.loads(line)["message"])
                except (ValueError, KeyError, TypeError):
                    if line and not line.startswith(" "):
                        return line
        return "it said nothing"


class Supervisor:
    """Starts, watches and stops the platform. `say` gets one line for everything worth telling.

    `env` is what the processes see beside what is set here; NATS_URL, DATABASE_URL_<SERVICE> and
    REDIS_URL replace the embedded servers. Used by `python -m services up`, the demo and system tests.
    """

    def __init__(
        self,
        data_dir: Path | str = ".data",
        env: Mapping[str, str] | None = None,
        *,
        services: Sequence[str] = SERVICES,
        say: Say = _print,
        durable: bool = True,
        root: Path = ROOT,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.services = tuple(services)
        self.addresses: dict[str, str] = {}
        self.http_address = ""  # host:port of the gateway
        self.servers: embedded.Servers
        self.actor_keys: tuple[str, ...] = ()
        self._env = dict(os.environ if env is None else env)
        self._say, self._durable, self._root = say, durable, root
        self._children: dict[str, Child] = {}
        self.failed = False
        self._guard = threading.RLock()
        self._ending = threading.Event()
        self._watch: threading.Thread | None = None

    def start(self, timeout: float = 120) -> None:
        """Bring everything up and return once all answer; EmbeddedError or errors.Error otherwise."""
        try:
            self.prepare()
            for name in self.services:
                self._launch(self._children[name])
            self._watch = threading.Thread(target=self._watching, name="supervisor", daemon=True)
            self._watch.start()
            self.wait_healthy(timeout=timeout)
        except BaseException:
            self.stop()
            raise

    def wait_healthy(self, names: Sequence[str] = (), timeout: float = 60) -> None:
        """Wait until the services (default: all) say SERVING; errors.Unavailable names one that does not."""
        end = time.monotonic() + timeout
        for name in names or self.services:
            while not self._serving(name):
                child = self._children[name]
                if child.crashes >= 5:
                    raise errors.Unavailable(f"{name} does not start: {child.last_words()}")
                if time.monotonic() > end:
                    raise errors.Unavailable(
                        f"{name} is not ready after {timeout:.0f} s: {child.last_words()}"
                    )
                time.sleep(0.05)

    def pid(self, name: str) -> int:
        """The process id of a service; 0 when it is not running."""
        child = self._children[name]
        return child.process.pid if child.process is not None and child.alive() else 0

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a service; it is started again like after any crash."""
        if pid := self.pid(name):
            os.kill(pid, number)

    def restart(self, name: str, timeout: float = 60) -> None:
        """Stop a service and start it at once; or kill and start "postgres", "nats", "valkey"."""
        if name in self.servers.running:
            self.servers.restart(name)
            return
        child = self._children[name]
        with self._guard:
            child.wanted = False
        self._end(child)
        with self._guard:
            child.wanted, child.crashes = True, 0
            self._launch(child)
        self.wait_healthy([name], timeout)

    def stop(self) -> None:
        """Stop every service in reverse order, then the servers; a second call does nothing."""
        self._ending.set()
        if self._watch is not None and self._watch is not threading.current_thread():
            self._watch.join(10)
        for name in reversed(self.services):
            if name in self._children:
                self._end(self._children[name])
        if hasattr(self, "servers"):
            self.servers.stop()
        with contextlib.suppress(OSError):
            (self.data_dir / "run.json").unlink()

    def runtimes(self) -> dict[str, config.Runtime]:
        """The Runtime of each service, for running all of them in this process."""
        os.environ.update({k: v for k, v in self._children["gateway"].env.items() if k.startswith("IOP_")})
        return {name: config.runtime(name, child.env) for name, child in self._children.items()}

    def __enter__(self) -> "Supervisor":
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def prepare(self) -> None:
        """Servers, tables, keys and addresses, without starting a service."""
        env = self._env
        self.servers = embedded.start(
            self.data_dir,
            self.services,
            env,
            durable=self._durable,
            progress=lambda part: self._say(f"starting {part}"),
        )
        if env.get("IOP_CLOCK") and set(self.servers.running) != {"postgres", "nats", "valkey"}:
            raise errors.Precondition("IOP_CLOCK is honoured with the embedded servers only")
        for name in self.services:
            self._migrate(name)
        keys = self.data_dir / "secrets" / "actor_keys"
        if not keys.exists():
            keys.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(keys, secrets.token_urlsafe(48))
        keys_file = env.get("IOP_ACTOR_KEYS_FILE") or str(keys)
        text = env.get("IOP_ACTOR_KEYS") or Path(keys_file).read_text()
        self.actor_keys = tuple(key.strip() for key in text.split(",") if key.strip())
        shared = self._shared_env(keys_file)
        logs = self.data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in self.services:
            own = {
                f"DATABASE_URL_{name.upper()}": self.servers.database_urls[name],
                "IOP_LISTEN": self.addresses[name],
            }
            self._children[name] = Child(name, {**shared, **own}, logs / f"{name}.log")

    def _migrate(self, name: str) -> None:
        migrate.upgrade(name, self.servers.database_urls[name])

    def _shared_env(self, keys_file: str) -> dict[str, str]:
        """What every process sees; nobody gets another one's database."""
        env = {key: value for key, value in self._env.items() if not key.startswith("DATABASE_URL_")}
        for name in self.services:
            self.addresses[name] = env.get(f"IOP_ADDR_{name.upper()}") or f"127.0.0.1:{free_port()}"
            env[f"IOP_ADDR_{name.upper()}"] = self.addresses[name]
        env.update(
            NATS_URL=self.servers.nats_url,
            REDIS_URL=self.servers.redis_url,
            IOP_DATA_DIR=str(self.data_dir),
            IOP_SUPERVISED=str(os.getpid()),
            PYTHONUNBUFFERED="1",
        )
        if not env.get("IOP_ACTOR_KEYS"):
            env["IOP_ACTOR_KEYS_FILE"] = keys_file
        if self.servers.running:
            env["IOP_EMBEDDED"] = "1"
        if "gateway" in self.services:
            self.http_address = env.setdefault("IOP_HTTP_LISTEN", f"127.0.0.1:{free_port()}")
            if not env.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
                # The gateway keeps the spans of the embedded default, behind the portal's trace page.
                env["IOP_OTLP_LISTEN"] = f"127.0.0.1:{free_port()}"
                env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{env['IOP_OTLP_LISTEN']}"
        return env

    def _launch(self, child: Child) -> None:
        def popen() -> subprocess.Popen[bytes]:
            with open(child.log, "ab") as log:
                return subprocess.Popen(
                    dying_with_parent([sys.executable, "-m", "services", child.name], signal.SIGKILL),
                    cwd=self._root,
                    env=child.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C at the terminal is for the supervisor, which stops everything in order.
                    start_new_session=True,
                )

        if child.process is None:
            child.log.unlink(missing_ok=True)
        child.process = spawn(popen)
        child.started = time.monotonic()
        self._write_run_file()

    def _end(self, child: Child) -> None:
        process = child.process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(25)
        except subprocess.TimeoutExpired:
            self._say(f"{child.name} does not stop and is killed")
            process.kill()
            process.wait(10)

    def _watching(self) -> None:
        while not self._ending.wait(0.1):
            for which in self.servers.dead():
                self._say(f"{which} has died and is started again")
                try:
                    self.servers.restart(which)
                except embedded.EmbeddedError as problem:
                    self._say(str(problem))
                    self._ending.wait(2)
            with self._guard:
                for child in self._children.values():
                    if child.wanted and not child.alive() and not self._ending.is_set():
                        self._revive(child)

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at == 0.0:
            status = child.process.returncode if child.process is not None else 0
            child.history.append(status)
            child.crashes = 1 if now - child.started > 20 else child.crashes + 1
            pause = 0.1 if child.crashes == 1 else min(10.0, 0.5 * 2 ** (child.crashes - 2))
            child.restart_at = now + pause
            how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            self._say(f"{child.name} ended ({how}), starting it again in {pause:.1f} s: {child.last_words()}")
        elif now >= child.restart_at:
            child.restart_at = 0.0
            self._launch(child)

    def _serving(self, name: str) -> bool:
        with grpc.insecure_channel(self.addresses[name]) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _write_run_file(self) -> None:
        """How tools find the running platform: addresses, processes, keys; readable by its owner only."""
        run = {
            "pid": os.getpid(),
            "addresses": self.addresses,
            "http": self.http_address,
            "pids": {name: self.pid(name) for name in self._children},
            "nats_url": self.servers.nats_url,
            "redis_url": self.servers.redis_url,
            "actor_keys": list(self.actor_keys),
            "clock": self._env.get("IOP_CLOCK", ""),
        }
        write_private(self.data_dir / "run.json", json.dumps(run, indent=2))
