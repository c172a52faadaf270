"""Completeness, approval, split and pages, without any server."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pyroaring import BitMap

from services.campaign.domain import approval, completeness, pages, scope, split
from services.campaign.domain.completeness import FieldRule, TouchpointRules
from services.campaign.domain.model import (
    ActivityPlan,
    CampaignPlan,
    Mode,
    Period,
    Priority,
    Product,
    Setting,
    Split,
    Suppression,
    Target,
    as_json,
    from_json,
    period_of,
)
from services.kit import errors
from services.kit.clock import to_micros

JUNE = Period(date(2026, 6, 1), date(2026, 6, 30))
CAMPAIGN = CampaignPlan("Feixiang", 150000, JUNE, brands=("m_zone",), lifecycle_stages=(2,))
ACTIVITY = ActivityPlan(
    "38-yuan tier",
    "FX38",
    Mode.ACTIVE_PUSH,
    target=Target("audience", "audiences/a"),
    product=Product("101040040146", "Feixiang 38", 3800, "KTAQY30"),
    control_percent=10.0,
    splits=(Split("a", 50.0, (1,)), Split("b", 25.0)),
)
SETTING = Setting(
    1, Period(date(2026, 6, 5), date(2026, 6, 20)), suppression=Suppression(keep_red_list=True, reason="VIP")
)
RULES = {
    1: TouchpointRules(
        1,
        frozenset({"active_push"}),
        (FieldRule("marketing_words", "long_text", True, 10), FieldRule("url", "url")),
        suppression=True,
    )
}


# --- values ---


@pytest.mark.parametrize("value", [CAMPAIGN, ACTIVITY, SETTING, Setting(2, JUNE, fields={"title": "标题"})])
def test_a_value_survives_storage(value: object) -> None:
    assert from_json(type(value), as_json(value)) == value


def test_a_period_is_checked() -> None:
    """A day that is none, or an end before the start, is named (CMP-30)."""
    with pytest.raises(errors.Invalid) as bad_day:
        period_of("2026-02-30", "2026-03-01", "campaign.period")
    assert bad_day.value.fields[0][0] == "campaign.period.start_date"
    with pytest.raises(errors.Invalid) as backwards:
        period_of("2026-03-02", "2026-03-01", "campaign.period")
    assert backwards.value.fields[0][0] == "campaign.period.end_date"


# --- completeness ---


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"target": None}, "activity.target"),
        ({"product": None}, "activity.product"),
        ({"definition": "definitions/d"}, "activity.definition"),
        ({"mode": Mode.EVENT_TRIGGERED}, "activity.definition"),
        ({"mode": Mode.EXTERNAL_IMPORT}, "activity.target.audience"),
        ({"target": Target("all_customers")}, "activity.target.all_customers"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, object], path: str) -> None:
    """An activity is completely filled in before touchpoints are configured (CMP-19, CMP-10, TCH-14)."""
    assert completeness.missing(ACTIVITY) == []
    found = completeness.missing(dataclasses.replace(ACTIVITY, **change))  # type: ignore[arg-type]
    assert [where for where, _ in found] == [path]
    with pytest.raises(errors.Precondition) as refused:
        completeness.require_complete(found)
    assert refused.value.reason == "ACTIVITY_INCOMPLETE"
    assert refused.value.fields == tuple(found)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"marketing_words": ""}, "setting.marketing_words"),
        ({"marketing_words": "x" * 11}, "setting.marketing_words"),
        ({"fields": {"url": "ftp://x"}}, 'setting.fields["url"]'),
        ({"fields": {"title": "x"}}, 'setting.fields["title"]'),
        ({"period": Period(date(2026, 6, 1), date(2026, 7, 1))}, "setting.period"),
        ({"periodic_update": True}, "setting.periodic_update"),
        ({"sms_contract_only": True}, "setting.sms_contract_only"),
        ({"suppression": Suppression(keep_block_list=True)}, "setting.suppression.reason"),
    ],
)
def test_a_setting_fits_its_touchpoint(change: dict[str, object], path: str) -> None:
    """Fields, period and options are those of the touchpoint's schema (TCH-15, TCH-16, TCH-17)."""
    good = dataclasses.replace(SETTING, marketing_words="words", fields={"url": "https://10086.cn"})
    completeness.check_setting(good, ACTIVITY, CAMPAIGN, RULES)
    with pytest.raises(errors.Invalid) as refused:
        completeness.check_setting(dataclasses.replace(good, **change), ACTIVITY, CAMPAIGN, RULES)  # type: ignore[arg-type]
    assert refused.value.reason == "SETTING_INVALID"
    assert [where for where, _ in refused.value.fields] == [path]


def test_a_touchpoint_serves_certain_modes() -> None:
    """An event SMS is no push touchpoint (TCH-02)."""
    for activity, setting in [
        (dataclasses.replace(ACTIVITY, mode=Mode.EVENT_TRIGGERED), SETTING),
        (ACTIVITY, dataclasses.replace(SETTING, touchpoint=2)),
    ]:
        with pytest.raises(errors.Precondition) as refused:
            completeness.check_setting(setting, activity, CAMPAIGN, RULES)
        assert refused.value.reason == "TOUCHPOINT_UNFIT"


def test_groups_of_a_split_are_checked() -> None:
    """Groups have their own names and at most 100 percent together (CMP-13)."""
    thirds = tuple(Split(name, 33.333333) for name in "abc")
    completeness.check_activity(dataclasses.replace(ACTIVITY, splits=thirds))
    for splits in [(Split("a", 60), Split("b", 41)), (Split("a", 10), Split("a", 10))]:
        with pytest.raises(errors.Invalid) as refused:
            completeness.check_activity(dataclasses.replace(ACTIVITY, splits=splits))
        assert refused.value.fields[0][0] == "activity.splits"


# --- approval ---


def _digest(
    plan: CampaignPlan = CAMPAIGN,
    regions: tuple[int, ...] = (),
    activity: ActivityPlan = ACTIVITY,
    setting: Setting = SETTING,
) -> str:
    return approval.content_digest("c", plan, regions, [("a", activity, [setting])])


def test_approval_binds_every_field() -> None:
    """Whatever differs changes the digest; order and storage do not (CMP-20)."""
    changes: dict[str, object] = {
        "region": 150100, "period": Period(date(2026, 6, 1), date(2026, 6, 2)), "cycle": 2, "brands": (),
        "need_dimensions": ("x",), "lifecycle_stages": (1,), "mode": Mode.EVENT_TRIGGERED, "target": None,
        "product": None, "control_percent": 11.0, "splits": (), "time_to_live_seconds": 5, "touchpoint": 3,
        "periodic_update": True, "suppression": None, "priority": Priority.HIGH, "fields": {"x": "y"},
        "sms_contract_only": True,
    }  # fmt: skip
    seen = {_digest()}
    for value, name in ((CAMPAIGN, "plan"), (ACTIVITY, "activity"), (SETTING, "setting")):
        for field in dataclasses.fields(value):
            changed = dataclasses.replace(value, **{field.name: changes.get(field.name, "other")})  # type: ignore[arg-type]
            digest = _digest(**{name: changed})  # type: ignore[arg-type]
            assert digest not in seen, f"{name}.{field.name} is not bound"
            seen.add(digest)
    assert _digest(regions=(150100,)) not in seen
    stored = from_json(ActivityPlan, as_json(ACTIVITY))
    assert _digest(activity=stored) == _digest()


def test_four_eyes() -> None:
    """Who wrote, changed or submitted it does not approve it."""
    approval.require_four_eyes("user:c", ["user:a", "user:b"])
    with pytest.raises(errors.Denied) as refused:
        approval.require_four_eyes("user:b", ["user:a", "user:b"])
    assert refused.value.reason == "APPROVER_IS_AUTHOR"
    for quoted in ("", "b" * 64):
        with pytest.raises(errors.Precondition) as stale:
            approval.require_current(quoted, "a" * 64)
        assert stale.value.reason == "APPROVAL_STALE"


# --- split ---


def _scalar(seed: int, ordinal: int) -> int:
    """The documented hash, one ordinal at a time."""
    mask = (1 << 64) - 1
    h = (seed + (ordinal + 1) * 0x9E3779B97F4A7C15) & mask
    h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & mask
    h = ((h ^ h >> 27) * 0x94D049BB133111EB) & mask
    return h ^ h >> 31


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_the_hash_is_the_documented_one(seed: int, ordinals: list[int]) -> None:
    assert split.hashes(seed, np.array(ordinals, np.uint32)).tolist() == [_scalar(seed, o) for o in ordinals]


@given(
    st.sets(st.integers(0, 2**32 - 1), max_size=300),
    st.floats(0, 50),
    st.lists(st.floats(0.1, 30), max_size=4),
    st.text(min_size=1, max_size=10),
)
@examples(max_examples=60, deadline=None)
def test_everyone_has_one_side(members: set[int], control: float, percents: list[float], name: str) -> None:
    """Control and groups do not overlap; a split of 100 percent leaves nobody out (CMP-13, AUD-28)."""
    splits = [Split(str(i), p) for i, p in enumerate(percents) if sum(percents[: i + 1]) <= 100]
    everyone, seed = BitMap(members), split.seed_of(name)
    apart, groups = split.divide(everyone, seed, control, splits)
    assert sum(map(len, groups.values())) + len(apart) == len(apart.union(*groups.values())) <= len(everyone)
    if not splits:
        assert apart | groups[0] == everyone
    for ordinal in members:
        h = _scalar(seed, ordinal)
        assert (ordinal in apart) == (h >> 32 < int(control / 100 * 2**32))
    some = BitMap(list(members)[::2])
    part, _ = split.divide(some, seed, control, splits)
    assert part == apart & some


def test_shares_come_out_as_asked() -> None:
    """Control takes its percent, groups theirs of the rest, independently of each other."""
    everyone = BitMap(range(0, 400_000, 2))
    splits = [Split("a", 30), Split("b", 60)]
    control, groups = split.divide(everyone, split.seed_of("x"), 10, splits)
    rest = len(everyone) - len(control)
    assert abs(len(control) / len(everyone) - 0.10) < 0.003
    assert abs(len(groups[0]) / rest - 0.30) < 0.005
    assert abs(len(groups[1]) / rest - 0.60) < 0.005
    other, _ = split.divide(everyone, split.seed_of("y"), 10, splits)
    assert abs(len(control & other) / len(control) - 0.10) < 0.01
    full, nobody = split.divide(everyone, 7, 0, [Split("all", 100)])
    assert len(full) == 0 and nobody[0] == everyone


def test_groups_know_their_touchpoints() -> None:
    splits = [Split("a", 30, (1,)), Split("b", 30), Split("c", 30, (8, 9))]
    assert split.serving(splits, 1) == [0, 1]
    assert split.serving(splits, 8) == [1, 2]
    assert split.serving([], 8) == [0]


# --- pages ---


def _cursor(members: BitMap, **fields: int) -> tuple[pages.Cursor, dict[str, BitMap]]:
    return pages.Cursor(0, "", "d", len(members), **fields), {"d": members}


@given(
    st.sets(st.integers(0, 100_000), min_size=1, max_size=400),
    st.lists(st.integers(0, 150), min_size=1, max_size=60),
    st.integers(1, 50),
)
@examples(max_examples=80, deadline=None)
def test_pages_cover_everyone_once(members: set[int], allowances: list[int], size: int) -> None:
    """Whatever the pace, no member comes twice and none is left out; pages are numbered without gaps."""
    cursor, sets = _cursor(BitMap(members))
    seen: list[int] = []
    index = 0
    for allowed in [*allowances, len(members)]:
        # As after a restart: only what is stored goes on.
        cursor = pages.Cursor(0, "", "d", cursor.size, cursor.position, cursor.handed)
        before = len(seen)
        for page in pages.next_pages([cursor], sets, allowed, index, size, quiet=False):
            assert page.index == index and 0 < len(page.ordinals) <= size
            seen += page.ordinals.tolist()
            index += 1
        assert len(seen) - before <= allowed
    assert seen == sorted(members) and cursor.left == 0


def test_a_page_waits_until_it_is_whole() -> None:
    """Short pages only at the end of a group, or when a whole one will never be allowed."""
    cursor, sets = _cursor(BitMap(range(100)))
    assert list(pages.next_pages([cursor], sets, 40, 0, 50, quiet=False)) == []
    assert [len(p.ordinals) for p in pages.next_pages([cursor], sets, 40, 0, 50, quiet=True)] == [40]
    assert [len(p.ordinals) for p in pages.next_pages([cursor], sets, 1000, 1, 50, quiet=False)] == [50, 10]


@pytest.mark.parametrize(
    ("received", "room", "handed", "window", "expected"),
    [
        (0, 500, 0, 4000, 500),
        (0, 500, 500, 4000, 0),
        (1000, 100_000, 1000, 4000, 4000),
        (1000, 100_000, 4500, 4000, 500),
        (1000, 200, 1100, 4000, 100),
        (1000, 0, 1000, 4000, 0),
        (1000, 0, 5000, 4000, 0),
    ],
)
def test_the_pace(received: int, room: int, handed: int, window: int, expected: int) -> None:
    assert pages.allowance(received, room, handed, window) == expected


def test_a_batch_over_midnight_has_two_days() -> None:
    """The planned day of a match is its day in the region (UTC+8)."""
    midnight = datetime(2026, 6, 10, 16, 0, tzinfo=UTC)
    times = [midnight - timedelta(seconds=1), midnight, midnight + timedelta(seconds=1)]
    days = pages.days_of(np.array([to_micros(t) for t in times], np.int64), "Asia/Shanghai")
    first = pages.planned_day(date(2026, 6, 10))
    assert days.tolist() == [first, first + 1, first + 1]
    parts = pages.by_day(days, np.arange(3))
    assert [(p.day, p.rows.tolist()) for p in parts] == [(first, [0]), (first + 1, [1, 2])]
    assert pages.day_of(first) == date(2026, 6, 10)


def test_days_where_the_zone_changes_its_offset() -> None:
    """Summer time begins within the batch: each row has its own offset."""
    times = [datetime(2026, 3, 28, 23, 30, tzinfo=UTC), datetime(2026, 3, 29, 22, 30, tzinfo=UTC)]
    days = pages.days_of(np.array([to_micros(t) for t in times], np.int64), "Europe/Berlin")
    assert [pages.day_of(int(d)) for d in days] == [date(2026, 3, 29), date(2026, 3, 30)]


def test_regions_cover_what_lies_below() -> None:
    """A city covers its counties, the province everything (POR-23)."""
    assert scope.ranges([150100]) == [(150100, 150199)]
    assert scope.ranges([150000, 150102]) == [(150000, 159999), (150102, 150102)]
