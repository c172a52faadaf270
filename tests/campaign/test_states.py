"""The tables of states (DOMAIN 2.6)."""

import itertools

import pytest

from services.campaign.domain.states import (
    ACTIVITY,
    CAMPAIGN,
    DONE,
    ActivityState,
    CampaignState,
    next_activity_state,
    next_state,
)
from services.kit import errors

C = CampaignState
ALLOWED = {
    ("edit", C.DRAFT): C.DRAFT,
    ("edit", C.RETURNED): C.RETURNED,
    ("edit", C.IN_APPROVAL): C.DRAFT,
    ("edit", C.APPROVED): C.DRAFT,
    ("park", C.DRAFT): C.DRAFT,
    ("park", C.RETURNED): C.RETURNED,
    ("delete", C.DRAFT): C.DRAFT,
    ("delete", C.RETURNED): C.RETURNED,
    ("submit", C.DRAFT): C.IN_APPROVAL,
    ("submit", C.RETURNED): C.IN_APPROVAL,
    ("approve", C.IN_APPROVAL): C.APPROVED,
    ("return", C.IN_APPROVAL): C.RETURNED,
    ("launch", C.APPROVED): C.RUNNING,
    ("pause", C.RUNNING): C.PAUSED,
    ("resume", C.PAUSED): C.RUNNING,
    ("complete", C.RUNNING): C.COMPLETED,
    ("complete", C.PAUSED): C.COMPLETED,
    ("terminate", C.RUNNING): C.TERMINATED,
    ("terminate", C.PAUSED): C.TERMINATED,
}


@pytest.mark.parametrize(("verb", "state"), list(itertools.product(CAMPAIGN, CampaignState)))
def test_every_verb_in_every_state(verb: str, state: CampaignState) -> None:
    """A campaign moves along its states and in no other way (CMP-38)."""
    after = ALLOWED.get((verb, state))
    if after is not None:
        assert next_state(verb, state) is after
        return
    with pytest.raises(errors.Precondition) as refused:
        next_state(verb, state)
    assert refused.value.reason == "STATE_FORBIDS"
    assert refused.value.metadata == {"state": state.name, "verb": verb}


def test_what_has_ended_never_moves_again() -> None:
    for verb in CAMPAIGN:
        for ended in (C.COMPLETED, C.TERMINATED):
            assert ended not in CAMPAIGN[verb]
    for verb in ACTIVITY:
        for over in (ActivityState.COMPLETED, ActivityState.TERMINATED):
            assert next_activity_state(verb, over) is None


def test_activities_follow_their_campaign() -> None:
    """What moves a campaign that runs moves its live activities to the state of the same name."""
    for verb in ("pause", "resume", "complete", "terminate"):
        for before, after in CAMPAIGN[verb].items():
            assert next_activity_state(verb, ActivityState[before.name]) == ActivityState[after.name]


def test_the_journal_has_a_word_for_each_step() -> None:
    assert set(DONE) == set(CAMPAIGN) - {"park", "delete"}
