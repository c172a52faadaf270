"""When and how often customers may be touched: windows and caps (DOMAIN 2.2, 2.6, 3.5)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.kit import errors

_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True)
class Moment:
    """A time as rules read it: micros since 1970, and date and minute of the day in the region."""

    micros: int
    day: date
    minute: int
    zone: str

    def at_minute(self, minute: int, days: int = 0) -> int:
        """Micros of a minute of this day (1440: its end), `days` later."""
        local = datetime(self.day.year, self.day.month, self.day.day, tzinfo=ZoneInfo(self.zone))
        wanted = (local + timedelta(days=days, minutes=minute)).astimezone(UTC)
        return round(wanted.timestamp() * 1_000_000)


def moment(now: datetime, zone: str) -> Moment:
    """The moment of a UTC time in the region's time zone."""
    local = now.astimezone(ZoneInfo(zone))
    return Moment(round(now.timestamp() * 1_000_000), local.date(), local.hour * 60 + local.minute, zone)


@dataclass(frozen=True)
class Window:
    """Minutes of the day in which touches may go out: start included, end not."""

    start: int
    end: int

    def contains(self, minute: int) -> bool:
        """Whether a minute of the day lies inside."""
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def closes(self, now: Moment) -> int:
        """Micros at which the window that is open now closes."""
        later = self.start > self.end and now.minute >= self.start
        return now.at_minute(self.end, 1 if later else 0)


def window(start: str, end: str, fields: tuple[str, str] = ("window_start", "window_end")) -> Window:
    """A window of `HH:MM` texts; errors.Invalid names the field that is wrong."""
    minutes = []
    for text, field in zip((start, end), fields, strict=True):
        found = _TIME.fullmatch(text)
        value = int(found[1]) * 60 + int(found[2]) if found else -1
        if not 0 <= value <= 1440:
            raise errors.Invalid(
                f"{field}: {text!r} is not a time of day", fields=[(field, "HH:MM, up to 24:00")]
            )
        minutes.append(value)
    return Window(*minutes)


def clock_text(minute: int) -> str:
    """A minute of the day as `HH:MM`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


@dataclass(frozen=True)
class Cap:
    """At most `limit` contacts of a subscriber in `days` days, today included (接触频次).

    `touchpoints` are counted together, none means all push touchpoints; an empty `marketing_type`
    counts all types.
    """

    limit: int
    days: int
    touchpoints: frozenset[int] = frozenset()
    marketing_type: str = ""

    def applies(self, touchpoint: int, push: bool, marketing_type: str) -> bool:
        """Whether a contact counts against this cap."""
        reached = touchpoint in self.touchpoints if self.touchpoints else push
        return reached and self.marketing_type in ("", marketing_type)


@dataclass(frozen=True)
class ContactPolicy:
    """The rules in force. `version` 0 is the default from the settings."""

    push_window: Window = Window(8 * 60, 21 * 60)
    event_window: Window = Window(8 * 60, 18 * 60)
    caps: tuple[Cap, ...] = ()
    receipt_hours: float = 2.0
    version: int = 0
    update_micros: int = 0

    def window_of(self, event: bool) -> Window:
        """The window of event touches or of active push."""
        return self.event_window if event else self.push_window

    def capped(self, touchpoint: int, push: bool, marketing_type: str) -> bool:
        """Whether any cap concerns such a contact."""
        return any(cap.applies(touchpoint, push, marketing_type) for cap in self.caps)

    @property
    def longest_cap_days(self) -> int:
        """Days that the caps look back, 0 without caps."""
        return max((cap.days for cap in self.caps), default=0)


def caps(texts: Iterable[str]) -> tuple[Cap, ...]:
    """Caps on all push touchpoints from settings such as `2/1` (two in one day) and `5/7`."""
    made = []
    for text in texts:
        found = re.fullmatch(r"(\d{1,3})/(\d{1,2})", text)
        if not found or not 1 <= int(found[1]) <= 100 or not 1 <= int(found[2]) <= 31:
            raise errors.Invalid(
                f"{text!r} is not a cap such as 2/1 (contacts/days)", fields=[("IOP_CAPS", text)]
            )
        made.append(Cap(int(found[1]), int(found[2])))
    return tuple(made)
