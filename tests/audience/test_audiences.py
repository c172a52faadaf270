"""Selections through the API: counts, funnels, reports, members, explanations, saved audiences."""

import numpy as np
import pytest
from google.protobuf import field_mask_pb2
from iop.audience.v1 import audience_pb2, list_pb2, tag_pb2
from iop.common.v1 import condition_pb2, types_pb2

from services.kit import errors
from tests.audience.conftest import (
    CITY,
    OPERATOR,
    PLANNER,
    all_of,
    any_of,
    codes,
    compare,
    count_request,
    enumeration,
    flag,
    flags,
    member,
    number,
    numbers,
    selection,
    tag,
)

DAY = "2026-10-31"


async def count(world, condition=None, actor=PLANNER, **more):
    return await world.as_(actor).audiences.CountAudience(count_request(condition, **more))


async def test_the_target_of_the_feixiang_tier(world):
    """Open and closed bounds are exact, planted values included (AUD-09, AUD-29, AUD-30)."""
    rng = np.random.default_rng(7)
    spend = np.concatenate(
        [[28, 38, 28.01, 37.99, 30, 30, 30, 30, 30], np.round(rng.uniform(20, 45, 4000), 2)]
    )
    traffic = np.concatenate(
        [[250, 250, 250, 250, 200, 300, 199.99, 300.01, 250], np.round(rng.uniform(150, 350, 4000), 2)]
    )
    minutes = np.concatenate(
        [[60, 60, 60, 60, 50, 70, 60, 60, 70.01], np.round(rng.uniform(40, 80, 4000), 2)]
    )
    ids = np.arange(1, len(spend) + 1)
    await world.subscribers(len(ids))
    names = ("monthly_spend", "monthly_traffic", "outgoing_minutes")
    await world.tags(*(number(name, decimals=2) for name in names))
    columns = [numbers(name, values) for name, values in zip(names, (spend, traffic, minutes), strict=True)]
    await world.values(DAY, ids, *columns)
    target = all_of(
        compare("monthly_spend", "BETWEEN", 28, 38, lower_open=True, upper_open=True),
        compare("monthly_traffic", "BETWEEN", 200, 300),
        compare("outgoing_minutes", "BETWEEN", 50, 70),
    )
    answer = await count(world, target)
    expected = (
        (spend > 28) & (spend < 38) & (traffic >= 200) & (traffic <= 300) & (minutes >= 50) & (minutes <= 70)
    )
    assert answer.count == answer.matched == int(expected.sum())
    assert answer.scope == len(ids) and answer.data_date == DAY
    listed = await world.as_(PLANNER).audiences.ListMembers(
        audience_pb2.ListMembersRequest(selection=selection(target), page_size=4)
    )
    assert [m.subscriber_id for m in listed.members] == [3, 4, 5, 6]


async def test_excluded_by_the_first_list_that_holds_them(world):
    """Opt-out, consent and age come before the lists that a reason keeps in (AUD-10, AUD-31)."""
    await world.subscribers(30)
    lists = world.as_(OPERATOR).lists
    for kind, members in (
        (list_pb2.SUPPRESSION_LIST_OPT_OUT, [1, 2]),
        (list_pb2.SUPPRESSION_LIST_NO_CONSENT, [2, 3]),
        (list_pb2.SUPPRESSION_LIST_MINOR, [3, 4, 5, 6]),
        (list_pb2.SUPPRESSION_LIST_BLOCK, [1, 7]),
        (list_pb2.SUPPRESSION_LIST_RED, [7, 8, 9]),
        (list_pb2.SUPPRESSION_LIST_SENSITIVE, [10]),
        (list_pb2.SUPPRESSION_LIST_NO_LOCATION_CONSENT, [20, 21]),
    ):
        request = list_pb2.ChangeSuppressionRequest(suppression_list=kind, add=members, reason="test")
        await lists.ChangeSuppression(request)
    answer = await count(world)
    assert [(e.reason, e.count) for e in answer.excluded] == [
        ("opt_out", 2),
        ("no_consent", 1),
        ("minor", 3),
        ("block_list", 1),
        ("red_list", 2),
        ("sensitive_list", 1),
    ]
    assert (answer.matched, answer.count) == (30, 20)
    kept = types_pb2.SuppressionChoice(keep_block_list=True, keep_red_list=True, reason="通知类")
    answer = await count(world, suppression=kept)
    assert [(e.reason, e.count) for e in answer.excluded] == [
        ("opt_out", 2),
        ("no_consent", 1),
        ("minor", 3),
        ("sensitive_list", 1),
    ]
    with pytest.raises(errors.Invalid) as refused:
        await count(world, suppression=types_pb2.SuppressionChoice(keep_red_list=True, reason=" "))
    assert refused.value.reason == "SUPPRESSION_REASON_MISSING"
    assert refused.value.fields[0][0] == "selection.suppression.reason"


async def test_a_city_user_sees_his_city_only(world):
    """Whole region or league; the caller's data scope bounds every selection (AUD-06)."""
    await world.subscribers(30)
    assert (await count(world)).count == 30
    assert (await count(world, regions=[150100])).count == 20
    assert (await count(world, regions=[150102, 150202])).count == 20
    assert (await count(world, actor=CITY)).count == 10
    with pytest.raises(errors.Denied) as denied:
        await count(world, actor=CITY, regions=[150100])
    assert denied.value.reason == "REGION_OUT_OF_SCOPE"
    members = await world.as_(CITY).audiences.ListMembers(
        audience_pb2.ListMembersRequest(selection=selection())
    )
    assert {m.county for m in members.members} == {150202}


async def test_faults_of_a_condition_name_their_nodes(world):
    await world.subscribers(3)
    await world.tags(number("spend", decimals=2), enumeration("brand", ["a"]))
    bad = all_of(
        any_of(compare("nothing", "EQ", 1)),
        compare("spend", "EQ", "a"),
        condition_pb2.Condition(**{"not": compare("brand", "IN", "a", "zz")}),
        compare("brand", "LT", "a"),
        compare("spend", "BETWEEN", 38, 28),
    )
    with pytest.raises(errors.Invalid) as refused:
        await count(world, bad)
    root = "selection.condition.all_of.conditions"
    assert [path for path, _ in refused.value.fields] == [
        f"{root}[0].any_of.conditions[0].comparison.field",
        f"{root}[1].comparison.values[0]",
        f"{root}[2].not.comparison.values[1]",
        f"{root}[3].comparison.operator",
        f"{root}[4].comparison",
    ]
    assert refused.value.reason == "TAG_UNKNOWN"
    with pytest.raises(errors.Precondition) as missing:
        await count(world, compare("spend", "GT", 1))
    assert missing.value.reason == "DATA_DATE_MISSING"
    with pytest.raises(errors.Invalid) as unknown:
        await count(world, member("lists/nobody"))
    assert unknown.value.reason == "SET_UNKNOWN"


async def test_the_frequency_decides_which_date_answers(world):
    """A day's tag is read at its day, a month's at the last month that had ended (AUD-04, AUD-05)."""
    await world.subscribers(3)
    await world.tags(number("daily"), number("monthly", frequency=tag_pb2.FREQUENCY_MONTH))
    for day, value in (("2026-11-20", 1), ("2026-11-21", 2)):
        await world.values(day, [1, 2, 3], numbers("daily", [value] * 3))
    for day, value in (("2026-09-30", 9), ("2026-10-31", 10)):
        await world.values(day, [1, 2, 3], numbers("monthly", [value] * 3))

    async def values(day):
        found = {}
        for name in ("daily", "monthly"):
            for value in (1, 2, 9, 10):
                answer = await count(world, compare(name, "EQ", value), data_date=day)
                if answer.count:
                    found[name] = value
        return found

    assert await values("") == {"daily": 2, "monthly": 10}
    assert await values("2026-11-20") == {"daily": 1, "monthly": 10}
    with pytest.raises(errors.Precondition):
        await count(world, compare("daily", "EQ", 1), data_date="2026-11-19")
    october = await count(world, compare("monthly", "EQ", 9), data_date="2026-10-30")
    assert october.count == 3 and october.data_date == "2026-10-30"


async def test_members_page_by_ordinal_and_are_masked(world):
    """The detail list pages without gaps or repeats, numbers masked by role (AUD-12)."""
    await world.subscribers(25)
    await world.tags(number("spend", decimals=1))
    await world.values(DAY, np.arange(1, 26), numbers("spend", np.arange(25) / 2))
    request = audience_pb2.ListMembersRequest(
        selection=selection(compare("spend", "GE", 2.5)), tags=["spend"], page_size=8
    )
    seen = []
    while True:
        answer = await world.as_(PLANNER).audiences.ListMembers(request)
        seen += answer.members
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert [m.subscriber_id for m in seen] == list(range(6, 26))
    assert seen[0].phone == "188****0006" and list(seen[1].values) == ["3"]
    request.page_token = ""
    operator = await world.as_(OPERATOR).audiences.ListMembers(request)
    assert operator.members[0].phone == "18800000006"
    request.page_token = "nonsense"
    with pytest.raises(errors.Invalid):
        await world.as_(PLANNER).audiences.ListMembers(request)


async def test_a_summary_has_three_blocks_and_an_index(world):
    """Basic, preference and business attributes beside the whole base (AUD-11)."""
    count_all = 1200
    ids = np.arange(1, count_all + 1)
    await world.subscribers(count_all)
    await world.tags(
        enumeration("gender", ["male", "female"], tag_class=tag_pb2.TAG_CLASS_BASIC),
        enumeration("tariff_preference", ["price", "traffic"], category="偏好"),
        tag("apps", "TAG_TYPE_SET", values=[tag_pb2.EnumValue(code=c) for c in ("x", "y", "z")]),
        number("monthly_spend", decimals=2),
        flag("integrated_4g"),
    )
    spend = np.where(ids % 3 == 0, 20.5, 50.0)
    masks = (ids % 8).astype("<u8")
    await world.values(
        DAY,
        ids,
        codes("gender", ids % 2),
        codes("tariff_preference", np.where(ids % 4 == 0, 0, np.where(ids % 4 == 1, 1, -1))),
        tag_pb2.TagColumn(tag="apps", data=masks.tobytes()),
        numbers("monthly_spend", spend),
        flags("integrated_4g", np.where(ids % 5 == 0, 1, 0)),
    )
    answer = await world.as_(PLANNER).audiences.SummariseAudience(
        audience_pb2.SummariseAudienceRequest(selection=selection(compare("gender", "EQ", "female")))
    )
    assert answer.count.count == 600 and [b.block for b in answer.blocks] == [
        "basic",
        "preference",
        "business",
    ]
    found = {d.tag: d for b in answer.blocks for d in b.distributions}
    chosen = ids % 2 == 1
    assert [(b.label, b.count, b.index) for b in found["gender"].buckets] == [
        ("标签female", 600, 200.0),
        ("标签male", 0, 0.0),
    ]
    tariff = {b.label: b.count for b in found["tariff_preference"].buckets}
    assert tariff == {"标签traffic": 300, "标签price": 0, "无": 300}
    assert found["monthly_spend"].mean == pytest.approx(spend[chosen].mean())
    bands = {b.label: b.count for b in found["monthly_spend"].buckets}
    assert bands == {
        "[18, 28)": int((chosen & (ids % 3 == 0)).sum()),
        "[38, 58)": int((chosen & (ids % 3 != 0)).sum()),
    }
    apps = {b.label: b.count for b in found["apps"].buckets}
    assert apps == {code: int((chosen & ((masks >> bit) & 1 == 1)).sum()) for bit, code in enumerate("xyz")}
    assert {r.region: r.count for r in answer.regions} == {150102: 200, 150103: 200, 150202: 200}
    asked = await world.as_(PLANNER).audiences.SummariseAudience(
        audience_pb2.SummariseAudienceRequest(selection=selection(), tags=["integrated_4g"])
    )
    assert [(b.label, b.count, b.index) for b in asked.blocks[2].distributions[0].buckets] == [
        ("否", 960, 100.0),
        ("是", 240, 100.0),
    ]


async def test_why_a_subscriber_is_in_or_out(world):
    await world.subscribers(3)
    await world.tags(number("spend", decimals=2, display_name="月消费", unit="yuan"))
    await world.values(DAY, [1, 2], numbers("spend", [30, 50.5]))
    condition = all_of(
        compare("spend", "LT", 38), condition_pb2.Condition(**{"not": compare("spend", "NOT_EXISTS")})
    )

    async def explain(**who):
        request = audience_pb2.ExplainMembershipRequest(selection=selection(condition), **who)
        return await world.as_(PLANNER).audiences.ExplainMembership(request)

    inside = await explain(subscriber_id=1)
    assert inside.member and inside.root.children[0].value == "30"
    assert inside.root.children[0].text == "月消费 < 38 元"
    outside = await explain(phone=18800000002)
    assert not outside.member and not outside.root.children[0].result and outside.root.children[1].result
    assert outside.root.children[0].value == "50.5"
    nothing = await explain(subscriber_id=3)
    assert nothing.root.children[0].value == "" and not nothing.root.result
    await world.as_(OPERATOR).lists.ChangeSuppression(
        list_pb2.ChangeSuppressionRequest(suppression_list=list_pb2.SUPPRESSION_LIST_RED, add=[1], reason="r")
    )
    listed = await explain(subscriber_id=1)
    assert not listed.member and listed.excluded == "red_list" and listed.root.result


async def test_an_audience_is_kept_changed_and_removed(world):
    """Saved selections with etags; a city user's own is bound to the city (AUD-08)."""
    await world.subscribers(6)
    await world.tags(number("spend", decimals=2, display_name="月消费", unit="yuan"))
    audiences = world.as_(PLANNER).audiences
    request = audience_pb2.CreateAudienceRequest(
        audience=audience_pb2.Audience(
            display_name="飞享38元档",
            selection=selection(compare("spend", "BETWEEN", 28, 38, lower_open=True, upper_open=True)),
        ),
        audience_id="feixiang-38",
        request_id="one",
    )
    made = await audiences.CreateAudience(request)
    assert made.name == "audiences/feixiang-38" and made.condition_text == "28 元 < 月消费 < 38 元"
    assert await audiences.CreateAudience(request) == made
    request.request_id = "two"
    with pytest.raises(errors.Exists):
        await audiences.CreateAudience(request)
    changed = await audiences.UpdateAudience(
        audience_pb2.UpdateAudienceRequest(
            audience=audience_pb2.Audience(
                name=made.name, display_name="新名", etag=made.etag, selection=selection()
            ),
            update_mask=field_mask_pb2.FieldMask(paths=["display_name"]),
        )
    )
    assert changed.display_name == "新名" and changed.selection == made.selection
    with pytest.raises(errors.Conflict):
        await audiences.UpdateAudience(
            audience_pb2.UpdateAudienceRequest(
                audience=audience_pb2.Audience(
                    name=made.name, display_name="x", etag=made.etag, selection=selection()
                )
            )
        )
    city = await world.as_(CITY).audiences.CreateAudience(
        audience_pb2.CreateAudienceRequest(
            audience=audience_pb2.Audience(display_name="包头", selection=selection())
        )
    )
    assert list(city.selection.regions) == [150200]
    hohhot = await audiences.CreateAudience(
        audience_pb2.CreateAudienceRequest(
            audience=audience_pb2.Audience(display_name="呼和浩特", selection=selection(regions=[150100]))
        )
    )
    shown = await world.as_(CITY).audiences.ListAudiences(audience_pb2.ListAudiencesRequest(page_size=1))
    assert [a.display_name for a in shown.audiences] == ["包头"]
    shown = await world.as_(CITY).audiences.ListAudiences(
        audience_pb2.ListAudiencesRequest(page_size=1, page_token=shown.next_page_token)
    )
    assert [a.display_name for a in shown.audiences] == ["新名"] and not shown.next_page_token
    with pytest.raises(errors.NotFound):
        await world.as_(CITY).audiences.GetAudience(audience_pb2.GetAudienceRequest(name=hohhot.name))
    await audiences.DeleteAudience(audience_pb2.DeleteAudienceRequest(name=made.name))
    with pytest.raises(errors.NotFound):
        await audiences.GetAudience(audience_pb2.GetAudienceRequest(name=made.name))


async def test_uses_of_a_tag_are_counted(world):
    """Saved conditions and counts raise a tag's popularity (POR-15)."""
    await world.subscribers(3)
    await world.tags(number("spend"), number("age"))
    await world.values(DAY, [1], numbers("spend", [1]), numbers("age", [1]))
    await count(world, compare("spend", "EQ", 1))
    await count(world, compare("spend", "EQ", 1))
    await count(world, all_of(compare("spend", "EQ", 1), compare("age", "EQ", 1)))
    answer = await world.as_(PLANNER).tags.ListTags(tag_pb2.ListTagsRequest(order_by="usage desc"))
    assert [(t.code, t.usage_count) for t in answer.tags] == [("spend", 3), ("age", 1)]


async def test_sets_stand_in_conditions(world):
    """Lists and audiences are conditions of their own (AUD-27); one that refers to itself is refused."""
    await world.subscribers(9)
    await world.tags(number("spend"))
    await world.values(DAY, np.arange(1, 10), numbers("spend", np.arange(9)))
    planner = world.as_(PLANNER)
    await planner.lists.CreateCustomerList(
        list_pb2.CreateCustomerListRequest(
            customer_list=list_pb2.CustomerList(display_name="名单"), list_id="vip"
        )
    )
    await planner.lists.ImportCustomers(
        list_pb2.ImportCustomersRequest(name="lists/vip", subscriber_ids=[1, 2, 9])
    )
    await planner.audiences.CreateAudience(
        audience_pb2.CreateAudienceRequest(
            audience_id="rich",
            audience=audience_pb2.Audience(display_name="r", selection=selection(compare("spend", "GE", 5))),
        )
    )
    assert (await count(world, member("lists/vip"))).count == 3
    assert (await count(world, member("audiences/rich"))).count == 4
    assert (await count(world, all_of(member("lists/vip"), member("audiences/rich")))).count == 1
    outside = condition_pb2.Condition(**{"not": any_of(member("lists/vip"), member("audiences/rich"))})
    assert (await count(world, outside)).count == 3
    await planner.audiences.UpdateAudience(
        audience_pb2.UpdateAudienceRequest(
            audience=audience_pb2.Audience(
                name="audiences/rich", display_name="r", selection=selection(member("audiences/rich"))
            )
        )
    )
    with pytest.raises(errors.Invalid, match="itself"):
        await count(world, member("audiences/rich"))
