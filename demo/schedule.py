"""The demo day as a list of positions of the business clock. The player walks it; the recomputation too.

A position sets the clock and waits until all is at rest; then it does its part and waits again. Location and
behaviour (keywords, sites, apps) take turns ten minutes apart, so that answers to the messages of one part
(ten minutes later) are in before the next part sends, and no two activities race for a contact.
"""

from __future__ import annotations

from dataclasses import dataclass

LAUNCH, CLOCK, LOCATION, BEHAVIOUR = "launch", "clock", "location", "behaviour"
REAL_TIME = (1, 2, 3)  # sources of a location part: location, power switch, terminal change
BEHAVIOURS = (4, 5, 6)

MORNING = 450  # 07:30: everything is launched
WINDOW_OPENS, WINDOW_CLOSES = 480, 1260
EVENT_WINDOW_CLOSES = 1080
# Location is played at these minutes: half-hours in the busy morning, then hours.
PARTS = (510, 540, 570, 600, 660, 720, 780, 840, 900, 960, 1020, 1080)
LAST_PART, TURN, REST = PARTS[-1], 10, 30
SECOND_PUSH = 560
FINAL = 1230  # 20:30: reports of messages after 17:30 that come three hours late are still out
RECEIPT_HOURS = 2.0  # then a message without report settles as unknown
# Contacts a day of each group of touchpoints, counted together.
CAPS = ((("sms", "event_sms", "comp"), 1), (("data_plus", "wechat_hall"), 1))


@dataclass(frozen=True)
class Position:
    """One stop of the clock, in minutes of the demo day; signals of [begin, end) are played there."""

    minute: int
    part: str
    begin: int = 0
    end: int = 0
    launches: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """`09:10`."""
        return f"{self.minute // 60:02d}:{self.minute % 60:02d}"


def positions() -> list[Position]:
    """The whole day."""
    events = ("CMP-22", "CMP-41", "CMP-42", "CMP-43", "CMP-44", "CAM-32")
    made = [
        Position(MORNING, LAUNCH, launches=(*events, "CMP-21")),
        Position(WINDOW_OPENS, CLOCK),
        # The first events are older than their half hour.
        Position(WINDOW_OPENS + TURN, BEHAVIOUR, MORNING, WINDOW_OPENS + TURN),
    ]
    before = WINDOW_OPENS
    for minute in PARTS:
        made.append(Position(minute, LOCATION, before, minute))
        made.append(Position(minute + TURN, BEHAVIOUR, before + TURN, minute + TURN))
        before = minute
    made.append(Position(SECOND_PUSH, LAUNCH, launches=("CMP-40",)))
    made += [Position(LAST_PART + REST, CLOCK), Position(LAST_PART + 4 * REST, CLOCK), Position(FINAL, CLOCK)]
    return sorted(made, key=lambda position: position.minute)
