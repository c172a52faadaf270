"""The rules of the requirements' own examples, on the signals they mean."""

from __future__ import annotations

import pytest

from services.event import translate
from services.event.domain import check
from services.event.domain.model import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Definition,
    Either,
    Every,
    Operator,
    Rule,
    Source,
)
from tests.event.oracle import Population, Signal
from tests.event.test_engine import matcher_of
from tests.event.worlds import NOON, columns, flat

HOUR = 3_600_000_000
EVERYBODY = frozenset(range(100))


def who(rule: Rule | Every | Either, *signals: Signal) -> list[int]:
    """Ordinals that match, after the rule has passed the check."""
    check.require_sound(rule)
    made = matcher_of([Definition(1, rule)], [Population(100, 1, EVERYBODY)])
    return sorted(match[3] for match in flat(made.match([columns(signals)])))


def compare(attribute: str, operator: Operator, *values: str | int) -> Comparison:
    return Comparison(attribute, operator, values)


@pytest.mark.parametrize(
    ("operator", "matching"),
    [
        (Operator.EQ, [1, 2]),
        (Operator.NE, [3, 4, 5]),
        (Operator.CONTAINS, [1, 2, 3]),
        (Operator.NOT_CONTAINS, [4, 5]),
    ],
)
def test_searching_a_phone(operator: Operator, matching: list[int]) -> None:
    """The four operators on 三星note7; a signal without keyword is not equal to it (EVT-15, EVT-16)."""
    texts = ["", "三星note7", "三星Note7", "买三星NOTE7", "iphone", ""]
    signals = [Signal(i, Source.KEYWORD_SEARCH, NOON, text=texts[i]) for i in range(1, 6)]
    rule = Rule(Source.KEYWORD_SEARCH, compare("keyword", operator, "三星note7"))
    assert who(rule, *signals) == matching


def test_a_catch_has_a_start_and_an_end() -> None:
    """From the start on, and before the end (EVT-17)."""
    rule = Rule(Source.KEYWORD_SEARCH, start=NOON, end=NOON + HOUR)
    times = [NOON - 1, NOON, NOON + HOUR - 1, NOON + HOUR]
    signals = [Signal(i, Source.KEYWORD_SEARCH, at, text="x") for i, at in enumerate(times)]
    assert who(rule, *signals) == [1, 2]


def test_visiting_a_competitor() -> None:
    """联通官网 or 电信官网, as the probes see them (EVT-18)."""
    sites = AnyOf((compare("site", Operator.EQ, "联通官网"), compare("site", Operator.EQ, "电信官网")))
    hosts = ["www.10010.com", "10086.cn", "nm.189.cn", "189.cn.example.com"]
    signals = [Signal(i, Source.SITE_VISIT, NOON, text=host) for i, host in enumerate(hosts)]
    assert who(Rule(Source.SITE_VISIT, sites), *signals) == [0, 2]


def test_watching_videos() -> None:
    """Users of 爱奇艺, 优酷 and 腾讯视频 (EVT-19, EVT-38, EVT-39)."""
    rule = Rule(Source.APP_USE, compare("app", Operator.CONTAINS, "爱奇艺", "优酷", "腾讯视频"))
    apps = ["爱奇艺", "优酷视频", "腾讯视频", "腾讯新闻", ""]
    signals = [Signal(i, Source.APP_USE, NOON, text=app) for i, app in enumerate(apps)]
    assert who(rule, *signals) == [0, 1, 2]
    # The same word searched for is another source.
    assert who(rule, Signal(1, Source.KEYWORD_SEARCH, NOON, text="爱奇艺")) == []


def test_visitors_of_a_city() -> None:
    """Where a subscriber is, and where he is at home, combined (EVT-23, EVT-24, EVT-25)."""
    condition = All(
        (
            compare("current_city", Operator.EQ, "呼和浩特"),
            compare("home_city", Operator.NE, "呼和浩特"),
            compare("home_province", Operator.CONTAINS, "内蒙古"),
        )
    )
    places = [(150102, 150200), (150102, 150100), (150202, 150200), (150102, 110100), (0, 150200)]
    signals = [
        Signal(i, Source.LOCATION, NOON, county=county, home=home) for i, (county, home) in enumerate(places)
    ]
    assert who(Rule(Source.LOCATION, condition), *signals) == [0]


def test_entering_a_fenced_area() -> None:
    """In a list of cells now, and not in it before (EVT-26, EVT-27, EVT-37)."""
    village = (7 << 32 | 1, 7 << 32 | 2)
    entering = All(
        (
            compare("tac_cell", Operator.CONTAINS, *village),
            compare("source_tac_cell", Operator.NOT_CONTAINS, *village),
        )
    )
    moves = [(village[0], 9), (village[1], village[0]), (9, village[0]), (village[1], 0)]
    signals = [
        Signal(i, Source.LOCATION, NOON, cell=now, came_from=before) for i, (now, before) in enumerate(moves)
    ]
    assert who(Rule(Source.LOCATION, entering), *signals) == [0, 3]


def test_real_time_sources_know_place_roaming_and_hour() -> None:
    """Terminal changes and power switches by place, roaming type and hour of the region (EVT-32, EVT-33)."""

    def condition() -> Condition:
        return All(
            (
                compare("current_county", Operator.EQ, "赛罕区"),
                compare("roaming_type", Operator.EQ, "local"),
                Comparison("hour", Operator.BETWEEN, (12, 18), upper_open=True),
            )
        )

    def signal(ordinal: int, source: Source, at: int, county: int, roaming: int, imei: int) -> Signal:
        return Signal(ordinal, source, at, county=county, roaming=roaming, imei=imei)

    for source in (Source.POWER_SWITCH, Source.TERMINAL_CHANGE):
        before = [signal(i, source, NOON - 5 * HOUR, 150105, 1, 1) for i in range(5)]
        after = [
            signal(0, source, NOON, 150105, 1, 2),
            signal(1, source, NOON, 150104, 1, 2),
            signal(2, source, NOON, 150105, 3, 2),
            signal(3, source, NOON + 6 * HOUR, 150105, 1, 2),
            signal(4, source, NOON + 6 * HOUR - 1, 150105, 1, 2),
        ]
        assert who(Rule(source, condition()), *before, *after) == [0, 4]


def test_rules_keep_the_order_they_were_put_in() -> None:
    """Added, removed and moved rules come back as they were sent (EVT-12, EVT-14)."""
    first = Rule(Source.APP_USE, compare("app", Operator.EQ, "a"), count=2, window_seconds=60)
    second = Rule(Source.LOCATION, compare("tac_cell", Operator.IN, 5, 6), dwell_seconds=60, start=1, end=9)
    for expression in (Every((first, second)), Every((second, first)), Either((second,)), first):
        assert translate.expression_of(translate.expression_message(expression)) == expression
