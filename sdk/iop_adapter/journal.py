"""What this adapter has sent, kept on disk.

Most providers do not ignore a repeated message. The journal makes the adapter
idempotent in their stead: a touch is written down before it is sent and its
result after, so a touch leased again after a crash is answered from the
journal. A touch that was begun but has no result is in doubt: it is not sent
again; the adapter's `look_up` decides, or it is reported as UNKNOWN.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from iop_adapter.model import Result, Status


class Journal:
    """Results by touch id, in one SQLite file; entries live `keep_days` days."""

    def __init__(self, path: Path | str, keep_days: float = 7.0) -> None:
        self._database = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False)
        # Leases are worked on at once, in threads: a connection serves one transaction at a time.
        self._lock = threading.Lock()
        self._database.execute("PRAGMA journal_mode=WAL")
        # FULL: a result that was reported must survive a power cut.
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS touch (touch_id TEXT PRIMARY KEY, begun REAL NOT NULL,"
            " status INTEGER, provider_message_id TEXT, code TEXT) WITHOUT ROWID"
        )
        self._database.execute("DELETE FROM touch WHERE begun < ?", (time.time() - keep_days * 86400,))

    def begin(self, touch_ids: Sequence[str]) -> dict[str, Result | None]:
        """Writes new touches down; returns those that were there already.

        The value is their result, or None for a touch in doubt. What is not in
        the answer is new and may be sent.
        """
        known: dict[str, Result | None] = {}
        with self._lock, _Transaction(self._database):
            for touch_id in touch_ids:
                row = self._database.execute(
                    "SELECT status, provider_message_id, code FROM touch WHERE touch_id = ?", (touch_id,)
                ).fetchone()
                if row is None:
                    self._database.execute(
                        "INSERT INTO touch (touch_id, begun) VALUES (?, ?)", (touch_id, time.time())
                    )
                elif row[0] is None:
                    known[touch_id] = None
                else:
                    known[touch_id] = Result(Status(row[0]), row[1] or "", row[2] or "")
        return known

    def finish(self, results: Mapping[str, Result]) -> None:
        """Writes results down. RETRY and DROPPED forget the touch: it was not sent."""
        unsent = [(t,) for t, r in results.items() if r.status in (Status.RETRY, Status.DROPPED)]
        sent = [
            (r.status.value, r.provider_message_id, r.code, t)
            for t, r in results.items()
            if r.status not in (Status.RETRY, Status.DROPPED)
        ]
        with self._lock, _Transaction(self._database):
            self._database.executemany("DELETE FROM touch WHERE touch_id = ?", unsent)
            self._database.executemany(
                "UPDATE touch SET status = ?, provider_message_id = ?, code = ? WHERE touch_id = ?", sent
            )

    def forget(self, touch_ids: Iterable[str]) -> None:
        """Takes back touches that were begun and certainly not sent."""
        with self._lock, _Transaction(self._database):
            self._database.executemany("DELETE FROM touch WHERE touch_id = ?", [(t,) for t in touch_ids])

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")
