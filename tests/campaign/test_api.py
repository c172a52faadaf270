"""Campaigns, activities, carts and approval over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from iop.campaign.v1 import activity_pb2, activity_pb2_grpc, campaign_pb2, campaign_pb2_grpc
from iop.common.v1 import types_pb2

from services.kit import errors
from services.kit.actor import Actor
from tests.campaign.conftest import (
    APPROVER,
    DATA_PLUS,
    EVENT_SMS,
    HOHHOT,
    PLANNER,
    SMS,
    SMS_HALL,
    STORE_COUNTER,
    Campaign,
    content,
    head,
    setting,
)

S = campaign_pb2
BAOTOU = Actor("user:baotou", "Baotou", frozenset({"planner"}), (150200,))
CLERK = Actor("user:clerk", "Clerk", frozenset({"clerk"}), (150000,))
SECOND = Actor("user:second", "Second", frozenset({"planner", "approver"}), (150000,))


class As:
    """The service as somebody sees it."""

    def __init__(self, campaign: Campaign, stub: Callable[..., Any], actor: Actor) -> None:
        self.campaigns = stub(campaign.service, campaign_pb2_grpc.CampaignServiceStub, actor)
        self.activities = stub(campaign.service, activity_pb2_grpc.ActivityServiceStub, actor)


async def _reason(call: Any, kind: type[errors.Error] = errors.Precondition) -> errors.Error:
    with pytest.raises(kind) as refused:
        await call
    return refused.value


# --- campaigns ---


async def test_a_campaign_keeps_all_its_attributes(campaign: Campaign) -> None:
    """Initiator to target customers as filled in (CMP-25, CMP-26, CMP-32)."""
    given = head(
        theme="customer retention",
        goal="raise loyalty",
        initiator="Marketing department",
        cycle=S.CYCLE_PER_VACATION,
        need_dimensions=["value", "idea"],
        lifecycle_stages=[S.LIFECYCLE_STAGE_MATURITY, S.LIFECYCLE_STAGE_DECLINE],
        brands=["m_zone"],
        target_description="38-yuan tier",
        case_id="CMP-21",
        marketing_type="traffic",
    )
    created = await campaign.campaigns.CreateCampaign(S.CreateCampaignRequest(campaign=given))
    assert created.name.startswith("campaigns/") and len(created.name) == len("campaigns/") + 16
    assert (created.author, created.state) == ("user:planner", S.CAMPAIGN_STATE_DRAFT)
    read = await campaign.campaign(created.name)
    for field in given.DESCRIPTOR.fields:
        if field.name in ("name", "create_time", "update_time", "etag", "state", "author"):
            continue
        assert getattr(read, field.name) == getattr(given, field.name), field.name
    assert read == created


async def test_an_update_changes_what_its_mask_names(campaign: Campaign) -> None:
    created = await campaign.create(theme="old", goal="kept", brands=["m_zone"])
    change = head(name=created.name, etag=created.etag, theme="new", goal="lost")
    updated = await campaign.campaigns.UpdateCampaign(
        S.UpdateCampaignRequest(campaign=change, update_mask=FieldMask(paths=["theme", "brands"]))
    )
    assert (updated.theme, updated.goal, list(updated.brands)) == ("new", "kept", [])
    whole = await campaign.campaigns.UpdateCampaign(S.UpdateCampaignRequest(campaign=head(name=created.name)))
    assert (whole.theme, whole.goal) == ("", "")
    stale = campaign.campaigns.UpdateCampaign(S.UpdateCampaignRequest(campaign=change))
    assert (await _reason(stale, errors.Conflict)).reason == "ETAG_STALE"
    for path in ("state", "author", "nonsense"):
        request = S.UpdateCampaignRequest(
            campaign=head(name=created.name), update_mask=FieldMask(paths=[path])
        )
        refused = await _reason(campaign.campaigns.UpdateCampaign(request), errors.Invalid)
        assert refused.fields[0][0] == "update_mask"


async def test_the_same_request_id_answers_the_same(campaign: Campaign) -> None:
    request = S.CreateCampaignRequest(campaign=head(), request_id="r1")
    first, again = await asyncio.gather(*(campaign.campaigns.CreateCampaign(request) for _ in range(2)))
    assert first == again
    other = S.CreateCampaignRequest(campaign=head(theme="x"), request_id="r1")
    refused = await _reason(campaign.campaigns.CreateCampaign(other), errors.Invalid)
    assert refused.reason == "REQUEST_ID_REUSED"
    listed = await campaign.campaigns.ListCampaigns(S.ListCampaignsRequest())
    assert len(listed.campaigns) == 1


async def test_bad_input_names_its_field(campaign: Campaign) -> None:
    bad = head(period=types_pb2.DateRange(start_date="2026-06-31", end_date="2026-07-01"))
    refused = await _reason(
        campaign.campaigns.CreateCampaign(S.CreateCampaignRequest(campaign=bad)), errors.Invalid
    )
    assert refused.fields[0][0] == "campaign.period.start_date"
    nameless = campaign.campaigns.CreateCampaign(S.CreateCampaignRequest(campaign=head(display_name="")))
    assert (await _reason(nameless, errors.Invalid)).fields[0][0] == "campaign.display_name"
    await campaign.create()
    taken = await _reason(campaign.create(), errors.Exists)
    assert taken.reason == "RESOURCE_EXISTS"
    missing = await _reason(campaign.campaign("campaigns/none"), errors.NotFound)
    assert missing.reason == "RESOURCE_NOT_FOUND"


async def test_a_list_goes_page_by_page_newest_first(campaign: Campaign) -> None:
    for index in range(5):
        await campaign.create(f"c{index}")
    seen, token = [], ""
    while True:
        response = await campaign.campaigns.ListCampaigns(
            S.ListCampaignsRequest(page_size=2, page_token=token)
        )
        seen += [found.name for found in response.campaigns]
        token = response.next_page_token
        if not token:
            break
    assert seen == [f"campaigns/c{index}" for index in (4, 3, 2, 1, 0)]
    running = await campaign.campaigns.ListCampaigns(S.ListCampaignsRequest(state=S.CAMPAIGN_STATE_RUNNING))
    assert not running.campaigns
    foreign = S.ListCampaignsRequest(page_token="bm9uc2Vuc2U")
    assert (
        await _reason(campaign.campaigns.ListCampaigns(foreign), errors.Invalid)
    ).reason == "PAGE_TOKEN_INVALID"


async def test_a_city_sees_its_own_campaigns_only(campaign: Campaign, stub: Callable[..., Any]) -> None:
    """Data scope by region: read, list, change, launch (POR-23, CMP-25)."""
    city, other = As(campaign, stub, HOHHOT), As(campaign, stub, BAOTOU)
    mine = await city.campaigns.CreateCampaign(
        S.CreateCampaignRequest(campaign=head(region=150100), campaign_id="mine")
    )
    await city.activities.CreateActivity(
        activity_pb2.CreateActivityRequest(parent=mine.name, activity=content())
    )
    await campaign.create("whole")
    assert (await city.campaigns.GetCampaign(S.GetCampaignRequest(name=mine.name))).region == 150100
    name = "campaigns/mine"
    for call in [
        city.campaigns.CreateCampaign(S.CreateCampaignRequest(campaign=head(region=150000))),
        city.campaigns.GetCampaign(S.GetCampaignRequest(name="campaigns/whole")),
        other.campaigns.GetCampaign(S.GetCampaignRequest(name=name)),
        other.campaigns.UpdateCampaign(S.UpdateCampaignRequest(campaign=head(name=name, region=150200))),
        city.campaigns.UpdateCampaign(S.UpdateCampaignRequest(campaign=head(name=name, region=150200))),
        other.campaigns.DeleteCampaign(S.DeleteCampaignRequest(name=name)),
        other.campaigns.SubmitCampaign(S.SubmitCampaignRequest(name=name)),
        other.campaigns.LaunchCampaign(S.LaunchCampaignRequest(name=name)),
        other.campaigns.TerminateCampaign(S.TerminateCampaignRequest(name=name)),
        other.campaigns.ListJournal(S.ListJournalRequest(parent=name)),
        other.activities.ListActivities(activity_pb2.ListActivitiesRequest(parent=name)),
        other.activities.CreateActivity(activity_pb2.CreateActivityRequest(parent=name, activity=content())),
    ]:
        assert (await _reason(call, errors.Denied)).reason == "REGION_OUT_OF_SCOPE"
    for who, campaigns_seen, activities_seen in ((city, 1, 1), (other, 0, 0), (campaign, 2, 1)):
        listed = await who.campaigns.ListCampaigns(S.ListCampaignsRequest())
        assert len(listed.campaigns) == campaigns_seen
        all_activities = activity_pb2.ListActivitiesRequest(parent="campaigns/-")
        assert len((await who.activities.ListActivities(all_activities)).activities) == activities_seen


async def test_roles_are_those_of_the_contract(campaign: Campaign, stub: Callable[..., Any]) -> None:
    clerk, approver = As(campaign, stub, CLERK), As(campaign, stub, APPROVER)
    create = S.CreateCampaignRequest(campaign=head())
    for call in (clerk.campaigns.CreateCampaign(create), approver.campaigns.CreateCampaign(create)):
        assert (await _reason(call, errors.Denied)).reason == "ROLE_MISSING"
    approve = S.ApproveCampaignRequest(name="campaigns/x", content_digest="0" * 64)
    assert (
        await _reason(campaign.campaigns.ApproveCampaign(approve), errors.Denied)
    ).reason == "ROLE_MISSING"


async def test_only_drafts_are_removed_and_the_journal_stays(campaign: Campaign) -> None:
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.verb("Submit")
    refused = await _reason(campaign.verb("Delete"))
    assert refused.reason == "STATE_FORBIDS"
    await campaign.approvals.RejectCampaign(S.RejectCampaignRequest(name=created.name, comment="too dear"))
    await campaign.verb("Delete")
    await _reason(campaign.campaign(), errors.NotFound)
    assert not (await campaign.activities.ListCart(activity_pb2.ListCartRequest())).items
    await campaign.create()
    actions = [entry.action for entry in await campaign.journal()]
    assert actions == ["created", "changed", "submitted", "returned", "deleted", "created"]


# --- activities and cart ---


async def test_an_activity_keeps_what_it_is_given(campaign: Campaign) -> None:
    """Mode, target, event, product and splits (CMP-01, CMP-10, CMP-16)."""
    created = await campaign.create()
    given = content(
        mode=activity_pb2.MODE_EVENT_TRIGGERED,
        target=activity_pb2.Target(all_customers=True),
        splits=[activity_pb2.Split(group="a", percent=33.3, touchpoints=[types_pb2.TOUCHPOINT_DATA_PLUS])],
        time_to_live_seconds=900,
        school="4115010126",
        description="passers-by",
    )
    made = await campaign.activities.CreateActivity(
        activity_pb2.CreateActivityRequest(parent=created.name, activity=given)
    )
    assert made.activity_number > 0
    read = await campaign.activity(made.name)
    for field in given.DESCRIPTOR.fields:
        if field.name not in ("name", "create_time", "update_time", "etag", "activity_number"):
            assert getattr(read, field.name) == getattr(given, field.name), field.name
    change = content(name=made.name, etag=made.etag, target=activity_pb2.Target(customer_list="lists/l"))
    updated = await campaign.activities.UpdateActivity(
        activity_pb2.UpdateActivityRequest(activity=change, update_mask=FieldMask(paths=["target"]))
    )
    assert updated.target.customer_list == "lists/l" and updated.mode == activity_pb2.MODE_EVENT_TRIGGERED
    empty = content(name=made.name, target=activity_pb2.Target(customer_list="audiences/a"))
    refused = await _reason(
        campaign.activities.UpdateActivity(activity_pb2.UpdateActivityRequest(activity=empty)), errors.Invalid
    )
    assert refused.fields[0][0] == "activity.target.customer_list"


async def test_activities_are_listed_and_removed(campaign: Campaign) -> None:
    created = await campaign.create()
    for index in range(3):
        await campaign.add(created.name, f"a{index}")
    assert (await _reason(campaign.add(created.name, "a0"), errors.Exists)).reason == "RESOURCE_EXISTS"
    await campaign.activities.DeleteActivity(
        activity_pb2.DeleteActivityRequest(name=f"{created.name}/activities/a1")
    )
    request = activity_pb2.ListActivitiesRequest(parent=created.name, page_size=1)
    first = await campaign.activities.ListActivities(request)
    request.page_token = first.next_page_token
    second = await campaign.activities.ListActivities(request)
    assert [first.activities[0].name[-2:], second.activities[0].name[-2:]] == ["a0", "a2"]
    assert not second.next_page_token


async def test_an_incomplete_activity_cannot_be_parked(campaign: Campaign) -> None:
    """Touchpoints are configured after the activity is filled in (CMP-19, TCH-14)."""
    created = await campaign.create()
    bare = content(mode=activity_pb2.MODE_EVENT_TRIGGERED, definition="")
    bare.ClearField("target")
    bare.ClearField("product")
    activity = await campaign.activities.CreateActivity(
        activity_pb2.CreateActivityRequest(parent=created.name, activity=bare)
    )
    refused = await _reason(campaign.park(activity.name, EVENT_SMS))
    assert refused.reason == "ACTIVITY_INCOMPLETE"
    assert [path for path, _ in refused.fields] == [
        "activity.target",
        "activity.product",
        "activity.definition",
    ]


async def test_a_setting_that_does_not_fit_is_refused(campaign: Campaign) -> None:
    """Modes, fields and options of each touchpoint (TCH-02, TCH-16, TCH-36)."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    assert (await _reason(campaign.park(activity.name, EVENT_SMS))).reason == "TOUCHPOINT_UNFIT"
    assert (await _reason(campaign.park(activity.name, 9))).reason == "TOUCHPOINT_UNFIT"
    unfit: list[tuple[int, dict[str, Any], str]] = [
        (DATA_PLUS, {"fields": {}}, 'setting.fields["title"]'),
        (DATA_PLUS, {"fields": {"title": "x" * 21}}, 'setting.fields["title"]'),
        (SMS, {"fields": {"title": "x"}}, 'setting.fields["title"]'),
        (SMS, {"marketing_words": ""}, "setting.marketing_words"),
        (SMS, {"periodic_update": True}, "setting.periodic_update"),
        (STORE_COUNTER, {"sms_contract_only": True}, "setting.sms_contract_only"),
        (SMS, {"suppression": {"keep_red_list": True}}, "setting.suppression.reason"),
        (SMS_HALL, {"suppression": {"keep_red_list": True, "reason": "x"}}, "setting.suppression"),
        (SMS, {"period": {"start_date": "2026-05-31", "end_date": "2026-06-02"}}, "setting.period"),
    ]
    for touchpoint, fields, path in unfit:
        refused = await _reason(campaign.park(activity.name, touchpoint, **fields), errors.Invalid)
        assert (refused.reason, refused.fields[0][0]) == ("SETTING_INVALID", path)
    assert (await campaign.park(activity.name, SMS_HALL)).setting.touchpoint == SMS_HALL


async def test_everyone_has_a_cart_of_his_own(campaign: Campaign, stub: Callable[..., Any]) -> None:
    """Parked settings wait in the planner's cart; parking again replaces (CMP-20, TCH-21, POR-11)."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    first = await campaign.park(activity.name, SMS)
    again = await campaign.park(activity.name, SMS, marketing_words="better words")
    second = await campaign.park(activity.name, STORE_COUNTER)
    assert (again.item_id, again.owner) == (first.item_id, "user:planner")
    page = await campaign.activities.ListCart(activity_pb2.ListCartRequest(page_size=1))
    assert [item.setting.marketing_words for item in page.items] == ["better words"]
    rest = await campaign.activities.ListCart(
        activity_pb2.ListCartRequest(page_size=1, page_token=page.next_page_token)
    )
    assert [item.item_id for item in rest.items] == [second.item_id]
    other = As(campaign, stub, SECOND)
    assert not (await other.activities.ListCart(activity_pb2.ListCartRequest())).items
    foreign = other.activities.RemoveFromCart(activity_pb2.RemoveFromCartRequest(item_id=first.item_id))
    await _reason(foreign, errors.NotFound)
    await campaign.activities.RemoveFromCart(activity_pb2.RemoveFromCartRequest(item_id=first.item_id))
    left = await campaign.activities.ListCart(activity_pb2.ListCartRequest())
    assert [item.item_id for item in left.items] == [second.item_id]


# --- submission and approval ---


async def test_submission_takes_the_cart_into_force(campaign: Campaign, stub: Callable[..., Any]) -> None:
    """Only the submitter's items of this campaign leave the cart (CMP-20, POR-12)."""
    created, other = await campaign.create(), await campaign.create("other")
    activity, elsewhere = await campaign.add(created.name), await campaign.add(other.name)
    await campaign.park(activity.name, SMS)
    await campaign.park(elsewhere.name, SMS)
    second = As(campaign, stub, SECOND)
    await second.activities.AddToCart(
        activity_pb2.AddToCartRequest(activity=activity.name, setting=setting(STORE_COUNTER))
    )
    submitted = await campaign.verb("Submit")
    assert submitted.state == S.CAMPAIGN_STATE_IN_APPROVAL and len(submitted.content_digest) == 64
    assert [s.touchpoint for s in (await campaign.activity(activity.name)).settings] == [SMS]
    left = (await campaign.activities.ListCart(activity_pb2.ListCartRequest())).items
    assert [item.activity for item in left] == [elsewhere.name]
    assert len((await second.activities.ListCart(activity_pb2.ListCartRequest())).items) == 1
    assert (await _reason(campaign.park(activity.name, STORE_COUNTER))).reason == "STATE_FORBIDS"


async def test_an_empty_cart_is_not_submitted(campaign: Campaign) -> None:
    """Nothing parked, an activity without touchpoint, an unknown event: each is named."""
    created = await campaign.create()
    assert (await _reason(campaign.verb("Submit"))).reason == "CART_EMPTY"
    first = await campaign.add(created.name, "first")
    assert (await _reason(campaign.verb("Submit"))).reason == "CART_EMPTY"
    await campaign.park(first.name)
    await campaign.add(
        created.name, "second", mode=activity_pb2.MODE_EVENT_TRIGGERED, definition="definitions/no"
    )
    refused = await _reason(campaign.verb("Submit"))
    assert refused.fields[0][0] == 'activities["second"].definition'
    change = content(name=f"{created.name}/activities/second")
    await campaign.activities.UpdateActivity(activity_pb2.UpdateActivityRequest(activity=change))
    refused = await _reason(campaign.verb("Submit"))
    assert (refused.reason, refused.fields[0][0]) == ("ACTIVITY_INCOMPLETE", 'activities["second"].settings')
    assert len((await campaign.activities.ListCart(activity_pb2.ListCartRequest())).items) == 1


async def test_submission_checks_what_was_parked_again(campaign: Campaign) -> None:
    """The campaign became shorter after a setting was parked."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    shorter = head(
        name=created.name, period=types_pb2.DateRange(start_date="2026-06-01", end_date="2026-06-10")
    )
    await campaign.campaigns.UpdateCampaign(S.UpdateCampaignRequest(campaign=shorter))
    refused = await _reason(campaign.verb("Submit"), errors.Invalid)
    assert refused.fields[0][0] == 'activities["act"].settings[1].period'
    etag = created.etag
    assert (await _reason(campaign.verb("Submit", etag=etag), errors.Conflict)).reason == "ETAG_STALE"


async def test_approval_binds_what_was_read(campaign: Campaign) -> None:
    """The approver quotes the digest; an older one is stale (CMP-38)."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    first = await campaign.verb("Submit")
    wrong = S.ApproveCampaignRequest(name=created.name, content_digest="0" * 64)
    assert (await _reason(campaign.approvals.ApproveCampaign(wrong))).reason == "APPROVAL_STALE"
    await campaign.activities.UpdateActivity(
        activity_pb2.UpdateActivityRequest(activity=content(name=activity.name, control_percent=20))
    )
    assert (await campaign.campaign()).state == S.CAMPAIGN_STATE_DRAFT
    second = await campaign.verb("Submit")
    assert second.content_digest != first.content_digest
    old = S.ApproveCampaignRequest(name=created.name, content_digest=first.content_digest)
    assert (await _reason(campaign.approvals.ApproveCampaign(old))).reason == "APPROVAL_STALE"
    good = S.ApproveCampaignRequest(name=created.name, content_digest=second.content_digest, comment="fine")
    approved = await campaign.approvals.ApproveCampaign(good)
    assert (approved.state, approved.approver) == (S.CAMPAIGN_STATE_APPROVED, "user:approver")
    assert approved.approval_comment == "fine"


@pytest.mark.parametrize("what", ["campaign", "activity", "new activity", "removed activity"])
async def test_an_edit_voids_the_approval(campaign: Campaign, what: str) -> None:
    """Whatever changes after approval has to be submitted and approved again."""
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.submit_and_approve(created.name)
    edits: dict[str, Callable[[], Any]] = {
        "campaign": lambda: campaign.campaigns.UpdateCampaign(
            S.UpdateCampaignRequest(campaign=head(name=created.name, goal="more"))
        ),
        "activity": lambda: campaign.activities.UpdateActivity(
            activity_pb2.UpdateActivityRequest(activity=content(name=activity.name, code="X"))
        ),
        "new activity": lambda: campaign.add(created.name, "late"),
        "removed activity": lambda: campaign.activities.DeleteActivity(
            activity_pb2.DeleteActivityRequest(name=activity.name)
        ),
    }
    await edits[what]()
    after = await campaign.campaign()
    assert (after.state, after.approver, after.content_digest) == (S.CAMPAIGN_STATE_DRAFT, "", "")
    assert (await _reason(campaign.launch(created.name))).reason == "STATE_FORBIDS"
    assert "submitted again" in (await campaign.journal())[-1].comment


async def test_nobody_approves_his_own_work(campaign: Campaign, stub: Callable[..., Any]) -> None:
    """Who created, changed or submitted it is an author; a fourth eye approves."""
    second = As(campaign, stub, SECOND)
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await second.campaigns.UpdateCampaign(
        S.UpdateCampaignRequest(campaign=head(name=created.name, goal="mine"))
    )
    submitted = await campaign.verb("Submit")
    approve = S.ApproveCampaignRequest(name=created.name, content_digest=submitted.content_digest)
    refused = await _reason(second.campaigns.ApproveCampaign(approve), errors.Denied)
    assert refused.reason == "APPROVER_IS_AUTHOR"
    admin = As(campaign, stub, Actor(PLANNER.subject, "", frozenset({"admin"}), (150000,)))
    assert (
        await _reason(admin.campaigns.ApproveCampaign(approve), errors.Denied)
    ).reason == "APPROVER_IS_AUTHOR"
    assert (await campaign.approvals.ApproveCampaign(approve)).state == S.CAMPAIGN_STATE_APPROVED


async def test_a_returned_campaign_is_mended_and_submitted_again(campaign: Campaign) -> None:
    created = await campaign.create()
    activity = await campaign.add(created.name)
    await campaign.park(activity.name)
    await campaign.verb("Submit")
    returned = await campaign.approvals.RejectCampaign(
        S.RejectCampaignRequest(name=created.name, comment="too many words")
    )
    assert (returned.state, returned.approval_comment) == (S.CAMPAIGN_STATE_RETURNED, "too many words")
    await campaign.park(activity.name, marketing_words="few")
    assert (await campaign.submit_and_approve(created.name)).state == S.CAMPAIGN_STATE_APPROVED
    (in_force,) = (await campaign.activity(activity.name)).settings
    assert in_force.marketing_words == "few"


async def test_the_journal_says_who_did_what(campaign: Campaign) -> None:
    """Every step with its actor and the trace of its call."""
    await campaign.run()
    await campaign.verb("Pause", comment="complaints")
    entries = await campaign.journal()
    found = [(entry.action, entry.actor) for entry in entries]
    assert found == [
        ("created", "user:planner"),
        ("changed", "user:planner"),
        ("submitted", "user:planner"),
        ("approved", "user:approver"),
        ("launched", "user:planner"),
        ("paused", "user:planner"),
    ]
    assert entries[-1].comment == "complaints"
    assert all(len(entry.trace_id) == 32 for entry in entries)
    page = await campaign.campaigns.ListJournal(S.ListJournalRequest(parent="campaigns/camp", page_size=4))
    rest = S.ListJournalRequest(parent="campaigns/camp", page_size=4, page_token=page.next_page_token)
    assert len((await campaign.campaigns.ListJournal(rest)).entries) == 2
