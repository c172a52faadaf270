"""One child server process: started so that it dies with us, found again after a crash, stopped cleanly."""

from __future__ import annotations

import os
import queue
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class EmbeddedError(Exception):
    """An embedded server cannot start; the message is one line that says what to do."""


def secret(path: Path) -> str:
    """The password kept in `path` (mode 0600), made on first use."""
    try:
        return path.read_text()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        value = secrets.token_urlsafe(24)
        write_private(path, value)
        return value


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(fresh, path)


# Below the range from which the kernel gives local ports to outgoing connections (32768 and up): there a
# client that retries while its server restarts can take the port, or even connect to itself.
_PORTS = range(20000, 32768)


def free_port(preferred: int = 0) -> int:
    """`preferred` when nobody holds it, else one that is free now."""
    for port in (preferred, *random.SystemRandom().sample(_PORTS, 200)):
        if port and _is_free(port):
            return port
    raise EmbeddedError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class _Spawner:
    """Starts children from one thread that lives as long as the process.

    The kernel's parent-death signal follows the *thread* that forked: from a short-lived worker thread it
    would take the server down when that thread returns.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
        self._pid = 0
        self._guard = threading.Lock()

    def run(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._pid != os.getpid():
                self._jobs, self._pid = queue.SimpleQueue(), os.getpid()
                threading.Thread(target=self._serve, name="embedded-spawner", daemon=True).start()
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs.put((job, answer))
        result = answer.get()
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, subprocess.Popen)
        return result

    def _serve(self) -> None:
        while True:
            job, answer = self._jobs.get()
            try:
                answer.put(job())
            except BaseException as error:
                answer.put(error)


_spawner = _Spawner()


def spawn(job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Starts a child (`dying_with_parent`) from the thread that lives as long as this process."""
    return _spawner.run(job)


# Where setpriv is older or another one, the same two system calls from Python.
_PDEATHSIG = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, int(sys.argv[1])); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def dying_with_parent(command: Sequence[str], death: signal.Signals) -> list[str]:
    """`command` behind a prefix that asks the kernel to signal it when our process ends."""
    setpriv = shutil.which("setpriv")
    if setpriv is not None and _understands_pdeathsig(setpriv):
        return [setpriv, "--pdeathsig", death.name.removeprefix("SIG"), "--", *command]
    return [sys.executable, "-I", "-S", "-c", _PDEATHSIG, str(int(death)), *command]


_known: dict[str, bool] = {}


def _understands_pdeathsig(setpriv: str) -> bool:
    if setpriv not in _known:
        probe = subprocess.run([setpriv, "--pdeathsig", "TERM", "--", "true"], capture_output=True)
        _known[setpriv] = probe.returncode == 0
    return _known[setpriv]


def started_at(pid: int) -> str | None:
    """A process's start in kernel ticks: with its number, an identity never reused. None: it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]


def children_of(pid: int) -> list[int]:
    """Direct children of a process."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry))
    return found


def wait_gone(pid: int, start: str | None, seconds: float) -> bool:
    """Waits until that very process has ended."""
    end = time.monotonic() + seconds
    while start is not None and started_at(pid) == start:
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Server(ABC):
    """A server on 127.0.0.1 with a folder of its own. Subclasses say how to start it and when it is ready."""

    name: str
    # What makes it save and end, and what the kernel sends it when we die.
    stop_signal: signal.Signals = signal.SIGTERM
    ready_seconds: float = 30.0

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: str | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Writes configuration for `self.port`; makes the data folder on first use."""

    @abstractmethod
    def command(self) -> list[str]:
        """What to run; must stay in the foreground."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers. Called again and again while it starts."""

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Starts it and waits until it answers; on the port of the last start when that is free."""
        self.end_left_over()
        port_file = self.folder / "port"
        # Clients know the port of a restart, and somebody chose a fixed one: neither may move.
        pinned = self.port != 0
        if pinned and not _is_free(self.port):
            raise EmbeddedError(f"{self.name} did not start: port {self.port} on 127.0.0.1 is in use")
        for attempt in range(3):
            if not pinned:
                last = port_file.read_text() if port_file.exists() else "0"
                self.port = free_port(int(last) if last.isdecimal() and attempt == 0 else 0)
            self.prepare()
            if self._spawn_and_wait():
                port_file.write_text(str(self.port))
                return
            if pinned or "in use" not in self.log_tail().lower():
                break
        raise EmbeddedError(f"{self.name} did not start: {self.log_tail() or 'no output'}")

    def _spawn_and_wait(self) -> bool:
        with open(self.log_path, "wb") as log:
            command = self.command()
            process = _spawner.run(
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    # Ctrl-C at the terminal is for us; we stop servers after the services have drained.
                    start_new_session=True,
                )
            )
        self._process = process
        self._identity = started_at(process.pid)
        write_private(self.folder / "pid", f"{process.pid} {self._identity}")
        end = time.monotonic() + self.ready_seconds
        while process.poll() is None and time.monotonic() < end:
            if self.ready():
                return True
            time.sleep(0.004)
        self.kill()
        return False

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def log_tail(self) -> str:
        """The last lines of its log on one line, for an error message."""
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return " | ".join(lines[-4:])

    def stop(self) -> None:
        """Lets it save and end; kills it after ten seconds."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(self.stop_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None
        (self.folder / "pid").unlink(missing_ok=True)

    def kill(self) -> None:
        """Ends it and its children at once, as a crash does."""
        process = self._process
        if process is None:
            return
        family = [(pid, started_at(pid)) for pid in children_of(process.pid)]
        process.kill()
        process.wait()
        for pid, start in family:
            if start is not None and started_at(pid) == start:
                _signal(pid, signal.SIGKILL)
        for pid, start in family:
            wait_gone(pid, start, 5)
        self._process = None

    def end_left_over(self) -> None:
        """Ends a server of an earlier run that is still shutting down after its parent crashed."""
        try:
            number, start = (self.folder / "pid").read_text().split()
        except (OSError, ValueError):
            return
        pid = int(number)
        if started_at(pid) == start:
            _signal(pid, self.stop_signal)
            if not wait_gone(pid, start, 10):
                family = [(child, started_at(child)) for child in children_of(pid)]
                _signal(pid, signal.SIGKILL)
                for child, born in [(pid, start), *family]:
                    _signal(child, signal.SIGKILL)
                    wait_gone(child, born, 5)
        (self.folder / "pid").unlink(missing_ok=True)
