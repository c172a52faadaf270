"""Who may come in, as whom, and how far he sees."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.portal.conftest import Visit, World, sign_in
from tests.system.harness import MORNING

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_sign_in_shows_who_it_is_and_sign_out_ends_it(visit: Visit, world: World):
    """Roles, data scope and version are shown; a wrong password is refused (POR-14, POR-19, POR-22)."""
    page = visit()
    page.get_by_test_id("username").fill("planner")
    page.get_by_test_id("password").fill("not the password")
    page.get_by_test_id("sign-in").click()
    expect(page.get_by_test_id("signin-error")).to_contain_text("账号或密码不正确")

    sign_in(page, "planner", world.passwords["planner"])
    header = page.locator("header").first
    expect(header).to_contain_text("营销策划")
    expect(page.get_by_test_id("scope")).to_contain_text("内蒙古自治区")
    expect(header).to_contain_text("V2.0")
    expect(page.get_by_test_id("clock")).to_have_text(f"{MORNING:%Y-%m-%d} 09:00")

    page.get_by_test_id("account").click()
    page.get_by_test_id("sign-out").click()
    expect(page.get_by_test_id("username")).to_be_visible()
    page.reload()
    expect(page.get_by_test_id("username")).to_be_visible()


def test_a_session_that_ends_leads_back_to_sign_in(visit: Visit):
    """An answer without a session shows the sign-in page and says so (POR-19)."""
    page = visit("planner", "/campaigns", fresh=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("营销案列表")
    page.context.clear_cookies()
    page.get_by_text("执行中", exact=True).first.click()
    expect(page.get_by_test_id("username")).to_be_visible()
    expect(page.get_by_text("登录已过期")).to_be_visible()


def test_a_city_user_works_on_his_own_city(visit: Visit):
    """His scope is named, and a new campaign can belong to his city only (POR-23)."""
    page = visit("wuhai", "/campaigns/new")
    expect(page.get_by_test_id("scope")).to_contain_text("乌海市")
    page.locator("#region").click()
    options = page.locator(".ant-select-item-option")
    expect(options).to_have_count(1)
    expect(options).to_have_text("乌海市")


def test_pages_ask_for_their_roles(visit: Visit):
    """A clerk finds no way to new campaigns or traces, and is told why at their addresses (POR-22)."""
    page = visit("clerk", "/traces")
    expect(page.get_by_test_id("forbidden")).to_contain_text("营销策划")
    expect(page.get_by_test_id("market")).to_have_count(0)
    expect(page.get_by_role("navigation").get_by_text("链路追踪")).to_have_count(0)


def test_an_outside_issuer_is_offered_as_a_link(visit: Visit, world: World):
    """Where accounts live in the 4A portal, the sign-in page leads there (POR-19)."""
    page = visit()
    page.route(
        "**/auth/config", lambda route: route.fulfill(json={"mode": "oidc"}, content_type="application/json")
    )
    page.reload()
    link = page.get_by_test_id("oidc")
    expect(link).to_have_attribute("href", "/auth/login")
    expect(page.get_by_test_id("username")).to_have_count(0)


def test_deep_links_are_served_and_unknown_files_are_not(world: World):
    """The gateway serves the portal at every page address, and says 404 for a file that is not there."""
    page = httpx.get(f"{world.url}/campaigns/some-campaign")
    assert page.status_code == 200 and re.search(r'src="/assets/index-[^"]+\.js"', page.text)
    assert httpx.get(f"{world.url}/assets/gone.js").status_code == 404
