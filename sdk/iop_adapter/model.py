"""What an adapter sees: touches to send, and what it answers.

Plain dataclasses, so that an adapter's author needs no protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from iop.adapter.v1 import adapter_pb2
from iop.common.v1 import types_pb2


class Touchpoint(Enum):
    """The twelve touchpoints by the names that people and reports use (TCH-01 to TCH-12)."""

    SMS = types_pb2.TOUCHPOINT_SMS
    EVENT_SMS = types_pb2.TOUCHPOINT_EVENT_SMS
    DATA_PLUS = types_pb2.TOUCHPOINT_DATA_PLUS
    TOOLBAR = types_pb2.TOUCHPOINT_TOOLBAR
    APP_HALL = types_pb2.TOUCHPOINT_APP_HALL
    WECHAT_HALL = types_pb2.TOUCHPOINT_WECHAT_HALL
    IVR = types_pb2.TOUCHPOINT_IVR
    STORE_COUNTER = types_pb2.TOUCHPOINT_STORE_COUNTER
    KIOSK = types_pb2.TOUCHPOINT_KIOSK
    WEB_HALL = types_pb2.TOUCHPOINT_WEB_HALL
    COMP = types_pb2.TOUCHPOINT_COMP
    SMS_HALL = types_pb2.TOUCHPOINT_SMS_HALL


class Status(Enum):
    """What became of a touch; see ReceiptStatus in the contract for each meaning."""

    ACCEPTED = adapter_pb2.RECEIPT_STATUS_ACCEPTED
    DELIVERED = adapter_pb2.RECEIPT_STATUS_DELIVERED
    FAILED = adapter_pb2.RECEIPT_STATUS_FAILED
    REJECTED = adapter_pb2.RECEIPT_STATUS_REJECTED
    RETRY = adapter_pb2.RECEIPT_STATUS_RETRY
    DROPPED = adapter_pb2.RECEIPT_STATUS_DROPPED
    UNKNOWN = adapter_pb2.RECEIPT_STATUS_UNKNOWN
    CLICKED = adapter_pb2.RECEIPT_STATUS_CLICKED


@dataclass(frozen=True, slots=True)
class Touch:
    """One touch to send, before `expire_time`, to `phone` (digits without country code)."""

    touch_id: str
    touchpoint: Touchpoint
    phone: str
    text: str
    fields: Mapping[str, str]
    activity_code: str
    expire_time: datetime | None
    traceparent: str


@dataclass(frozen=True, slots=True)
class Result:
    """What the provider said at once.

    `provider_message_id` lets later receipts be told by the provider's id
    alone; `code` is the provider's own; `retry_after` counts seconds.
    """

    status: Status
    provider_message_id: str = ""
    code: str = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """News of a touch that comes later, by touch id or by the provider's id."""

    status: Status
    touch_id: str = ""
    provider_message_id: str = ""
    code: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a customer wrote back; `reply_id` is the provider's id of the message."""

    reply_id: str
    phone: str
    text: str
    touchpoint: Touchpoint
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplyResult:
    """What a reply was taken as, and what to answer the customer (may be empty)."""

    reply_id: str
    kind: str
    answer: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the adapter can do.

    `rate` is in touches a second (0: no limit). `receipts` says that delivery
    is reported later; without it ACCEPTED is final.
    """

    touchpoints: Sequence[Touchpoint]
    max_batch: int = 500
    rate: float = 0.0
    receipts: bool = False
    concurrency: int = 2
    extra: Mapping[str, str] = field(default_factory=dict)
