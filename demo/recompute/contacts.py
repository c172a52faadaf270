"""Follows every touch through the day by plain rules: lists, windows, caps, channels, answers, visits."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from demo.cases import EVENT, Case
from demo.recompute.targets import Mask
from demo.schedule import CAPS, EVENT_WINDOW_CLOSES, RECEIPT_HOURS, WINDOW_CLOSES, WINDOW_OPENS
from demo.simulators import fate
from demo.world import World, micros

PULL = ("store_counter", "toolbar")
NUMBERS = {"sms": 1, "event_sms": 2, "data_plus": 3, "toolbar": 4, "store_counter": 8}
REACHED = ("delivered", "shown", "accepted", "declined")
MINUTE = 60_000_000


@dataclass
class Touch:
    """One touch. `state` is suppressed:<reason>, waiting, held, leased or an outcome."""

    row: int
    state: str
    expires: int = 0  # micros, 0 never


@dataclass
class Line:
    """Touches of one activity at one touchpoint."""

    case: Case
    touchpoint: str
    words: str
    touches: dict[int, Touch] = field(default_factory=dict)
    clicks: int = 0
    replies: int = 0
    opt_outs: int = 0
    orders: int = 0
    taken: set[int] = field(default_factory=set)  # rows whose message the channel took
    refused: set[int] = field(default_factory=set)  # rows whose message it refused
    answered: dict[int, str] = field(default_factory=dict)

    def states(self) -> Counter[str]:
        """How many touches are in which state."""
        return Counter(touch.state for touch in self.touches.values())


class Contacts:
    """The day as it goes. Times are micros; `now` moves by `clock`."""

    def __init__(self, world: World, cases: Iterable[Case]) -> None:
        self._world = world
        self.now = 0
        self.opted_out: Mask = np.zeros(world.count, np.bool_)
        self.lines = {
            (case.case, setting.touchpoint): Line(case, setting.touchpoint, setting.words)
            for case in cases
            for setting in case.settings
        }
        self._slots = [Counter[int]() for _ in CAPS]
        self._later: list[tuple[int, int, str, Line, int]] = []
        self._order = itertools.count()

    # What comes in.

    def push(self, case: Case, rows: NDArray[np.integer]) -> None:
        """An active push hands its target to each touchpoint."""
        for line in self._of(case):
            for row in rows.tolist():
                line.touches[row] = Touch(row, "waiting" if line.touchpoint in PULL else "held")
            if line.touchpoint not in PULL:
                self._release(line)

    def matched(self, case: Case, rows: NDArray[np.integer], occurred: NDArray[np.int64]) -> None:
        """Matches become touches of each touchpoint of the activity. Events ask for consent to location."""
        world, life = self._world, case.time_to_live_s * 1_000_000
        for line in self._of(case):
            fresh = []
            for row, at in zip(rows.tolist(), occurred.tolist(), strict=True):
                touch = line.touches[row] = Touch(row, "held", at + life)
                if self.opted_out[row]:
                    touch.state = "suppressed:opt_out"
                elif world.lists["no_location_consent"][row]:
                    touch.state = "suppressed:no_location_consent"
                elif line.touchpoint == "data_plus" and not world.columns["data_plus_follower"][row]:
                    touch.state = "suppressed:not_follower"
                elif touch.expires <= self.now:
                    touch.state = "expired"
                elif line.touchpoint in PULL:
                    touch.state = "waiting"
                else:
                    fresh.append(row)
            if fresh and self._open(line):
                self._send(line, fresh)

    def visit(self, touchpoint: str, rows: Iterable[int]) -> None:
        """Customers come to a pull touchpoint: the best offer is made, its fate decides."""
        lines = [line for line in self.lines.values() if line.touchpoint == touchpoint]
        for row in rows:
            for line in lines:
                touch = line.touches.get(row)
                if touch is None or touch.state != "waiting" or self.opted_out[row]:
                    continue
                phone = self._world.people.phone[row]
                said = str(fate.pull(self._world.seed, line.case.code, [phone], touchpoint)[0])
                touch.state = said
                line.orders += said == "accepted"
                break

    def clock(self, minute: int) -> None:
        """Time moves: what is due happens, in the order of its time."""
        self.now = micros(minute)
        while self._later and self._later[0][0] <= self.now:
            _, _, what, line, row = heapq.heappop(self._later)
            getattr(self, f"_{what}")(line, row)
        for line in self.lines.values():
            for touch in line.touches.values():
                if touch.state == "held" and 0 < touch.expires <= self.now:
                    touch.state = "expired"
        for line in self.lines.values():
            self._release(line)

    def spontaneous(self) -> None:
        """Orders by customers' own wish count where the product's activity reached them first by number."""
        world = self._world
        for case in {line.case.case: line.case for line in self.lines.values()}.values():
            buyers = fate.spontaneous(world.seed, case.product[0], world.people.phone)
            lines = sorted(self._of(case), key=lambda line: NUMBERS[line.touchpoint])
            for row in np.flatnonzero(buyers).tolist():
                for line in lines:
                    touch = line.touches.get(row)
                    if touch is not None and touch.state in REACHED:
                        line.orders += 1
                        break

    # What follows.

    def _of(self, case: Case) -> list[Line]:
        return [line for line in self.lines.values() if line.case.case == case.case]

    def _open(self, line: Line) -> bool:
        closes = EVENT_WINDOW_CLOSES if line.case.mode == EVENT else WINDOW_CLOSES
        return micros(WINDOW_OPENS) <= self.now < micros(closes)

    def _release(self, line: Line) -> None:
        """Held touches go out once the window is open."""
        if self._open(line):
            held = [touch.row for touch in line.touches.values() if touch.state == "held"]
            if held:
                self._send(line, held)

    def _send(self, line: Line, rows: Sequence[int]) -> None:
        """One contact a day of each group; then the channel decides."""
        world = self._world
        group = next(i for i, (words, _) in enumerate(CAPS) if line.touchpoint in words)
        allowed = []
        for row in rows:
            if self.opted_out[row]:
                line.touches[row].state = "suppressed:opt_out"
            elif self._slots[group][row] >= CAPS[group][1]:
                line.touches[row].state = "suppressed:contact_cap"
            else:
                allowed.append(row)
        phones = world.people.phone[np.array(allowed, dtype=np.int64)]
        fates = fate.push(world.seed, line.case.code, phones, line.touchpoint)
        text_message = line.touchpoint in ("sms", "event_sms")
        for i, row in enumerate(allowed):
            touch = line.touches[row]
            self._slots[group][row] += 1
            if fates.refused[i] or (not text_message and fates.undelivered[i]):
                touch.state = "rejected"
                line.refused.add(row)
                self._slots[group][row] -= 1
                continue
            line.taken.add(row)
            if not text_message:
                touch.state = "delivered"
                if fates.click[i]:
                    self._after(5, "click", line, row)
                continue
            end = "delivered" if fates.delivered[i] else "failed"
            if fates.late[i]:
                touch.state = "leased"
                self._after(RECEIPT_HOURS * 60, "unknown", line, row)
                self._after(fate.LATE_HOURS * 60, end, line, row)
            else:
                touch.state = "leased"
                getattr(self, f"_{end}")(line, row)
            if fates.opt_out[i]:
                line.answered[row] = "TD"
            elif fates.instruction[i] and line.case.instruction:
                line.answered[row] = line.case.instruction
            elif fates.chat[i]:
                line.answered[row] = "chat"
            if row in line.answered:
                self._after(fate.REPLY_MINUTES, "reply", line, row)

    def _after(self, minutes: float, what: str, line: Line, row: int) -> None:
        heapq.heappush(self._later, (self.now + round(minutes * MINUTE), next(self._order), what, line, row))

    def _click(self, line: Line, row: int) -> None:
        line.clicks += 1

    def _unknown(self, line: Line, row: int) -> None:
        line.touches[row].state = "unknown"

    def _delivered(self, line: Line, row: int) -> None:
        line.touches[row].state = "delivered"

    def _failed(self, line: Line, row: int) -> None:
        line.touches[row].state = "failed"
        group = next(i for i, (words, _) in enumerate(CAPS) if line.touchpoint in words)
        self._slots[group][row] -= 1

    def _reply(self, line: Line, row: int) -> None:
        line.replies += 1
        answer = line.answered[row]
        if answer == "TD":
            line.opt_outs += 1
            self.opted_out[row] = True
        elif answer == line.case.instruction:
            line.orders += 1
