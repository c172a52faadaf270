"""What people fill in: campaigns, activities, touchpoint settings. Immutable values."""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, IntEnum
from typing import Any, TypeVar

from services.kit import errors

T = TypeVar("T")


class Mode(IntEnum):
    """营销方式 (CMP-04 to CMP-06); the numbers are those of the contract."""

    EVENT_TRIGGERED = 1
    ACTIVE_PUSH = 2
    EXTERNAL_IMPORT = 3

    @property
    def word(self) -> str:
        """Name as touchpoints list it: `active_push`."""
        return self.name.lower()


class Priority(IntEnum):
    """高, 中, 低 (TCH-22)."""

    HIGH = 1
    MEDIUM = 2
    LOW = 3

    @property
    def lane(self) -> str:
        """Lane of the work subject."""
        return self.name.lower()


TOUCHPOINTS = (
    "sms", "event_sms", "data_plus", "toolbar", "app_hall", "wechat_hall", "ivr", "store_counter", "kiosk",
    "web_hall", "comp", "sms_hall",
)  # fmt: skip


def touchpoint_word(touchpoint: int) -> str:
    """1 -> `sms`, ... 12 -> `sms_hall`."""
    return TOUCHPOINTS[touchpoint - 1]


@dataclass(frozen=True)
class Period:
    """Days in the region's time zone, both ends included."""

    start: date
    end: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day <= self.end

    def within(self, other: "Period") -> bool:
        """True when no day of it lies outside `other`."""
        return other.start <= self.start and self.end <= other.end


@dataclass(frozen=True)
class CampaignPlan:
    """The head of a campaign, 营销案 (CMP-25 to CMP-34)."""

    display_name: str
    region: int
    period: Period
    theme: str = ""
    goal: str = ""
    initiator: str = ""
    cycle: int = 0
    need_dimensions: tuple[str, ...] = ()
    lifecycle_stages: tuple[int, ...] = ()
    brands: tuple[str, ...] = ()
    target_description: str = ""
    case_id: str = ""
    marketing_type: str = ""


@dataclass(frozen=True)
class Target:
    """Where the customers come from: `kind` is audience, customer_list or all_customers (AUD-27)."""

    kind: str
    name: str = ""


@dataclass(frozen=True)
class Product:
    """营销商品 (CMP-16); price in fen."""

    code: str
    display_name: str
    price_fen: int = 0
    order_instruction: str = ""


@dataclass(frozen=True)
class Split:
    """A named part of the list (CMP-13) and the touchpoints that serve it; none named means all."""

    group: str
    percent: float
    touchpoints: tuple[int, ...] = ()

    def serves(self, touchpoint: int) -> bool:
        """True when the touchpoint may contact this group."""
        return not self.touchpoints or touchpoint in self.touchpoints


@dataclass(frozen=True)
class ActivityPlan:
    """营销活动."""

    display_name: str
    code: str
    mode: Mode
    description: str = ""
    target: Target | None = None
    definition: str = ""
    product: Product | None = None
    control_percent: float = 0.0
    splits: tuple[Split, ...] = ()
    time_to_live_seconds: int = 0
    school: str = ""

    @property
    def by_event(self) -> bool:
        """True for 事件触发."""
        return self.mode is Mode.EVENT_TRIGGERED


@dataclass(frozen=True)
class Suppression:
    """Special-number lists that are kept in, and why (TCH-17)."""

    keep_block_list: bool = False
    keep_red_list: bool = False
    keep_sensitive_list: bool = False
    reason: str = ""

    @property
    def keeps_any(self) -> bool:
        """True when a list is not taken out."""
        return self.keep_block_list or self.keep_red_list or self.keep_sensitive_list


@dataclass(frozen=True)
class Setting:
    """How an activity uses one touchpoint (TCH-13 to TCH-71)."""

    touchpoint: int
    period: Period
    periodic_update: bool = False
    suppression: Suppression | None = None
    priority: Priority = Priority.MEDIUM
    marketing_words: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    sms_contract_only: bool = False

    @property
    def choice(self) -> tuple[Any, ...]:
        """What decides which snapshot serves the setting; settings of equal choice share one."""
        kept = dataclasses.astuple(self.suppression) if self.suppression else ()
        return (self.sms_contract_only, *kept)


def as_json(value: Any) -> Any:
    """A value of this module as plain JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """The value of type `kind` that `as_json` gave `data` for; fields unknown today are dropped."""
    return typing.cast(T, _decode(kind, data))


def parse_day(text: str, path: str) -> date:
    """A date of a request; Invalid naming `path` when there is no such day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise errors.Invalid(
            f"{path}: {text!r} is not a day", fields=[(path, "is no day of the calendar")]
        ) from None


def period_of(start: str, end: str, path: str) -> Period:
    """A period of a request; Invalid when it ends before it begins."""
    period = Period(parse_day(start, f"{path}.start_date"), parse_day(end, f"{path}.end_date"))
    if period.end < period.start:
        raise errors.Invalid(
            f"{path} ends before it begins", fields=[(f"{path}.end_date", "is before start_date")]
        )
    return period


def _decode(kind: Any, data: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if data is None else _decode(inner, data)
    if origin is tuple:
        return tuple(_decode(arguments[0], item) for item in data)
    if origin is dict:
        return {key: _decode(arguments[1], item) for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _decode(hint, data[name]) for name, hint in hints.items() if name in data})  # type: ignore[operator]
    if kind is date:
        return date.fromisoformat(data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    return kind(data) if kind in (int, float, str, bool) else data
