"""The call in hand: who makes it, until when, with which request. Carried in context variables."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from services.kit import errors
from services.kit.actor import Actor


@dataclass
class Call:
    """One incoming call. `deadline` is in monotonic seconds, None when the caller set none."""

    method: str
    actor: Actor | None = None
    token: str = ""
    deadline: float | None = None
    request: Any = None


current: ContextVar[Call | None] = ContextVar("iop_call", default=None)
_acting: ContextVar[Actor | None] = ContextVar("iop_acting", default=None)


def actor() -> Actor:
    """The actor of the current call; Unauthenticated outside of one."""
    call = current.get()
    if call is None or call.actor is None:
        raise errors.Unauthenticated("there is no actor here")
    return call.actor


def remaining() -> float | None:
    """Seconds left for the current call, None when nobody set a deadline."""
    call = current.get()
    if call is None or call.deadline is None:
        return None
    return max(0.0, call.deadline - time.monotonic())


def acting_actor() -> Actor | None:
    """The actor set by `acting`, if any."""
    return _acting.get()


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Inside, outgoing calls are signed as `actor` (a user at the gateway, a service for itself)."""
    mark = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(mark)
