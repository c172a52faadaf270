"""AudienceService: the saved selections, and questions about any selection."""

import asyncio
from typing import Any

import numpy as np
from google.protobuf import empty_pb2
from iop.audience.v1 import audience_pb2, audience_pb2_grpc

from services.audience import convert, reporting, research
from services.audience.api.directory import shown_phone, values_of
from services.audience.domain.catalogue import value_text
from services.audience.domain.condition import AllOf, AnyOf, Checked, Not, Test, tags_of
from services.audience.domain.selection import Selection
from services.audience.domain.suppression import check_choice
from services.audience.domain.wording import line, words
from services.audience.engine import execute
from services.audience.memory import Memory
from services.audience.snapshots import Snapshots
from services.audience.store import audiences as rows
from services.audience.store import tags as tag_rows
from services.kit import db, errors, page, requests, resource, rpc
from services.kit.actor import Actor
from services.kit.clock import Clock

_CHANGEABLE = ("display_name", "description", "selection")


class AudienceApi(audience_pb2_grpc.AudienceServiceServicer):
    """User research: select, count, report, extract, freeze (AUD-02 to AUD-15)."""

    def __init__(
        self,
        memory: Memory,
        database: db.Database,
        clock: Clock,
        researcher: research.Research,
        snapshots: Snapshots,
    ) -> None:
        self._memory, self._db, self._clock = memory, database, clock
        self._research, self._snapshots = researcher, snapshots
        self._reporter = reporting.Reporter(memory)

    async def CreateAudience(
        self, request: audience_pb2.CreateAudienceRequest, context: Any
    ) -> audience_pb2.Audience:
        """Keeps a selection; one without regions is bound to those of its author."""
        actor, now = rpc.actor(), self._clock.now()
        given, selection = request.audience, self._own(request.audience.selection, "audience.selection")
        values = {
            "id": request.audience_id or resource.new_id(),
            "display_name": given.display_name,
            "description": given.description,
            **self._selected(selection, "audience.selection"),
            "creator": actor.subject,
            "create_time": now,
            "update_time": now,
            "version": 1,
        }
        used = tags_of(convert.selection(selection).condition)

        def write(tx: db.Connection) -> audience_pb2.Audience:
            made = convert.audience(rows.insert_audience(tx, values))
            tag_rows.note_usage(tx, used)
            return made

        return await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "CreateAudience",
                request.request_id,
                actor,
                audience_pb2.Audience,
                lambda: write(tx),
            )
        )

    async def GetAudience(
        self, request: audience_pb2.GetAudienceRequest, context: Any
    ) -> audience_pb2.Audience:
        """One audience; NotFound when its regions are not the caller's."""
        key = resource.parse(request.name, "audiences")
        found = convert.audience(await self._db.read(lambda tx: rows.audience(tx, key)))
        if not _visible(found, rpc.actor()):
            raise errors.NotFound(f"there is no audience {key}", metadata={"name": request.name})
        return found

    async def ListAudiences(
        self, request: audience_pb2.ListAudiencesRequest, context: Any
    ) -> audience_pb2.ListAudiencesResponse:
        """Newest first, those of the caller's regions."""
        actor, answer = rpc.actor(), audience_pb2.ListAudiencesResponse()
        size, after = page.size(request.page_size), page.read(request.page_token, request)
        before = int(after[0]) if after else None
        while True:
            start = before
            found = await self._db.read(lambda tx, start=start: rows.audiences(tx, start, size + 1))  # type: ignore[misc]
            for row in found:
                if len(answer.audiences) == size:
                    answer.next_page_token = page.token([before], request)
                    return answer
                message = convert.audience(row)
                if _visible(message, actor):
                    answer.audiences.append(message)
                before = row.number
            if len(found) <= size:
                return answer

    async def UpdateAudience(
        self, request: audience_pb2.UpdateAudienceRequest, context: Any
    ) -> audience_pb2.Audience:
        """Changes the fields of the mask; all of them when it is empty."""
        actor, given = rpc.actor(), request.audience
        key = resource.parse(given.name, "audiences", "audience.name")
        wanted = list(request.update_mask.paths) or list(_CHANGEABLE)
        unknown = [path for path in wanted if path not in _CHANGEABLE]
        if unknown:
            raise errors.Invalid(
                f"{unknown[0]} cannot be changed",
                fields=[("update_mask", f"may hold {', '.join(_CHANGEABLE)}")],
            )
        await self.GetAudience(audience_pb2.GetAudienceRequest(name=given.name), context)
        values: dict[str, Any] = {"update_time": self._clock.now()}
        if "display_name" in wanted:
            values["display_name"] = given.display_name
        if "description" in wanted:
            values["description"] = given.description
        if "selection" in wanted:
            values |= self._selected(self._own(given.selection, "audience.selection"), "audience.selection")
        return await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "UpdateAudience",
                request.request_id,
                actor,
                audience_pb2.Audience,
                lambda: convert.audience(rows.update_audience(tx, key, given.etag, values)),
            )
        )

    async def DeleteAudience(
        self, request: audience_pb2.DeleteAudienceRequest, context: Any
    ) -> empty_pb2.Empty:
        """Its snapshots stay."""
        actor, key = rpc.actor(), resource.parse(request.name, "audiences")

        def remove(tx: db.Connection) -> empty_pb2.Empty:
            if not _visible(convert.audience(rows.audience(tx, key)), actor):
                raise errors.NotFound(f"there is no audience {key}", metadata={"name": request.name})
            rows.delete_audience(tx, key, request.etag)
            return empty_pb2.Empty()

        return await self._db.transaction(
            lambda tx: requests.once(
                tx, "DeleteAudience", request.request_id, actor, empty_pb2.Empty, lambda: remove(tx)
            )
        )

    async def CountAudience(
        self, request: audience_pb2.CountAudienceRequest, context: Any
    ) -> audience_pb2.CountAudienceResponse:
        """How many, and who is taken out why (AUD-10)."""
        prepared = await self._research.prepare(convert.selection(request.selection), rpc.actor())
        outcome = await asyncio.to_thread(research.run, prepared)
        if prepared.tags:
            await self._db.transaction(lambda tx: tag_rows.note_usage(tx, prepared.tags))
        return reporting.count_message(prepared, outcome)

    async def SummariseAudience(
        self, request: audience_pb2.SummariseAudienceRequest, context: Any
    ) -> audience_pb2.AudienceSummary:
        """Three blocks beside the base of the caller's regions, which for the province is the whole base."""
        actor = rpc.actor()
        prepared = await self._research.prepare(convert.selection(request.selection), actor)
        blocks = self._reporter.tags(request.tags)
        base_ranges = self._research.scope_of(Selection(), actor)
        base = execute.in_regions(prepared.counties, base_ranges)

        def work() -> audience_pb2.AudienceSummary:
            outcome = research.run(prepared)
            return self._reporter.summarise(prepared, outcome, blocks, base, base_ranges, bool(request.tags))

        return await asyncio.to_thread(work)

    async def ListMembers(
        self, request: audience_pb2.ListMembersRequest, context: Any
    ) -> audience_pb2.ListMembersResponse:
        """Selected customers in order of their ordinal; every look is recorded (AUD-12)."""
        actor = rpc.actor()
        size, after = page.size(request.page_size), page.read(request.page_token, request)
        prepared = await self._research.prepare(convert.selection(request.selection), actor)
        start = int(after[0]) + 1 if after else 0
        found = await asyncio.to_thread(research.members_from, prepared, start, size + 1)
        shown = found[:size]
        directory, may_see = self._memory.directory, actor.may_see_numbers()

        def read() -> list[list[str]]:
            return [values_of(self._memory, code, shown) for code in request.tags]

        values = await asyncio.to_thread(read)
        answer = audience_pb2.ListMembersResponse()
        counties = directory.counties(shown).tolist()
        for position, ordinal in enumerate(shown.tolist()):
            answer.members.add(
                subscriber_id=int(directory.subscriber_ids[ordinal]),
                phone=shown_phone(int(directory.phones[ordinal]), may_see),
                county=counties[position],
                values=[column[position] for column in values],
            )
        if len(found) > size:
            answer.next_page_token = page.token([int(shown[-1])], request)
        if actor.is_user:
            detail, now = words(prepared.checked), self._clock.now()
            await self._db.transaction(
                lambda tx: rows.note_look(tx, actor.subject, "ListMembers", detail, len(shown), now)
            )
        return answer

    async def ExplainMembership(
        self, request: audience_pb2.ExplainMembershipRequest, context: Any
    ) -> audience_pb2.ExplainMembershipResponse:
        """The condition with the result of each node for one subscriber."""
        actor, directory = rpc.actor(), self._memory.directory
        kind = request.WhichOneof("subscriber")
        assert kind is not None  # a rule of the contract
        find = directory.find_phones if kind == "phone" else directory.find_ids
        ordinal = int(find(np.array([getattr(request, kind)], dtype=np.int64))[0])
        county = int(directory.counties(slice(ordinal, ordinal + 1))[0]) if ordinal >= 0 else 0
        if ordinal < 0 or not actor.may_see_region(county):
            raise errors.NotFound("there is no such subscriber", metadata={"field": kind})
        prepared = await self._research.prepare(convert.selection(request.selection), actor)

        def explain() -> audience_pb2.ExplainMembershipResponse:
            root = _explain(prepared, prepared.checked, ordinal)
            inside = execute.one(prepared.scope, ordinal)
            excluded = "" if inside else "out_of_region"
            if inside and root.result:
                excluded = next((reason for reason, set_ in prepared.exclusions if ordinal in set_), "")
            member = inside and root.result and not excluded
            return audience_pb2.ExplainMembershipResponse(member=member, excluded=excluded, root=root)

        return await asyncio.to_thread(explain)

    async def CreateSnapshot(
        self, request: audience_pb2.CreateSnapshotRequest, context: Any
    ) -> audience_pb2.Snapshot:
        """Freezes a set; the same request_id gives the same one again."""
        return await self._snapshots.create(request, rpc.actor())

    async def GetSnapshot(
        self, request: audience_pb2.GetSnapshotRequest, context: Any
    ) -> audience_pb2.Snapshot:
        """One snapshot."""
        key = resource.parse(request.name, "snapshots")
        return convert.snapshot(await self._db.read(lambda tx: rows.snapshot(tx, key)))

    def _own(self, given: audience_pb2.Selection, path: str) -> audience_pb2.Selection:
        """A selection to keep, checked; without regions it gets those of its author."""
        actor, kept = rpc.actor(), audience_pb2.Selection()
        kept.CopyFrom(given)
        self._research.scope_of(convert.selection(given, path), actor, path)
        if not given.regions and not actor.whole_province:
            kept.regions.extend(actor.regions)
        return kept

    def _selected(self, message: audience_pb2.Selection, path: str) -> dict[str, Any]:
        selection = convert.selection(message, path)
        check_choice(selection.suppression, rpc.actor().roles, f"{path}.suppression")
        checked = self._research.check_condition(selection, f"{path}.condition")
        return {"selection": convert.selection_to_json(message), "condition_text": words(checked)}


def _visible(message: audience_pb2.Audience, actor: Actor) -> bool:
    return all(actor.may_see_region(region) for region in message.selection.regions)


def _explain(prepared: research.Prepared, node: Checked, ordinal: int) -> audience_pb2.ExplainNode:
    answer = audience_pb2.ExplainNode(text=line(node), result=execute.one(prepared.leaf(node), ordinal))
    if isinstance(node, AllOf | AnyOf):
        answer.children.extend(_explain(prepared, child, ordinal) for child in node.children)
    elif isinstance(node, Not):
        answer.children.append(_explain(prepared, node.child, ordinal))
    elif isinstance(node, Test):
        column = prepared.columns[node.tag.code]
        stored = int(column.codes[ordinal]) if ordinal < len(column.codes) else column.missing
        if stored != column.missing:
            answer.value = value_text(node.tag, stored, column.texts)
    return answer
