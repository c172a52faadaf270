"""The home board: live funnels, tags, the best campaigns."""

from __future__ import annotations

import pytest
from iop.common.v1 import types_pb2
from playwright.sync_api import expect

from tests.portal.conftest import ORDERS, PUSH, Visit, World
from tests.system.harness import BLOCKED, MORNING

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_funnels_follow_running_activities(visit: Visit, world: World):
    """A funnel shows what the ledger holds and moves without a reload (POR-04, EVA-09)."""
    progress, counters = world.run(world.harness.conserve(world.push))
    page = visit("planner")
    funnel = page.locator(f'[data-testid="activity-funnel"][data-activity="{progress.activity_number}"]')
    target = sum(row.target for row in progress.touchpoints)
    assert target == 2 * 1000
    for step, value in {
        "target": target,
        "received": sum(row.received for row in counters.values()),
        "reached": sum(
            r.count for r in counters[types_pb2.TOUCHPOINT_SMS].settled if r.reason == "delivered"
        ),
        "orders": ORDERS,
    }.items():
        expect(funnel.locator(f'[data-step="{step}"] b')).to_have_attribute("data-value", str(value))
    expect(funnel.get_by_test_id("conservation")).to_contain_text(f"名单剔除 {2 * BLOCKED}")
    expect(funnel.locator('.law[data-gap="0"]')).to_have_count(2)

    event = world.run(world.harness.progress(world.event))
    moving = page.locator(f'[data-testid="activity-funnel"][data-activity="{event.activity_number}"]')
    before = int(moving.locator('[data-step="target"] b').get_attribute("data-value") or 0)
    batch = world.harness.app_batch("board", world.harness.subscribers[100:400], "爱奇艺视频", MORNING)
    world.run(world.harness.ingest(batch))
    expect(moving.locator('[data-step="target"] b')).to_have_attribute("data-value", str(before + 300))


def test_tags_and_best_campaigns_are_shown(visit: Visit, world: World):
    """Most used tags, tag totals, campaigns by order rate, one click each (POR-15, POR-16, POR-17)."""
    page = visit("planner")
    expect(page.get_by_test_id("tag-total")).to_have_text("1")
    expect(page.get_by_test_id("top-tags")).to_contain_text("月消费")
    best = page.get_by_test_id("best").locator(".line").first
    expect(best).to_contain_text(PUSH)
    _, counters = world.run(world.harness.conserve(world.push))
    delivered = sum(r.count for r in counters[types_pb2.TOUCHPOINT_SMS].settled if r.reason == "delivered")
    expect(best).to_contain_text(f"{100 * ORDERS / delivered:.1f}%")
    best.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(PUSH)


def test_a_keyword_on_the_board_searches_the_tags(visit: Visit):
    """The board's search box leads to the tags that fit (POR-18, AUD-03)."""
    page = visit("analyst")
    page.get_by_test_id("tags").get_by_role("searchbox").fill("消费")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("tag-library")).to_contain_text("monthly_spend")


def test_the_engineer_on_call_sees_every_service(visit: Visit):
    """State of the services for operators, not for planners (POR-22)."""
    page = visit("operator")
    lines = page.get_by_test_id("services").locator('[data-reachable="true"]')
    expect(lines).to_have_count(6)
    assert visit("planner").get_by_test_id("services").count() == 0
