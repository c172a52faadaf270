"""PostgreSQL: `await db.transaction(fn)` runs a synchronous `fn(tx)` in a thread and commits it.

Serialization failures, deadlocks and connections lost before the commit are retried, so `fn` must not
have effects outside of `tx`. State and outbox rows commit together; relays are woken after the commit.
"""

import asyncio
import contextvars
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from services.kit import errors

__all__ = ["Connection", "Database", "after_commit", "copy_columns", "copy_rows", "engine"]

T = TypeVar("T")

_RETRY_STATES = {"40001", "40P01"}  # serialization failure, deadlock
_log = logging.getLogger("iop.db")


def engine(url: str, pool: int = 8, *, statement_timeout_s: float = 60, name: str = "iop") -> Engine:
    """A synchronous SQLAlchemy engine (psycopg 3) on a postgresql:// address."""
    scheme, _, rest = url.partition("://")
    if scheme.split("+")[0] not in ("postgresql", "postgres") or not rest:
        raise errors.Invalid("the database address must begin with postgresql://", reason="FIELD_INVALID")
    options = f"-c statement_timeout={int(statement_timeout_s * 1000)} -c timezone=UTC"
    made = sa.create_engine(
        f"postgresql+psycopg://{rest}",
        pool_size=pool,
        max_overflow=0,
        pool_timeout=30,
        pool_recycle=1800,
        connect_args={"options": options, "application_name": name, "connect_timeout": 5},
    )
    event.listen(made, "after_cursor_execute", _note_writes)
    return made


class Database:
    """A pool of connections with as many threads. Make it with `service.database()`."""

    def __init__(
        self,
        url: str,
        pool: int = 8,
        *,
        service: str = "",
        statement_timeout_s: float = 60,
        on_write: Callable[[], None] | None = None,
    ) -> None:
        self.engine = engine(
            url, pool, statement_timeout_s=statement_timeout_s, name=f"iop-{service or 'kit'}"
        )
        self.service = service
        self.on_write = on_write  # called in the event loop after a commit that changed rows
        self.on_outbox: list[Callable[[], None]] = []  # wakes the relays
        self._threads = ThreadPoolExecutor(pool, thread_name_prefix=f"db-{service}")
        self._closed = threading.Event()

    async def transaction(self, fn: Callable[[Connection], T], retries: int = 3) -> T:
        """Run `fn(tx)` in a thread and commit; its result is the result. `fn` may run several times.

        Raises what `fn` raises; errors.Unavailable when the database does not answer, or when the
        connection was lost during the commit so that its outcome is not known.
        """
        result, info = await self.in_thread(self._attempts, fn, retries, True)
        if info.get("wrote") and self.on_write is not None:
            self.on_write()
        if info.get("outbox"):
            for wake in self.on_outbox:
                wake()
        for hook in info["after_commit"]:
            hook()
        return result

    async def read(self, fn: Callable[[Connection], T], retries: int = 3) -> T:
        """Run `fn(tx)` in a read-only transaction."""
        result, _ = await self.in_thread(self._attempts, fn, retries, False)
        return result

    async def in_thread(self, fn: Callable[..., T], *args: Any) -> T:
        """Run any blocking function in one of the database's threads, with the context of the caller."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(fn, *args))

    async def close(self) -> None:
        """Wait for running work and close every connection."""
        self._closed.set()
        await asyncio.to_thread(self._threads.shutdown)
        self.engine.dispose()

    def _attempts(self, fn: Callable[[Connection], T], retries: int, write: bool) -> tuple[T, dict[str, Any]]:
        for attempt in range(retries + 1):
            last = attempt == retries or self._closed.is_set()
            committing = False
            try:
                with self.engine.connect() as tx:
                    info: dict[str, Any] = {"after_commit": [], "service": self.service}
                    tx.info["iop"] = info
                    if not write:
                        tx.execution_options(postgresql_readonly=True)
                    tx.begin()  # at once: a COPY by the driver's own cursor would not begin one
                    result = fn(tx)
                    committing = write
                    tx.commit()
                    return result, info
            except DBAPIError as problem:
                lost = _lost(problem)
                if lost and committing:
                    raise errors.Unavailable("the database went away during a commit") from problem
                if not lost and getattr(problem.orig, "sqlstate", None) not in _RETRY_STATES:
                    raise
                if last:
                    if lost:
                        raise errors.Unavailable("the database does not answer") from problem
                    raise errors.Conflict(
                        "too many concurrent changes", reason="CONCURRENT_CHANGE"
                    ) from problem
                # A restarting server takes a second or two, a deadlock is over at once.
                pause = 0.2 * 3**attempt if lost else 0.01 * 3**attempt
                time.sleep(pause * (0.5 + random.random()))
        raise AssertionError("unreachable")


def after_commit(tx: Connection, hook: Callable[[], None]) -> None:
    """Call `hook()` in the event loop once the transaction has committed; never if it has not."""
    info = tx.info.get("iop")
    if info is not None:
        info["after_commit"].append(hook)


def note_outbox(tx: Connection) -> None:
    """Mark that the transaction holds outbox rows."""
    info = tx.info.get("iop")
    if info is not None:
        info["outbox"] = True


def service_of(tx: Connection) -> str:
    """The name of the service that runs the transaction, "" when it is not known."""
    return str(tx.info.get("iop", {}).get("service", ""))


def copy_rows(tx: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """COPY rows into `table` inside the transaction; returns how many."""
    count = 0
    with _cursor(tx) as cursor, cursor.copy(_copy(table, columns)) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    _mark_written(tx, count)
    return count


def copy_columns(tx: Connection, table: str, columns: Mapping[str, Any]) -> int:
    """COPY equally long columns (numpy arrays or lists) into `table`; returns the number of rows.

    Integers, floats, booleans, text, None and datetime64 are understood; bytes go as bytea.
    """
    texts = [_as_text(values) for values in columns.values()]
    lengths = {len(values) for values in texts}
    if len(lengths) > 1:
        raise ValueError(f"columns of different lengths: {sorted(lengths)}")
    count = lengths.pop() if lengths else 0
    if count == 0:
        return 0
    with _cursor(tx) as cursor, cursor.copy(_copy(table, list(columns))) as copy:
        for start in range(0, count, 10_000):
            block = zip(*(values[start : start + 10_000] for values in texts), strict=True)
            copy.write("\n".join(map("\t".join, block)) + "\n")
    _mark_written(tx, count)
    return count


def _as_text(values: Any) -> list[str]:
    """A column in COPY's text format; the common numeric case without looking at each value."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "b":
            return np.where(values, "t", "f").tolist()
        if values.dtype.kind in "iu":
            return list(map(str, values.tolist()))
        if values.dtype.kind == "M":
            return [f"{text}Z" for text in np.datetime_as_string(values, unit="us").tolist()]
        values = values.tolist()
    return [_escape(value) for value in values]


def _escape(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\\\x" + bytes(value).hex()
    text = str(value)
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text


def _cursor(tx: Connection) -> psycopg.Cursor[Any]:
    raw = tx.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw.cursor()


def _copy(table: str, columns: Sequence[str]) -> psycopg.sql.Composed:
    name = psycopg.sql.Identifier(*table.split("."))
    listed = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
    return psycopg.sql.SQL("COPY {} ({}) FROM STDIN").format(name, listed)


def _mark_written(tx: Connection, count: int) -> None:
    info = tx.info.get("iop")
    if info is not None and count:
        info["wrote"] = True


def _note_writes(conn: Connection, cursor: Any, *_: Any) -> None:
    # "INSERT 0 3", "UPDATE 0", "DELETE 12": the status line says whether a row changed.
    status = getattr(cursor, "statusmessage", None)
    if status and status[0] in "IUDM" and not status.endswith(" 0"):
        _mark_written(conn, 1)


def _lost(problem: DBAPIError) -> bool:
    if problem.connection_invalidated:
        return True
    state = getattr(problem.orig, "sqlstate", None)
    # 57P01..57P03: shutting down, crashed, starting up; 08: connection; 53300: too many connections.
    if state is None:
        return isinstance(problem.orig, psycopg.OperationalError)
    return state in {"57P01", "57P02", "57P03", "53300"} or state.startswith("08")
