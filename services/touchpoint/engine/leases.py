"""Sessions of adapters and the leases they hold. Lives in monotonic time; rows in the ledger outlive it."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass
class Session:
    """An adapter that has said what it can do."""

    id: str
    adapter: str
    touchpoints: tuple[int, ...]
    idempotent: bool
    receipts: bool
    max_batch: int
    rate: float
    heard: float  # monotonic seconds of the last call
    allowance: float = 0.0
    refilled: float = 0.0

    def allowed(self, wanted: int, now: float) -> int:
        """How many touches the adapter's rate admits now, with one second's worth of burst."""
        if self.rate <= 0:
            return wanted
        self.allowance = min(max(self.rate, 1.0), self.allowance + (now - self.refilled) * self.rate)
        self.refilled = now
        return min(wanted, int(self.allowance))

    def spend(self, count: int) -> None:
        """Touches were handed out."""
        self.allowance -= count


class Held(NamedTuple):
    """One leased touch."""

    slice_id: int
    position: int
    ordinal: int
    activity: int
    touchpoint: int
    expires: int  # micros, 0 for never


@dataclass
class Lease:
    """Touches that an adapter has and has not reported on yet."""

    id: int
    adapter: str
    idempotent: bool
    deadline: float
    items: dict[str, Held] = field(default_factory=dict)  # by touch id


class Sessions:
    """Sessions by id. One that is not heard of for `silence` seconds is closed."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._open: dict[str, Session] = {}

    def open(
        self,
        adapter: str,
        touchpoints: Iterable[int],
        idempotent: bool,
        receipts: bool,
        max_batch: int,
        rate: float,
        now: float,
    ) -> Session:
        """A new session; an earlier one of the same adapter ends."""
        self._open = {key: item for key, item in self._open.items() if item.adapter != adapter}
        made = Session(
            secrets.token_hex(12),
            adapter,
            tuple(touchpoints),
            idempotent,
            receipts,
            max_batch,
            rate,
            now,
            allowance=max(rate, 1.0),
            refilled=now,
        )
        self._open[made.id] = made
        return made

    def get(self, session: str, now: float) -> Session | None:
        """The session, noted as alive; None when there is none."""
        found = self._open.get(session)
        if found is not None:
            found.heard = now
        return found

    def close_silent(self, now: float) -> list[str]:
        """Close sessions that have fallen silent; the adapters' names."""
        gone = [item for item in self._open.values() if now - item.heard > self._silence]
        for item in gone:
            del self._open[item.id]
        return [item.adapter for item in gone]

    def touchpoints(self, now: float) -> set[int]:
        """Touchpoints that some adapter serves now."""
        return {
            t for item in self._open.values() if now - item.heard <= self._silence for t in item.touchpoints
        }

    def count(self, touchpoint: int, now: float) -> int:
        """Adapters that serve a touchpoint now."""
        return sum(
            touchpoint in item.touchpoints
            for item in self._open.values()
            if now - item.heard <= self._silence
        )


class Leases:
    """Leases by id, and the lease of each touch."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self._of: dict[str, int] = {}

    def add(self, lease: Lease) -> None:
        """A lease begins; touches that were in an older one belong to this one now."""
        for touch_id in lease.items:
            self.release(touch_id)
            self._of[touch_id] = lease.id
        self._leases[lease.id] = lease

    def get(self, lease_id: int) -> Lease | None:
        """The lease, None when it has ended."""
        return self._leases.get(lease_id)

    def find(self, touch_id: str) -> Held | None:
        """The touch as leased, None when it is not."""
        lease = self._leases.get(self._of.get(touch_id, -1))
        return lease.items.get(touch_id) if lease is not None else None

    def lease_of(self, touch_id: str) -> int | None:
        """The lease that holds a touch."""
        return self._of.get(touch_id)

    def release(self, touch_id: str, only: int | None = None) -> None:
        """A touch was reported on (under the lease `only`, if given); a lease with nothing left ends."""
        lease_id = self._of.get(touch_id)
        if lease_id is not None and only in (None, lease_id):
            del self._of[touch_id]
            lease = self._leases[lease_id]
            del lease.items[touch_id]
            if not lease.items:
                del self._leases[lease_id]

    def late(self, now: float) -> list[Lease]:
        """Leases whose time has run out."""
        return [lease for lease in self._leases.values() if lease.deadline <= now]

    def end(self, lease_id: int) -> None:
        """Take a lease back."""
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            for touch_id in lease.items:
                self._of.pop(touch_id, None)

    def size(self, touchpoints: set[int] | None = None) -> int:
        """Touches under lease, at some touchpoints or at all."""
        if touchpoints is None:
            return len(self._of)
        return sum(
            held.touchpoint in touchpoints for lease in self._leases.values() for held in lease.items.values()
        )
