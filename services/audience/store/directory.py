"""Subscribers in PostgreSQL: written by COPY, read back as binary columns."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from services.audience.store import tables
from services.kit import db, errors

_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("l1", ">i4"), ("ordinal", ">i4"),
        ("l2", ">i4"), ("subscriber_id", ">i8"),
        ("l3", ">i4"), ("phone", ">i8"),
        ("l4", ">i4"), ("county", ">i4"),
        ("l5", ">i4"), ("version", ">i8"),
    ]
)  # fmt: skip
_HEADER = 19
_CHUNK = 65_536 * _ROW.itemsize
_COLUMNS = "ordinal, subscriber_id, phone, county, version"


def read_since(tx: db.Connection, version: int) -> Iterator[NDArray[np.void]]:
    """Rows that changed after `version`, in chunks with the fields of `_ROW`."""
    raw = tx.connection.driver_connection
    assert raw is not None
    # A copy that is read from meanwhile must not show a later ordinal before an earlier one.
    where = f" WHERE version > {int(version)} ORDER BY ordinal" if version else ""
    query = f"COPY (SELECT {_COLUMNS} FROM subscriber{where}) TO STDOUT (FORMAT binary)"
    held = bytearray()
    skipped = False
    with raw.cursor() as cursor, cursor.copy(query) as copy:
        for piece in copy:
            held += piece
            if not skipped and len(held) >= _HEADER:
                del held[:_HEADER]
                skipped = True
            if len(held) >= _CHUNK:
                whole = len(held) // _ROW.itemsize * _ROW.itemsize
                yield np.frombuffer(bytes(held[:whole]), dtype=_ROW)
                del held[:whole]
    rest = len(held) // _ROW.itemsize * _ROW.itemsize  # the trailer of two bytes stays behind
    if rest:
        yield np.frombuffer(bytes(held[:rest]), dtype=_ROW)


def update_time(tx: db.Connection) -> datetime | None:
    """When the directory last changed."""
    query = sa.select(tables.state.c.update_time).where(tables.state.c.name == "directory")
    return tx.execute(query).scalar_one()  # type: ignore[no-any-return]


def write(
    tx: db.Connection,
    base_version: int,
    now: datetime,
    *,
    cleared: NDArray[np.int64],
    changed: dict[str, NDArray[np.integer]],
    added: dict[str, NDArray[np.integer]],
) -> int:
    """Apply a chunk judged against `base_version`; returns the new version.

    `changed` and `added` have ordinal, subscriber_id, phone and county. Conflict (CONCURRENT_CHANGE)
    when somebody else has written since.
    """
    version = tables.next_version(tx, "directory", now)
    if version != base_version + 1:
        raise errors.Conflict("somebody else loads subscribers at the same time")
    gone = np.concatenate([cleared, changed["ordinal"]])
    if len(gone):
        # Numbers are freed before they are given again: two subscribers may exchange theirs.
        _stage(tx, {"ordinal": gone})
        tx.execute(
            sa.text(
                "UPDATE subscriber s SET phone = 0, version = :version FROM staged t"
                " WHERE s.ordinal = t.ordinal"
            ),
            {"version": version},
        )
    if len(changed["ordinal"]):
        _stage(tx, changed)
        tx.execute(
            sa.text(
                "UPDATE subscriber s SET phone = t.phone, county = t.county FROM staged t"
                " WHERE s.ordinal = t.ordinal"
            )
        )
    if len(added["ordinal"]):
        versions = np.full(len(added["ordinal"]), version, dtype=np.int64)
        db.copy_columns(tx, "subscriber", {**added, "version": versions})
    return version


def _stage(tx: db.Connection, columns: dict[str, NDArray[np.integer]]) -> None:
    tx.execute(sa.text("DROP TABLE IF EXISTS staged"))
    tx.execute(
        sa.text(
            "CREATE TEMPORARY TABLE staged"
            " (ordinal integer, subscriber_id bigint, phone bigint, county integer) ON COMMIT DROP"
        )
    )
    db.copy_columns(tx, "staged", columns)
    tx.execute(sa.text("ANALYZE staged"))
