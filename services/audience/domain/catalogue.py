"""Entries of the tag catalogue and how their values are stored.

Every stored value is one integer: a number in units of 10^-decimals, an enumeration and a text as the
index of its code, a flag as 0 or 1, a date as days since 1970-01-01, a set as a mask over its codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import IntEnum
from functools import cached_property

from services.kit import errors

MAX_SET_CODES = 64
EPOCH = date(1970, 1, 1)
# A double holds every integer up to here, so a value that came as one is kept exactly.
MAX_STORED = 2**53


class TagType(IntEnum):
    """Type of a tag's values; the numbers are those of the contract."""

    NUMBER = 1
    ENUMERATION = 2
    FLAG = 3
    DATE = 4
    SET = 5
    TEXT = 6


class TagClass(IntEnum):
    """The three classes of tags (AUD-01)."""

    BASIC = 1
    BEHAVIOUR = 2
    SCENARIO = 3


class Frequency(IntEnum):
    """How often values arrive (AUD-04)."""

    DAY = 1
    MONTH = 2


@dataclass(frozen=True)
class Tag:
    """An entry of the catalogue. `values` are (code, Chinese label) pairs of an enumeration or set."""

    code: str
    name: str
    tag_class: TagClass
    type: TagType
    frequency: Frequency
    name_en: str = ""
    category: str = ""
    unit: str = ""
    description: str = ""
    values: tuple[tuple[str, str], ...] = ()
    lineage: tuple[str, ...] = ()
    decimals: int = 0

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each code."""
        return {code: position for position, (code, _) in enumerate(self.values)}

    def label(self, position: int) -> str:
        """The Chinese label of a code, the code itself when it has none."""
        if not 0 <= position < len(self.values):
            return str(position)
        code, label = self.values[position]
        return label or code


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """The day `number` days after 1970-01-01."""
    return EPOCH + timedelta(days=number)


def number_text(stored: int, decimals: int) -> str:
    """A stored number as a person reads it: 2850 with two decimals is `28.5`."""
    text = format(Decimal(stored).scaleb(-decimals), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def value_text(tag: Tag, stored: int, texts: Sequence[str] = ()) -> str:
    """A stored value as a person reads it; `texts` is the dictionary of a text column."""
    if tag.type == TagType.NUMBER:
        return number_text(stored, tag.decimals)
    if tag.type == TagType.ENUMERATION:
        return tag.label(stored)
    if tag.type == TagType.FLAG:
        return "是" if stored else "否"
    if tag.type == TagType.DATE:
        return day_of(stored).isoformat()
    if tag.type == TagType.SET:
        return "、".join(tag.label(bit) for bit in range(len(tag.values)) if stored >> bit & 1)
    return texts[stored]


def check_entry(tag: Tag, path: str) -> list[tuple[str, str]]:
    """What is wrong with an entry, as (field path, description)."""
    problems = []
    coded = tag.type in (TagType.ENUMERATION, TagType.SET)
    if coded and not tag.values:
        problems.append((f"{path}.values", "an enumeration or set needs its codes"))
    if not coded and tag.values:
        problems.append((f"{path}.values", "only an enumeration or set has codes"))
    if tag.type == TagType.SET and len(tag.values) > MAX_SET_CODES:
        problems.append((f"{path}.values", f"a set has at most {MAX_SET_CODES} codes"))
    seen: set[str] = set()
    for position, (code, _) in enumerate(tag.values):
        if code in seen:
            problems.append((f"{path}.values[{position}].code", f"the code {code!r} is there twice"))
        seen.add(code)
    if tag.decimals and tag.type != TagType.NUMBER:
        problems.append((f"{path}.decimals", "only a number has decimals"))
    return problems


def check_change(old: Tag, new: Tag, path: str) -> None:
    """Refuse a change that would give stored values another meaning (Precondition, STATE_FORBIDS)."""
    what = ""
    if new.type != old.type:
        what = f"{path}.type"
    elif new.decimals != old.decimals:
        what = f"{path}.decimals"
    elif tuple(code for code, _ in new.values[: len(old.values)]) != tuple(code for code, _ in old.values):
        what = f"{path}.values"
    if what:
        raise errors.Precondition(
            f"the tag {old.code} has values: its type, decimals and the order of its codes stay as they are",
            fields=[(what, "codes may be added at the end, labels may change")],
            metadata={"tag": old.code},
        )
