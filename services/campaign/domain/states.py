"""The life of a campaign and of its activities (DOMAIN 2.6) as one table each."""

from enum import IntEnum

from services.kit import errors


class CampaignState(IntEnum):
    """States of a campaign; the numbers are those of the contract."""

    DRAFT = 1  # 草稿
    IN_APPROVAL = 2  # 审批中
    RETURNED = 3  # 审批退回
    APPROVED = 4  # 待执行
    RUNNING = 5  # 执行中
    PAUSED = 6  # 暂停
    COMPLETED = 7  # 已完成
    TERMINATED = 8  # 已终止


class ActivityState(IntEnum):
    """States of an activity; the numbers are those of the contract."""

    NOT_LAUNCHED = 0
    RUNNING = 1
    PAUSED = 2
    COMPLETED = 3
    TERMINATED = 4


C, A = CampaignState, ActivityState

# verb -> state before -> state after. What is not here is forbidden.
CAMPAIGN: dict[str, dict[CampaignState, CampaignState]] = {
    # Whatever is edited after submission has to be submitted again.
    "edit": {C.DRAFT: C.DRAFT, C.RETURNED: C.RETURNED, C.IN_APPROVAL: C.DRAFT, C.APPROVED: C.DRAFT},
    "park": {C.DRAFT: C.DRAFT, C.RETURNED: C.RETURNED},
    "delete": {C.DRAFT: C.DRAFT, C.RETURNED: C.RETURNED},
    "submit": {C.DRAFT: C.IN_APPROVAL, C.RETURNED: C.IN_APPROVAL},
    "approve": {C.IN_APPROVAL: C.APPROVED},
    "return": {C.IN_APPROVAL: C.RETURNED},
    "launch": {C.APPROVED: C.RUNNING},
    "pause": {C.RUNNING: C.PAUSED},
    "resume": {C.PAUSED: C.RUNNING},
    "complete": {C.RUNNING: C.COMPLETED, C.PAUSED: C.COMPLETED},
    "terminate": {C.RUNNING: C.TERMINATED, C.PAUSED: C.TERMINATED},
}

ACTIVITY: dict[str, dict[ActivityState, ActivityState]] = {
    "launch": {A.NOT_LAUNCHED: A.RUNNING},
    "pause": {A.RUNNING: A.PAUSED},
    "resume": {A.PAUSED: A.RUNNING},
    "complete": {A.RUNNING: A.COMPLETED, A.PAUSED: A.COMPLETED},
    "terminate": {A.RUNNING: A.TERMINATED, A.PAUSED: A.TERMINATED},
}

#: What the journal calls each verb.
DONE = {
    "edit": "changed",
    "submit": "submitted",
    "approve": "approved",
    "return": "returned",
    "launch": "launched",
    "pause": "paused",
    "resume": "resumed",
    "complete": "completed",
    "terminate": "terminated",
}

#: States in which an activity's touches may still go out.
LIVE = (A.RUNNING, A.PAUSED)


def next_state(verb: str, state: CampaignState) -> CampaignState:
    """The campaign's state after `verb`; Precondition, reason STATE_FORBIDS, where the table has none."""
    after = CAMPAIGN[verb].get(state)
    if after is None:
        allowed = ", ".join(before.name for before in CAMPAIGN[verb])
        raise errors.Precondition(
            f"a campaign that is {state.name} cannot {verb}; it must be {allowed}",
            reason="STATE_FORBIDS",
            metadata={"state": state.name, "verb": verb},
        )
    return after


def next_activity_state(verb: str, state: ActivityState) -> ActivityState | None:
    """The activity's state after a verb of its campaign, None when the verb leaves it as it is."""
    return ACTIVITY[verb].get(state)
