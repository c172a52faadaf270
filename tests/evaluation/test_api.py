"""Indicators, reports and funnels as callers see them."""

import pytest
from iop.evaluation.v1 import report_pb2
from pyroaring import BitMap

from services.evaluation.domain.settling import Outcome
from services.kit import errors
from services.kit.actor import Actor
from tests.evaluation.test_orders import order, record

SITE = 411501012601
PROVINCE, CITY, COUNTY, CAMPUS = (
    report_pb2.REGION_LEVEL_PROVINCE,
    report_pb2.REGION_LEVEL_CITY,
    report_pb2.REGION_LEVEL_COUNTY,
    report_pb2.REGION_LEVEL_CAMPUS,
)


def analyst(*regions, role="analyst", campuses=()):
    return Actor("user:a", "A", frozenset({role}), regions, campuses)


async def prepared(world):
    """Activity 21, province-wide, to 0..299: 60 reached on 08-31, 60 more and 30 again on 09-01."""
    await world.launch(21, BitMap(range(300)), BitMap(range(300, 330)), day="2020-08-31", name="返校促销")
    await world.launch(22, BitMap(range(300)), BitMap(), day="2020-09-01", region=150200, name="包头活动")
    await world.students("4115010126", {SITE: (150105, BitMap(range(90)))})
    await world.settle(21, range(60), Outcome.DELIVERED, "2020-08-31", occurrence=1)
    await world.settle(21, range(30, 120), Outcome.DELIVERED, "2020-09-01", occurrence=2)
    await world.rest()
    assert await record(world, order("a", 10, day="2020-08-31"), order("b", 11, fen=100), order("c", 10)) == (
        3,
        0,
        3,
        [],
    )


def request(level=PROVINCE, kind=report_pb2.REPORT_KIND_PROCESS, indicators=(), **fields):
    return report_pb2.GetReportRequest(
        activity_number=21, level=level, kind=kind, indicators=indicators, **fields
    )


async def test_reports_by_day_and_month_at_four_levels(world):
    """Process by day, result by month, at province, city, county and campus (EVA-11, EVA-13, EVA-15)."""
    await prepared(world)
    codes = [
        "target",
        "triggered",
        "cumulative_triggered",
        "trigger_rate",
        "orders",
        "cumulative_business_taken",
    ]
    daily = await world.reports.GetReport(request(indicators=codes, end_date="2020-09-02"))
    assert [one.code for one in daily.indicators] == codes
    assert [(row.date, row.region, list(row.values)) for row in daily.rows] == [
        ("2020-08-31", 150000, [300, 60, 60, 0.2, 1, 1]),
        ("2020-09-01", 150000, [300, 90, 120, 0.4, 0, 1]),
        ("2020-09-02", 150000, [300, 0, 120, 0.4, 0, 1]),
    ]
    assert "返校促销" in daily.display_name
    assert daily.display_name.endswith("过程监控报表")
    assert daily.purpose
    result = report_pb2.REPORT_KIND_RESULT
    monthly = await world.reports.GetReport(request(kind=result, indicators=codes))
    assert [(row.date, list(row.values)) for row in monthly.rows] == [
        ("2020-08", [300, 60, 60, 0.2, 1, 1]),
        ("2020-09", [300, 90, 120, 0.4, 2, 2]),
    ]
    september = request(kind=result, indicators=codes, start_date="2020-09-01")
    assert [list(row.values) for row in (await world.reports.GetReport(september)).rows] == [
        [300, 90, 120, 0.4, 2, 2]
    ]
    for level, regions in ((CITY, [150100, 150200]), (COUNTY, [150102, 150105, 150202])):
        rows = (await world.reports.GetReport(request(level, result, codes))).rows
        assert [row.region for row in rows if row.date == "2020-09"] == regions
        for column in (0, 1, 2, 4, 5):
            assert (
                sum(row.values[column] for row in rows if row.date == "2020-09")
                == monthly.rows[1].values[column]
            )
    students = [
        "students",
        "cumulative_students_triggered",
        "student_trigger_rate",
        "students_business_taken",
    ]
    campus = (await world.reports.GetReport(request(CAMPUS, result, students))).rows
    assert [(row.date, row.region, list(row.values)) for row in campus] == [
        ("2020-08", SITE, [90, 60, pytest.approx(60 / 90), 1]),
        ("2020-09", SITE, [90, 90, 1, 2]),
    ]


async def test_rows_are_those_of_the_callers_regions(world):
    """A city sees its own counties and campuses, never another city's (EVA-15)."""
    await prepared(world)
    hohhot = world.make(analyst(150100))
    rows = (await hohhot.GetReport(request(COUNTY, indicators=["target"], start_date="2020-09-10"))).rows
    assert {row.region: row.values[0] for row in rows} == {150102: 100, 150105: 100}
    whole = await hohhot.GetReport(request(PROVINCE, indicators=["target"]))
    assert list(whole.rows) == []
    assert (whole.lift.target, whole.lift.control) == (200, 20)
    baotou = world.make(analyst(150200))
    assert list((await baotou.GetReport(request(CAMPUS))).rows) == []
    elsewhere = world.make(analyst(150100, campuses=("4115010127",)))
    assert list((await elsewhere.GetReport(request(CAMPUS))).rows) == []
    assert list((await world.make(analyst()).ListFunnels(report_pb2.ListFunnelsRequest())).funnels) == []

    funnels = (await hohhot.ListFunnels(report_pb2.ListFunnelsRequest())).funnels
    assert [(one.activity_number, one.date, one.reached) for one in funnels] == [
        (21, "2020-08-31", 40),
        (21, "2020-09-01", 60),
        (21, "2020-09-05", 0),
        (21, "", 80),
    ]
    assert [sum(pair.count for pair in one.settled) for one in funnels] == [40, 60, 0, 100]
    assert [one.orders for one in funnels] == [1, 0, 1, 2]
    with pytest.raises(errors.NotFound) as refused:
        await hohhot.GetReport(report_pb2.GetReportRequest(activity_number=22))
    assert refused.value.reason == "ACTIVITY_NOT_LAUNCHED"


async def test_activities_are_found_by_name_newest_first(world):
    """Enter the name of the activity to evaluate (EVA-03)."""
    await prepared(world)

    async def names(actor=None, **fields):
        reports = world.make(actor) if actor else world.reports
        answer = await reports.ListEvaluatedActivities(report_pb2.ListEvaluatedActivitiesRequest(**fields))
        return [one.display_name for one in answer.activities], answer.next_page_token

    assert (await names())[0] == ["包头活动", "返校促销"]
    assert (await names(query="促销"))[0] == ["返校促销"]
    assert (await names(query="%"))[0] == []
    assert (await names(analyst(150102)))[0] == ["返校促销"]
    first, token = await names(page_size=1)
    assert (first, (await names(page_size=1, page_token=token))) == (["包头活动"], (["返校促销"], ""))
    with pytest.raises(errors.Invalid) as refused:
        await names(page_size=1, query="x", page_token=token)
    assert refused.value.reason == "PAGE_TOKEN_INVALID"


async def test_indicators_are_chosen_and_shown(world):
    """Indicators are chosen from the pool and saved with the activity (EVA-01, EVA-02, EVA-05)."""
    await prepared(world)
    pool = (await world.reports.ListIndicators(report_pb2.ListIndicatorsRequest())).indicators
    every = [one.code for one in pool]
    assert len(set(every)) == len(every)
    assert all(one.display_name and one.unit and one.description and one.source for one in pool)
    # Whatever the pool declares is computed.
    shown = await world.reports.GetReport(request(indicators=every, start_date="2020-09-10"))
    assert len(shown.rows[0].values) == len(every)
    default = [one.code for one in (await world.reports.GetReport(request())).indicators]
    assert default[0] == "target"

    chosen = report_pb2.SetActivityIndicatorsRequest(
        activity_number=21, indicators=["clicks", "orders"], request_id="1"
    )
    planner = world.make(analyst(150000, role="planner"))
    assert list((await planner.SetActivityIndicators(chosen)).indicators) == ["clicks", "orders"]
    await planner.SetActivityIndicators(chosen)
    assert [one.code for one in (await world.reports.GetReport(request())).indicators] == ["clicks", "orders"]
    found = (
        await world.reports.ListEvaluatedActivities(
            report_pb2.ListEvaluatedActivitiesRequest(query="返校促销")
        )
    ).activities
    assert list(found[0].indicators) == ["clicks", "orders"]
    # A later launch of the same activity keeps the choice.
    await world.launch(21, BitMap(range(310)), BitMap(), day="2020-09-02", name="返校促销二")
    await world.rest()
    again = await world.reports.GetReport(request())
    assert [one.code for one in again.indicators] == ["clicks", "orders"]
    assert again.lift.target == 310


async def test_bad_choices_are_refused(world):
    await prepared(world)
    planner = world.make(analyst(150100, role="planner"))
    wrong = report_pb2.SetActivityIndicatorsRequest(activity_number=22, indicators=["orders", "profit"])
    with pytest.raises(errors.Invalid) as refused:
        await planner.SetActivityIndicators(wrong)
    assert refused.value.reason == "INDICATOR_UNKNOWN"
    assert refused.value.fields[0][0] == "indicators[1]"
    wrong.indicators[:] = ["orders"]
    with pytest.raises(errors.Denied):
        await planner.SetActivityIndicators(wrong)
    wrong.activity_number = 99
    with pytest.raises(errors.NotFound):
        await planner.SetActivityIndicators(wrong)
    for fields in ({"start_date": "2020-09-31"}, {"start_date": "2020-09-09", "end_date": "2020-09-01"}):
        with pytest.raises(errors.Invalid):
            await world.reports.GetReport(request(**fields))


async def test_an_activity_for_all_customers_targets_everybody_outside_its_control_group(world):
    await world.launch(31, None, BitMap(range(30)))
    await world.rest()
    answer = await world.reports.GetReport(
        report_pb2.GetReportRequest(
            activity_number=31, indicators=["target", "in_network"], start_date="2020-09-10"
        )
    )
    assert [list(row.values) for row in answer.rows] == [[2970, 2673]]
    assert (answer.lift.target, answer.lift.control) == (2970, 30)
