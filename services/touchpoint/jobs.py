"""Loops: windows, expiry, ends, receipts and leases that time out, slots to give back, counts to rebuild."""

from services.kit import errors
from services.touchpoint.flow import refill, sweep
from services.touchpoint.flow.centre import Centre


def start(centre: Centre) -> None:
    """Start the recurring jobs. Business time is read at each run; leases read monotonic time."""
    service = centre.service
    service.job("windows", lambda: sweep.keep_windows(centre), 0.5)
    service.job("expire", lambda: sweep.expire(centre), 0.5)
    service.job("ends", lambda: sweep.end_activities(centre), 0.5)
    service.job("receipts", lambda: sweep.give_up_receipts(centre), 1.0)
    service.job("leases", lambda: _owned(centre), 0.5)
    service.job("caps", lambda: refill.guard_caps(centre), 2.0)
    service.job("slots", lambda: refill.give_back_slots(centre), 0.5)
    service.job("memory", lambda: _complete(centre), 1.0)


async def _owned(centre: Centre) -> int:
    try:
        return await sweep.take_back_leases(centre)
    except errors.Precondition as problem:
        centre.lost_ownership(problem)
        return 0


async def _complete(centre: Centre) -> bool:
    """A commit may have gone through unseen: add what memory misses."""
    if not centre.suspect:
        return False
    centre.suspect = False
    try:
        await refill.complete(centre)
    except BaseException:
        centre.suspect = True
        raise
    centre.wake()
    return True
