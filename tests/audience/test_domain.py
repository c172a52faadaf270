"""Rules without a server: wording, regions, exclusions, dates."""

from datetime import date

import pytest

from services.audience.domain import region
from services.audience.domain.catalogue import Frequency, Tag, TagClass, TagType
from services.audience.domain.condition import (
    AllOf,
    AnyOf,
    Comparison,
    Constant,
    Member,
    Not,
    Operator,
    check,
)
from services.audience.domain.report import band_labels, tags_of_report
from services.audience.domain.selection import date_for
from services.audience.domain.suppression import Choice, applied, check_choice
from services.audience.domain.wording import words
from services.kit import errors

SPEND = Tag("spend", "月消费", TagClass.BEHAVIOUR, TagType.NUMBER, Frequency.MONTH, unit="yuan", decimals=2)
CITY = Tag(
    "city",
    "归属地市",
    TagClass.BASIC,
    TagType.ENUMERATION,
    Frequency.DAY,
    values=(("150200", "包头市"), ("150400", "赤峰市")),
)
VIP = Tag("vip", "4G一体化客户", TagClass.BASIC, TagType.FLAG, Frequency.DAY)
TAGS = {tag.code: tag for tag in (SPEND, CITY, VIP)}


def number(value):
    return Constant("number", float(value))


def text(value):
    return Constant("text", value)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (AllOf(), "全部客户"),
        (Comparison("spend", Operator.LT, (number(38),)), "月消费 < 38 元"),
        (
            Comparison("spend", Operator.BETWEEN, (number(28), number(38)), True, True),
            "28 元 < 月消费 < 38 元",
        ),
        (
            Comparison("spend", Operator.BETWEEN, (number(28), number(38.5)), False, True),
            "28 元 ≤ 月消费 < 38.5 元",
        ),
        (
            Comparison("city", Operator.NOT_IN, (text("150200"), text("150400"))),
            "归属地市 不属于 包头市、赤峰市",
        ),
        (Comparison("vip", Operator.EQ, (Constant("flag", True),)), "4G一体化客户 = 是"),
        (Comparison("spend", Operator.NOT_EXISTS), "月消费 无值"),
        (Not(Member("lists/vip")), "非（属于名单 lists/vip）"),
        (
            AllOf(
                (
                    Comparison("vip", Operator.EQ, (Constant("flag", False),)),
                    AnyOf((Comparison("spend", Operator.EXISTS), Member("audiences/a"))),
                )
            ),
            "4G一体化客户 = 否 且 （月消费 有值 或 属于客户群 audiences/a）",
        ),
    ],
)
def test_a_condition_reads_like_a_planner_says_it(condition, expected):
    assert words(check(condition, TAGS.get, lambda _: date(2026, 1, 1))) == expected


def test_regions_are_ranges():
    """Province, leagues and counties; outside the province nothing is known (AUD-06)."""
    assert region.ranges_of(()) == region.EVERYWHERE == region.ranges_of((150102, 150000))
    assert region.ranges_of((150102, 150103, 150105)) == ((102, 103), (105, 105))
    assert region.ranges_of((150200, 150100)) == ((100, 299),)
    assert region.intersect(((100, 199), (300, 399)), ((150, 320),)) == ((150, 199), (300, 320))
    with pytest.raises(errors.Invalid) as refused:
        region.ranges_of((150100, 110000))
    assert refused.value.fields[0][0] == "selection.regions[1]"


def test_lists_that_are_always_taken_out():
    """Opt-outs, missing consent and minors cannot be kept in (AUD-31)."""
    everything = Choice(True, True, True, "服务通知")
    assert [reason for _, reason in applied(everything)] == ["opt_out", "no_consent", "minor"]
    assert len(applied(Choice())) == 6
    check_choice(everything, {"planner"}, "suppression")
    check_choice(Choice(), {"analyst"}, "suppression")
    with pytest.raises(errors.Denied):
        check_choice(everything, {"analyst"}, "suppression")
    with pytest.raises(errors.Invalid):
        check_choice(Choice(keep_red_list=True), {"admin"}, "suppression")


def test_the_date_that_answers():
    """A month's values answer from their last day on; a day's only for itself (AUD-05)."""
    loaded = (date(2026, 10, 31), date(2026, 9, 30))
    assert date_for(SPEND, loaded, None) == date(2026, 10, 31)
    assert date_for(SPEND, loaded, date(2026, 10, 30)) == date(2026, 9, 30)
    assert date_for(CITY, loaded, date(2026, 9, 30)) == date(2026, 9, 30)
    for tag, days, asked in (
        (SPEND, loaded, date(2026, 9, 1)),
        (CITY, loaded, date(2026, 10, 30)),
        (CITY, (), None),
    ):
        with pytest.raises(errors.Precondition) as missing:
            date_for(tag, days, asked)
        assert missing.value.reason == "DATA_DATE_MISSING"


def test_a_report_falls_back_on_the_tags_there_are():
    blocks = tags_of_report(TAGS, [])
    assert {block: [tag.code for tag in tags] for block, tags in blocks.items()} == {
        "basic": ["city", "vip"],
        "preference": [],
        "business": ["spend"],
    }
    assert band_labels(SPEND, (1800, 2850)) == ["<18", "[18, 28.5)", "≥28.5"]
