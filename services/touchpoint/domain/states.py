"""States of a touch, outcomes, and which change follows from which report.

One byte a touch: a state on its way, or 10 + Outcome once settled. The law that the counters keep:
received = suppressed + waiting + held + queued + leased + cancelled + settled.
"""

from enum import IntEnum

from services.kit import errors


class Outcome(IntEnum):
    """iop.touchpoint.v1.Outcome."""

    NONE = 0
    DELIVERED = 1
    FAILED = 2
    REJECTED = 3
    EXPIRED = 4
    RECALLED = 5
    UNKNOWN = 6
    SHOWN = 7
    ACCEPTED = 8
    DECLINED = 9
    SUPPRESSED = 10
    CANCELLED = 11


class State(IntEnum):
    """The byte of a touch. NONE is a repeat of another page's key: it has no touch of its own."""

    NONE = 0
    WAITING = 1
    HELD = 2
    QUEUED = 3
    LEASED = 4  # with an adapter
    INFLIGHT = 5  # the provider took it, its receipt is awaited
    SUPPRESSED = 6
    CANCELLED = 7
    DELIVERED = 11
    FAILED = 12
    REJECTED = 13
    EXPIRED = 14
    RECALLED = 15
    UNKNOWN = 16
    SHOWN = 17
    ACCEPTED = 18
    DECLINED = 19


class Step(IntEnum):
    """What a row of the table `outcome` tells: an Outcome, or one of these."""

    PROVIDER_ACCEPTED = 20
    RETURNED = 21  # back to the queue: refused for now, recalled, or its lease was lost
    CLICKED = 22


class Receipt(IntEnum):
    """iop.adapter.v1.ReceiptStatus."""

    ACCEPTED = 1
    DELIVERED = 2
    FAILED = 3
    REJECTED = 4
    RETRY = 5
    DROPPED = 6
    UNKNOWN = 7
    CLICKED = 8


class Feedback(IntEnum):
    """iop.adapter.v1.FeedbackKind."""

    SHOWN = 1
    ACCEPTED = 2
    DECLINED = 3
    CLICKED = 4


_OUTCOME = {
    State.SUPPRESSED: Outcome.SUPPRESSED,
    State.CANCELLED: Outcome.CANCELLED,
    **{State(10 + outcome): outcome for outcome in Outcome if 1 <= outcome <= 9},
}
# Plain tables: the hot path looks each touch up once.
OUTCOME_OF: tuple[int, ...] = tuple(
    int(_OUTCOME.get(State(value), 0)) if value in State._value2member_map_ else 0 for value in range(20)
)
COUNTER_OF: tuple[tuple[str, str], ...] = tuple(
    ("", "")
    if value not in State._value2member_map_ or value == State.NONE
    else ("leased", "")
    if value in (State.LEASED, State.INFLIGHT)
    else ("settled", State(value).name.lower())
    if value > 10
    else (State(value).name.lower(), "")
    for value in range(20)
)

# A contact slot is held from the first lease until the touch is known not to have reached anybody.
HOLDS_SLOT = frozenset(
    {State.HELD, State.QUEUED, State.LEASED, State.INFLIGHT, State.DELIVERED, State.UNKNOWN}
)
# The customer has, or may have, the message: replies are matched to these.
TOUCHED = frozenset(
    {
        State.LEASED,
        State.INFLIGHT,
        State.DELIVERED,
        State.UNKNOWN,
        State.SHOWN,
        State.ACCEPTED,
        State.DECLINED,
    }
)

# A report may come after the lease was taken back: then the touch lies in the queue again.
_SENDABLE = (State.LEASED, State.QUEUED, State.HELD)
_RESULT = {
    Receipt.DELIVERED: State.DELIVERED,
    Receipt.FAILED: State.FAILED,
    Receipt.REJECTED: State.REJECTED,
}


def after_receipt(state: int, leased_before: bool, status: int, *, receipts: bool) -> int | None:
    """The state that a receipt leads to, None when it changes nothing.

    RETRY, DROPPED and CLICKED are not decided here: they depend on more than the state. `receipts`
    says that the adapter sends receipts of delivery; without them ACCEPTED is final.
    """
    sendable = state in _SENDABLE and (state == State.LEASED or leased_before)
    if status == Receipt.ACCEPTED:
        if receipts:
            return State.INFLIGHT if sendable else None
        return State.DELIVERED if sendable or state in (State.INFLIGHT, State.UNKNOWN) else None
    if status in _RESULT:
        amendable = state in (State.INFLIGHT, State.UNKNOWN)
        return _RESULT[Receipt(status)] if sendable or amendable else None
    if status == Receipt.UNKNOWN:
        return State.UNKNOWN if state in (State.LEASED, State.INFLIGHT) else None
    raise errors.Invalid(f"receipt status {status} is not decided by the state alone")


_STRENGTH = {State.WAITING: 0, State.SHOWN: 1, State.DECLINED: 2, State.ACCEPTED: 3}
_FEEDBACK = {
    Feedback.SHOWN: State.SHOWN,
    Feedback.DECLINED: State.DECLINED,
    Feedback.ACCEPTED: State.ACCEPTED,
}


def after_feedback(state: int, kind: int) -> int | None:
    """The state that feedback on an offer leads to: the strongest one heard; None when nothing changes."""
    wanted = _FEEDBACK[Feedback(kind)]
    strength = _STRENGTH.get(State(state))
    if strength is None or _STRENGTH[wanted] <= strength:
        return None
    return wanted
