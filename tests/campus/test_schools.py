"""Schools: entry, review, audit, scope, masking."""

import json

import pytest
from google.protobuf import field_mask_pb2
from iop.campus.v1 import events_pb2, school_pb2

from services.kit import errors
from tests.campus.conftest import (
    AUDITOR,
    CLERK,
    CODE,
    MANAGER,
    NAME,
    OTHER_MANAGER,
    announced,
    school,
    user,
)


def create(code=CODE, request_id="", **fields):
    return school_pb2.CreateSchoolRequest(
        school=school(code, **fields), school_id=code, request_id=request_id
    )


def update(paths, etag="", **fields):
    changed = school_pb2.School(name=NAME, etag=etag, **fields)
    return school_pb2.UpdateSchoolRequest(school=changed, update_mask=field_mask_pb2.FieldMask(paths=paths))


def review(approve=True, **fields):
    return school_pb2.ReviewSchoolRequest(name=NAME, approve=approve, **fields)


def get(in_force=False):
    return school_pb2.GetSchoolRequest(name=NAME, in_force=in_force)


async def test_a_change_waits_and_the_approved_version_stays_in_force(world):
    """Only approved data updates the official data (CAM-67, CAM-73, CAM-74)."""
    manager, auditor = world.as_user(MANAGER), world.as_user(AUDITOR)
    entered = await manager.CreateSchool(create())
    assert (entered.review_state, entered.approved) == (school_pb2.REVIEW_STATE_PENDING, False)
    with pytest.raises(errors.NotFound):
        await manager.GetSchool(get(in_force=True))
    approved = await auditor.ReviewSchool(review(etag=entered.etag))
    assert (approved.review_state, approved.approved) == (school_pb2.REVIEW_STATE_APPROVED, True)

    changed = await manager.UpdateSchool(update(["student_count"], student_count=35000))
    assert (changed.student_count, changed.review_state) == (35000, school_pb2.REVIEW_STATE_PENDING)
    assert changed.approved
    in_force = await manager.GetSchool(get(in_force=True))
    assert (in_force.student_count, in_force.review_state) == (34000, school_pb2.REVIEW_STATE_APPROVED)
    assert in_force.campuses == entered.campuses

    returned = await auditor.ReviewSchool(review(False, comment="再核对人数"))
    assert returned.review_state == school_pb2.REVIEW_STATE_RETURNED
    assert (returned.review_comment, returned.student_count) == ("再核对人数", 35000)
    assert (await manager.GetSchool(get(in_force=True))).student_count == 34000
    with pytest.raises(errors.Precondition):
        await auditor.ReviewSchool(review())

    await manager.UpdateSchool(update(["student_count"], student_count=34500))
    await auditor.ReviewSchool(review())
    assert (await manager.GetSchool(get(in_force=True))).student_count == 34500
    told = await announced(world, events_pb2.SchoolApproved, 2)
    assert [one.school.student_count for one in told] == [34000, 34500]
    assert {person.phone for one in told for person in one.school.key_persons} == {"138****3500"}


async def test_nobody_reviews_his_own_change(world):
    """Four eyes: not even behind a later change of somebody else (CAM-73)."""
    both = user("sun", "admin", 150000)
    await world.as_user(both).CreateSchool(create())
    with pytest.raises(errors.Denied) as refused:
        await world.as_user(both).ReviewSchool(review())
    assert refused.value.reason == "REVIEWER_IS_EDITOR"
    await world.as_user(OTHER_MANAGER).UpdateSchool(update(["remarks"], remarks="新校区在建"))
    with pytest.raises(errors.Denied):
        await world.as_user(both).ReviewSchool(review())
    await world.as_user(AUDITOR).ReviewSchool(review())
    # What is in force is behind us: the next change is somebody else's alone.
    await world.as_user(OTHER_MANAGER).UpdateSchool(update(["remarks"], remarks="新校区已建"))
    assert (await world.as_user(both).ReviewSchool(review())).review_state == school_pb2.REVIEW_STATE_APPROVED


async def test_a_school_is_returned_with_a_reason(world):
    await world.as_user(MANAGER).CreateSchool(create())
    with pytest.raises(errors.Invalid) as refused:
        await world.as_user(AUDITOR).ReviewSchool(review(False))
    assert refused.value.fields[0][0] == "comment"


async def test_a_stale_etag_is_refused(world):
    manager = world.as_user(MANAGER)
    entered = await manager.CreateSchool(create())
    await manager.UpdateSchool(update(["remarks"], etag=entered.etag, remarks="一"))
    for call in (
        manager.UpdateSchool(update(["remarks"], etag=entered.etag, remarks="二")),
        world.as_user(AUDITOR).ReviewSchool(review(etag=entered.etag)),
    ):
        with pytest.raises(errors.Conflict) as refused:
            await call
        assert refused.value.reason == "ETAG_STALE"


async def test_every_operation_is_audited_with_old_and_new_values(world):
    """Historic operations can be audited (CAM-68)."""
    manager = world.as_user(MANAGER)
    await manager.CreateSchool(create())
    person = school_pb2.KeyPerson(display_name="王校长", phone="13912343511")
    await manager.UpdateSchool(
        update(["student_count", "key_persons"], student_count=1, key_persons=[person])
    )
    await world.as_user(AUDITOR).ReviewSchool(review(False, comment="人数有误"))
    request = school_pb2.ListAuditEntriesRequest(parent=NAME, page_size=2)
    first = await manager.ListAuditEntries(request)
    request.page_token = first.next_page_token
    second = await manager.ListAuditEntries(request)
    entries = [*first.entries, *second.entries]
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("user:li", "created"),
        ("user:li", "changed"),
        ("user:wang", "returned"),
    ]
    assert not second.next_page_token
    changed = json.loads(entries[1].detail)
    assert changed["student_count"] == [34000, 1]
    assert [people[0]["phone"] for people in changed["key_persons"]] == ["138****3500", "139****3511"]
    assert json.loads(entries[2].detail)["comment"] == "人数有误"
    assert "13812343500" not in "".join(entry.detail for entry in entries)


async def test_numbers_are_masked_by_role_and_a_masked_number_survives_an_update(world):
    """Key persons' numbers are shown to those who may see them (CAM-65)."""
    manager = world.as_user(MANAGER)
    entered = await manager.CreateSchool(create())
    assert entered.key_persons[0].phone == "138****3500"
    assert (await world.as_user(CLERK).GetSchool(get())).key_persons[0].phone == "13812343500"
    person = school_pb2.KeyPerson(display_name="王校长", phone=entered.key_persons[0].phone, duty="书记")
    await manager.UpdateSchool(update(["key_persons"], key_persons=[person]))
    kept = (await world.as_user(CLERK).GetSchool(get())).key_persons[0]
    assert (kept.phone, kept.duty) == ("13812343500", "书记")
    stranger = school_pb2.KeyPerson(display_name="李校长", phone="138****3500")
    with pytest.raises(errors.Invalid) as refused:
        await manager.UpdateSchool(update(["key_persons"], key_persons=[stranger]))
    assert refused.value.fields[0][0] == "school.key_persons[0].phone"


async def test_a_user_sees_the_schools_of_his_region_only(world):
    """City and county users work on their own schools."""
    manager = world.as_user(MANAGER)
    await manager.CreateSchool(create())
    baotou = world.as_user(user("bao", "campus_manager", 150200))
    with pytest.raises(errors.Denied) as refused:
        await baotou.GetSchool(get())
    assert refused.value.reason == "REGION_OUT_OF_SCOPE"
    with pytest.raises(errors.Denied):
        await baotou.UpdateSchool(update(["remarks"], remarks="x"))
    with pytest.raises(errors.Denied):
        await baotou.CreateSchool(create("4115010199"))
    with pytest.raises(errors.Denied):  # nor may a change move a school out of the editor's region
        await manager.UpdateSchool(update(["city", "county", "campuses"], city=150200, county=150202))
    await baotou.CreateSchool(create("4115010127", city=150200, county=150203, campuses=[]))

    async def codes(actor, **fields):
        answer = await world.as_user(actor).ListSchools(school_pb2.ListSchoolsRequest(**fields))
        return [one.name for one in answer.schools]

    both = [NAME, "schools/4115010127"]
    assert await codes(AUDITOR) == both
    assert await codes(AUDITOR, region=150200) == both[1:]
    assert await codes(MANAGER) == both[:1]
    assert await codes(user("xincheng", "campus_manager", 150105)) == both[:1]
    assert await codes(user("other", "campus_manager", 150102)) == []
    assert await codes(user("site", "campus_manager", 150000, campuses=("411501012701",))) == both[1:]
    await world.as_user(AUDITOR).ReviewSchool(review())
    assert await codes(AUDITOR, review_state=school_pb2.REVIEW_STATE_PENDING) == both[1:]


async def test_schools_come_in_pages(world):
    codes = [f"411501013{i}" for i in range(5)]
    for code in codes:
        await world.as_user(MANAGER).CreateSchool(create(code))
    request, found = school_pb2.ListSchoolsRequest(page_size=2), []
    while True:
        answer = await world.as_user(MANAGER).ListSchools(request)
        found += [one.name.removeprefix("schools/") for one in answer.schools]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert found == codes


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"city": 150000}, "school.city"),
        ({"county": 150203}, "school.county"),
        (
            {"campuses": [school_pb2.Campus(code=411501012701, display_name="主校区")]},
            "school.campuses[0].code",
        ),
        (
            {"campuses": [school_pb2.Campus(code=411501012601, display_name="主校区", county=150203)]},
            "school.campuses[0].county",
        ),
        (
            {"key_persons": [school_pb2.KeyPerson(display_name="王", phone="1381234")]},
            "school.key_persons[0].phone",
        ),
        ({"nature": "unknown"}, "school.nature"),
        ({"display_name": ""}, "school.display_name"),
    ],
)
async def test_entries_against_the_rules_are_refused_at_once(world, fields, path):
    """The front line hears at once what is wrong (CAM-71)."""
    with pytest.raises(errors.Invalid) as refused:
        await world.as_user(MANAGER).CreateSchool(create(**fields))
    assert path in [field for field, _ in refused.value.fields]


async def test_a_change_is_checked_as_it_becomes(world):
    """Fields outside of the mask may be left out; those inside must keep the rules."""
    manager = world.as_user(MANAGER)
    await manager.CreateSchool(create())
    changed = await manager.UpdateSchool(update([], address="大学西街235号"))
    assert (changed.address, changed.display_name) == ("大学西街235号", "内蒙古大学")
    cleared = await manager.UpdateSchool(update(["address"]))
    assert cleared.address == ""
    for paths, path in ((["display_name"], "school.display_name"), (["editor"], "update_mask")):
        with pytest.raises(errors.Invalid) as refused:
            await manager.UpdateSchool(update(paths))
        assert path in [field for field, _ in refused.value.fields]


async def test_a_repeated_request_changes_nothing(world):
    manager = world.as_user(MANAGER)
    first = await manager.CreateSchool(create(request_id="r1"))
    assert await manager.CreateSchool(create(request_id="r1")) == first
    with pytest.raises(errors.Exists):
        await manager.CreateSchool(create())
    entries = (await manager.ListAuditEntries(school_pb2.ListAuditEntriesRequest(parent=NAME))).entries
    assert len(entries) == 1


async def test_roles_are_kept_apart(world):
    with pytest.raises(errors.Denied):
        await world.as_user(AUDITOR).CreateSchool(create())
    await world.as_user(MANAGER).CreateSchool(create())
    with pytest.raises(errors.Denied):
        await world.as_user(MANAGER).ReviewSchool(review())
