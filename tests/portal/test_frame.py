"""The frame: libraries, entries, languages, and that nothing comes from elsewhere."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.portal.conftest import Visit, World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CHINESE = re.compile("[一-鿿]")
# Entry, the crumbs above its page, what the page must hold.
ENTRIES = [
    ("用户研究", "信息库 / 用户研究中心 / 用户研究", "tag-library"),
    ("资源监控", "信息库 / 营销资源中心 / 资源监控", "touchpoints"),
    ("新建营销案", "策略库 / 营销管理中心 / 新建营销案", "displayName"),
    ("营销案列表", "策略库 / 营销管理中心 / 营销案列表", ""),
    ("事件中心", "策略库 / 事件中心", "events"),
    ("营销评价中心", "策略库 / 营销评价中心", "evaluated"),
    ("触点排期", "触点库 / 触点中心 / 触点排期", "schedule"),
    ("校园市场", "校园市场", "schools"),
    ("运营看板", "看板中心 / 运营看板", "figures"),
    ("我的策略", "看板中心 / 我的策略", "own-campaigns"),
    ("链路追踪", "链路追踪", "traces"),
]


def settled(page: Page) -> None:
    """Nothing is being read any more, and nothing failed."""
    expect(page.locator(".ant-skeleton, .ant-spin-spinning")).to_have_count(0)
    expect(page.get_by_test_id("error-panel")).to_have_count(0)


def test_every_entry_of_the_libraries_opens_a_page(visit: Visit):
    """Information, strategy and touchpoint library lead to real pages (POR-05, POR-06, POR-07)."""
    page = visit("planner")
    menu = page.get_by_role("navigation")
    for label, crumbs, holds in ENTRIES:
        menu.get_by_role("link", name=label, exact=True).click()
        expect(page.get_by_test_id("crumbs")).to_have_text(crumbs)
        if holds:
            expect(page.get_by_test_id(holds).first).to_be_visible()
        settled(page)


def test_the_board_has_second_entries(visit: Visit):
    """Resources and own strategies with their events open from the board (POR-02, POR-08, POR-10)."""
    page = visit("planner")
    menu = page.get_by_role("navigation")
    menu.locator('a[href="/board/resources"]').click()
    expect(page.get_by_test_id("touchpoints").get_by_text("营业前台")).to_be_visible()
    expect(page.get_by_test_id("crumbs")).to_have_text("看板中心 / 营销资源中心")

    menu.get_by_role("link", name="我的策略", exact=True).click()
    own = page.get_by_test_id("own-events")
    own.get_by_role("link", name="使用视频APP").click()
    expect(page.get_by_test_id("event").get_by_test_id("expression")).to_contain_text("爱奇艺")


def test_i_want_to_market_stands_top_left(visit: Visit):
    """The quick entry opens a new campaign from any page (POR-01, POR-09)."""
    page = visit("planner", "/campus")
    box = page.get_by_test_id("market").bounding_box()
    assert box is not None and box["x"] < 30 and box["y"] < 120
    expect(page.get_by_test_id("market")).to_have_text("我要营销")
    page.get_by_test_id("market").click()
    expect(page.get_by_test_id("displayName")).to_be_visible()


def test_english_leaves_no_chinese_in_the_frame(visit: Visit, world: World):
    """The switch changes every text of the portal at once and is remembered (POR-20)."""
    page = visit("planner", "/touchpoints/schedule", fresh=True)
    page.get_by_test_id("language").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Touchpoint schedule")
    page.reload()
    for path in ("/", "/resources", "/campaigns/new", "/campus", "/users/research", "/traces"):
        page.goto(world.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settled(page)
        menu = page.get_by_role("navigation").inner_text()
        heads = " ".join(page.locator("h1, h2, th, label").all_inner_texts())
        crumbs = page.get_by_test_id("crumbs").inner_text()
        assert not CHINESE.search(menu + heads + crumbs), (path, menu, heads, crumbs)


def test_a_narrow_window_keeps_everything_in_reach(visit: Visit):
    """On a small screen the menu comes out of the side and no page is wider than the window (POR-20)."""
    page = visit("planner", width=400, height=800)
    for path in ("/campaigns", "/traces"):
        page.get_by_role("button", name="菜单", exact=True).click()
        page.get_by_role("navigation").locator(f'a[href="{path}"]').click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settled(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 400, (path, width)


def test_nothing_is_loaded_from_elsewhere(visit: Visit, world: World):
    """Every page works with requests to the gateway alone (POR-20)."""
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.get_by_test_id("username").fill("admin")
    page.get_by_test_id("password").fill(world.passwords["admin"])
    page.get_by_test_id("sign-in").click()
    expect(page.get_by_test_id("map").locator("svg")).to_be_visible()
    campaign = world.campaign(world.push)
    for path in (
        f"/{campaign['name']}", f"/traces/{campaign['traceId']}", "/evaluation/1", "/users/research",
        "/events", "/campaigns/new", "/touchpoints/schedule", "/resources", "/campus",
    ):  # fmt: skip
        page.goto(world.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settled(page)
    assert len(asked) > 50
    assert {url for url in asked if not url.startswith((world.url + "/", "data:", "blob:"))} == set()


def test_an_error_gives_reason_and_trace(visit: Visit):
    """What cannot be read says why, with the reason and a trace id to hand on (POR-19)."""
    page = visit("operator", "/campaigns/no-such-campaign")
    panel = page.get_by_test_id("error-panel")
    expect(panel.get_by_test_id("error-reason")).to_have_text("RESOURCE_NOT_FOUND")
    expect(panel).to_contain_text("不存在")
    expect(panel.get_by_test_id("error-trace")).to_have_text(re.compile(r"[0-9a-f]{32}"))
