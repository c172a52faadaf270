"""What ingest looks things up in: the catalogue of cells, and a copy of the subscriber directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from iop.audience.v1 import directory_pb2, directory_pb2_grpc

from services.event import store
from services.event.domain.areas import Stations
from services.event.engine.intake import Cells, Directory
from services.kit import actor, errors, rpc
from services.kit.app import Service
from services.kit.db import Database
from services.kit.replica import Block, ColumnReplica

_ASK_AGAIN_S = 1.0  # how often unknown subscribers make us look for a newer directory


class Catalogue:
    """Cells and outlets in memory; refreshed when another process or a call has changed them."""

    def __init__(self, database: Database) -> None:
        self._db = database
        none: np.ndarray[Any, np.dtype[np.int32]] = np.zeros(0, np.int32)
        self.now = store.Catalogue(-1, Stations.none(), none, [], {})
        self.cells = Cells(self.now.stations.keys, none)

    async def refresh(self) -> None:
        """Bring the copy up to date; returns nothing, so that a job with it counts as idle."""
        if await self._db.read(store.catalogue_version) != self.now.version:
            self.now = await self._db.read(store.read_catalogue)
            self.cells = Cells(self.now.stations.keys, self.now.counties)

    def place_of(self, key: int) -> tuple[str, int]:
        """(station, county) of a cell, ("", 0) when it is not known."""
        keys = self.now.stations.keys
        at = int(np.searchsorted(keys, key))
        if at == len(keys) or keys[at] != key:
            return "", 0
        return self.now.names[at], int(self.now.counties[at])


class DirectoryCopy:
    """The subscriber directory, copied from audience and kept up to date."""

    def __init__(self, service: Service) -> None:
        self._name = service.name
        self._stub: Any = None
        if "audience" in service.runtime.addresses:
            self._stub = directory_pb2_grpc.DirectoryServiceStub(rpc.channel(service, "audience"))
        self._replica = ColumnReplica(self._fetch, {"subscriber_ids": np.int64, "counties": np.int32})
        self._lock = asyncio.Lock()
        self._announced = 0
        self._loaded = False
        self._asked = 0.0
        self._directory = Directory(np.zeros(0, np.int64), np.zeros(0, np.int32))

    @property
    def version(self) -> int:
        """Version of the copy."""
        return self._replica.version

    def __len__(self) -> int:
        return len(self._directory)

    def announce(self, version: int) -> None:
        """A version was announced; `follow` will fetch it."""
        self._announced = max(self._announced, version)

    async def follow(self) -> None:
        """Fetch the first copy, and what was announced since."""
        if not self._loaded or self._announced > self._replica.version:
            await self.refresh()

    async def refresh(self) -> None:
        """Fetch what has changed; errors.Unavailable while audience does not answer."""
        async with self._lock:
            changed = await self._replica.refresh()
            if changed or not self._loaded:
                ids, counties = self._replica.column("subscriber_ids"), self._replica.column("counties")
                self._directory = await asyncio.to_thread(Directory, ids, counties)
                self._loaded = True

    async def current(self) -> Directory:
        """The copy to translate with; errors.Unavailable until there is one."""
        if not self._loaded:
            await self.refresh()
        return self._directory

    async def newer(self) -> Directory | None:
        """A newer copy, if there is one and nobody has asked just now; for ids we do not know."""
        before = self._directory
        if time.monotonic() - self._asked >= _ASK_AGAIN_S:
            self._asked = time.monotonic()
            await self.refresh()
        return self._directory if self._directory is not before else None

    async def _fetch(self, since: int) -> AsyncIterator[Block]:
        if self._stub is None:
            raise errors.Unavailable("no address of audience is set (IOP_ADDR_AUDIENCE)")
        request = directory_pb2.StreamDirectoryRequest(
            start_ordinal=self._replica.rows if since else 0, since_version=since
        )
        version = since
        # For ourselves, also when a producer's call made us look.
        with rpc.acting(actor.of_service(self._name)):
            chunks = self._stub.StreamDirectory(request)
        async for chunk in chunks:
            version = max(version, chunk.directory_version)
            ordinals = np.frombuffer(chunk.ordinals, "<u4").astype(np.int64)
            columns: dict[str, np.ndarray[Any, Any]] = {
                "subscriber_ids": np.frombuffer(chunk.subscriber_ids, "<i8"),
                "counties": np.frombuffer(chunk.counties, "<i4"),
            }
            # Changed rows come with gaps between them: each run is a block.
            cuts = np.flatnonzero(np.diff(ordinals) != 1) + 1
            for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(ordinals)], strict=True):
                if end > start:
                    block = {name: values[start:end] for name, values in columns.items()}
                    yield int(ordinals[start]), block, since
        # Only a whole stream reaches the new version: an interrupted one is asked for again.
        nothing: dict[str, np.ndarray[Any, Any]] = {
            "subscriber_ids": np.zeros(0, np.int64),
            "counties": np.zeros(0, np.int32),
        }
        yield self._replica.rows, nothing, version
