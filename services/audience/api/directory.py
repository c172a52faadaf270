"""DirectoryService: loads, copies, look-ups and template variables."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from iop.audience.v1 import directory_pb2, directory_pb2_grpc, events_pb2
from numpy.typing import NDArray

from services.audience import convert
from services.audience.domain.catalogue import value_text
from services.audience.engine.directory import RULES, UNKNOWN, LoadPlan
from services.audience.memory import Memory
from services.audience.store import audiences as audience_rows
from services.audience.store import directory as directory_rows
from services.kit import db, errors, mask, outbox, rpc
from services.kit.clock import Clock

CHUNK = 65_536
SHOWN_REFUSALS = 100
_ATTEMPTS = 5


class DirectoryApi(directory_pb2_grpc.DirectoryServiceServicer):
    """Who the subscribers are."""

    def __init__(self, memory: Memory, database: db.Database, clock: Clock) -> None:
        self._memory, self._db, self._clock = memory, database, clock

    async def LoadSubscribers(
        self, requests: AsyncIterator[directory_pb2.LoadSubscribersRequest], context: Any
    ) -> directory_pb2.LoadSubscribersResponse:
        """Each chunk is a transaction of its own, so a load of any size needs little memory.

        A load that broke off may be sent again whole: what is there already counts as unchanged.
        """
        directory = self._memory.directory
        answer = directory_pb2.LoadSubscribersResponse()
        seen = np.zeros(0, dtype=np.bool_)
        offset = 0
        async for request in requests:
            ids, phones, counties = _columns(request)
            async with self._memory.directory_lock:
                plan = await self._commit(ids, phones, counties, seen)
            seen = np.concatenate([seen, np.zeros(directory.count - len(seen), dtype=np.bool_)])
            seen[plan.seen_ordinals] = True
            if len(plan.added):
                seen[directory.count - len(plan.added) :] = True
            answer.added += len(plan.added)
            answer.changed += len(plan.changed)
            answer.unchanged += plan.unchanged
            answer.refused_count += len(plan.refused)
            for row, rule in zip(plan.refused.tolist(), plan.rules.tolist(), strict=True):
                if len(answer.refused) >= SHOWN_REFUSALS:
                    break
                name, description = RULES[rule]
                answer.refused.add(row=offset + row + 1, field=name, description=description)
            offset += len(ids)
        answer.directory_version = directory.version
        return answer

    async def _commit(
        self, ids: NDArray[Any], phones: NDArray[Any], counties: NDArray[Any], seen: NDArray[np.bool_]
    ) -> LoadPlan:
        """Judge a chunk and make it durable, then visible; the caller holds the directory's lock."""
        directory = self._memory.directory
        for attempt in range(_ATTEMPTS):
            plan = await asyncio.to_thread(directory.plan, ids, phones, counties, seen)
            if not plan.changes_anything:
                return plan
            chunk = _Chunk(plan, directory.version, directory.count)
            now = self._clock.now()
            try:
                version = await self._db.transaction(partial(_write, chunk=chunk, now=now))
            except errors.Conflict:
                # Another replica loads as well: judge the chunk again on what it has written.
                if attempt == _ATTEMPTS - 1:
                    raise
                await self._memory.follow_directory()
                continue
            await asyncio.to_thread(directory.apply, plan, version)
            return plan
        raise AssertionError("unreachable")

    async def StreamDirectory(
        self, request: directory_pb2.StreamDirectoryRequest, context: Any
    ) -> AsyncIterator[directory_pb2.DirectoryChunk]:
        """Changed rows before `start_ordinal` in order of their version, then all rows from it on.

        A chunk's version is one up to which the reader then misses nothing, so it can resume anywhere.
        """
        directory = self._memory.directory
        version, count = directory.version, directory.count
        start = min(request.start_ordinal, count)
        older = np.zeros(0, dtype=np.int64)
        changed = directory.changed[:start]
        if request.since_version:
            older = np.flatnonzero(changed > request.since_version)
            older = older[np.argsort(changed[older], kind="stable")]
        for low in range(0, len(older), CHUNK):
            rows = older[low : low + CHUNK]
            following = older[low + CHUNK : low + CHUNK + 1]
            reached = min(version, int(changed[following[0]]) - 1) if len(following) else version
            yield self._chunk(rows, reached)
            await asyncio.sleep(0)
        if start == count and not len(older):
            yield self._chunk(older, version)
        for low in range(start, count, CHUNK):
            yield self._chunk(np.arange(low, min(low + CHUNK, count)), version)
            await asyncio.sleep(0)

    def _chunk(self, rows: NDArray[np.int64], version: int) -> directory_pb2.DirectoryChunk:
        directory = self._memory.directory
        return directory_pb2.DirectoryChunk(
            directory_version=version,
            ordinals=rows.astype("<u4").tobytes(),
            subscriber_ids=directory.subscriber_ids[rows].astype("<i8", copy=False).tobytes(),
            phones=directory.phones[rows].astype("<i8", copy=False).tobytes(),
            counties=directory.counties(rows).astype("<i4", copy=False).tobytes(),
        )

    async def LookUpSubscribers(
        self, request: directory_pb2.LookUpSubscribersRequest, context: Any
    ) -> directory_pb2.LookUpSubscribersResponse:
        """Subscribers outside the caller's regions count as missing."""
        actor, directory = rpc.actor(), self._memory.directory
        given = [kind for kind in ("phones", "subscriber_ids", "ordinals") if len(getattr(request, kind))]
        if len(given) != 1:
            raise errors.Invalid(
                "exactly one kind of key is looked up",
                fields=[("phones", "give phones, subscriber_ids or ordinals")],
            )
        keys = np.array(getattr(request, given[0]), dtype=np.int64)
        if given[0] == "phones":
            ordinals = directory.find_phones(keys)
        elif given[0] == "subscriber_ids":
            ordinals = directory.find_ids(keys)
        else:
            ordinals = np.where(keys < directory.count, keys, UNKNOWN)
        answer = directory_pb2.LookUpSubscribersResponse()
        phones, ids = directory.phones, directory.subscriber_ids
        counties = directory.counties(np.maximum(ordinals, 0)) if directory.count else ordinals
        may_see = actor.may_see_numbers()
        for position, ordinal in enumerate(ordinals.tolist()):
            if ordinal == UNKNOWN or not actor.may_see_region(int(counties[position])):
                answer.missing.append(position)
                continue
            answer.subscribers.add(
                subscriber_id=int(ids[ordinal]),
                ordinal=ordinal,
                phone=shown_phone(int(phones[ordinal]), may_see),
                county=int(counties[position]),
            )
        if actor.is_user:
            detail = f"{len(keys)} by {given[0]}"
            found, now = len(answer.subscribers), self._clock.now()
            await self._db.transaction(
                lambda tx: audience_rows.note_look(tx, actor.subject, "LookUpSubscribers", detail, found, now)
            )
        return answer

    async def GetVariables(
        self, request: directory_pb2.GetVariablesRequest, context: Any
    ) -> directory_pb2.GetVariablesResponse:
        """The newest value of each tag for each ordinal."""
        ordinals = ordinals_of(request.ordinals)
        catalogue = self._memory.catalogue
        unknown = [(f"tags[{i}]", "no such tag") for i, c in enumerate(request.tags) if not catalogue.tag(c)]
        if unknown:
            raise errors.Invalid("a tag is not in the catalogue", reason="TAG_UNKNOWN", fields=unknown)

        def read() -> directory_pb2.GetVariablesResponse:
            answer = directory_pb2.GetVariablesResponse()
            for code in request.tags:
                answer.columns.add(tag=code, values=values_of(self._memory, code, ordinals))
            return answer

        return await asyncio.to_thread(read)

    async def GetDirectory(
        self, request: directory_pb2.GetDirectoryRequest, context: Any
    ) -> directory_pb2.Directory:
        """Size and version of what this replica serves."""
        updated = await self._db.read(directory_rows.update_time)
        directory = self._memory.directory
        return directory_pb2.Directory(
            count=directory.count,
            directory_version=directory.version,
            update_time=convert.timestamp(updated),
        )


def ordinals_of(data: bytes) -> NDArray[np.int64]:
    """Ordinals of a packed column."""
    if len(data) % 4:
        raise errors.Invalid(
            "the ordinals are cut off", fields=[("ordinals", "must be uint32, little-endian")]
        )
    return np.frombuffer(data, dtype="<u4").astype(np.int64)


def values_of(memory: Memory, code: str, ordinals: NDArray[np.int64]) -> list[str]:
    """Newest values of a tag as a person reads them, empty where missing. Blocking."""
    catalogue = memory.catalogue
    tag = catalogue.tag(code)
    if tag is None:
        raise errors.Invalid(f"no tag {code}", reason="TAG_UNKNOWN")
    dates = catalogue.dates(code)
    if not dates:
        return [""] * len(ordinals)
    column = memory.column(tag, dates[0], catalogue)
    known = ordinals < len(column.codes)
    stored = np.full(len(ordinals), column.missing, dtype=column.codes.dtype)
    stored[known] = column.codes[ordinals[known]]
    read: dict[int, str] = {column.missing: ""}
    values = []
    for value in stored.tolist():
        text = read.get(value)
        if text is None:
            text = read[value] = value_text(tag, value, column.texts)
        values.append(text)
    return values


def shown_phone(phone: int, may_see: bool) -> str:
    """A number as the caller may see it; empty for none."""
    text = str(phone) if phone else ""
    return text if may_see else mask.phone(text)


def _columns(
    request: directory_pb2.LoadSubscribersRequest,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    sizes = (len(request.subscriber_ids), len(request.phones), 2 * len(request.counties))
    if len(set(sizes)) != 1 or sizes[0] % 8:
        raise errors.Invalid(
            "the columns of a chunk differ in length",
            fields=[("subscriber_ids", "int64, int64 and int32 of one length are expected")],
        )
    ids = np.frombuffer(request.subscriber_ids, dtype="<i8")
    return ids, np.frombuffer(request.phones, dtype="<i8"), np.frombuffer(request.counties, dtype="<i4")


@dataclass(frozen=True)
class _Chunk:
    """A judged chunk with the state it was judged on."""

    plan: LoadPlan
    version: int
    count: int

    def rows(self, rows: NDArray[np.intp], ordinals: NDArray[np.int64]) -> dict[str, Any]:
        plan = self.plan
        return {
            "ordinal": ordinals,
            "subscriber_id": plan.ids[rows],
            "phone": plan.phones[rows],
            "county": plan.counties[rows],
        }


def _write(tx: db.Connection, chunk: _Chunk, now: datetime) -> int:
    """Rows and announcement of a chunk; returns the new version."""
    plan = chunk.plan
    fresh = chunk.count + np.arange(len(plan.added), dtype=np.int64)
    version = directory_rows.write(
        tx,
        chunk.version,
        now,
        cleared=plan.cleared_ordinals,
        changed=chunk.rows(plan.changed, plan.changed_ordinals),
        added=chunk.rows(plan.added, fresh),
    )
    event = events_pb2.DirectoryChanged(directory_version=version, count=chunk.count + len(plan.added))
    outbox.add(tx, event, key="directory", message_id=f"directory:{version}")
    return version
