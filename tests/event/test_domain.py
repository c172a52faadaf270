"""What definitions mean: checks with paths, alternatives, words, areas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.event.domain import areas, check, coverage, predicates, regions, wording
from services.event.domain.areas import Outlet, Stations
from services.event.domain.model import (
    All,
    AnyOf,
    Area,
    Comparison,
    Condition,
    Either,
    Every,
    Membership,
    Not,
    Operator,
    Rule,
    Source,
)
from services.event.domain.predicates import Among, Atom, Text
from services.event.domain.sources import ATTRIBUTES, SOURCES
from services.kit import errors
from tests.event import oracle
from tests.event.oracle import Signal
from tests.event.worlds import CELLS, NOON, conditions


def faults(rule: Rule) -> list[tuple[str, str]]:
    return [(problem.path, problem.reason) for problem in check.problems(rule, "e")]


def compare(attribute: str, operator: Operator, *values: object, **bounds: bool) -> Comparison:
    return Comparison(attribute, operator, values, **bounds)  # type: ignore[arg-type]


def holds(alternative: predicates.Alternative, signal: Signal) -> bool:
    for name, predicate in alternative.items():
        if isinstance(predicate, Text):
            text = (signal.brand if name == "brand" else signal.text).casefold()
            true = frozenset(atom for atom in predicate.atoms if atom.true_of(text)) if text else None
            if not predicate.holds(true):
                return False
        elif not predicate.holds(oracle._value(name, signal)):
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([Source.LOCATION, Source.TERMINAL_CHANGE, Source.KEYWORD_SEARCH]).flatmap(conditions),
    st.builds(
        Signal,
        ordinal=st.just(1),
        source=st.just(1),
        at=st.integers(0, 23).map(lambda hour: NOON + hour * 3_600_000_000),
        cell=st.sampled_from([0, *CELLS]),
        county=st.sampled_from([0, 150102, 150202]),
        roaming=st.integers(0, 4),
        text=st.sampled_from(["", "三星NOTE7", "iphone"]),
        brand=st.sampled_from(["", "Apple"]),
    ),
)
def test_alternatives_mean_what_the_condition_says(condition: Condition, signal: Signal) -> None:
    """A missing value satisfies the negative operators and no other (EVT-11)."""
    try:
        found = predicates.alternatives(condition)
    except predicates.TooComplex:
        return
    assert any(holds(alternative, signal) for alternative in found) == oracle.holds(condition, signal)


def test_every_fault_is_named_by_its_path() -> None:
    """Unknown attributes, operators and values that do not fit, each with a reason."""
    condition = All(
        (
            compare("keyword", Operator.EQ, "x"),
            Not(compare("hour", Operator.EXISTS)),
            AnyOf(
                (compare("current_city", Operator.EQ, "亚特兰蒂斯"), compare("tac_cell", Operator.EQ, 1, 2))
            ),
            compare("hour", Operator.BETWEEN, 3),
            compare("tac_cell", Operator.IN),
            Membership("audiences/1"),
        )
    )
    c = "e.rule.condition.all_of.conditions"
    assert faults(Rule(Source.LOCATION, condition)) == [
        (f"{c}[0].comparison.field", check.ATTRIBUTE_UNKNOWN),
        (f"{c}[1].not.comparison.operator", check.RULE_TYPE_MISMATCH),
        (f"{c}[2].any_of.conditions[0].comparison.values[0]", check.RULE_TYPE_MISMATCH),
        (f"{c}[2].any_of.conditions[1].comparison.values", check.RULE_TYPE_MISMATCH),
        (f"{c}[3].comparison.values", check.RULE_TYPE_MISMATCH),
        (f"{c}[4].comparison.values", check.RULE_TYPE_MISMATCH),
        (f"{c}[5].membership", check.RULE_TYPE_MISMATCH),
    ]


@pytest.mark.parametrize(
    ("rule", "path", "reason"),
    [
        (Rule(Source.APP_USE, dwell_seconds=60), "dwell_seconds", check.RULE_TYPE_MISMATCH),
        (Rule(Source.LOCATION, dwell_seconds=60, count=2, window_seconds=9), "count", check.FIELD_INVALID),
        (Rule(Source.APP_USE, count=2), "window_seconds", check.FIELD_INVALID),
        (Rule(Source.APP_USE, window_seconds=60), "count", check.FIELD_INVALID),
        (Rule(Source.APP_USE, areas=(Area(((0, 0), (1, 0), (1, 1))),)), "areas", check.RULE_TYPE_MISMATCH),
        (Rule(Source.LOCATION, start=5, end=5), "end_time", check.RULE_IMPOSSIBLE),
        (Rule(Source.LOCATION, compare("hour", Operator.GT, 23)), "condition", check.RULE_IMPOSSIBLE),
        (
            Rule(Source.LOCATION, compare("hour", Operator.EQ, 25)),
            "condition.comparison.values",
            check.RULE_IMPOSSIBLE,
        ),
        (
            Rule(
                Source.LOCATION,
                All((compare("tac_cell", Operator.EQ, 5), compare("tac_cell", Operator.NOT_IN, 5, 6))),
            ),
            "condition",
            check.RULE_IMPOSSIBLE,
        ),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: Rule, path: str, reason: str) -> None:
    assert (f"e.rule.{path}", reason) in faults(rule)


def test_a_condition_with_too_many_alternatives_is_refused() -> None:
    choices = tuple(
        AnyOf((compare("keyword", Operator.CONTAINS, f"w{i}"), compare("hour", Operator.NE, i)))
        for i in range(10)
    )
    assert faults(Rule(Source.KEYWORD_SEARCH, All(choices[:9]))) == []
    found = faults(Rule(Source.KEYWORD_SEARCH, All(choices)))
    assert found == [("e.rule.condition", check.FIELD_INVALID)]


def test_the_sources_are_those_of_the_requirements() -> None:
    """Seven kinds, three in real time, each with its rule names (EVT-03, EVT-06, EVT-11)."""
    assert [info.display_name for info in SOURCES.values() if info.realtime] == ["位置", "开关机", "换机"]
    assert len(SOURCES) == 7
    four = {Operator.EQ, Operator.NE, Operator.CONTAINS, Operator.NOT_CONTAINS}
    for info in SOURCES.values():
        for name in info.attributes:
            assert name == "hour" or four <= set(ATTRIBUTES[name].operators)
    assert "无线信号较弱" in SOURCES[Source.POWER_SWITCH].tip


def test_places_are_given_by_name_or_code() -> None:
    """呼和浩特 is a place name as good as its code (EVT-24)."""
    assert regions.code_of("city", "呼和浩特") == regions.code_of("city", "呼和浩特市") == 150100
    assert regions.code_of("city", "150100") == 150100
    assert regions.code_of("county", "赛罕区") == 150105
    assert regions.code_of("province", "内蒙古") == 150000
    assert regions.code_of("city", "150102") is None
    assert regions.code_of("province", "150100") is None
    assert regions.code_of("county", "150100") is None


def test_a_site_is_its_hosts_and_what_is_below_them() -> None:
    """联通官网 is seen as 10010.com (EVT-18)."""
    ((clause, positive),) = [
        *predicates.alternatives(compare("site", Operator.EQ, "联通官网"))[0]["text"].clauses  # type: ignore[union-attr]
    ]
    assert positive and Atom("host", "10010.com") in clause
    assert Atom("host", "10010.com").true_of("www.10010.com")
    assert not Atom("host", "10010.com").true_of("not10010.com")


def test_predicates_are_closed_under_not_and_or() -> None:
    one, other = Among(frozenset({1, 2})), Among(frozenset({2, 3})).negated()
    for value in (None, 1, 2, 3, 4):
        assert one.either(other).holds(value) == (one.holds(value) or other.holds(value))
        assert one.both(other).holds(value) == (one.holds(value) and other.holds(value))


def test_an_expression_is_told_in_chinese() -> None:
    """Rules, conditions, thresholds and connectives as on the form (EVT-10, EVT-13)."""
    expression = Every(
        (
            Rule(
                Source.LOCATION,
                All(
                    (
                        compare("tac_cell", Operator.IN, *CELLS),
                        compare("home_city", Operator.NE, "呼和浩特"),
                        compare("hour", Operator.BETWEEN, 8, 18, upper_open=True),
                    )
                ),
                dwell_seconds=3600,
            ),
            Either(
                (
                    Rule(Source.KEYWORD_SEARCH, compare("keyword", Operator.CONTAINS, "三星note7"), end=NOON),
                    Rule(Source.POWER_SWITCH, compare("power_state", Operator.EQ, "on"), 0, 3, 600),
                )
            ),
        )
    )
    assert wording.text_of(expression) == (
        "位置（当前TAC-小区标识 属于 4 个小区 并 归属地市 不等于 “呼和浩特市” 并 "
        "业务发生时间(小时) 介于 [8, 18)，停留不少于 1 小时） 并 "
        "（关键词搜索（关键字搜索 包含 “三星note7”，结束时间 2025-10-19 12:00） 或 "
        "开关机（开关机 等于 “开机”，10 分钟内达到 3 次））"
    )


STATIONS = Stations(
    np.array([10, 20, 30, 40], np.int64),
    np.array([111.60, 111.65, 111.70, 112.5]),
    np.array([40.80, 40.85, 40.80, 40.8]),
)
SQUARE = Area(((111.59, 40.79), (111.66, 40.79), (111.66, 40.86), (111.59, 40.86)))


def test_a_polygon_finds_its_stations() -> None:
    """Inside or on the line, several outlines together, lines that cross (EVT-29, EVT-30)."""
    assert areas.cells_inside(STATIONS, [SQUARE]).tolist() == [10, 20]
    edge = Area(((111.60, 40.80), (111.70, 40.80), (111.70, 40.70)))
    assert areas.cells_inside(STATIONS, [edge]).tolist() == [10, 30]
    bow = Area(((111.59, 40.79), (111.71, 40.87), (111.71, 40.79), (111.59, 40.87)))
    assert areas.cells_inside(STATIONS, [bow]).tolist() == [10, 30]
    assert areas.cells_inside(STATIONS, [SQUARE, edge]).tolist() == [10, 20, 30]


def test_the_cells_of_an_area_are_written_into_the_rule() -> None:
    """A moved outline replaces its list, a removed one takes it away (EVT-31)."""
    place = compare("current_city", Operator.EQ, 150100)
    saved = areas.with_areas(Rule(Source.LOCATION, place, areas=(SQUARE,)), STATIONS)
    assert saved == Rule(
        Source.LOCATION, All((place, compare("tac_cell", Operator.IN, 10, 20))), areas=(SQUARE,)
    )
    written = areas.lists_written(saved)
    east = Area(((111.69, 40.79), (111.71, 40.79), (111.71, 40.81)))
    assert isinstance(saved, Rule)
    moved = areas.with_areas(Rule(Source.LOCATION, saved.condition, areas=(east,)), STATIONS, written)
    assert moved == Rule(Source.LOCATION, All((place, compare("tac_cell", Operator.IN, 30))), areas=(east,))
    assert areas.with_areas(Rule(Source.LOCATION, saved.condition), STATIONS, written) == Rule(
        Source.LOCATION, place
    )
    nowhere = Area(((0, 0), (1, 0), (1, 1)))
    with pytest.raises(errors.Invalid) as problem:
        areas.with_areas(Every((saved, Rule(Source.LOCATION, areas=(nowhere,)))), STATIONS)
    assert problem.value.reason == "AREA_EMPTY"
    assert problem.value.fields[0][0] == "definition.expression.all_of.expressions[1].rule.areas"


def test_residents_of_an_outlet_are_those_of_the_cells_around() -> None:
    """Position and range of the channel decide (EVT-20, EVT-21, EVT-22)."""
    known = {"A": Outlet("A", 111.60, 40.80, 1000), "B": Outlet("B", 111.60, 40.80, 10_000)}
    assert areas.cells_of_outlets(["A"], known, STATIONS, "p") == (10,)
    assert areas.cells_of_outlets(["A", "B"], known, STATIONS, "p") == (10, 20, 30)
    rule = Rule(Source.RESIDENT_POPULATION, Not(compare("outlet", Operator.NE, "A")))
    made = areas.with_outlets(rule, lambda codes, path: areas.cells_of_outlets(codes, known, STATIONS, path))
    assert made == Rule(Source.RESIDENT_POPULATION, Not(compare("tac_cell", Operator.NOT_IN, 10)))
    with pytest.raises(errors.Invalid) as problem:
        areas.cells_of_outlets(["A", "X"], known, STATIONS, "p")
    assert problem.value.fields == (("p[1]", "no such outlet is in the catalogue"),)


def test_weak_cells_come_weakest_first() -> None:
    """Many bursts of power signals are a sign of weak coverage (EVT-34)."""
    assert coverage.weakest([(1, 9), (2, 10), (3, 4), (3, 8)]) == [(3, 12), (2, 10)]
    assert coverage.weakest([(1, 9), (2, 10), (3, 12)], least=1, limit=2) == [(3, 12), (2, 10)]
