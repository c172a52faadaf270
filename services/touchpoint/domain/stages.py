"""What a page goes through on entry: one visible tuple of stages, each a rule on whole columns.

A stage drops rows with a reason, expires them, or holds them; a row that a stage has decided is not
decided again by a later one. What is left is queued (push) or waits for the customer (pull).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.touchpoint.domain import reasons
from services.touchpoint.domain.activity import Activity, Setting
from services.touchpoint.domain.policy import ContactPolicy, Moment
from services.touchpoint.domain.states import State
from services.touchpoint.domain.suppression import PRECEDENCE


@dataclass
class Page:
    """A page under decision; columns of one length. `expires` is 0 where a touch never expires."""

    activity: Activity
    setting: Setting
    policy: ContactPolicy
    now: Moment
    ordinals: NDArray[np.uint32]
    expires: NDArray[np.int64]
    flags: NDArray[np.uint8]  # suppression lists of each subscriber
    disturbed: NDArray[np.bool_]  # on the do-not-disturb list for this touchpoint and type
    reachable: NDArray[np.bool_]  # follows the account, where only followers can be reached
    states: NDArray[np.uint8] = field(init=False)
    reasons: NDArray[np.uint8] = field(init=False)  # index into `reason_names`, 0 for none
    reason_names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.states = np.zeros(len(self.ordinals), np.uint8)
        self.reasons = np.zeros(len(self.ordinals), np.uint8)
        self.reason_names = [""]

    def decide(self, rows: NDArray[np.bool_], state: State, reason: str = "") -> None:
        """Give a state to those of the rows that have none yet."""
        open_rows = rows & (self.states == State.NONE)
        if not open_rows.any():
            return
        self.states[open_rows] = state
        if reason:
            if reason not in self.reason_names:
                self.reason_names.append(reason)
            self.reasons[open_rows] = self.reason_names.index(reason)

    def reason(self, row: int) -> str:
        """Reason of a row, "" for none."""
        return self.reason_names[self.reasons[row]]


def twice_in_page(page: Page) -> None:
    """The first of equal ordinals counts; the others repeat its key."""
    first = np.unique(page.ordinals, return_index=True)[1]
    if len(first) < len(page.ordinals):
        repeated = np.ones(len(page.ordinals), np.bool_)
        repeated[first] = False
        page.decide(repeated, State.SUPPRESSED, reasons.DUPLICATE)


def activity_ended(page: Page) -> None:
    """Pages may still be under way when an activity ends."""
    if page.activity.ended:
        page.decide(np.ones(len(page.ordinals), np.bool_), State.CANCELLED, reasons.ACTIVITY_ENDED)


def period(page: Page) -> None:
    """After the touchpoint's last day nothing goes out (TCH-15)."""
    if page.now.day > page.setting.end:
        page.decide(np.ones(len(page.ordinals), np.bool_), State.SUPPRESSED, reasons.OUT_OF_PERIOD)


def suppression(page: Page) -> None:
    """Opt-outs, consent, minors, and the lists that the setting filters (TCH-17)."""
    hit = page.flags & page.setting.suppression
    if not hit.any():
        return
    for bit, reason in PRECEDENCE:
        page.decide((hit & bit) != 0, State.SUPPRESSED, reason)


def do_not_disturb(page: Page) -> None:
    """Customers who refused this kind of marketing at this touchpoint (免打扰)."""
    page.decide(page.disturbed, State.SUPPRESSED, reasons.DO_NOT_DISTURB)


def followers(page: Page) -> None:
    """WeChat-type touchpoints reach followers only (TCH-80)."""
    page.decide(~page.reachable, State.SUPPRESSED, reasons.NOT_FOLLOWER)


def time_to_live(page: Page) -> None:
    """An event touch that comes too late is not sent at all."""
    late = (page.expires > 0) & (page.expires <= page.now.micros)
    page.decide(late, State.EXPIRED, reasons.TIME_TO_LIVE)


def window(page: Page) -> None:
    """What is left waits for the customer, goes to the queue, or is held until the window opens."""
    rest = np.ones(len(page.ordinals), np.bool_)
    if not page.setting.push:
        page.decide(rest, State.WAITING)
    elif page.activity.sendable(page.setting, page.policy, page.now):
        page.decide(rest, State.QUEUED)
    else:
        page.decide(rest, State.HELD)


# The ledger adds one more, which needs its key: a touch that is already there is a duplicate.
STAGES: tuple[Callable[[Page], None], ...] = (
    twice_in_page,
    activity_ended,
    period,
    suppression,
    do_not_disturb,
    followers,
    time_to_live,
    window,
)


def run(page: Page) -> None:
    """Bring every row of the page to its state of entry."""
    for stage in STAGES:
        stage(page)
