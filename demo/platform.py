"""The whole demonstration as processes: servers, services and gateway, channel simulators, adapters.

Everything dies with this process and is stopped in reverse order. Tokens and secrets of the adapters lie
in files of mode 0600 in the data folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
from iop.common.v1 import types_pb2
from numpy.typing import NDArray

from demo.options import ROOT, Options
from services.kit import actor, errors, rpc
from services.kit.clock import Clock, ClockFile
from services.kit.embedded.process import dying_with_parent, free_port, spawn, write_private
from services.kit.supervisor import Supervisor

HOST = "127.0.0.1"
CMPP_SOURCE = "910086"
APP_ID = "wx10086nm"
TOKEN_SECONDS = 12 * 3600
LOADER = actor.Actor("user:boss", "BOSS接口", frozenset({"admin"}), (actor.PROVINCE,))
PROBES = actor.Actor("user:probes", "信令平台", frozenset({"admin"}), (actor.PROVINCE,))
WATCHER = actor.Actor("user:watch", "演示", frozenset({"admin"}), (actor.PROVINCE,))


class Platform:
    """Processes of one run in `options.data`. `now` is the first business time."""

    def __init__(self, options: Options, now: datetime, say: Callable[[str], None]) -> None:
        self.options, self.data = options, options.data
        self._say = say
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clock_file = self.data / "clock"
        if not (options.keep and self.clock_file.exists()):
            ClockFile.write(self.clock_file, now)
        env = dict(os.environ, IOP_CLOCK=str(self.clock_file))
        self._env = env
        self.supervisor = Supervisor(self.data, env, say=say)
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.logs = self.data / "channels"
        self._ports = {name: free_port() for name in ("smsc", "account", "clicks")}

    @property
    def url(self) -> str:
        """Of the portal and the HTTP API."""
        return f"http://{self.supervisor.http_address}"

    @property
    def account_url(self) -> str:
        """Of the simulators' HTTP door."""
        return f"http://{HOST}:{self._ports['account']}"

    def start(self) -> None:
        """Servers, services, gateway."""
        self.supervisor.start()

    def start_channels(self, followers: NDArray[np.int64], instructions: dict[str, str]) -> None:
        """Simulators, then the adapters that speak to them. `followers` are numbers bound to the account."""
        folder = self.data / "adapters"
        folder.mkdir(exist_ok=True, mode=0o700)
        self.logs.mkdir(exist_ok=True, mode=0o700)
        for name in ("cmpp.secret", "account.secret"):
            if not (folder / name).exists():
                write_private(folder / name, secrets.token_hex(8))
        np.save(folder / "followers.npy", followers)
        write_private(
            folder / "simulators.json",
            json.dumps(
                {
                    "clock": str(self.clock_file),
                    "seed": self.options.seed,
                    "smsc": {
                        "host": HOST,
                        "port": self._ports["smsc"],
                        "source": CMPP_SOURCE,
                        "secret": (folder / "cmpp.secret").read_text(),
                    },
                    "account": {
                        "host": HOST,
                        "port": self._ports["account"],
                        "app_id": APP_ID,
                        "secret": (folder / "account.secret").read_text(),
                    },
                    "instructions": instructions,
                    "followers": str(folder / "followers.npy"),
                    "logs": str(self.logs),
                    "clicks": f"http://{HOST}:{self._ports['clicks']}",
                }
            ),
        )
        self._spawn("simulators", ["demo.simulators", str(folder / "simulators.json")], {})
        self._await(lambda: self._answers(f"{self.account_url}/status"), "the channel simulators")
        self._adapter(
            "sms-1",
            "adapters.sms",
            ("sms", "event_sms", "comp"),
            {
                "CMPP_GATEWAY": f"{HOST}:{self._ports['smsc']}",
                "CMPP_SOURCE": CMPP_SOURCE,
                "CMPP_SECRET_FILE": str(folder / "cmpp.secret"),
            },
        )
        self._adapter(
            "data-plus-1",
            "adapters.data_plus",
            ("data_plus", "wechat_hall"),
            {
                "WECHAT_URL": self.account_url,
                "WECHAT_APP_ID": APP_ID,
                "WECHAT_SECRET_FILE": str(folder / "account.secret"),
                "DATA_PLUS_LISTEN": f"{HOST}:{self._ports['clicks']}",
            },
        )

    def token_file(self, name: str, touchpoints: tuple[str, ...]) -> Path:
        """A file with a token of an adapter for its touchpoints, mode 0600."""
        path = self.data / "adapters" / f"{name}.token"
        who = actor.Actor(
            f"adapter:{name}", name, frozenset({"adapter"}), (actor.PROVINCE,), touchpoints=touchpoints
        )
        write_private(path, actor.sign(who, keys=self.supervisor.actor_keys, ttl=TOKEN_SECONDS))
        return path

    def channel(self, service: str, who: actor.Actor = WATCHER) -> rpc.Channel:
        """A gRPC channel to a service, as `who`."""
        return rpc.connect(self.supervisor.addresses[service], who, self.supervisor.actor_keys)

    def passwords(self) -> dict[str, str]:
        """The demonstration's sign-ins."""
        found: dict[str, str] = json.loads((self.data / "issuer" / "passwords.json").read_text())
        return found

    def set_clock(self, at: datetime, rate: float = 0.0) -> None:
        """Sets the business clock of every process."""
        ClockFile.write(self.clock_file, at, rate)

    def now(self) -> datetime:
        """Business time."""
        return Clock.file(self.clock_file).now()

    def dead(self) -> list[str]:
        """Simulators and adapters that have ended by themselves, with their exit status."""
        return [
            f"{name} (exit status {process.returncode})"
            for name, process in self._children
            if process.poll() is not None
        ]

    def stop(self) -> None:
        """Stops everything in reverse."""
        for _name, process in reversed(self._children):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        self._children.clear()
        self.supervisor.stop()
        # The clock stands still until somebody goes on with these data.
        self.set_clock(self.now())

    def _adapter(self, name: str, module: str, touchpoints: tuple[str, ...], env: dict[str, str]) -> None:
        own = {
            "IOP_TOUCHPOINT": self.supervisor.addresses["touchpoint"],
            "IOP_ADAPTER_TOKEN_FILE": str(self.token_file(name, touchpoints)),
            "IOP_ADAPTER_JOURNAL": str(self.data / "adapters" / f"{name}.journal"),
            "IOP_ADAPTER_NAME": name,
        }
        self._spawn(name, [module], own | env)

    def _spawn(self, name: str, arguments: list[str], env: dict[str, str]) -> None:
        def popen() -> subprocess.Popen[bytes]:
            with (self.data / "logs" / f"{name}.log").open("ab") as log:
                return subprocess.Popen(
                    dying_with_parent([sys.executable, "-m", *arguments], signal.SIGTERM),
                    cwd=ROOT,
                    env={**self._env, **env},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

        self._children.append((name, spawn(popen)))

    def _await(self, ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if self.dead():
                raise errors.Unavailable(f"{', '.join(self.dead())} ended; see {self.data / 'logs'}")
            if time.monotonic() > end:
                raise errors.Unavailable(f"{what} did not come up in {seconds:.0f} s")
            time.sleep(0.05)

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def wipe(data: Path) -> None:
    """Removes the data of an earlier run, PostgreSQL's folder elsewhere too; Precondition while it runs."""
    if (data / "lock").exists():
        with (data / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise errors.Precondition(
                    f"{data} is in use: end the other `make run` or `make demo`"
                ) from None
    location = data / "postgres" / "location"
    if location.exists():
        shutil.rmtree(location.read_text().strip(), ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)


def touchpoint_number(word: str) -> int:
    """`event_sms` -> 2."""
    return int(types_pb2.Touchpoint.Value(f"TOUCHPOINT_{word.upper()}"))


def touchpoint_word(number: int) -> str:
    """2 -> `event_sms`."""
    return types_pb2.Touchpoint.Name(number).removeprefix("TOUCHPOINT_").lower()  # type: ignore[arg-type]


__all__ = ["LOADER", "PROBES", "WATCHER", "Platform", "touchpoint_number", "touchpoint_word", "wipe"]
