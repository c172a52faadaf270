"""What the touchpoint service knows of an activity and of its touchpoints."""

from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum

from services.touchpoint.domain.policy import ContactPolicy, Moment


class Lane(IntEnum):
    """iop.common.v1.Priority; a lane of the queue."""

    HIGH = 1
    MEDIUM = 2
    LOW = 3


class ActivityState(IntEnum):
    """iop.campaign.v1.ActivityState."""

    RUNNING = 1
    PAUSED = 2
    COMPLETED = 3
    TERMINATED = 4


ENDED = (ActivityState.COMPLETED, ActivityState.TERMINATED)


@dataclass(frozen=True)
class Setting:
    """How an activity uses a touchpoint. `suppression` is the mask of lists that apply."""

    touchpoint: int
    start: date
    end: date
    push: bool
    lane: Lane = Lane.MEDIUM
    enabled: bool = True
    suppression: int = 0
    words: str = ""
    variables: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Activity:
    """An activity as launched; `state` and the settings' lanes and switches change later."""

    number: int
    name: str
    code: str
    display_name: str
    event: bool
    marketing_type: str = ""
    product_code: str = ""
    product_name: str = ""
    order_instruction: str = ""
    time_to_live_s: int = 1800
    trace_budget: int = 0
    traceparent: str = ""
    state: ActivityState = ActivityState.RUNNING
    state_version: int = 0
    settings: dict[int, Setting] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Completed or terminated: nothing of it goes out any more."""
        return self.state in ENDED

    def over(self, touchpoint: int, today: date) -> bool:
        """Whether what waits at the touchpoint is to be cancelled."""
        setting = self.settings.get(touchpoint)
        return self.ended or setting is None or today > setting.end

    def leasable(self, touchpoint: int, policy: ContactPolicy, now: Moment) -> bool:
        """Whether queued touches may go out now: running, switched on, in period and window."""
        setting = self.settings.get(touchpoint)
        return (
            setting is not None
            and setting.enabled
            and self.state == ActivityState.RUNNING
            and self.sendable(setting, policy, now)
        )

    def sendable(self, setting: Setting, policy: ContactPolicy, now: Moment) -> bool:
        """In its period and its daily window: what is not sendable is held."""
        return setting.start <= now.day <= setting.end and policy.window_of(self.event).contains(now.minute)

    def offerable(self, touchpoint: int, today: date) -> bool:
        """Whether a pull touchpoint may show its offers today."""
        setting = self.settings.get(touchpoint)
        return (
            setting is not None
            and setting.enabled
            and self.state == ActivityState.RUNNING
            and setting.start <= today <= setting.end
        )

    def with_setting(self, setting: Setting) -> "Activity":
        """The activity with one setting replaced."""
        return replace(self, settings={**self.settings, setting.touchpoint: setting})
