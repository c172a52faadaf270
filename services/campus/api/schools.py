"""Schools: entry, change, review, audit trail."""

from typing import Any

from google.protobuf import json_format
from iop.campus.v1 import events_pb2, school_pb2

from services.campus.api import base
from services.campus.api.base import Base, found, require_scope, spans_of
from services.campus.domain import schools as rules
from services.campus.domain.schools import Content, State
from services.campus.store import schools
from services.kit import db, errors, mask, outbox, page, requests, resource, rpc, validation
from services.kit.actor import Actor

_STATES = {
    State.PENDING: school_pb2.REVIEW_STATE_PENDING,
    State.APPROVED: school_pb2.REVIEW_STATE_APPROVED,
    State.RETURNED: school_pb2.REVIEW_STATE_RETURNED,
}
_validate = validation.Validation()


class Schools(Base):
    """The methods on schools."""

    async def CreateSchool(self, request: Any, context: Any) -> Any:
        """Enter a school of the caller's region; it waits for review (CAM-64, CAM-70, CAM-71)."""
        actor, code = rpc.actor(), request.school_id
        if request.school.name not in ("", resource.name("schools", code)):
            raise errors.Invalid(
                "the name does not fit the id", fields=[("school.name", f"must be schools/{code} or empty")]
            )
        content = _content(request.school)
        rules.check(code, content)
        require_scope(actor, code, content["county"])

        def create(tx: db.Connection) -> Any:
            if not schools.create(tx, code, content, actor.subject, self.clock.now()):
                raise errors.Exists(f"school {code} is there already", metadata={"school": code})
            self.note(tx, code, actor, "created", rules.changes({}, rules.masked(content, mask.phone)))
            return _message(schools.get(tx, code), actor)

        return await self._once("CreateSchool", request, actor, create)

    async def GetSchool(self, request: Any, context: Any) -> Any:
        """The newest change with its review state, or with `in_force` the approved version."""
        actor, code = rpc.actor(), base.school_id(request.name)

        def read(tx: db.Connection) -> Any:
            row = found(tx, code, actor)
            if not request.in_force:
                return _message(row, actor)
            if row.approved is None:
                raise errors.NotFound(f"no version of school {code} is in force", metadata={"school": code})
            return _approved(tx, row, actor)

        return await self.database.read(read)

    async def ListSchools(self, request: Any, context: Any) -> Any:
        """Schools of the caller's regions by code, each with its newest change."""
        actor, size = rpc.actor(), page.size(request.page_size)
        after = page.read(request.page_token, request)
        state = next((ours for ours, theirs in _STATES.items() if theirs == request.review_state), "")
        region = base.span(request.region) if request.region else None

        def read(tx: db.Connection) -> Any:
            confined = base.schools_of(actor)
            start = after[0] if after else ""
            return schools.page(tx, spans_of(actor), confined, region, state, start, size + 1)

        rows = await self.database.read(read)
        response = school_pb2.ListSchoolsResponse(schools=[_message(row, actor) for row in rows[:size]])
        if len(rows) > size:
            response.next_page_token = page.token([rows[size - 1].school_id], request)
        return response

    async def UpdateSchool(self, request: Any, context: Any) -> Any:
        """Change a school; the change waits for review, the approved version stays in force (CAM-67)."""
        actor, code = rpc.actor(), base.school_id(request.school.name, "school.name")

        def change(tx: db.Connection) -> Any:
            row = found(tx, code, actor, lock=True)
            resource.check_etag(request.school.etag, row.revision)
            content = rules.merged(row.content, _content(request.school), request.update_mask.paths)
            content = rules.unmasked(content, row.content, mask.phone)
            _validate(school_pb2.CreateSchoolRequest(school=_school(content), school_id=code))
            rules.check(code, content)
            require_scope(actor, code, content["county"])
            if content == row.content:
                return _message(row, actor)
            schools.change(tx, row, content, actor.subject, self.clock.now())
            masked = [rules.masked(one, mask.phone) for one in (row.content, content)]
            # A number that changed behind its mask is told by the field all the same.
            detail = {
                field: [masked[0].get(field), masked[1].get(field)]
                for field in rules.changes(row.content, content)
            }
            self.note(tx, code, actor, "changed", detail)
            return _message(schools.get(tx, code), actor)

        return await self._once("UpdateSchool", request, actor, change)

    async def ReviewSchool(self, request: Any, context: Any) -> Any:
        """Put the newest change into force, or return it with a comment (CAM-73, CAM-74)."""
        actor, code = rpc.actor(), base.school_id(request.name)
        if not request.approve and not request.comment.strip():
            raise errors.Invalid(
                "a change is returned with a reason",
                fields=[("comment", "is needed when a change is returned")],
            )

        def review(tx: db.Connection) -> Any:
            row = found(tx, code, actor, lock=True)
            resource.check_etag(request.etag, row.revision)
            rules.require_pending(row.state)
            rules.require_reviewer(actor.subject, schools.editors(tx, code, row.approved or 0))
            schools.review(tx, row, request.approve, request.comment)
            action = "approved" if request.approve else "returned"
            self.note(tx, code, actor, action, {"version": row.newest, "comment": request.comment})
            after = schools.get(tx, code)
            if request.approve:
                assert after is not None
                told = events_pb2.SchoolApproved(school=_message(after, None))
                outbox.add(
                    tx, told, key=code, message_id=f"school:{code}:{row.newest}", subject_ref=request.name
                )
            return _message(after, actor)

        return await self._once("ReviewSchool", request, actor, review)

    async def ListAuditEntries(self, request: Any, context: Any) -> Any:
        """Who changed what, oldest first (CAM-68, CAM-75)."""
        actor, code, size = (
            rpc.actor(),
            base.school_id(request.parent, "parent"),
            page.size(request.page_size),
        )
        after = page.read(request.page_token, request)

        def read(tx: db.Connection) -> Any:
            found(tx, code, actor)
            return schools.trail(tx, code, after[0] if after else 0, size + 1)

        rows = await self.database.read(read)
        response = school_pb2.ListAuditEntriesResponse()
        for row in rows[:size]:
            entry = response.entries.add(actor=row.actor, action=row.action, detail=row.detail)
            entry.time.FromDatetime(row.at)
        if len(rows) > size:
            response.next_page_token = page.token([rows[size - 1].id], request)
        return response

    async def _once(self, method: str, request: Any, actor: Actor, work: Any) -> Any:
        return await self.database.transaction(
            lambda tx: requests.once(
                tx, method, request.request_id, actor, school_pb2.School, lambda: work(tx)
            )
        )


def _content(school: Any) -> Content:
    """The editable fields that are set."""
    fields = json_format.MessageToDict(school, preserving_proto_field_name=True)
    return {field: fields[field] for field in rules.EDITABLE if field in fields}


def _school(content: Content) -> Any:
    return json_format.ParseDict(content, school_pb2.School(), ignore_unknown_fields=True)


def _message(row: Any, actor: Actor | None, content: Content | None = None) -> Any:
    """A row as a School; numbers of key persons masked unless the actor may see them."""
    shown = row.content if content is None else content
    if actor is None or not actor.may_see_numbers():
        shown = rules.masked(shown, mask.phone)
    school = _school(shown)
    school.name = resource.name("schools", row.school_id)
    school.review_state = _STATES[row.state]
    school.approved = row.approved is not None
    school.review_comment = row.comment
    school.editor = row.editor
    school.update_time.FromDatetime(row.changed_at)
    school.etag = resource.etag(row.revision)
    return school


def _approved(tx: db.Connection, row: Any, actor: Actor) -> Any:
    """The version in force: its content, editor and time, with the etag of the school."""
    approved = schools.version(tx, row.school_id, row.approved)
    school = _message(row, actor, approved.content)
    school.review_state = school_pb2.REVIEW_STATE_APPROVED
    if row.approved != row.newest:
        school.ClearField("review_comment")
    school.editor = approved.editor
    school.update_time.FromDatetime(approved.edited_at)
    return school
