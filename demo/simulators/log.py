"""A simulator's own log: JSON lines, flushed with each batch, read by the recomputation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class MessageLog:
    """Appends what a channel saw to one file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def write(self, **fields: Any) -> None:
        """Adds a line."""
        self._file.write(json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Makes the lines visible to readers."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; an absent file is an empty log."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]
