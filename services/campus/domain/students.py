"""Rules of student rows (DOMAIN 2.4): each row stands or falls for itself."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

FIRST_YEAR = 1990

GENDERS = ("male", "female")
DEGREES = ("junior_college", "bachelor", "master", "doctor")

_PHONE = re.compile(r"1[0-9]{10}")
_LIMITS = {"faculty": 100, "class_name": 100, "display_name": 40}


@dataclass(frozen=True)
class Student:
    """One registered student."""

    campus: int
    enrolment_year: int
    faculty: str
    class_name: str
    display_name: str
    gender: str
    phone: str
    degree: str

    @property
    def key(self) -> tuple[str, str]:
        """Within a school no two rows share name and number."""
        return self.display_name, self.phone


@dataclass(frozen=True)
class Refused:
    """A row that is not taken; `position` counts from 0. The text holds no personal data."""

    position: int
    field: str
    description: str


def problem(student: Student, campuses: Collection[int], current_year: int) -> tuple[str, str] | None:
    """(field, what is wrong) of the first rule that the row breaks, None when it is good."""
    if student.campus not in campuses:
        return "campus", "is no campus of the school"
    if not FIRST_YEAR <= student.enrolment_year <= current_year + 1:
        return "enrolment_year", f"must lie between {FIRST_YEAR} and {current_year + 1}"
    if not student.display_name:
        return "display_name", "is missing"
    if student.gender and student.gender not in GENDERS:
        return "gender", f"must be one of {', '.join(GENDERS)}"
    if not _PHONE.fullmatch(student.phone):
        return "phone", "must be a mobile number of 11 digits"
    if student.degree and student.degree not in DEGREES:
        return "degree", f"must be one of {', '.join(DEGREES)}"
    for field, limit in _LIMITS.items():
        if len(getattr(student, field)) > limit:
            return field, f"is longer than {limit} characters"
    return None


def sift(
    rows: Iterable[Student], campuses: Collection[int], current_year: int, known: Collection[tuple[str, str]]
) -> tuple[list[Student], list[Refused]]:
    """The good rows and the refused ones. A row that repeats name and number of the school is refused."""
    good: list[Student] = []
    refused: list[Refused] = []
    seen = set(known)
    for i, student in enumerate(rows):
        wrong = problem(student, campuses, current_year)
        if wrong is None and student.key in seen:
            wrong = "phone", "a student of this name and number is registered at the school"
        if wrong is not None:
            refused.append(Refused(i, *wrong))
            continue
        seen.add(student.key)
        good.append(student)
    return good, refused
