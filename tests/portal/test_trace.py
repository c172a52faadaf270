"""The trace page: found by campaign, trace id or touch id, readable, linked."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.portal.conftest import PUSH, Visit, World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TRACE = re.compile(r"/traces/[0-9a-f]{32}$")


def test_a_launch_leads_to_one_touch(visit: Visit, world: World):
    """From a campaign over audience selection and pages to one touch, by clicks (POR-21)."""
    campaign = world.campaign(world.push)
    page = visit("planner", f"/{campaign['name']}")
    page.get_by_test_id("launch-trace").click()
    expect(page.get_by_test_id("trace-id")).to_contain_text(campaign["traceId"])
    spans = page.get_by_test_id("span")
    for service in ("campaign", "audience", "touchpoint"):
        expect(spans.and_(page.locator(f'[data-service="{service}"]')).first).to_be_visible()

    spans.and_(page.locator('[data-service="audience"]')).first.click()
    drawer = page.locator(".ant-drawer-content, .ant-drawer-section").filter(has_text="属性")
    expect(drawer.first).to_contain_text("客户群")
    page.keyboard.press("Escape")

    linked = page.get_by_test_id("linked")
    linked.get_by_role("link", name="touch", exact=True).first.click()
    expect(page.get_by_test_id("trace-id")).not_to_contain_text(campaign["traceId"])
    expect(page).to_have_url(TRACE)
    # And back: the touch names the launch it belongs to.
    linked = page.get_by_test_id("linked").get_by_role("link").filter(has_text="LaunchCampaign")
    linked.first.click()
    expect(page.get_by_test_id("trace-id")).to_contain_text(campaign["traceId"])


def test_search_takes_campaign_trace_and_touch(visit: Visit, world: World):
    """One box finds traces by campaign, by trace id and by touch id (POR-04)."""
    campaign = world.campaign(world.push)
    page = visit("operator", "/traces")
    search = page.get_by_placeholder("链路编号、触点消息编号或营销案编号")
    search.fill(campaign["name"])
    search.press("Enter")
    expect(page.get_by_test_id("traces").get_by_role("link").filter(has_text="LaunchCampaign")).to_have_count(
        1
    )

    search.fill(campaign["traceId"])
    search.press("Enter")
    expect(page.get_by_test_id("trace-id")).to_contain_text(campaign["traceId"])
    page.go_back()

    sampled = world.call("operator", "GET", f"gateway/v1/traces/{campaign['traceId']}")["linked"]
    touch_trace = next(s["name"] for s in sampled if s["root"] == "touch")
    spans = world.call("operator", "GET", f"gateway/v1/{touch_trace}")["spans"]
    touch = next(s["attributes"]["iop.touch.id"] for s in spans if "iop.touch.id" in s["attributes"])
    search.fill(touch)
    search.press("Enter")
    page.get_by_test_id("traces").get_by_role("link", name="touch", exact=True).first.click()
    expect(page.get_by_test_id("trace-id")).to_contain_text(touch_trace.split("/")[1])

    page.goto(f"{world.url}/traces?campaign=nobody-knows")
    expect(page.get_by_test_id("traces").get_by_test_id("empty")).to_be_visible()


def test_a_long_trace_stays_readable(visit: Visit, world: World):
    """Three hundred steps open folded by service, failures in sight, and unfold on demand (POR-04)."""
    spans = [_span(0, "", "gateway", "POST launch", 0, 3000)]
    spans += [_span(1, "0", "campaign", PUSH, 10, 2900)]
    spans += [_span(n, "1", "campaign", f"step {n}", 10 + n * 8, 6) for n in range(2, 150)]
    spans += [_span(n, "1", "touchpoint", "take page", 10 + n * 8, 30) for n in range(150, 299)]
    spans += [_span(299, "149", "campaign", "publish", 2000, 5, error=True)]
    page = visit("operator")
    page.route(
        re.compile(r"/api/gateway/v1/traces/f{32}$"),
        lambda route: route.fulfill(json={"name": "traces/" + "f" * 32, "spans": spans, "linked": []}),
    )
    page.goto(f"{world.url}/traces/{'f' * 32}")
    rows = page.get_by_test_id("span")
    # The root, the campaign, one row for all pages, the failure.
    expect(rows).to_have_count(4)
    expect(page.locator('[data-testid="span"][data-members="149"]')).to_contain_text("149 次")
    expect(page.locator('.wf-row.failed[data-name="publish"]')).to_be_visible()
    expect(page.get_by_test_id("trace-errors")).to_contain_text("1")
    page.get_by_text("全部步骤", exact=True).click()
    expect(rows).to_have_count(300 - 149 + 1)
    page.locator('.wf-row.failed[data-name="publish"]').click()
    expect(page.get_by_text("refused by the broker")).to_be_visible()


def _span(number: int, parent: str, service: str, name: str, start_ms: int, ms: int, *, error: bool = False):
    return {
        "spanId": str(number), "parentSpanId": parent, "displayName": name, "service": service,
        "kind": "internal", "startTime": f"2026-09-16T01:00:{start_ms // 1000:02d}.{start_ms % 1000:03d}Z",
        "durationMicros": str(ms * 1000), "error": error,
        "statusMessage": "refused by the broker" if error else "", "attributes": {}, "links": [],
    }  # fmt: skip
