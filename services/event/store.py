"""Tables of the event service and what is done with them; every function takes the transaction first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from services.event.domain.areas import Outlet, Stations
from services.kit import inbox, outbox, requests
from services.kit.db import Connection

metadata = sa.MetaData()
outbox.table(metadata)
inbox.table(metadata)
requests.table(metadata)

_time = sa.DateTime(timezone=True)
catalogue = sa.Table(
    "catalogue",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True),
    sa.Column("version", sa.BigInteger),
)
cell = sa.Table(
    "cell",
    metadata,
    sa.Column("key", sa.BigInteger, primary_key=True),
    sa.Column("station", sa.Text),
    sa.Column("longitude", sa.Float(53)),
    sa.Column("latitude", sa.Float(53)),
    sa.Column("county", sa.Integer),
)
outlet = sa.Table(
    "outlet",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("display_name", sa.Text),
    sa.Column("longitude", sa.Float(53)),
    sa.Column("latitude", sa.Float(53)),
    sa.Column("range_metres", sa.Integer),
    sa.Column("county", sa.Integer),
)
definition = sa.Table(
    "definition",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("display_name", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("expression", sa.LargeBinary),
    sa.Column("expression_text", sa.Text),
    sa.Column("combination_seconds", sa.Integer),
    sa.Column("outlets", ARRAY(sa.Text)),
    sa.Column("version", sa.Integer),
    sa.Column("revision", sa.Integer),
    sa.Column("creator", sa.Text),
    sa.Column("create_time", _time),
    sa.Column("update_time", _time),
)
binding = sa.Table(
    "binding",
    metadata,
    sa.Column("activity_number", sa.BigInteger, primary_key=True),
    sa.Column("definition_number", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
    sa.Column("unbound", sa.Boolean),
    sa.Column("record", sa.LargeBinary),
)
batch = sa.Table(
    "batch",
    metadata,
    sa.Column("batch_id", sa.Text, primary_key=True),
    sa.Column("accepted", sa.Integer),
    sa.Column("unknown", sa.Integer),
    sa.Column("refused", sa.Integer),
    sa.Column("taken_at", _time),
)
checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("partition", sa.SmallInteger, primary_key=True),
    sa.Column("partitions", sa.SmallInteger),
    sa.Column("object", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("taken_at", _time),
)

Row = sa.Row[Any]


@dataclass(frozen=True)
class Cell:
    """A cell as stored; positions in degrees."""

    key: int
    station: str
    longitude: float
    latitude: float
    county: int


@dataclass(frozen=True)
class Catalogue:
    """All cells and outlets at one version."""

    version: int
    stations: Stations
    counties: np.ndarray[Any, np.dtype[np.int32]]
    names: Sequence[str]
    outlets: dict[str, Outlet]


# Cells and outlets


def write_cells(tx: Connection, cells: Iterable[Cell]) -> None:
    """Create or replace cells, and begin a new version of the catalogue."""
    rows = {item.key: vars(item) for item in cells}
    statement = insert(cell)
    _upsert(tx, statement, cell, "key", list(rows.values()))


def write_outlets(tx: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Create or replace outlets (columns of the table), and begin a new version of the catalogue."""
    _upsert(tx, insert(outlet), outlet, "code", list({row["code"]: row for row in rows}.values()))


def _upsert(tx: Connection, statement: Any, table: sa.Table, key: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        replaced = {
            column.name: statement.excluded[column.name] for column in table.columns if column.name != key
        }
        tx.execute(statement.on_conflict_do_update(index_elements=[key], set_=replaced), rows)
    tx.execute(catalogue.update().values(version=catalogue.c.version + 1))


def catalogue_version(tx: Connection) -> int:
    """The version of cells and outlets; one more with each change."""
    return int(tx.execute(sa.select(catalogue.c.version)).scalar_one())


def read_catalogue(tx: Connection) -> Catalogue:
    """Cells and outlets as they are now."""
    version = catalogue_version(tx)
    rows = tx.execute(sa.select(cell).order_by(cell.c.key)).all()
    stations = Stations(
        np.array([row.key for row in rows], np.int64),
        np.array([row.longitude for row in rows], np.float64),
        np.array([row.latitude for row in rows], np.float64),
    )
    found = tx.execute(sa.select(outlet)).all()
    outlets = {row.code: Outlet(row.code, row.longitude, row.latitude, row.range_metres) for row in found}
    counties = np.array([row.county for row in rows], np.int32)
    return Catalogue(version, stations, counties, [row.station for row in rows], outlets)


def list_cells(tx: Connection, region: int, after: int | None, limit: int) -> Sequence[Row]:
    """Cells of a province, city or county (0: all) by key."""
    query = sa.select(cell).order_by(cell.c.key).limit(limit)
    if region:
        query = query.where(cell.c.county.between(region, region_end(region)))
    if after is not None:
        query = query.where(cell.c.key > after)
    return tx.execute(query).all()


def list_outlets(tx: Connection, region: int, after: str | None, limit: int) -> Sequence[Row]:
    """Outlets of a region by code."""
    query = sa.select(outlet).order_by(outlet.c.code).limit(limit)
    if region:
        query = query.where(outlet.c.county.between(region, region_end(region)))
    if after is not None:
        query = query.where(outlet.c.code > after)
    return tx.execute(query).all()


def region_end(region: int) -> int:
    """The highest county code of a province, city or county."""
    if region % 10000 == 0:
        return region + 9999
    return region + 99 if region % 100 == 0 else region


# Definitions


def next_number(tx: Connection) -> int:
    """A fresh definition number."""
    return int(tx.execute(sa.select(sa.func.nextval("definition_number"))).scalar_one())


def insert_definition(tx: Connection, values: dict[str, Any]) -> Row | None:
    """Add a definition; None when its id is taken."""
    statement = insert(definition).values(values).on_conflict_do_nothing(index_elements=["id"])
    return tx.execute(statement.returning(definition)).one_or_none()


def get_definition(tx: Connection, id_: str, *, lock: bool = False) -> Row | None:
    """A definition by id."""
    query = sa.select(definition).where(definition.c.id == id_)
    return tx.execute(query.with_for_update() if lock else query).one_or_none()


def list_definitions(tx: Connection, before: int | None, limit: int) -> Sequence[Row]:
    """Definitions, the newest first."""
    query = sa.select(definition).order_by(definition.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(definition.c.number < before)
    return tx.execute(query).all()


def update_definition(tx: Connection, id_: str, values: dict[str, Any]) -> Row:
    """Change a definition; the row as it is then."""
    statement = definition.update().where(definition.c.id == id_).values(values).returning(definition)
    return tx.execute(statement).one()


def delete_definition(tx: Connection, id_: str) -> None:
    """Remove a definition."""
    tx.execute(definition.delete().where(definition.c.id == id_))


def definitions_with_outlets(tx: Connection, codes: Sequence[str]) -> Sequence[Row]:
    """Definitions whose rules name one of the outlets, locked."""
    query = sa.select(definition).where(definition.c.outlets.overlap(list(codes))).with_for_update()
    return tx.execute(query.order_by(definition.c.number)).all()


def all_definitions(tx: Connection) -> Sequence[Row]:
    """Every definition, by number."""
    return tx.execute(sa.select(definition).order_by(definition.c.number)).all()


# Populations


def write_binding(
    tx: Connection, activity_number: int, definition_number: int, version: int, unbound: bool, record: bytes
) -> bool:
    """Remember an activity's newest population; False when the version is not newer."""
    statement = insert(binding).values(
        activity_number=activity_number,
        definition_number=definition_number,
        version=version,
        unbound=unbound,
        record=record,
    )
    replaced = {
        name: statement.excluded[name] for name in ("definition_number", "version", "unbound", "record")
    }
    statement = statement.on_conflict_do_update(
        index_elements=["activity_number"], set_=replaced, where=binding.c.version < version
    )
    return tx.execute(statement.returning(binding.c.version)).one_or_none() is not None


def activities_bound(tx: Connection, definition_number: int) -> list[int]:
    """Numbers of the activities that listen to a definition."""
    query = sa.select(binding.c.activity_number).where(
        binding.c.definition_number == definition_number, ~binding.c.unbound
    )
    return list(tx.execute(query.order_by(binding.c.activity_number)).scalars())


def all_bindings(tx: Connection) -> Sequence[Row]:
    """Every population that is bound."""
    return tx.execute(sa.select(binding).where(~binding.c.unbound).order_by(binding.c.activity_number)).all()


# Batches taken in


def taken_batch(tx: Connection, batch_id: str) -> Row | None:
    """What became of a batch that was taken in before."""
    return tx.execute(sa.select(batch).where(batch.c.batch_id == batch_id)).one_or_none()


def record_batch(tx: Connection, batch_id: str, accepted: int, unknown: int, refused: int) -> None:
    """Remember that a batch is in the log."""
    values = {"batch_id": batch_id, "accepted": accepted, "unknown": unknown, "refused": refused}
    tx.execute(insert(batch).values(values).on_conflict_do_nothing())


def prune_batches(tx: Connection, days: float = 2) -> int:
    """Forget batches whose ids producers may use again."""
    statement = sa.text("DELETE FROM batch WHERE taken_at < now() - make_interval(secs => :s)")
    return tx.execute(statement, {"s": days * 86400}).rowcount


# Checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """Names the newest checkpoint of a partition."""

    partition: int
    partitions: int
    object: str
    digest: str
    sequence: int


def read_checkpoint(tx: Connection, partition: int, partitions: int) -> Checkpoint | None:
    """The newest checkpoint of a partition under this number of partitions."""
    found = tx.execute(
        sa.select(checkpoint).where(
            checkpoint.c.partition == partition, checkpoint.c.partitions == partitions
        )
    ).one_or_none()
    if found is None:
        return None
    return Checkpoint(found.partition, found.partitions, found.object, found.digest, found.sequence)


def write_checkpoint(tx: Connection, made: Checkpoint) -> str:
    """Make this the newest checkpoint; the object it replaces, "" if there was none."""
    before = tx.execute(
        sa.select(checkpoint.c.object).where(checkpoint.c.partition == made.partition).with_for_update()
    ).scalar_one_or_none()
    statement = insert(checkpoint).values(vars(made))
    replaced = {name: statement.excluded[name] for name in ("partitions", "object", "digest", "sequence")}
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["partition"], set_={**replaced, "taken_at": sa.func.now()}
        )
    )
    return before or ""
