"""The catalogue and the published columns in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.audience.domain.catalogue import Frequency, Tag, TagClass, TagType
from services.audience.store import tables
from services.kit import db, errors


@dataclass(frozen=True)
class StoredTag:
    """A tag with its last change."""

    tag: Tag
    update_time: datetime


@dataclass(frozen=True)
class StoredColumn:
    """A published column."""

    tag: str
    data_date: date
    version: int
    file: str
    digest: str
    rows: int
    has_texts: bool


def read_tags(tx: db.Connection) -> list[StoredTag]:
    """The whole catalogue by code."""
    found = []
    for row in tx.execute(sa.select(tables.tag).order_by(tables.tag.c.code)):
        entry = Tag(
            code=row.code,
            name=row.display_name,
            name_en=row.display_name_en,
            tag_class=TagClass(row.tag_class),
            category=row.category,
            type=TagType(row.type),
            unit=row.unit,
            frequency=Frequency(row.frequency),
            description=row.description,
            values=tuple((code, label) for code, label in row.value_codes),
            lineage=tuple(row.lineage),
            decimals=row.decimals,
        )
        found.append(StoredTag(entry, row.update_time))
    return found


def read_columns(tx: db.Connection) -> list[StoredColumn]:
    """All published columns, newest date first."""
    table = tables.tag_column
    wanted = [table.c[name.name] for name in fields(StoredColumn)]
    query = sa.select(*wanted).order_by(table.c.data_date.desc(), table.c.tag)
    return [StoredColumn(*row) for row in tx.execute(query)]


def usage(tx: db.Connection) -> dict[str, int]:
    """How often each tag was used (POR-15)."""
    query = sa.select(tables.tag.c.code, tables.tag.c.usage_count)
    return {row.code: row.usage_count for row in tx.execute(query)}


def note_usage(tx: db.Connection, codes: Iterable[str]) -> None:
    """Count one use of each tag."""
    wanted = sorted(set(codes))
    if wanted:
        # Rows are locked in order of their code, so that two counts never wait for each other in a ring.
        locked = sa.select(tables.tag.c.code).where(tables.tag.c.code.in_(wanted)).order_by(tables.tag.c.code)
        held = locked.with_for_update().cte("held")
        change = sa.update(tables.tag).where(tables.tag.c.code == held.c.code)
        tx.execute(change.values(usage_count=tables.tag.c.usage_count + 1))


def codes_with_values(tx: db.Connection, codes: Sequence[str]) -> set[str]:
    """Those of the tags that have values at some date."""
    query = sa.select(tables.tag_column.c.tag).where(tables.tag_column.c.tag.in_(codes)).distinct()
    return set(tx.execute(query).scalars())


def upsert(tx: db.Connection, entries: Sequence[Tag], now: datetime) -> int:
    """Write entries under a new version of the catalogue; returns how many are new."""
    codes = [entry.code for entry in entries]
    known = set(tx.execute(sa.select(tables.tag.c.code).where(tables.tag.c.code.in_(codes))).scalars())
    rows = [
        {
            "code": entry.code,
            "display_name": entry.name,
            "display_name_en": entry.name_en,
            "tag_class": int(entry.tag_class),
            "category": entry.category,
            "type": int(entry.type),
            "unit": entry.unit,
            "frequency": int(entry.frequency),
            "description": entry.description,
            "value_codes": [list(pair) for pair in entry.values],
            "lineage": list(entry.lineage),
            "decimals": entry.decimals,
            "update_time": now,
        }
        for entry in entries
    ]
    statement = insert(tables.tag)
    replaced = {name: statement.excluded[name] for name in rows[0] if name != "code"}
    tx.execute(statement.on_conflict_do_update(index_elements=["code"], set_=replaced), rows)
    tables.next_version(tx, "catalogue", now)
    return len(entries) - len(known)


def publish(
    tx: db.Connection,
    data_date: date,
    columns: Mapping[str, StoredColumn],
    bases: Mapping[str, int],
    now: datetime,
) -> None:
    """Make new columns of one date visible, all at once.

    `bases` are the versions they were laid over, 0 for none; Conflict (CONCURRENT_CHANGE) when one of
    them has been replaced meanwhile.
    """
    version = tables.next_version(tx, "catalogue", now)
    table = tables.tag_column
    query = sa.select(table.c.tag, table.c.version).where(table.c.data_date == data_date)
    current = {row.tag: row.version for row in tx.execute(query.where(table.c.tag.in_(list(columns))))}
    stale = [code for code in columns if current.get(code, 0) != bases[code]]
    if stale:
        raise errors.Conflict(f"another load of {stale[0]} at {data_date} came first; load again")
    rows = [
        {
            "tag": code,
            "data_date": data_date,
            "version": version,
            "file": column.file,
            "digest": column.digest,
            "rows": column.rows,
            "has_texts": column.has_texts,
            "publish_time": now,
        }
        for code, column in columns.items()
    ]
    statement = insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in ("tag", "data_date")}
    tx.execute(statement.on_conflict_do_update(index_elements=["tag", "data_date"], set_=replaced), rows)
