"""Loops: following other replicas, and clearing away files that nobody names."""

import asyncio
from collections.abc import Awaitable, Callable

from services.audience.memory import Memory

FOLLOW_EVERY_S = 2.0
SWEEP_EVERY_S = 300.0
# Longer than any call that may still hold the name of a replaced file.
KEEP_S = 3600.0


def follow(memory: Memory) -> Callable[[], Awaitable[bool]]:
    """Take over what other replicas wrote."""

    async def run() -> bool:
        return await memory.follow()

    return run


def sweep(memory: Memory) -> Callable[[], Awaitable[bool]]:
    """Delete column files that were replaced, or written by a load that failed, an hour ago."""

    async def run() -> bool:
        await memory.follow_catalogue()
        await asyncio.to_thread(memory.columns.sweep, memory.catalogue.files(), KEEP_S)
        return False

    return run
