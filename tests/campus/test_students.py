"""Students: import by row, list, identification; campus cells."""

import pytest
from iop.campus.v1 import events_pb2, school_pb2
from pyroaring import BitMap

from services.kit import errors
from tests.campus.conftest import (
    AUDITOR,
    CLERK,
    CODE,
    MAIN,
    MANAGER,
    NAME,
    SOUTH,
    announced,
    school,
    student,
    user,
)


def rows(*students, **fields):
    return school_pb2.ImportStudentsRequest(parent=NAME, students=students, **fields)


async def test_good_rows_are_kept_and_bad_ones_told_by_line(world):
    """Each row stands or falls for itself; duplicates of name, number and school are refused."""
    await world.approved()
    batch = [
        student("13800000000"),
        student("13800000002", campus=411501012603),
        student("13800000004", year=1989),
        student("13800000006", year=2022),
        student("13800000008", year=2021),
        student("1380000001"),
        student("13800000012", name=" "),
        student("13800000000"),
        student("13800000000", name="李四"),
        student("13800000014", gender="f"),
        student("13800000016", degree="phd"),
    ]
    answer = await world.as_user(MANAGER).ImportStudents(rows(*batch, first_line=101))
    assert answer.imported == 3
    assert [(one.line, one.field) for one in answer.refused] == [
        (102, "campus"),
        (103, "enrolment_year"),
        (104, "enrolment_year"),
        (106, "phone"),
        (107, "display_name"),
        (108, "phone"),
        (110, "gender"),
        (111, "degree"),
    ]
    assert "138" not in "".join(one.description for one in answer.refused)
    again = await world.as_user(MANAGER).ImportStudents(rows(student("13800000000"), student("13800000020")))
    assert (again.imported, [one.line for one in again.refused]) == (1, [1])
    trail = await world.as_user(AUDITOR).ListAuditEntries(school_pb2.ListAuditEntriesRequest(parent=NAME))
    assert [entry.detail for entry in trail.entries if entry.action == "students_imported"] == [
        '{"imported":3,"refused":8}',
        '{"imported":1,"refused":1}',
    ]


async def test_a_repeated_import_gives_the_same_answer(world):
    await world.approved()
    request = rows(student("13800000000"), student("x"), request_id="file-1")
    first = await world.as_user(MANAGER).ImportStudents(request)
    assert await world.as_user(MANAGER).ImportStudents(request) == first
    assert len((await world.as_user(MANAGER).ListStudents(listed())).students) == 1


async def test_children_are_taken_for_approved_schools_only(world):
    manager = world.as_user(MANAGER)
    await manager.CreateSchool(school_pb2.CreateSchoolRequest(school=school(), school_id=CODE))
    for call in (
        manager.ImportStudents(rows(student("13800000000"))),
        manager.IdentifyStudents(school_pb2.IdentifyStudentsRequest(name=NAME)),
        manager.RefreshCampusCells(school_pb2.RefreshCampusCellsRequest(name=NAME)),
    ):
        with pytest.raises(errors.Precondition) as refused:
            await call
        assert refused.value.reason == "SCHOOL_NOT_APPROVED"


def listed(**fields):
    return school_pb2.ListStudentsRequest(parent=NAME, **fields)


async def test_students_are_listed_in_pages_and_masked_by_role(world):
    await world.approved()
    manager = world.as_user(MANAGER)
    await manager.ImportStudents(rows(*(student(f"1380000000{i}", year=2018 + i % 2) for i in range(5))))
    first = await manager.ListStudents(listed(page_size=3))
    second = await manager.ListStudents(listed(page_size=3, page_token=first.next_page_token))
    found = [*first.students, *second.students]
    assert [one.phone for one in found] == [f"138****000{i}" for i in range(5)]
    assert {one.identify_method for one in found} == {"registration"}
    assert len((await manager.ListStudents(listed(enrolment_year=2018))).students) == 3
    admin = user("admin", "admin")
    assert (await world.as_user(admin).ListStudents(listed())).students[0].phone == "13800000000"
    with pytest.raises(errors.Denied):
        await world.as_user(CLERK).ListStudents(listed())
    with pytest.raises(errors.Denied):
        await world.as_user(user("bao", "campus_manager", 150200)).ListStudents(listed())
    trail = await manager.ListAuditEntries(school_pb2.ListAuditEntriesRequest(parent=NAME))
    viewers = [entry.actor for entry in trail.entries if entry.action == "students_viewed"]
    assert viewers == ["user:li"] * 3 + ["user:admin"]


async def identify(world, code=CODE, **fields):
    request = school_pb2.IdentifyStudentsRequest(name=f"schools/{code}", **fields)
    return await world.as_user(MANAGER).IdentifyStudents(request)


async def members(world, told):
    return {
        one.campus: set(
            BitMap.deserialize(
                await world.bus.get_object("IOP_BITMAPS", one.bitmap.object, one.bitmap.digest)
            )
        )
        for one in told.campuses
    }


async def test_students_are_identified_and_handed_on(world):
    """Registered students become customer lists and a bitmap per campus (CAM-01)."""
    await world.approved()
    batch = [
        student("13800000000"),
        student("13800000002", name="李四", campus=SOUTH, year=2018),
        student("13800000003", name="王五"),  # not a customer
        student("13800000004", name="赵六", year=2018),
    ]
    await world.as_user(MANAGER).ImportStudents(rows(*batch))
    answer = await identify(world, request_id="i1")
    assert (answer.registered, answer.identified) == (4, 3)
    assert answer.customer_list == f"lists/students-{CODE}"
    assert dict(answer.lists_by_year) == {
        2018: f"lists/students-{CODE}-2018",
        2019: f"lists/students-{CODE}-2019",
    }
    ids = {phone: 9_000_000_000 + phone for phone in (13800000000, 13800000002, 13800000004)}
    assert world.audience.lists == {
        f"students-{CODE}": set(ids.values()),
        f"students-{CODE}-2018": {ids[13800000002], ids[13800000004]},
        f"students-{CODE}-2019": {ids[13800000000]},
    }
    assert world.audience.callers == {"user:li"}
    assert await identify(world, request_id="i1") == answer
    await identify(world)

    told = await announced(world, events_pb2.StudentsIdentified, 2)
    ordinals = world.audience.ordinals
    assert [one.version for one in told] == [1, 2]
    assert [(one.campus, one.county, one.bitmap.directory_version) for one in told[0].campuses] == [
        (MAIN, 150105, 7),
        (SOUTH, 150105, 7),
    ]
    assert await members(world, told[0]) == {
        MAIN: {ordinals[13800000000], ordinals[13800000004]},
        SOUTH: {ordinals[13800000002]},
    }


async def test_a_student_of_two_schools_belongs_to_the_later_import(world):
    other = "4115010127"
    await world.approved()
    await world.approved(other)
    await world.as_user(MANAGER).ImportStudents(
        rows(student("13800000000"), student("13800000002", name="李四"))
    )
    moved = student("13800000002", name="李四", campus=int(f"{other}01"))
    request = school_pb2.ImportStudentsRequest(parent=f"schools/{other}", students=[moved])
    await world.as_user(MANAGER).ImportStudents(request)
    assert (await identify(world)).identified == 1
    assert (await identify(world, other)).identified == 1
    told = await announced(world, events_pb2.StudentsIdentified, 2)
    ordinals = world.audience.ordinals
    assert await members(world, told[0]) == {MAIN: {ordinals[13800000000]}}
    assert await members(world, told[1]) == {int(f"{other}01"): {ordinals[13800000002]}}


async def test_many_students_are_looked_up_in_pages(world):
    await world.approved()
    for start in (0, 8000):
        batch = [student(f"13{i:09d}", name=f"学生{i}") for i in range(start, start + 8000)]
        assert (await world.as_user(MANAGER).ImportStudents(rows(*batch))).imported == 8000
    answer = await identify(world)
    assert (answer.registered, answer.identified) == (16000, 8000)
    assert world.audience.pages == [10000, 6000]
    assert len(world.audience.lists[f"students-{CODE}"]) == 8000


async def test_nobody_is_identified_where_nobody_is_registered(world):
    await world.approved()
    with pytest.raises(errors.Precondition):
        await identify(world)


async def test_cells_come_from_the_approved_outlines(world):
    """The school's own cells are those inside its sites."""
    await world.approved()
    manager = world.as_user(MANAGER)
    nothing = await manager.GetCampusCells(school_pb2.GetCampusCellsRequest(name=NAME))
    assert (list(nothing.cells), nothing.HasField("update_time")) == ([], False)
    found = await manager.RefreshCampusCells(school_pb2.RefreshCampusCellsRequest(name=NAME))
    assert list(found.cells) == [5 << 32 | cell for cell in (99, 100, 101)]
    assert found.update_time.ToDatetime().isoformat() == "2020-08-10T04:00:00"
    assert await manager.GetCampusCells(school_pb2.GetCampusCellsRequest(name=NAME)) == found
    assert world.cells.callers == {"user:li"}
    other = "4115010127"
    await world.approved(other, campuses=[])
    with pytest.raises(errors.Precondition):
        await manager.RefreshCampusCells(school_pb2.RefreshCampusCellsRequest(name=f"schools/{other}"))
