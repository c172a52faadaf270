"""The embedded span store: OTLP spans in one SQLite file, found by what people know.

For one machine; a cluster sends its spans to a collector instead. Bounded by
`keep_spans`: the oldest traces go first.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS span (
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL, name TEXT NOT NULL,
  service TEXT NOT NULL, kind TEXT NOT NULL, start_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL,
  error INTEGER NOT NULL, message TEXT NOT NULL, attributes TEXT NOT NULL, links TEXT NOT NULL,
  campaign TEXT, touch TEXT,
  PRIMARY KEY (trace_id, span_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS span_start ON span (start_ns);
CREATE INDEX IF NOT EXISTS span_campaign ON span (campaign, start_ns) WHERE campaign IS NOT NULL;
CREATE INDEX IF NOT EXISTS span_touch ON span (touch) WHERE touch IS NOT NULL;
CREATE TABLE IF NOT EXISTS link (
  trace_id TEXT NOT NULL, linked_id TEXT NOT NULL, PRIMARY KEY (trace_id, linked_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS link_back ON link (linked_id);
"""


@dataclass(frozen=True)
class StoredSpan:
    """A span as it is kept; times in nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    kind: str
    start_ns: int
    duration_ns: int
    error: bool
    message: str
    attributes: dict[str, str]
    links: tuple[str, ...]


@dataclass(frozen=True)
class TraceLine:
    """A trace in one line."""

    trace_id: str
    root: str
    service: str
    start_ns: int
    duration_ns: int
    spans: int
    errors: int


class SpanStore:
    """Thread-safe; one writer at a time."""

    def __init__(self, path: Path | str, keep_spans: int = 500_000) -> None:
        self._database = sqlite3.connect(str(path), check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self._lock = threading.Lock()
        self._keep = keep_spans
        self._since_prune = 0

    def add(self, spans: Iterable[StoredSpan]) -> None:
        """Keeps spans; one that is there already stays as it is."""
        rows: list[tuple[Any, ...]] = []
        links: list[tuple[str, str]] = []
        for s in spans:
            campaign = _id(s.attributes.get("iop.campaign.id"))
            rows.append(
                (
                    s.trace_id, s.span_id, s.parent_id, s.name, s.service, s.kind, s.start_ns, s.duration_ns,
                    int(s.error), s.message, json.dumps(s.attributes, ensure_ascii=False),
                    json.dumps(s.links), campaign, s.attributes.get("iop.touch.id"),
                )
            )  # fmt: skip
            links.extend((s.trace_id, linked) for linked in s.links if linked != s.trace_id)
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR IGNORE INTO span VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", rows
            )
            self._database.executemany("INSERT OR IGNORE INTO link VALUES (?,?)", links)
            self._database.execute("COMMIT")
            self._since_prune += len(rows)
            if self._since_prune >= max(1, self._keep // 20):
                self._prune()

    def _prune(self) -> None:
        self._since_prune = 0
        (count,) = self._database.execute("SELECT count(*) FROM span").fetchone()
        if count <= self._keep:
            return
        # Whole traces go, oldest first, so that no waterfall loses its middle.
        old = self._database.execute(
            "SELECT trace_id, count(*) FROM span GROUP BY trace_id ORDER BY min(start_ns)"
        )
        doomed, excess = [], count - self._keep
        for trace_id, size in old:
            if excess <= 0:
                break
            doomed.append((trace_id,))
            excess -= size
        self._database.execute("BEGIN")
        self._database.executemany("DELETE FROM span WHERE trace_id = ?", doomed)
        self._database.executemany("DELETE FROM link WHERE trace_id = ?", doomed)
        self._database.execute("COMMIT")

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """Spans of a trace by start; empty when it is not known."""
        with self._lock:
            rows = self._database.execute(
                "SELECT trace_id, span_id, parent_id, name, service, kind, start_ns, duration_ns, error,"
                " message, attributes, links FROM span WHERE trace_id = ? ORDER BY start_ns, span_id",
                (trace_id,),
            ).fetchall()
        return [
            StoredSpan(
                trace_id, span_id, parent_id, name, service, kind, start_ns, duration_ns, bool(error),
                message, json.loads(attributes), tuple(json.loads(links)),
            )
            for (
                trace_id, span_id, parent_id, name, service, kind, start_ns, duration_ns, error, message,
                attributes, links,
            ) in rows
        ]  # fmt: skip

    def linked(self, trace_id: str, most: int = 100) -> list[TraceLine]:
        """Traces that the trace links to, or that link to it, by start."""
        with self._lock:
            rows = self._database.execute(
                "SELECT linked_id FROM link WHERE trace_id = ?"
                " UNION SELECT trace_id FROM link WHERE linked_id = ? LIMIT ?",
                (trace_id, trace_id, most),
            ).fetchall()
        return self.lines([row[0] for row in rows])

    def find(
        self,
        *,
        campaign: str = "",
        touch: str = "",
        service: str = "",
        failed: bool = False,
        before_ns: int = 2**62,
        most: int = 50,
    ) -> list[TraceLine]:
        """Traces that hold a fitting span, newest first, begun before `before_ns`."""
        where, arguments = ["start_ns < ?"], [before_ns]
        filters: Sequence[tuple[str, Any]] = (
            ("campaign = ?", _id(campaign)), ("touch = ?", touch), ("service = ?", service),
        )  # fmt: skip
        for clause, value in filters:
            if value:
                where.append(clause)
                arguments.append(value)
        if failed:
            where.append("error = 1")
        with self._lock:
            rows = self._database.execute(
                f"SELECT trace_id, min(start_ns) AS begun FROM span WHERE {' AND '.join(where)}"
                " GROUP BY trace_id ORDER BY begun DESC LIMIT ?",
                (*arguments, most),
            ).fetchall()
        return sorted(self.lines([row[0] for row in rows]), key=lambda line: -line.start_ns)

    def lines(self, trace_ids: Sequence[str]) -> list[TraceLine]:
        """Traces in one line each, by start; unknown ids are left out."""
        found = []
        with self._lock:
            for trace_id in trace_ids:
                row = self._database.execute(
                    "SELECT min(start_ns), max(start_ns + duration_ns), count(*), sum(error) FROM span"
                    " WHERE trace_id = ?",
                    (trace_id,),
                ).fetchone()
                if not row[2]:
                    continue
                name, service = self._database.execute(
                    "SELECT name, service FROM span WHERE trace_id = ?"
                    " ORDER BY parent_id != '', start_ns LIMIT 1",
                    (trace_id,),
                ).fetchone()
                found.append(TraceLine(trace_id, name, service, row[0], row[1] - row[0], row[2], row[3]))
        return sorted(found, key=lambda line: line.start_ns)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()


def from_otlp(request: Any) -> list[StoredSpan]:
    """Spans of an ExportTraceServiceRequest."""
    found = []
    for resource in request.resource_spans:
        service = next(
            (a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), ""
        )
        for scope in resource.scope_spans:
            for s in scope.spans:
                found.append(
                    StoredSpan(
                        s.trace_id.hex(),
                        s.span_id.hex(),
                        s.parent_span_id.hex(),
                        s.name,
                        service,
                        _KINDS.get(s.kind, "internal"),
                        s.start_time_unix_nano,
                        max(0, s.end_time_unix_nano - s.start_time_unix_nano),
                        s.status.code == 2,
                        s.status.message,
                        {a.key: _text(a.value) for a in s.attributes},
                        tuple(dict.fromkeys(link.trace_id.hex() for link in s.links)),
                    )
                )
    return found


def _id(name: str | None) -> str | None:
    """A campaign's id, whether given alone or as a resource name."""
    return name.removeprefix("campaigns/") if name else None


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    found = getattr(value, kind)
    if kind == "bool_value":
        return "true" if found else "false"
    if kind == "array_value":
        return ", ".join(_text(v) for v in found.values)
    return str(found)
