"""From a new campaign over its approval to its end, in the browser."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.portal.conftest import PUSH, Visit, World
from tests.system.harness import BLOCKED, FIRST_PHONE, MORNING

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_new_campaign_is_saved_with_all_its_attributes(visit: Visit, world: World):
    """The form takes the attributes of a campaign and saves a draft (CMP-02, CMP-26, CMP-30)."""
    page = visit("planner")
    page.get_by_test_id("market").click()
    page.get_by_test_id("save-draft").click()
    expect(page.get_by_text("请填写").first).to_be_visible()

    name = f"客户挽留 {uuid.uuid4().hex[:6]}"
    page.locator("#displayName").fill(name)
    page.locator("#theme").fill("客户挽留")
    page.locator("#goal").fill("流失率降低两个百分点")
    page.locator("#initiator").fill("市场部")
    page.get_by_text("常态化", exact=True).click()
    for label in ("价值", "成熟", "流失", "动感地带"):
        page.get_by_role("checkbox", name=label, exact=True).check()
    page.locator("#targetDescription").fill("高价值客户")
    page.locator("#caseId").fill("CMP-21")
    page.locator("#marketingType").fill("traffic")
    page.get_by_test_id("save-draft").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    expect(page.locator('[data-state="CAMPAIGN_STATE_DRAFT"]')).to_be_visible()

    saved = world.call("planner", "GET", f"campaign/v1/campaigns/{page.url.rsplit('/', 1)[1]}")
    assert {key: saved[key] for key in _FILLED} == {**_FILLED, "displayName": name}
    page.get_by_role("tab", name="营销案信息").click()
    expect(page.get_by_test_id("head")).to_contain_text("流失率降低两个百分点")


_FILLED: dict[str, Any] = {
    "displayName": "",
    "theme": "客户挽留",
    "goal": "流失率降低两个百分点",
    "region": 150000,
    "initiator": "市场部",
    "cycle": "CYCLE_CONTINUOUS",
    "period": {
        "startDate": f"{MORNING:%Y-%m-%d}",
        "endDate": f"{MORNING + timedelta(days=29):%Y-%m-%d}",
    },
    "needDimensions": ["value"],
    "lifecycleStages": ["LIFECYCLE_STAGE_MATURITY", "LIFECYCLE_STAGE_LOSS"],
    "brands": ["m_zone"],
    "targetDescription": "高价值客户",
    "caseId": "CMP-21",
    "marketingType": "traffic",
}


def draft(world: World, name: str) -> str:
    """A draft with one activity and an SMS setting in the planner's cart; its id."""
    period = {"startDate": f"{MORNING:%Y-%m-%d}", "endDate": f"{MORNING + timedelta(days=5):%Y-%m-%d}"}
    made = world.call(
        "planner", "POST", "campaign/v1/campaigns", {"displayName": name, "region": 150000, "period": period}
    )
    condition = {
        "comparison": {"field": "monthly_spend", "operator": "OPERATOR_LT", "values": [{"number": 200}]}
    }
    audience = world.call(
        "planner",
        "POST",
        "audience/v1/audiences",
        {"displayName": name, "selection": {"condition": condition}},
    )
    activity = world.call(
        "planner",
        "POST",
        f"campaign/v1/{made['name']}/activities",
        {
            "displayName": name,
            "code": "PAGE",
            "mode": "MODE_ACTIVE_PUSH",
            "target": {"audience": audience["name"]},
            "product": {"code": "P1", "displayName": "流量包", "priceFen": "1000"},
            "controlPercent": 10,
        },
    )
    setting = {"touchpoint": "TOUCHPOINT_SMS", "period": period, "marketingWords": "流量包优惠"}
    world.call("planner", "POST", "campaign/v1/cart", {"activity": activity["name"], "setting": setting})
    return str(made["name"]).split("/")[1]


def decide(page: Page, verb: str, comment: str = "", confirm: str = "") -> None:
    """Presses a verb's button and confirms it."""
    page.get_by_test_id(f"verb-{verb}").click()
    if comment:
        page.get_by_test_id("comment").fill(comment)
    if confirm:
        page.get_by_test_id("confirm-name").fill(confirm)
    page.locator("#confirm-verb").click()
    expect(page.locator("#confirm-verb")).to_have_count(0)


def state(page: Page, name: str) -> None:
    expect(page.locator(f'h1 [data-state="CAMPAIGN_STATE_{name}"]')).to_be_visible()


def test_a_campaign_goes_through_cart_approval_and_launch(visit: Visit, world: World):
    """Cart to approval by another, bound to what was read, then the live funnel (POR-11, POR-12, POR-21)."""
    identifier = draft(world, "页面审批")
    planner = visit("planner", f"/campaigns/{identifier}")
    expect(planner.get_by_test_id("setting")).to_contain_text("待提交审批")
    decide(planner, "submit")
    state(planner, "IN_APPROVAL")
    expect(planner.get_by_test_id("verb-approve")).to_have_count(0)

    approver = visit("approver", f"/campaigns/{identifier}")
    decide(approver, "reject", comment="请说明优惠期限")
    state(approver, "RETURNED")
    expect(planner.get_by_text("请说明优惠期限")).to_be_visible()
    decide(planner, "submit")

    expect(approver.get_by_test_id("verb-approve")).to_be_visible()
    approver.get_by_test_id("verb-approve").click()
    digest = world.call("approver", "GET", f"campaign/v1/campaigns/{identifier}")["contentDigest"]
    expect(approver.get_by_test_id("digest")).to_have_text(digest)
    approver.locator("#confirm-verb").click()
    state(approver, "APPROVED")

    decide(planner, "launch")
    state(planner, "RUNNING")
    funnel = planner.get_by_test_id("live-funnel")
    expect(funnel.locator('[data-step="target"] b')).to_have_attribute("data-value", "200")
    world.rest()
    [activity] = world.call("planner", "GET", f"campaign/v1/campaigns/{identifier}/activities")["activities"]
    progress, counters = world.run(world.harness.conserve(activity["name"]))
    expect(funnel.locator('[data-step="received"] b')).to_have_attribute(
        "data-value", str(sum(c.received for c in counters.values()))
    )
    setting = planner.get_by_test_id("setting")
    expect(setting.locator('[data-reason="block_list"]')).to_contain_text(f"黑名单 {BLOCKED}")
    expect(setting.locator('.law[data-gap="0"]')).to_have_count(2)
    assert progress.touchpoints[0].handed > 0

    decide(planner, "pause")
    state(planner, "PAUSED")
    decide(planner, "resume")
    state(planner, "RUNNING")
    decide(planner, "terminate", confirm="页面审批")
    state(planner, "TERMINATED")
    planner.get_by_role("tab", name="操作记录").click()
    journal = planner.get_by_test_id("journal")
    for action in ("创建", "提交审批", "退回", "审批通过", "启动", "暂停", "恢复", "终止"):
        expect(journal.get_by_role("cell", name=action, exact=True).first).to_be_visible()


def test_a_change_after_reading_is_not_approved_unseen(visit: Visit, world: World):
    """The approval names the digest that was on the screen when the dialogue opened (POR-12)."""
    identifier = draft(world, "改动中的营销案")
    world.call("planner", "POST", f"campaign/v1/campaigns/{identifier}:submit", {})
    page = visit("approver", f"/campaigns/{identifier}")
    page.get_by_test_id("verb-approve").click()
    read = page.get_by_test_id("digest").inner_text()
    current = world.call("planner", "GET", f"campaign/v1/campaigns/{identifier}")
    world.call(
        "planner",
        "PATCH",
        f"campaign/v1/campaigns/{identifier}",
        {key: current[key] for key in ("displayName", "region", "period", "etag")} | {"theme": "改动"},
    )
    world.call("planner", "POST", f"campaign/v1/campaigns/{identifier}:submit", {})
    with page.expect_request(lambda request: request.url.endswith(":approve")) as sent:
        page.locator("#confirm-verb").click()
    assert json.loads(sent.value.post_data or "{}")["contentDigest"] == read
    expect(page.get_by_test_id("error-reason").first).to_have_text("APPROVAL_STALE")
    after = world.call("planner", "GET", f"campaign/v1/campaigns/{identifier}")
    assert after["state"] == "CAMPAIGN_STATE_IN_APPROVAL"


def test_why_a_number_was_touched_or_not(visit: Visit, world: World):
    """One number, its side of the split and each decision with its reason (CMP-38, TCH-17)."""
    campaign = world.campaign(world.push)
    page = visit("planner", f"/{campaign['name']}?tab=why")
    touched = next(t for t in world.recorder.touches.values() if t.text.startswith(PUSH))
    page.get_by_test_id("phone").fill(str(touched.phone))
    page.get_by_test_id("ask").click()
    decisions = page.get_by_test_id("decisions")
    expect(decisions.locator('[data-side="target"]')).to_be_visible()
    sent = decisions.locator('[data-testid="touch"][data-state="settled"]')
    expect(sent).to_contain_text("短信")
    expect(sent).to_contain_text("送达")
    expect(decisions).not_to_contain_text(str(touched.phone))

    # On the block list: never handed to a touchpoint.
    page.get_by_test_id("phone").fill(str(FIRST_PHONE + 1))
    page.get_by_test_id("ask").click()
    expect(decisions.locator('[data-side="not_selected"]')).to_be_visible()
    expect(decisions).to_contain_text("触点没有收到这个客户的任务")

    page.get_by_test_id("phone").fill("15900000000")
    page.get_by_test_id("ask").click()
    expect(page.get_by_text("客户目录中没有这个号码")).to_be_visible()
