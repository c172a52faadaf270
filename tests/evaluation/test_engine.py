"""The arithmetic of reports, against a count by loops; the copied directory."""

import numpy as np
import pytest
from pyroaring import BitMap

from services.evaluation.domain import indicators
from services.evaluation.domain.days import Period
from services.evaluation.domain.regions import Level
from services.evaluation.engine import report
from services.evaluation.engine.directory import Directory

HOMES = (150102, 150105, 150202, 150203)


@pytest.fixture
def people():
    """500 subscribers, two campuses in Hohhot, an activity that reached some on three days."""
    rng = np.random.default_rng(3)
    counties = rng.choice(HOMES, 500).astype(np.int32)
    numbered = rng.random(500) < 0.9
    groups = rng.permutation(500)
    target, control = BitMap(groups[:300].tolist()), BitMap(groups[300:330].tolist())
    reached = {day: BitMap(rng.choice(groups[:300], 80, replace=False).tolist()) for day in (10, 11, 13)}
    orders = report.Rows(rng.integers(9, 14, 90), rng.choice(groups[:300], 90), rng.integers(0, 5000, 90))
    clicks = report.Rows(rng.integers(9, 14, 40), rng.choice(groups[:300], 40), rng.integers(1, 4, 40))
    none = report.Rows()
    evidence = report.Evidence(
        target, control, reached, orders, {"clicks": clicks, "replies": none, "opt_outs": none}
    )
    campuses = [
        report.Campus(411501012601, 150105, 1, BitMap(range(120))),
        report.Campus(411501012602, 150102, 2, BitMap(range(100, 200))),
    ]
    return counties, numbered, evidence, campuses


def table(people, level, periods, allowed=None, codes=tuple(indicators.BY_CODE)):
    counties, numbered, evidence, campuses = people
    grouping = report.Grouping(level, counties, campuses, allowed)
    values = report.table(evidence, grouping, numbered, periods, indicators.chosen(codes))
    return {
        (period.label, region): dict(zip(codes, values[i, j].tolist(), strict=True))
        for i, period in enumerate(periods)
        for j, region in enumerate(grouping.regions)
    }


PERIODS = [Period("a", 11, 12), Period("b", 13, 13)]
WHOLE = [code for code, one in indicators.BY_CODE.items() if one.ratio is None]


def test_counts_are_those_of_loops(people):
    """Triggered in the period, and cumulatively each customer once (EVA-20, EVA-18, EVA-32)."""
    counties, numbered, evidence, campuses = people
    students = set(campuses[0].students) | set(campuses[1].students)
    for (label, region), row in table(people, Level.COUNTY, PERIODS).items():
        period = next(one for one in PERIODS if one.label == label)
        here = {i for i in range(500) if counties[i] == region}
        days = {day: set(members) & here for day, members in evidence.reached.items()}
        now = set().union(*(members for day, members in days.items() if period.first <= day <= period.last))
        ever = set().union(*(members for day, members in days.items() if day <= period.last))
        bought = [
            (day, who, fen)
            for day, who, fen in zip(
                evidence.orders.days, evidence.orders.ordinals, evidence.orders.amount, strict=True
            )
            if who in here
        ]
        current = [one for one in bought if period.first <= one[0] <= period.last]
        target = set(evidence.target) & here
        clicks = evidence.responses["clicks"]
        assert row == {
            "target": len(target),
            "triggered": len(now),
            "cumulative_triggered": len(ever),
            "trigger_rate": pytest.approx(len(ever) / len(target)),
            "in_network": sum(numbered[i] for i in target),
            "in_network_rate": pytest.approx(sum(numbered[i] for i in target) / len(target)),
            "orders": len(current),
            "order_revenue": sum(fen for _, _, fen in current),
            "business_taken": len({who for _, who, _ in current}),
            "cumulative_business_taken": len({who for day, who, _ in bought if day <= period.last}),
            "clicks": sum(
                n
                for day, who, n in zip(clicks.days, clicks.ordinals, clicks.amount, strict=True)
                if who in here and period.first <= day <= period.last
            ),
            "replies": 0,
            "opt_outs": 0,
            "students": len(students & here),
            "students_triggered": len(now & students),
            "cumulative_students_triggered": len(ever & students),
            "student_trigger_rate": pytest.approx(len(ever & students) / len(students & here)),
            "students_business_taken": len({who for _, who, _ in current} & students),
            "student_order_revenue": sum(fen for _, who, fen in current if who in students),
            "students_in_network": sum(numbered[i] for i in students & here),
            "student_in_network_rate": pytest.approx(
                sum(numbered[i] for i in students & here) / len(students & here)
            ),
        }


def test_the_levels_add_up(people):
    """Province, city and county agree, and campuses hold all students (EVA-15)."""
    tables = {level: table(people, level, PERIODS, codes=WHOLE) for level in Level}
    for period in PERIODS:
        sums = {
            level: {
                code: sum(row[code] for (label, _), row in rows.items() if label == period.label)
                for code in WHOLE
            }
            for level, rows in tables.items()
        }
        assert sums[Level.PROVINCE] == sums[Level.CITY] == sums[Level.COUNTY]
        assert len([key for key in tables[Level.CITY] if key[0] == period.label]) == 2
        for code in WHOLE:
            if "student" in code:
                assert sums[Level.CAMPUS][code] == sums[Level.PROVINCE][code]


def test_a_scope_shows_whole_regions_only(people):
    scope = [(150100, 150199)]
    assert {region for _, region in table(people, Level.COUNTY, PERIODS, scope)} == {150102, 150105}
    assert {region for _, region in table(people, Level.CITY, PERIODS, scope)} == {150100}
    assert table(people, Level.PROVINCE, PERIODS, scope) == {}
    assert {region for _, region in table(people, Level.CAMPUS, PERIODS, [(150105, 150105)])} == {
        411501012601
    }


def test_of_two_campuses_the_later_identification_has_a_student(people):
    rows = table(people, Level.CAMPUS, PERIODS[:1], codes=["students"])
    assert {region: row["students"] for (_, region), row in rows.items()} == {
        411501012601: 100,
        411501012602: 100,
    }


def test_lift_groups_hold_everybody_the_activity_was_meant_for(people):
    """Reached or not, inside the scope (EVA-08)."""
    counties, _, evidence, _ = people
    scope = counties < 150200
    buyers = np.array([*list(evidence.target)[:50], *list(evidence.control)[:5], 100_000])
    here = set(np.flatnonzero(scope).tolist())
    target, control = set(evidence.target) & here, set(evidence.control) & here
    expected = (len(target), len(target & set(buyers)), len(control), len(control & set(buyers)))
    assert report.lift_groups(evidence, buyers, scope) == expected
    everyone = report.Evidence(None, evidence.control, {}, report.Rows(), {})
    assert report.lift_groups(everyone, buyers, scope)[0] == len(here - control)


class Owner:
    """Streams a directory in two chunks."""

    def __init__(self):
        self.version, self.counties, self.changed = 1, [1, 1, 1, 1], [1, 1, 1, 1]
        self.asked = []

    async def __call__(self, start, since):
        self.asked.append((start, since))
        rows = [i for i in range(len(self.counties)) if i >= start or (since and self.changed[i] > since)]
        for part in (rows[:2], rows[2:]):
            ids = np.array([1000 - i for i in part], np.int64)
            yield (
                self.version,
                np.array(part, np.uint32),
                ids,
                np.array([0 if i == 1 else 13800000000 for i in part], np.int64),
                np.array([self.counties[i] for i in part], np.int32),
            )


async def test_the_directory_copy_follows_its_owner():
    """Ordinals, homes and numbers are copied once, then only what changed (EVA-19)."""
    owner = Owner()
    directory = Directory(owner)
    await directory.cover(3)
    assert directory.version == 1
    assert directory.numbered.tolist() == [True, False, True, True]
    assert directory.ordinals_of([998, 1000, 5]).tolist() == [2, 0, -1]
    owner.version, owner.counties, owner.changed = 2, [1, 9, 1, 9, 9], [1, 2, 1, 2, 2]
    assert await directory.refresh()
    assert directory.counties.tolist() == [1, 9, 1, 9, 9]
    assert directory.ordinals_of([996, 0]).tolist() == [4, -1]
    assert directory.county_of(np.array([4, 77])).tolist() == [9, 0]
    assert not await directory.refresh()
    assert owner.asked == [(0, 0), (4, 1), (5, 2)]
