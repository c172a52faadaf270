"""Calls that go on over a restart of what they call. Only for calls that may be repeated without harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
from nats.errors import Error as NatsError

from services.kit.errors import Unavailable

T = TypeVar("T")
PATIENCE_S = 60.0
PASSING = (Unavailable, httpx.TransportError, NatsError)


async def again(call: Callable[[], Awaitable[T]], seconds: float = PATIENCE_S) -> T:
    """The call's result; it is repeated while nobody answers, for `seconds` at most."""
    end, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            return await call()
        except PASSING:
            if time.monotonic() + pause > end:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)
