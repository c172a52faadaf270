"""TagService: the catalogue, and loads of values."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
from iop.audience.v1 import events_pb2, tag_pb2, tag_pb2_grpc
from numpy.typing import NDArray
from pypinyin import Style, lazy_pinyin

from services.audience import convert
from services.audience.api.directory import SHOWN_REFUSALS
from services.audience.domain.catalogue import Tag, TagClass, check_change, check_entry
from services.audience.engine.directory import UNKNOWN, repeats
from services.audience.engine.staging import Decoded, Scratch, StagedColumn, decode
from services.audience.memory import Memory
from services.audience.store import tags as tag_rows
from services.kit import db, errors, outbox, page, requests, resource, rpc
from services.kit.clock import Clock


class TagApi(tag_pb2_grpc.TagServiceServicer):
    """Finds and describes tags, and takes their values in."""

    def __init__(self, memory: Memory, database: db.Database, clock: Clock) -> None:
        self._memory, self._db, self._clock = memory, database, clock

    async def BatchUpsertTags(
        self, request: tag_pb2.BatchUpsertTagsRequest, context: Any
    ) -> tag_pb2.BatchUpsertTagsResponse:
        """All entries or none; a tag with values keeps its type, decimals and order of codes."""
        entries = [convert.tag(message) for message in request.tags]
        problems = [p for i, entry in enumerate(entries) for p in check_entry(entry, f"tags[{i}]")]
        codes = [entry.code for entry in entries]
        problems += [(f"tags[{i}].code", "is there twice") for i, c in enumerate(codes) if c in codes[:i]]
        if problems:
            raise errors.Invalid(f"an entry breaks a rule: {problems[0][1]}", fields=problems)
        actor, now = rpc.actor(), self._clock.now()

        def write(tx: db.Connection) -> tag_pb2.BatchUpsertTagsResponse:
            old = {stored.tag.code: stored.tag for stored in tag_rows.read_tags(tx)}
            valued = tag_rows.codes_with_values(tx, codes)
            for position, entry in enumerate(entries):
                if entry.code in valued:
                    check_change(old[entry.code], entry, f"tags[{position}]")
            created = tag_rows.upsert(tx, entries, now)
            return tag_pb2.BatchUpsertTagsResponse(created=created, updated=len(entries) - created)

        answer = await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "BatchUpsertTags",
                request.request_id,
                actor,
                tag_pb2.BatchUpsertTagsResponse,
                lambda: write(tx),
            )
        )
        await self._memory.follow_catalogue()
        return answer

    async def ListTags(self, request: tag_pb2.ListTagsRequest, context: Any) -> tag_pb2.ListTagsResponse:
        """Every word of the keyword is found in names, code, category, pinyin or its initials (AUD-03)."""
        usage = await self._db.read(tag_rows.usage)
        words = request.query.lower().split()
        found = [
            stored
            for stored in self._memory.catalogue.tags.values()
            if (not request.tag_class or int(stored.tag.tag_class) == int(request.tag_class))
            and (not request.frequency or int(stored.tag.frequency) == int(request.frequency))
            and all(word in _haystack(stored.tag) for word in words)
        ]
        by_usage = request.order_by == "usage desc"

        def key(stored: tag_rows.StoredTag) -> list[Any]:
            code = stored.tag.code
            return [-usage.get(code, 0), code] if by_usage else [code]

        found.sort(key=key)
        size, after = page.size(request.page_size), page.read(request.page_token, request)
        rest = found if after is None else [stored for stored in found if key(stored) > after]
        shown = rest[:size]
        more = page.token(key(shown[-1]), request) if len(rest) > size else ""
        return tag_pb2.ListTagsResponse(
            tags=[self._message(stored, usage) for stored in shown],
            next_page_token=more,
            total_size=len(found),
        )

    async def GetTag(self, request: tag_pb2.GetTagRequest, context: Any) -> tag_pb2.Tag:
        """One entry."""
        code = resource.parse(request.name, "tags")
        stored = self._memory.catalogue.tags.get(code)
        if stored is None:
            raise errors.NotFound(f"there is no tag {code}", metadata={"name": request.name})
        return self._message(stored, await self._db.read(tag_rows.usage))

    def _message(self, stored: tag_rows.StoredTag, usage: dict[str, int]) -> tag_pb2.Tag:
        code = stored.tag.code
        dates = self._memory.catalogue.dates(code)
        return convert.tag_message(stored.tag, dates, usage.get(code, 0), stored.update_time)

    async def LoadTagValues(
        self, messages: AsyncIterator[tag_pb2.LoadTagValuesRequest], context: Any
    ) -> tag_pb2.LoadTagValuesResponse:
        """Rows are staged as they come and published together when the stream ends.

        A row with a fault in any of its columns is refused whole. Rows that are not in the load keep
        their values of that date.
        """
        load: TagLoad | None = None
        try:
            async for message in messages:
                if load is None:
                    load = await asyncio.to_thread(TagLoad, self._memory, message)
                await asyncio.to_thread(load.take, message)
            if load is None:
                return tag_pb2.LoadTagValuesResponse()
            return await self._publish(load)
        finally:
            if load is not None:
                await asyncio.to_thread(load.close)

    async def _publish(self, load: "TagLoad") -> tag_pb2.LoadTagValuesResponse:
        columns = await asyncio.to_thread(load.finish)
        if columns:
            now = self._clock.now()
            event = events_pb2.TagsLoaded(
                data_date=load.day.isoformat(), tags=sorted(columns), rows=load.answer.rows
            )

            def write(tx: db.Connection) -> None:
                tag_rows.publish(tx, load.day, columns, load.bases, now)
                outbox.add(tx, event, key="tags")

            await self._db.transaction(write)
            await self._memory.follow_catalogue()
            load.answer.changed = True
        return load.answer


class TagLoad:
    """One load in progress. Its methods block."""

    def __init__(self, memory: Memory, first: tag_pb2.LoadTagValuesRequest) -> None:
        self._memory = memory
        self._count = memory.directory.count
        self._seen = np.zeros(self._count, dtype=np.bool_)
        self._offset = 0
        self.answer = tag_pb2.LoadTagValuesResponse()
        day = convert.day(first.data_date, "data_date")
        assert day is not None  # a rule of the contract
        self.day: date = day
        self._codes = [column.tag for column in first.columns]
        problems = [
            (f"columns[{i}].tag", "is there twice") for i, c in enumerate(self._codes) if c in self._codes[:i]
        ]
        if not self._codes:
            problems.append(("columns", "name a tag at least"))
        if problems:
            raise errors.Invalid(f"the columns of a load: {problems[0][1]}", fields=problems)
        catalogue = memory.catalogue
        tags = [catalogue.tag(code) for code in self._codes]
        unknown = [(f"columns[{i}].tag", "no such tag") for i, tag in enumerate(tags) if tag is None]
        if unknown:
            raise errors.Invalid("a tag is not in the catalogue", reason="TAG_UNKNOWN", fields=unknown)
        self.tags: list[Tag] = [tag for tag in tags if tag is not None]
        self.bases: dict[str, int] = {}
        self._scratch = Scratch(memory.columns.folder.parent / "staging")
        self._staged: dict[str, StagedColumn] = {}
        for tag in self.tags:
            published = catalogue.columns.get(tag.code, {}).get(day)
            self.bases[tag.code] = published.version if published else 0
            base = memory.column(tag, day, catalogue) if published else None
            self._staged[tag.code] = StagedColumn(tag, base, self._count, self._scratch.file(tag.code))

    def take(self, message: tag_pb2.LoadTagValuesRequest) -> None:
        """Stage a chunk, row by row."""
        if convert.day(message.data_date, "data_date") != self.day:
            raise errors.Invalid("a load is of one date", fields=[("data_date", f"must be {self.day}")])
        if [column.tag for column in message.columns] != self._codes:
            raise errors.Invalid(
                "every chunk of a load has the same tags",
                fields=[("columns", "must be those of the first chunk")],
            )
        if len(message.subscriber_ids) % 8:
            raise errors.Invalid(
                "the rows are cut off", fields=[("subscriber_ids", "must be int64, little-endian")]
            )
        ids = np.frombuffer(message.subscriber_ids, dtype="<i8")
        decoded = [
            decode(tag, column.data, column.texts, len(ids), f"columns[{i}]")
            for i, (tag, column) in enumerate(zip(self.tags, message.columns, strict=True))
        ]
        ordinals = self._memory.directory.find_ids(ids)
        unknown = (ordinals == UNKNOWN) | (ordinals >= self._count)
        known = np.where(unknown, 0, ordinals)
        twice = ~unknown & (repeats(ids, ~unknown) | (self._seen[known] if self._count else unknown))
        bad = unknown | twice
        for part in decoded:
            bad = bad | part.bad
        self._refuse(bad, unknown, twice, decoded)
        good = ~bad
        for tag, part in zip(self.tags, decoded, strict=True):
            self._staged[tag.code].put(known, part, good)
        self._seen[known[good]] = True
        self.answer.rows += int(np.count_nonzero(good))
        self._offset += len(ids)

    def _refuse(
        self,
        bad: NDArray[np.bool_],
        unknown: NDArray[np.bool_],
        twice: NDArray[np.bool_],
        parts: list[Decoded],
    ) -> None:
        rows = np.flatnonzero(bad)
        self.answer.refused_count += len(rows)
        for row in rows[: SHOWN_REFUSALS - len(self.answer.refused)].tolist():
            if unknown[row]:
                field, description = "subscriber_id", "the directory does not know it"
            elif twice[row]:
                field, description = "subscriber_id", "is there twice in this load"
            else:
                at_fault = next(i for i, part in enumerate(parts) if part.bad[row])
                field, description = self._codes[at_fault], parts[at_fault].description
            self.answer.refused.add(row=self._offset + row + 1, field=field, description=description)

    def finish(self) -> dict[str, tag_rows.StoredColumn]:
        """Write the columns that differ from what is published."""
        written = {}
        for tag in self.tags:
            made = self._staged[tag.code].finish()
            if made is None:
                continue
            file = self._memory.columns.write(tag, self.day.isoformat(), *made)
            written[tag.code] = tag_rows.StoredColumn(
                tag.code, self.day, 0, file.name, file.digest, file.rows, file.has_texts
            )
        return written

    def close(self) -> None:
        """Give the scratch files back."""
        self._staged.clear()
        self._scratch.close()


_CLASSES = {
    TagClass.BASIC: "客户基础属性",
    TagClass.BEHAVIOUR: "客户行为特征",
    TagClass.SCENARIO: "运营场景模型",
}


def _haystack(tag: Tag) -> str:
    """Everything a keyword may be found in, lower case."""
    return f"{tag.code}\n{_names(tag.name, tag.name_en, tag.category)}\n{_CLASSES[tag.tag_class]}"


@lru_cache(maxsize=16_384)
def _names(name: str, name_en: str, category: str) -> str:
    syllables = lazy_pinyin(name)
    initials = lazy_pinyin(name, style=Style.FIRST_LETTER)
    parts = [name, name_en, category, "".join(syllables), " ".join(syllables), "".join(initials)]
    return "\n".join(parts).lower()
