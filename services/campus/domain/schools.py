"""Rules of school information (CAM-60 to CAM-75).

A school's content is a dictionary of the contract's field names. Each change makes a version that waits
for review; the approved version stays in force until the review passes, and nobody reviews what he or
she had a hand in.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from services.kit import errors

Content = dict[str, Any]

EDITABLE = (
    "display_name", "type", "nature", "authority", "city", "county", "campus_card", "student_count",
    "enrolment_count", "staff_count", "address", "group_id", "position", "campuses", "remarks", "key_persons",
)  # fmt: skip

_PHONE = re.compile(r"1[0-9]{10}")


class State(StrEnum):
    """Review of the newest change."""

    PENDING = "pending"
    APPROVED = "approved"
    RETURNED = "returned"


def check(school_id: str, content: Content) -> None:
    """Entries against the business rules are refused at once (CAM-71); errors.Invalid names the fields."""
    bad: list[tuple[str, str]] = []
    city, county = content.get("city", 0), content.get("county", 0)
    if city % 100 or not city % 10000:
        bad.append(("school.city", "must be the code of a city, such as 150100"))
    elif county // 100 * 100 != city or county == city:
        bad.append(("school.county", f"must be a county of {city}"))
    seen: set[str] = set()
    for i, campus in enumerate(content.get("campuses", [])):
        code = str(campus.get("code", ""))
        if len(code) != 12 or not code.startswith(school_id):
            bad.append((f"school.campuses[{i}].code", f"must be {school_id} and two digits of the site"))
        elif code in seen:
            bad.append((f"school.campuses[{i}].code", "stands there twice"))
        seen.add(code)
        if campus.get("county") and campus["county"] // 100 * 100 != city:
            bad.append((f"school.campuses[{i}].county", f"must be a county of {city}"))
    for i, person in enumerate(content.get("key_persons", [])):
        if person.get("phone") and not _PHONE.fullmatch(person["phone"]):
            bad.append((f"school.key_persons[{i}].phone", "must be a mobile number of 11 digits"))
    if bad:
        raise errors.Invalid("; ".join(f"{field}: {text}" for field, text in bad[:5]), fields=bad)


def merged(old: Content, new: Content, paths: Iterable[str]) -> Content:
    """`old` with the fields of `paths` from `new`; `*` stands for all, no path for those that are set."""
    chosen = list(paths) or [field for field in EDITABLE if field in new]
    if chosen == ["*"]:
        chosen = list(EDITABLE)
    unknown = [path for path in chosen if path not in EDITABLE]
    if unknown:
        raise errors.Invalid(
            f"{unknown[0]!r} cannot be changed",
            fields=[("update_mask", f"{path!r} is not a field that can be changed") for path in unknown],
        )
    content = {field: value for field, value in old.items() if field not in chosen}
    content.update({field: new[field] for field in chosen if field in new})
    return content


def unmasked(content: Content, before: Content, mask: Callable[[str], str]) -> Content:
    """`content` with the masked numbers of key persons, as they were read, put back from `before`."""
    people = content.get("key_persons")
    if not people:
        return content
    known = {
        (person.get("display_name", ""), mask(person.get("phone", ""))): person.get("phone", "")
        for person in before.get("key_persons", [])
    }
    restored = [
        {**person, "phone": known.get((person.get("display_name", ""), person["phone"]), person["phone"])}
        if "*" in person.get("phone", "")
        else person
        for person in people
    ]
    return {**content, "key_persons": restored}


def masked(content: Content, mask: Callable[[str], str]) -> Content:
    """`content` with the numbers of key persons masked."""
    if not content.get("key_persons"):
        return content
    people = [
        {**person, "phone": mask(person["phone"])} if person.get("phone") else person
        for person in content["key_persons"]
    ]
    return {**content, "key_persons": people}


def changes(old: Content, new: Content) -> dict[str, list[Any]]:
    """{field: [old value, new value]} of the fields that differ, null for one that is not set."""
    return {field: [old.get(field), new.get(field)] for field in EDITABLE if old.get(field) != new.get(field)}


def require_reviewer(reviewer: str, editors: Iterable[str]) -> None:
    """Four eyes: errors.Denied, REVIEWER_IS_EDITOR, for one who edited what is under review."""
    if reviewer in set(editors):
        raise errors.Denied("somebody else has to review your change", reason="REVIEWER_IS_EDITOR")


def require_pending(state: str) -> None:
    """Only a change that waits can be reviewed; errors.Precondition otherwise."""
    if state != State.PENDING:
        raise errors.Precondition(
            f"no change waits for review; the newest is {state}", metadata={"state": state}
        )


def campuses_of(content: Mapping[str, Any]) -> dict[int, int]:
    """{campus code: county} of a school; a campus without a county is in that of the school."""
    return {
        int(campus["code"]): campus.get("county") or content.get("county", 0)
        for campus in content.get("campuses", [])
    }
