"""From tables to memory: queues, offers and leases at start, contact caps after Redis lost its counts."""

import asyncio
import time

import numpy as np

from services.kit import db
from services.touchpoint.domain import catalogue, keys
from services.touchpoint.domain.states import HOLDS_SLOT, State
from services.touchpoint.engine.caps import Contact
from services.touchpoint.engine.leases import Held, Lease
from services.touchpoint.flow.centre import Centre, piece_of
from services.touchpoint.flow.moves import key_of, touch_id_of
from services.touchpoint.store import ledger, slices

_SLICES = 500
_ITEMS = 500


async def complete(centre: Centre) -> int:
    """Add to memory what the tables know: queued touches, offers, leases. A hint twice does no harm."""
    after, count = 0, 0
    while True:
        rows, items = await centre.db.read(lambda tx, after=after: _page(tx, after))  # type: ignore[misc]
        for item in rows:
            _place(centre, item)
        _leases(centre, {item.slice_id: item for item in rows}, items)
        count += len(rows)
        if len(rows) < _SLICES:
            return count
        after = rows[-1].slice_id
        await asyncio.sleep(0)


def _page(tx: db.Connection, after: int) -> tuple[list[slices.Slice], list[ledger.LeaseItem]]:
    rows = slices.live(tx, after, _SLICES)
    leased = [item.slice_id for item in rows if State.LEASED in item.states]
    return rows, ledger.lease_items(tx, slice_ids=leased) if leased else []


def _place(centre: Centre, item: slices.Slice) -> None:
    queued = item.positions(State.QUEUED)
    if len(queued):
        centre.queues[item.touchpoint].put(
            piece_of(item, queued), centre.lane(item.activity, item.touchpoint)
        )
    if item.touchpoint in catalogue.PULL:
        offered = item.positions(State.WAITING, State.SHOWN)
        if len(offered):
            centre.offer(item, offered)


def _leases(centre: Centre, rows: dict[int, slices.Slice], items: list[ledger.LeaseItem]) -> None:
    """Leases that memory does not know begin anew: the adapter may still hold them."""
    deadline = time.monotonic() + centre.limits.lease_seconds
    made: dict[int, Lease] = {}
    for entry in items:  # oldest first: the newest lease of a touch is the one that counts
        item = rows[entry.slice_id]
        for position in entry.positions.tolist():
            if item.states[position] != State.LEASED:
                continue
            touch_id = touch_id_of(item, position)
            if centre.leases.find(touch_id) is not None:
                continue
            lease = made.setdefault(
                entry.lease_id, Lease(entry.lease_id, entry.adapter, entry.idempotent, deadline)
            )
            for older in made.values():
                older.items.pop(touch_id, None)
            lease.items[touch_id] = Held(
                item.slice_id,
                position,
                int(item.ordinals[position]),
                item.activity,
                item.touchpoint,
                item.expires_of(position),
            )
    for lease in made.values():
        known = centre.leases.get(lease.id)
        if known is not None:  # its other touches lie in slices that were read before
            lease.items = {**known.items, **lease.items}
            centre.leases.end(known.id)
        if lease.items:
            centre.leases.add(lease)


async def rebuild_caps(centre: Centre) -> None:
    """Write every contact that holds a slot into a new generation of the caps, then put it in force."""
    centre.caps.generation = ""
    while centre.reserving:  # leases that reserved in the old generation commit first, so that they are read
        await asyncio.sleep(0.01)
    today = keys.day_number(centre.now().day)
    since = today - max(centre.policy.longest_cap_days, 31)
    generation = await centre.caps.rebuild_begin()
    after, total = (0, 0), 0
    while True:
        found = await centre.db.read(lambda tx, after=after: _contacts(tx, centre, since, after))  # type: ignore[misc]
        contacts, last = found
        await centre.caps.rebuild_add(generation, contacts)
        total += len(contacts)
        if last is None:
            break
        after = last
    await centre.db.transaction(lambda tx: ledger.set_cap_generation(tx, generation))
    await centre.caps.rebuild_finish(generation)
    centre.service.log.info("contact counts were rebuilt from the ledger: %d contacts", total)
    centre.wake()


def _contacts(
    tx: db.Connection, centre: Centre, since: int, after: tuple[int, int]
) -> tuple[list[Contact], tuple[int, int] | None]:
    items = ledger.lease_items(tx, since_day=since, after=after, limit=_ITEMS)
    rows = slices.read(tx, {entry.slice_id for entry in items})
    contacts = []
    for entry in items:
        item = rows[entry.slice_id]
        activity = centre.activities.get(item.activity)
        kind = activity.marketing_type if activity else ""
        holding = np.isin(item.columns[entry.positions], list(HOLDS_SLOT))
        for position in entry.positions[holding].tolist():
            contacts.append(
                Contact(
                    keys.pack(key_of(item, position)),
                    int(item.ordinals[position]),
                    item.touchpoint,
                    item.touchpoint in catalogue.PUSH,
                    kind,
                    entry.day,
                )
            )
    last = (items[-1].lease_id, items[-1].slice_id) if len(items) == _ITEMS else None
    return contacts, last


async def guard_caps(centre: Centre) -> bool:
    """See that the contact counts are whole, else rebuild them; True when they were rebuilt."""
    if not centre.policy.caps or await centre.caps.intact():
        return False
    await rebuild_caps(centre)
    return True


async def give_back_slots(centre: Centre) -> int:
    """Give refunded slots back in Redis; returns how many entries were handled."""
    if centre.policy.caps and not centre.caps.generation:
        return 0  # what is being rebuilt does not hold them; the rest is given back afterwards
    waiting = await centre.db.read(ledger.refunds)
    if not waiting:
        return 0
    contacts = []
    for _, packed in waiting:
        for start in range(0, len(packed), 15):
            field = packed[start : start + 15]
            contacts.append((keys.unpack(field).ordinal, field))
    if centre.policy.caps:
        await centre.caps.refund(contacts)
    await centre.db.transaction(lambda tx: ledger.forget_refunds(tx, [number for number, _ in waiting]))
    return len(waiting)
