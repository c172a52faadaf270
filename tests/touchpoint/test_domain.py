"""The rules of touches: keys, states, stages, windows, words, replies, catalogue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iop.touchpoint.v1 import ledger_pb2

from services.kit import errors
from services.touchpoint.domain import catalogue, keys, policy, reasons, replies, stages, states, template
from services.touchpoint.domain.activity import Activity, ActivityState, Lane, Setting
from services.touchpoint.domain.states import Feedback, Outcome, Receipt, State
from services.touchpoint.domain.suppression import (
    ALWAYS,
    BLOCK,
    NO_LOCATION_CONSENT,
    OPT_OUT,
    mask,
    reason_of,
)

ZONE = "Asia/Shanghai"
TEN = policy.moment(datetime(2026, 6, 10, 2, 0, tzinfo=UTC), ZONE)  # 10:00
NIGHT = policy.moment(datetime(2026, 6, 10, 15, 0, tzinfo=UTC), ZONE)  # 23:00


@given(
    st.builds(
        keys.TouchKey,
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
    )
)
def test_a_touch_id_is_its_key(key: keys.TouchKey) -> None:
    text = keys.encode(key)
    assert len(text) == 24 and text == text.lower()
    assert keys.decode(text) == key
    assert keys.unpack(keys.pack(key)) == key
    assert keys.encode_page(*key[:4], [key.ordinal, 0]) == [text, keys.encode(key._replace(ordinal=0))]
    assert keys.pack_page(*key[:4], [key.ordinal])[0].tobytes() == keys.pack(key)
    assert keys.decode_all([text, "x", text.upper(), "é" * 24]) == [key, None, None, None]


@pytest.mark.parametrize("text", ["", "abc", "A" * 24, "1" * 24, "a" * 23 + "="])
def test_what_is_no_touch_id_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid) as found:
        keys.decode(text)
    assert found.value.reason == "TOUCH_ID_INVALID"


def test_days_count_from_2000() -> None:
    assert keys.day_number(date(2000, 1, 2)) == 1
    assert keys.date_of(keys.day_number(date(2026, 6, 10))) == date(2026, 6, 10)


def test_outcomes_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("OUTCOME_"): number for name, number in ledger_pb2.Outcome.items()}
    ours = {("UNSPECIFIED" if item is Outcome.NONE else item.name): item.value for item in Outcome}
    assert ours == contract
    for state in State:
        outcome = states.OUTCOME_OF[state]
        counter, reason = states.COUNTER_OF[state]
        assert (outcome == 0) == (state < State.SUPPRESSED)
        assert (counter == "settled") == (state > 10)
        assert reason == (Outcome(outcome).name.lower() if counter == "settled" else "")


@pytest.mark.parametrize(
    ("state", "leased", "status", "receipts", "expected"),
    [
        (State.LEASED, True, Receipt.ACCEPTED, True, State.INFLIGHT),
        (State.LEASED, True, Receipt.ACCEPTED, False, State.DELIVERED),
        (State.INFLIGHT, True, Receipt.ACCEPTED, True, None),
        (State.INFLIGHT, True, Receipt.DELIVERED, True, State.DELIVERED),
        (State.LEASED, True, Receipt.REJECTED, True, State.REJECTED),
        (State.LEASED, True, Receipt.UNKNOWN, True, State.UNKNOWN),
        (State.UNKNOWN, True, Receipt.DELIVERED, True, State.DELIVERED),
        (State.UNKNOWN, True, Receipt.FAILED, True, State.FAILED),
        (State.UNKNOWN, True, Receipt.UNKNOWN, True, None),
        (State.DELIVERED, True, Receipt.FAILED, True, None),
        (State.FAILED, True, Receipt.DELIVERED, True, None),
        # The lease was taken back, and then the report came.
        (State.QUEUED, True, Receipt.ACCEPTED, True, State.INFLIGHT),
        (State.QUEUED, True, Receipt.DELIVERED, True, State.DELIVERED),
        # Nobody had it: the report is about something else.
        (State.QUEUED, False, Receipt.DELIVERED, True, None),
        (State.HELD, False, Receipt.ACCEPTED, False, None),
        (State.SUPPRESSED, False, Receipt.DELIVERED, True, None),
        (State.CANCELLED, False, Receipt.ACCEPTED, True, None),
        (State.EXPIRED, True, Receipt.DELIVERED, True, None),
    ],
)
def test_receipts_move_a_touch_forward_only(
    state: State, leased: bool, status: Receipt, receipts: bool, expected: State | None
) -> None:
    assert states.after_receipt(state, leased, status, receipts=receipts) == expected


def test_feedback_settles_into_the_strongest() -> None:
    order = [State.WAITING, State.SHOWN, State.DECLINED, State.ACCEPTED]
    kinds = {Feedback.SHOWN: 1, Feedback.DECLINED: 2, Feedback.ACCEPTED: 3}
    for place, state in enumerate(order):
        for kind, rank in kinds.items():
            assert states.after_feedback(state, kind) == (order[rank] if rank > place else None)
    assert states.after_feedback(State.CANCELLED, Feedback.ACCEPTED) is None


def test_suppression_follows_the_setting() -> None:
    """Block, red and sensitive lists can be kept in; opt-out, consent and minors never (TCH-17)."""
    everything = mask(keep_block=False, keep_red=False, keep_sensitive=False, location=True)
    assert everything == 127
    least = mask(keep_block=True, keep_red=True, keep_sensitive=True, location=False)
    assert least == ALWAYS
    assert reason_of(BLOCK | OPT_OUT) == reasons.OPT_OUT
    assert reason_of(NO_LOCATION_CONSENT) == reasons.NO_LOCATION_CONSENT
    assert reason_of(0) == ""


def test_windows_open_and_close_on_the_minute() -> None:
    """The window's start lies inside, its end does not (DOMAIN 3.5)."""
    day = policy.window("08:00", "21:00")
    assert [day.contains(m) for m in (479, 480, 1259, 1260)] == [False, True, True, False]
    night = policy.window("22:00", "06:00")
    assert [night.contains(m) for m in (1319, 1320, 0, 359, 360)] == [False, True, True, True, False]
    assert day.closes(TEN) == round(datetime(2026, 6, 10, 13, 0, tzinfo=UTC).timestamp() * 1_000_000)
    assert night.closes(NIGHT) == round(datetime(2026, 6, 10, 22, 0, tzinfo=UTC).timestamp() * 1_000_000)
    with pytest.raises(errors.Invalid) as found:
        policy.window("08:00", "25:00")
    assert found.value.fields[0][0] == "window_end"


def test_caps_are_read_from_settings() -> None:
    assert policy.caps(["2/1", "5/7"]) == (policy.Cap(2, 1), policy.Cap(5, 7))
    for wrong in ("2", "0/1", "1/32", "a/b"):
        with pytest.raises(errors.Invalid):
            policy.caps([wrong])


def test_a_cap_concerns_its_touchpoints_and_types() -> None:
    anywhere = policy.Cap(2, 1)
    assert anywhere.applies(1, True, "traffic") and not anywhere.applies(8, False, "traffic")
    narrow = policy.Cap(1, 7, frozenset({8}), "traffic")
    assert narrow.applies(8, False, "traffic")
    assert not narrow.applies(8, False, "broadband") and not narrow.applies(1, True, "traffic")


def activity(*, event: bool = False, push: bool = True, **fields: object) -> Activity:
    setting = Setting(
        1 if push else 8,
        date(2026, 6, 1),
        date(2026, 6, 30),
        push,
        suppression=mask(keep_block=False, keep_red=False, keep_sensitive=False, location=event),
    )
    made = Activity(7, "campaigns/c/activities/a", "A7", "A", event, settings={setting.touchpoint: setting})
    return replace(made, **fields)  # type: ignore[arg-type]


def page(
    ordinals: list[int], now: policy.Moment = TEN, *, of: Activity | None = None, **columns: object
) -> stages.Page:
    one = of or activity()
    count = len(ordinals)
    values = {
        "expires": np.zeros(count, np.int64),
        "flags": np.zeros(count, np.uint8),
        "disturbed": np.zeros(count, np.bool_),
        "reachable": np.ones(count, np.bool_),
        **{name: np.array(value) for name, value in columns.items()},
    }
    made = stages.Page(
        one,
        next(iter(one.settings.values())),
        policy.ContactPolicy(),
        now,
        np.array(ordinals, np.uint32),
        **values,
    )
    stages.run(made)
    return made


def test_each_stage_decides_its_rows_and_the_rest_is_queued() -> None:
    """The first rule that applies to a row gives its reason (TCH-17, TCH-80)."""
    found = page(
        [1, 2, 3, 4, 5, 5],
        flags=np.array([OPT_OUT | BLOCK, 0, 0, 0, 0, 0], np.uint8),
        disturbed=[True, True, False, False, False, False],
        reachable=[False, False, False, True, True, True],
        expires=[0, 0, 0, TEN.micros, TEN.micros + 1, 0],
    )
    assert [State(s) for s in found.states] == [
        State.SUPPRESSED, State.SUPPRESSED, State.SUPPRESSED, State.EXPIRED, State.QUEUED, State.SUPPRESSED,
    ]  # fmt: skip
    assert [found.reason(i) for i in range(6)] == [
        "opt_out", "do_not_disturb", "not_follower", "time_to_live", "", "duplicate",
    ]  # fmt: skip


def test_outside_of_the_window_push_is_held_and_pull_waits() -> None:
    assert list(page([1, 2], NIGHT).states) == [State.HELD, State.HELD]
    assert list(page([1], NIGHT, of=activity(push=False)).states) == [State.WAITING]


def test_event_touches_have_a_shorter_window() -> None:
    """08:00 to 18:00 for events, to 21:00 otherwise (DOMAIN 2.2)."""
    evening = policy.moment(datetime(2026, 6, 10, 11, 0, tzinfo=UTC), ZONE)
    assert list(page([1], evening).states) == [State.QUEUED]
    assert list(page([1], evening, of=activity(event=True)).states) == [State.HELD]


def test_before_the_period_held_after_it_suppressed() -> None:
    """A touchpoint has its own first and last day (TCH-15)."""
    early = policy.moment(datetime(2026, 5, 31, 2, 0, tzinfo=UTC), ZONE)
    late = policy.moment(datetime(2026, 7, 1, 2, 0, tzinfo=UTC), ZONE)
    assert list(page([1], early).states) == [State.HELD]
    found = page([1], late)
    assert (found.states[0], found.reason(0)) == (State.SUPPRESSED, "out_of_period")


def test_a_page_of_an_ended_activity_is_cancelled() -> None:
    found = page([1, 2], of=activity(state=ActivityState.TERMINATED), flags=np.array([OPT_OUT, 0], np.uint8))
    assert list(found.states) == [State.CANCELLED, State.CANCELLED]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"state": ActivityState.PAUSED}, False),
        ({"state": ActivityState.TERMINATED}, False),
    ],
)
def test_only_running_activities_are_leasable(change: dict[str, object], expected: bool) -> None:
    assert activity(**change).leasable(1, policy.ContactPolicy(), TEN) is expected
    assert activity().leasable(1, policy.ContactPolicy(), NIGHT) is False
    off = activity().with_setting(replace(activity().settings[1], enabled=False, lane=Lane.HIGH))
    assert off.leasable(1, policy.ContactPolicy(), TEN) is False


def test_words_are_filled_in() -> None:
    """`{tag_code}` gives way to the customer's value; other braces stay (TCH-20)."""
    words = "您{month_spend}元,{month_spend}{Other}{x}"
    assert template.variables(words) == ("month_spend", "x")
    assert template.render(words, {"month_spend": "38"}) == "您38元,38{Other}"


@pytest.mark.parametrize("text", ["TD", " td ", "T", "r", "退订", "ＴＤ", "TD。"])
def test_refusals_are_understood(text: str) -> None:
    assert replies.refuses(replies.normalise(text))


@pytest.mark.parametrize("text", ["TDX", "谢谢", "", "好的TD"])
def test_other_words_do_not_refuse(text: str) -> None:
    assert not replies.refuses(replies.normalise(text))


def test_instructions_are_recognised_by_form() -> None:
    assert replies.may_instruct(replies.normalise(" ktaqy30 "))
    assert not replies.may_instruct(replies.normalise("多少钱"))


def test_the_catalogue_is_that_of_the_requirements() -> None:
    """Twelve touchpoints with modes, filters and senders (TCH-16, TCH-17, TCH-81)."""
    by_name = {item.name: item for item in catalogue.CATALOGUE}
    assert [item.number for item in catalogue.CATALOGUE] == list(range(1, 13))
    assert {name for name, item in by_name.items() if item.push} == {
        "sms", "event_sms", "data_plus", "wechat_hall", "comp",
    }  # fmt: skip
    assert {name for name, item in by_name.items() if not item.periodic_update} == {"sms", "comp", "sms_hall"}
    assert {name for name, item in by_name.items() if not item.suppression} == {"sms_hall"}
    assert {name for name, item in by_name.items() if item.sms_contract} == {"sms", "event_sms"}
    assert by_name["comp"].sender == "10658666" and by_name["sms"].sender == "10086"
    assert {name for name, item in by_name.items() if item.follower_tag} == {"data_plus", "wechat_hall"}


def test_every_touchpoint_asks_for_its_fields() -> None:
    """Words everywhere but at the SMS hall, a corpus for IVR, a link for Toolbar (TCH-20, TCH-29, TCH-46)."""
    fields = {item.name: {f.key: f for f in item.fields} for item in catalogue.CATALOGUE}
    assert {name for name, found in fields.items() if "marketing_words" not in found} == {"sms_hall"}
    assert fields["ivr"]["corpus_id"].required
    assert {"title", "image", "url"} <= fields["toolbar"].keys()
    assert {"title", "background", "title_image", "explanation", "channel_description"} <= fields[
        "data_plus"
    ].keys()
    described = {name for name, found in fields.items() if "activity_description" in found}
    assert described == {"sms", "event_sms", "web_hall", "comp", "kiosk", "store_counter", "sms_hall"}
