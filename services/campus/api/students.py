"""Students of a school: import, list, identification."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from iop.audience.v1 import directory_pb2, list_pb2
from iop.campus.v1 import events_pb2, school_pb2
from iop.common.v1 import types_pb2
from pyroaring import BitMap

from services.campus.api import base
from services.campus.api.base import Base, found, in_force
from services.campus.domain import schools as school_rules
from services.campus.domain import students as rules
from services.campus.store import students
from services.kit import db, errors, mask, outbox, page, requests, resource, rpc

BITMAPS = "IOP_BITMAPS"
_LOOK_UP = 10_000
_IMPORT = 10_000


class Students(Base):
    """The methods on students."""

    async def ImportStudents(self, request: Any, context: Any) -> Any:
        """Register the good rows and report each bad one by its line; counts as approved (DOMAIN 2.4)."""
        actor, code = rpc.actor(), base.school_id(request.parent, "parent")
        first_line = request.first_line or 1
        rows = [
            rules.Student(
                campus=row.campus,
                enrolment_year=row.enrolment_year,
                faculty=row.faculty.strip(),
                class_name=row.class_name.strip(),
                display_name=row.display_name.strip(),
                gender=row.gender,
                phone=row.phone.strip(),
                degree=row.degree,
            )
            for row in request.students
        ]

        def register(tx: db.Connection) -> Any:
            # The lock lets one import after the other look for rows that are there already.
            _, content = in_force(tx, code, actor, lock=True)
            known = students.known(tx, code, [row.phone for row in rows])
            campuses = school_rules.campuses_of(content)
            good, refused = rules.sift(rows, campuses, self.current_year, known)
            students.add(tx, code, good)
            self.note(tx, code, actor, "students_imported", {"imported": len(good), "refused": len(refused)})
            return school_pb2.ImportStudentsResponse(
                imported=len(good),
                refused=[
                    school_pb2.RefusedStudent(
                        line=first_line + one.position, field=one.field, description=one.description
                    )
                    for one in refused
                ],
            )

        return await self.database.transaction(
            lambda tx: requests.once(
                tx,
                "ImportStudents",
                request.request_id,
                actor,
                school_pb2.ImportStudentsResponse,
                lambda: register(tx),
            )
        )

    async def ListStudents(self, request: Any, context: Any) -> Any:
        """Students by registration, numbers masked by role. The look is noted in the audit trail."""
        actor, code, size = (
            rpc.actor(),
            base.school_id(request.parent, "parent"),
            page.size(request.page_size),
        )
        after = page.read(request.page_token, request)

        def read(tx: db.Connection) -> Any:
            found(tx, code, actor)
            rows = students.page(tx, code, request.enrolment_year, after[0] if after else 0, size + 1)
            self.note(tx, code, actor, "students_viewed", {"students": len(rows[:size])})
            return rows

        rows = await self.database.transaction(read)
        clear = actor.may_see_numbers()
        response = school_pb2.ListStudentsResponse(
            students=[
                school_pb2.Student(
                    campus=row.campus,
                    enrolment_year=row.enrolment_year,
                    faculty=row.faculty,
                    class_name=row.class_name,
                    display_name=row.display_name,
                    gender=row.gender,
                    phone=row.phone if clear else mask.phone(row.phone),
                    degree=row.degree,
                    identify_method="registration",
                )
                for row in rows[:size]
            ]
        )
        if len(rows) > size:
            response.next_page_token = page.token([rows[size - 1].id], request)
        return response

    async def IdentifyStudents(self, request: Any, context: Any) -> Any:
        """Find the school's registered students in the directory and hand them on (CAM-01).

        What goes to other services is the same each time it is repeated; the announcement commits with
        the result.
        """
        actor, code = rpc.actor(), base.school_id(request.name)
        _, content = await self.database.read(lambda tx: in_force(tx, code, actor))
        registered, rows = await self.database.read(lambda tx: students.registered(tx, code))
        if not rows:
            raise errors.Precondition(f"school {code} has no registered students", metadata={"school": code})
        version = (await self.directory.GetDirectory(directory_pb2.GetDirectoryRequest())).directory_version
        matched = await self._look_up(rows)

        years: dict[int, list[int]] = {}
        members: dict[int, list[int]] = {}
        for row, subscriber_id, ordinal in matched:
            years.setdefault(row.enrolment_year, []).append(subscriber_id)
            members.setdefault(row.campus, []).append(ordinal)
        everyone = sorted({subscriber_id for _, subscriber_id, _ in matched})
        name = content["display_name"]
        whole = await self._hand_over(f"students-{code}", f"{name}学生", everyone)
        by_year = {
            year: await self._hand_over(f"students-{code}-{year}", f"{name}{year}级学生", sorted(set(ids)))
            for year, ids in sorted(years.items())
        }
        counties = school_rules.campuses_of(content)
        campuses = [
            await self._store(campus, counties.get(campus, content["county"]), ordinals, version)
            for campus, ordinals in sorted(members.items())
        ]

        def keep(tx: db.Connection) -> Any:
            found(tx, code, actor, lock=True)
            at = self.clock.now()
            number = students.identified(tx, code, registered, len(everyone), at)
            detail = {"registered": registered, "identified": len(everyone), "version": number}
            self.note(tx, code, actor, "students_identified", detail)
            told = events_pb2.StudentsIdentified(school=request.name, campuses=campuses, version=number)
            outbox.add(
                tx, told, key=request.name, message_id=f"students:{code}:{number}", subject_ref=request.name
            )
            result = school_pb2.Identification(
                school=request.name,
                registered=registered,
                identified=len(everyone),
                customer_list=whole,
                lists_by_year=by_year,
            )
            result.identify_time.FromDatetime(at)
            return result

        return await self.database.transaction(
            lambda tx: requests.once(
                tx,
                "IdentifyStudents",
                request.request_id,
                actor,
                school_pb2.Identification,
                lambda: keep(tx),
            )
        )

    async def _look_up(self, rows: Sequence[Any]) -> list[tuple[Any, int, int]]:
        """(row, subscriber_id, ordinal) of the numbers that are customers."""
        matched: list[tuple[Any, int, int]] = []
        for start in range(0, len(rows), _LOOK_UP):
            part = rows[start : start + _LOOK_UP]
            answer = await self.directory.LookUpSubscribers(
                directory_pb2.LookUpSubscribersRequest(phones=[int(row.phone) for row in part])
            )
            missing = set(answer.missing)
            there = [row for i, row in enumerate(part) if i not in missing]
            matched += [
                (row, one.subscriber_id, one.ordinal)
                for row, one in zip(there, answer.subscribers, strict=True)
            ]
        return matched

    async def _hand_over(self, list_id: str, display_name: str, subscriber_ids: Sequence[int]) -> str:
        """The customer list with these members, made when it is not there."""
        wanted = list_pb2.CustomerList(display_name=display_name[:100], source="campus")
        try:
            await self.lists.CreateCustomerList(
                list_pb2.CreateCustomerListRequest(customer_list=wanted, list_id=list_id)
            )
        except errors.Exists:
            pass
        name = resource.name("lists", list_id)
        for start in range(0, len(subscriber_ids), _IMPORT):
            part = subscriber_ids[start : start + _IMPORT]
            digest = hashlib.sha256(np.array(part, "<i8").tobytes()).hexdigest()[:32]
            await self.lists.ImportCustomers(
                list_pb2.ImportCustomersRequest(
                    name=name, subscriber_ids=part, first_line=start + 1, request_id=f"{start}-{digest}"
                )
            )
        return name

    async def _store(self, campus: int, county: int, ordinals: Sequence[int], version: int) -> Any:
        """The students of a campus as an immutable bitmap in the object store."""
        bitmap = BitMap(np.array(ordinals, np.uint32))
        data = bitmap.serialize()
        name = f"students/{campus}/{hashlib.sha256(data).hexdigest()[:24]}"
        digest = await self.bus.put_object(BITMAPS, name, data)
        return events_pb2.CampusStudents(
            campus=campus,
            county=county,
            bitmap=types_pb2.BitmapRef(
                object=name, digest=digest, cardinality=len(bitmap), directory_version=version
            ),
        )
