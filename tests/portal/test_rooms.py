"""The rooms behind the menu: research, schedule, resources, evaluation."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.portal.conftest import EVENT, ORDERS, PUSH, SUBSCRIBERS, Visit, World
from tests.system.harness import BLOCKED

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_tags_are_found_and_counted_with_bounds(visit: Visit):
    """A keyword finds tags, conditions with open and closed bounds are counted (AUD-03, AUD-08, AUD-09)."""
    page = visit("planner", "/users/research")
    page.get_by_test_id("tag-library").get_by_role("searchbox").fill("没有这个标签")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("tag-library").get_by_test_id("empty")).to_be_visible()
    page.get_by_test_id("tag-library").get_by_role("searchbox").fill("消费")
    page.keyboard.press("Enter")
    page.get_by_test_id("add-monthly_spend").click()

    conditions = page.get_by_test_id("conditions")
    expect(page.get_by_test_id("count")).to_be_disabled()
    conditions.get_by_test_id("lower").fill("10")
    conditions.get_by_test_id("upper").fill("90")
    conditions.get_by_test_id("lower-closed").click()
    page.get_by_test_id("count").click()
    result = page.get_by_test_id("count-result")
    # Spend runs from 0 in whole yuan: above 10 up to 90 are 80 customers, the first 40 of all are blocked.
    for value in (SUBSCRIBERS, 80, 80 - (BLOCKED - 11)):
        expect(result.locator(f'[data-value="{value}"]')).to_be_visible()
    expect(result.locator('[data-reason="block_list"]')).to_contain_text(f"黑名单 {BLOCKED - 11}")


def test_schedule_switches_and_reorders_by_role(visit: Visit, world: World):
    """An operator changes switch and priority of an activity, an analyst looks (TCH-72, TCH-77, TCH-78)."""
    page = visit("operator", "/touchpoints/schedule?touchpoint=TOUCHPOINT_SMS")
    row = page.get_by_test_id("schedule").get_by_role("row").filter(has_text=PUSH)
    row.get_by_role("switch").click()
    expect(row.get_by_test_id("enabled")).to_have_attribute("data-enabled", "false")
    row.get_by_test_id("priority").click()
    page.locator(".ant-select-item-option").filter(has_text="高").click()
    expect(row.get_by_test_id("priority")).to_contain_text("高")

    def entry() -> tuple[bool, str]:
        entries = world.call("operator", "GET", "touchpoint/v1/schedule", touchpoint="TOUCHPOINT_SMS")[
            "entries"
        ]
        return next((e["enabled"], e["priority"]) for e in entries if e["activityDisplayName"] == PUSH)

    assert entry() == (False, "PRIORITY_HIGH")
    row.get_by_role("switch").click()
    expect(row.get_by_test_id("enabled")).to_have_attribute("data-enabled", "true")
    assert entry() == (True, "PRIORITY_HIGH")

    reader = visit("analyst", "/touchpoints/schedule")
    expect(reader.get_by_role("switch").first).to_be_disabled()
    expect(reader.get_by_test_id("priority")).to_have_count(0)


def test_resources_show_queues_and_adapters(visit: Visit):
    """Each of the twelve touchpoints with its backlog and its adapters (RES-01, RES-02)."""
    page = visit("analyst", "/resources")
    rows = page.get_by_test_id("touchpoints").locator("tbody tr.ant-table-row")
    expect(rows).to_have_count(12)
    sms = rows.filter(has_text="10086").filter(has=page.get_by_role("link", name="短信", exact=True))
    expect(sms.locator(".ant-badge-status-success")).to_be_visible()


def test_an_activity_is_evaluated_at_four_levels(visit: Visit, world: World):
    """Found by name, its funnel and its reports by province, city and county (EVA-03, EVA-08, EVA-15)."""
    page = visit("analyst", "/evaluation")
    page.get_by_placeholder("输入营销活动名称").fill("飞享")
    page.keyboard.press("Enter")
    table = page.get_by_test_id("evaluated")
    expect(table).not_to_contain_text(EVENT)
    table.get_by_role("link", name=PUSH).first.click()
    funnels = page.get_by_test_id("funnels").get_by_role("row").filter(has_text="短信")
    expect(funnels).to_contain_text(str(ORDERS))
    expect(funnels).to_contain_text(f"{38 * ORDERS:.2f}")

    report = page.get_by_test_id("report")
    expect(report.get_by_test_id("lift")).to_be_visible()
    rows = report.locator("tbody tr.ant-table-row")
    expect(rows).to_contain_text(["内蒙古自治区"])
    report.get_by_text("市", exact=True).click()
    expect(rows).to_contain_text(["呼和浩特市", "包头市", "乌海市"])
    report.get_by_text("县", exact=True).click()
    expect(rows).to_contain_text(["新城区", "回民区", "东河区"])
