"""The closed list of errors a service may raise; the RPC layer maps each to one status code, once.

`reason` is the name of a value of the contract's `ErrorReason`; `fields` are (path, description)
pairs such as ("activities[0].offer", "no such offer"); `metadata` carries every dynamic part of the
message; `retry_after` is in seconds. A bare `Error` is a fault of ours (INTERNAL).
"""

from collections.abc import Mapping, Sequence
from typing import Any


class Error(Exception):
    """Something failed; subclasses say what kind. Raised bare it is our own fault."""

    default_reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        fields: Sequence[tuple[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.fields = tuple(fields)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.domain = ""  # who raised it first, when it came over the wire
        self.delivery: Any = None  # the one message of a batch that is at fault, if one is


class NotFound(Error):
    """The named resource does not exist or may not be seen."""

    default_reason = "RESOURCE_NOT_FOUND"


class Invalid(Error):
    """The request is wrong in itself and will stay wrong."""

    default_reason = "FIELD_INVALID"


class Conflict(Error):
    """Someone else changed it first: a stale etag or a lost race (ABORTED)."""

    default_reason = "CONCURRENT_CHANGE"


class Exists(Error):
    """What should be created is there already."""

    default_reason = "RESOURCE_EXISTS"


class Precondition(Error):
    """The request is fine, the state of the system is not."""

    default_reason = "STATE_FORBIDS"


class Denied(Error):
    """The actor is known and may not do this."""

    default_reason = "ROLE_MISSING"


class Unauthenticated(Error):
    """The actor is not known."""

    default_reason = "TOKEN_MISSING"


class Exhausted(Error):
    """A limit is reached; try again later."""

    default_reason = "CAPACITY_EXHAUSTED"


class Unavailable(Error):
    """A part we need does not answer; the same call may work soon."""

    default_reason = "DEPENDENCY_UNAVAILABLE"
