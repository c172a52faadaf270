"""Copies in memory of what every question needs: directory, catalogue, suppression lists.

PostgreSQL is the truth. A writer brings its own copy up to date after its commit; every replica follows
the versions of the others by polling them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

import numpy as np
from pyroaring import BitMap

from services.audience.domain.catalogue import Tag
from services.audience.domain.suppression import SuppressionList
from services.audience.engine import bitmap
from services.audience.engine.columns import Column, ColumnFile, ColumnStore
from services.audience.engine.directory import Directory
from services.audience.store import directory as directory_rows
from services.audience.store import lists as list_rows
from services.audience.store import tables
from services.audience.store import tags as tag_rows
from services.kit import db


@dataclass(frozen=True)
class Catalogue:
    """The tags and their published columns at one version; never changed, only replaced."""

    version: int = 0
    tags: Mapping[str, tag_rows.StoredTag] = field(default_factory=dict)
    # code -> date -> column, newest date first
    columns: Mapping[str, Mapping[date, tag_rows.StoredColumn]] = field(default_factory=dict)

    def tag(self, code: str) -> Tag | None:
        """The entry of a code."""
        stored = self.tags.get(code)
        return stored.tag if stored else None

    def dates(self, code: str) -> tuple[date, ...]:
        """Dates with values, newest first."""
        return tuple(self.columns.get(code, ()))

    def files(self) -> set[str]:
        """Names of all published files."""
        return {column.file for dated in self.columns.values() for column in dated.values()}


@dataclass(frozen=True)
class Suppression:
    """The suppression lists at one version; the bitmaps are never changed, only replaced."""

    version: int
    bitmaps: Mapping[SuppressionList, BitMap]


_EMPTY: Mapping[SuppressionList, BitMap] = MappingProxyType({kind: BitMap() for kind in SuppressionList})


class Memory:
    """The copies. Readers take a reference and work on it; nothing under it changes its meaning."""

    def __init__(self, database: db.Database, columns: ColumnStore) -> None:
        self.columns = columns
        self.directory = Directory()
        self.catalogue = Catalogue()
        self.suppression = Suppression(0, _EMPTY)
        self.directory_lock = asyncio.Lock()  # one chunk of a load at a time
        self._db = database
        self._lock = asyncio.Lock()
        self._lists: dict[str, tuple[int, BitMap]] = {}

    async def follow(self) -> bool:
        """Take over what changed in PostgreSQL; true when something had."""
        versions = await self._db.read(tables.versions)
        changed = False
        if versions["directory"] != self.directory.version:
            async with self.directory_lock:
                changed |= await self.follow_directory()
        if versions["catalogue"] != self.catalogue.version:
            changed |= await self.follow_catalogue()
        if versions["suppression"] != self.suppression.version:
            changed |= await self.follow_suppression()
        return changed

    async def follow_directory(self) -> bool:
        """Read the rows that changed; the caller holds `directory_lock`."""
        directory = self.directory
        before = directory.version

        def read(tx: db.Connection) -> None:
            # The version read first holds for all rows up to it: a later one is read again next time.
            version = tables.versions(tx)["directory"]
            for rows in directory_rows.read_since(tx, before):
                directory.replace(
                    rows["ordinal"].astype(np.int64),
                    rows["subscriber_id"].astype(np.int64),
                    rows["phone"].astype(np.int64),
                    rows["county"].astype(np.int32),
                    rows["version"].astype(np.int64),
                    before,
                )
            directory.version = version

        await self._db.read(read)
        return directory.version != before

    async def follow_catalogue(self) -> bool:
        """Read the catalogue and the list of columns again."""
        async with self._lock:

            def read(tx: db.Connection) -> Catalogue:
                version = tables.versions(tx)["catalogue"]
                columns: dict[str, dict[date, tag_rows.StoredColumn]] = {}
                for column in tag_rows.read_columns(tx):
                    columns.setdefault(column.tag, {})[column.data_date] = column
                return Catalogue(version, {t.tag.code: t for t in tag_rows.read_tags(tx)}, columns)

            read_now = await self._db.read(read)
            if read_now.version <= self.catalogue.version:
                return False
            self.catalogue = read_now
            self.columns.forget(read_now.files())
            return True

    async def follow_suppression(self) -> bool:
        """Apply the changes since our version, in their order."""
        async with self._lock:
            current = self.suppression
            if current.version == 0:

                def read_all(tx: db.Connection) -> Suppression:
                    version = tables.versions(tx)["suppression"]
                    members = list_rows.suppression_members(tx)
                    nobody = np.zeros(0, dtype=np.uint32)
                    bitmaps = {k: bitmap.from_ordinals(members.get(int(k), nobody)) for k in SuppressionList}
                    return Suppression(version, bitmaps)

                # Members may be newer than the version: the changes between are applied again, to no harm.
                self.suppression = await self._db.read(read_all)
                return self.suppression.version > 0
            deltas = await self._db.read(lambda tx: list_rows.suppression_since(tx, current.version))
            bitmaps, version = dict(current.bitmaps), current.version
            for delta in deltas:
                kind = SuppressionList(delta.list)
                entered, left = bitmap.from_ordinals(delta.added), bitmap.from_ordinals(delta.removed)
                bitmaps[kind] = (bitmaps[kind] | entered) - left
                version = delta.version
            self.suppression = Suppression(version, bitmaps)
            return bool(deltas)

    async def list_bitmap(self, list_id: str) -> BitMap:
        """Members of a customer list; NotFound."""
        current = await self._db.read(lambda tx: list_rows.customer_list(tx, list_id).version)
        known = self._lists.get(list_id)
        if known is None or known[0] != current:
            members = await self._db.read(lambda tx: list_rows.list_members(tx, list_id))
            known = (current, bitmap.from_ordinals(members))
            if len(self._lists) >= 64:
                self._lists.pop(next(iter(self._lists)))
            self._lists[list_id] = known
        return known[1]

    def column(self, tag: Tag, day: date, catalogue: Catalogue | None = None) -> Column:
        """The mapped column of a tag at a date. Blocking: the first look at a file checks its digest."""
        stored = (catalogue or self.catalogue).columns[tag.code][day]
        file = ColumnFile(stored.file, stored.digest, stored.rows, stored.has_texts)
        return self.columns.open(file, tag.type)
