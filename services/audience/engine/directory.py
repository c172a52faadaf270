"""The subscriber directory in memory: columns by ordinal, and ordinals found by key.

Ordinals are dense, given in order of arrival and never reused. Rows are appended behind the count that
readers hold, so they need no lock; a number or home that changes is replaced in place.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.audience.domain.region import BASE

Ids = NDArray[np.int64]
UNKNOWN = -1

_LEAST_BITS = 16
_STEP = 1 << 20
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd

# Rules of a row, by the code that `plan` gives a refused one: field and description.
RULES: dict[int, tuple[str, str]] = {
    1: ("subscriber_id", "must be positive"),
    2: ("phone", "must be 11 digits that begin with 1"),
    3: ("county", "must be a county of the province, 15xxxx"),
    4: ("subscriber_id", "is there twice in this load"),
    5: ("phone", "is given to two subscribers in this load"),
}


class KeyIndex:
    """Finds ordinals by key: a table of ordinals, probed in step for all keys at once.

    The keys themselves stay in their column, so an entry holds only while the column at its ordinal has
    the key; stale ones are passed over and go when the table is next made larger.
    """

    def __init__(self) -> None:
        self._table = np.full(1 << _LEAST_BITS, UNKNOWN, dtype=np.int32)
        self._entries = 0

    def add(self, keys: Ids, ordinals: Ids, column: Ids) -> None:
        """Add entries for rows whose keys stand in `column` already."""
        if not len(keys):
            return
        if 2 * (self._entries + len(keys)) > len(self._table):
            rows = np.flatnonzero(column)  # 0 is no key
            bits = max(_LEAST_BITS, (3 * len(rows)).bit_length())
            table = np.full(1 << bits, UNKNOWN, dtype=np.int32)
            for low in range(0, len(rows), _STEP):
                part = rows[low : low + _STEP]
                _insert(table, column[part], part)
            # One assignment: a reader has the old table or the new one.
            self._table, self._entries = table, len(rows)
            return
        _insert(self._table, keys, ordinals)
        self._entries += len(keys)

    def find(self, keys: Ids, column: Ids) -> Ids:
        """The ordinal of each key, -1 where nobody has it."""
        table = self._table
        found = np.full(len(keys), UNKNOWN, dtype=np.int64)
        place = _hash(keys, table)
        waiting: NDArray[np.intp] | slice = slice(None)
        left = keys
        while len(left):
            ordinals = table[place]
            used = ordinals != UNKNOWN
            hit = used & (column[ordinals] == left) if len(column) else used
            if isinstance(waiting, slice):
                found[hit] = ordinals[hit]
                waiting = np.flatnonzero(used & ~hit)
                left, place = left[waiting], place[waiting]
            else:
                found[waiting[hit]] = ordinals[hit]
                again = used & ~hit
                waiting, left, place = waiting[again], left[again], place[again]
            place = (place + 1) & (len(table) - 1)
        return found


def _hash(keys: Ids, table: NDArray[np.int32]) -> NDArray[np.int64]:
    """Fibonacci hashing: the upper bits of a product, which spread runs of neighbouring numbers."""
    shift = np.uint64(65 - len(table).bit_length())
    return ((keys.astype(np.uint64) * _GOLDEN) >> shift).astype(np.int64)


def _insert(table: NDArray[np.int32], keys: Ids, ordinals: Ids) -> None:
    place = _hash(keys, table)
    while len(ordinals):
        free = table[place] == UNKNOWN
        table[place[free]] = ordinals[free]
        # Of several that wanted one place the last has it; the others go on to the next.
        lost = table[place] != ordinals
        place, ordinals = (place[lost] + 1) & (len(table) - 1), ordinals[lost]


@dataclass
class LoadPlan:
    """What a chunk of subscribers changes. Rows are positions in the chunk, from 0."""

    added: NDArray[np.intp]
    changed: NDArray[np.intp]
    changed_ordinals: Ids
    cleared_ordinals: Ids  # subscribers whose number went to somebody else
    unchanged: int
    refused: NDArray[np.intp]
    rules: NDArray[np.uint8]  # of the refused rows
    seen_ordinals: Ids  # known subscribers that the chunk names
    ids: Ids = field(repr=False)
    phones: Ids = field(repr=False)
    counties: NDArray[np.int32] = field(repr=False)

    @property
    def changes_anything(self) -> bool:
        """Whether the directory will have a new version."""
        return bool(len(self.added) or len(self.changed) or len(self.cleared_ordinals))


class Directory:
    """Subscriber ids, numbers, homes and the version of each row's last change, by ordinal."""

    def __init__(self) -> None:
        self.version = 0
        self.count = 0
        self._ids = np.zeros(0, dtype=np.int64)
        self._phones = np.zeros(0, dtype=np.int64)
        self._counties = np.zeros(0, dtype=np.uint16)
        self._changed = np.zeros(0, dtype=np.int64)
        self._by_id, self._by_phone = KeyIndex(), KeyIndex()

    @property
    def subscriber_ids(self) -> Ids:
        """BSS ids by ordinal."""
        return self._ids[: self.count]

    @property
    def phones(self) -> Ids:
        """Numbers by ordinal, 0 for none."""
        return self._phones[: self.count]

    @property
    def county_codes(self) -> NDArray[np.uint16]:
        """Home counties by ordinal, less 150000."""
        return self._counties[: self.count]

    @property
    def changed(self) -> Ids:
        """The version in which each row last changed."""
        return self._changed[: self.count]

    def counties(self, ordinals: NDArray[np.integer] | slice) -> NDArray[np.int32]:
        """Home counties as adcodes."""
        return self._counties[ordinals].astype(np.int32) + BASE

    def find_ids(self, ids: Ids) -> Ids:
        """Ordinals of BSS ids, -1 for an unknown one."""
        return self._by_id.find(np.asarray(ids, dtype=np.int64), self._ids)

    def find_phones(self, phones: Ids) -> Ids:
        """Ordinals of numbers, -1 for one that nobody has."""
        wanted = np.asarray(phones, dtype=np.int64)
        found = self._by_phone.find(wanted, self._phones)
        found[wanted == 0] = UNKNOWN
        return found

    def plan(self, ids: Ids, phones: Ids, counties: NDArray[np.int32], seen: NDArray[np.bool_]) -> LoadPlan:
        """Judge a chunk row by row. `seen` marks the ordinals that earlier chunks of the load named."""
        rules = np.zeros(len(ids), dtype=np.uint8)
        rules[(counties < BASE) | (counties >= BASE + 10_000)] = 3
        rules[(phones < 10_000_000_000) | (phones >= 20_000_000_000)] = 2
        rules[ids <= 0] = 1
        known = self.find_ids(ids)
        repeated = np.zeros(len(ids), dtype=np.bool_)
        in_range = (known >= 0) & (known < len(seen))
        repeated[in_range] = seen[known[in_range]]
        rules[(rules == 0) & (repeated | repeats(ids, rules == 0))] = 4
        owners = self.find_phones(phones)
        taken = np.zeros(len(ids), dtype=np.bool_)
        owned = (owners >= 0) & (owners != known) & (owners < len(seen))
        taken[owned] = seen[owners[owned]]
        rules[(rules == 0) & (taken | repeats(phones, rules == 0))] = 5

        good = rules == 0
        same = good & (known >= 0)
        same[same] &= (self._phones[known[same]] == phones[same]) & (
            self.counties(known[same]) == counties[same]
        )
        changed = np.flatnonzero(good & (known >= 0) & ~same)
        seen_ordinals = known[good & (known >= 0)]
        losers = owners[good & (owners >= 0) & (owners != known)]
        losers = losers[~np.isin(losers, seen_ordinals)]
        refused = np.flatnonzero(~good)
        return LoadPlan(
            added=np.flatnonzero(good & (known < 0)),
            changed=changed,
            changed_ordinals=known[changed],
            cleared_ordinals=np.unique(losers),
            unchanged=int(np.count_nonzero(same)),
            refused=refused,
            rules=rules[refused],
            seen_ordinals=seen_ordinals,
            ids=ids,
            phones=phones,
            counties=counties,
        )

    def apply(self, plan: LoadPlan, version: int) -> None:
        """Make a committed plan visible as `version`."""
        ordinals = np.concatenate(
            [
                plan.cleared_ordinals,
                plan.changed_ordinals,
                self.count + np.arange(len(plan.added), dtype=np.int64),
            ]
        )
        rows = np.concatenate([plan.changed, plan.added])
        cleared = plan.cleared_ordinals
        self.replace(
            ordinals,
            np.concatenate([self._ids[cleared], plan.ids[rows]]),
            np.concatenate([np.zeros(len(cleared), dtype=np.int64), plan.phones[rows]]),
            np.concatenate([self.counties(cleared), plan.counties[rows]]),
            np.full(len(ordinals), version, dtype=np.int64),
            version,
        )

    def replace(
        self, ordinals: Ids, ids: Ids, phones: Ids, counties: NDArray[np.int32], changed: Ids, version: int
    ) -> None:
        """Put rows at their ordinals, new ones behind the others, and take on `version`."""
        if len(ordinals):
            highest = int(ordinals.max()) + 1
            self._reserve(highest)
            fresh = self._ids[ordinals] == 0  # rows may come in any order: ids are positive, so 0 is unset
            self._ids[ordinals] = ids
            self._phones[ordinals] = phones
            self._counties[ordinals] = (counties - BASE).astype(np.uint16)
            self._changed[ordinals] = changed
            self._by_id.add(ids[fresh], ordinals[fresh], self._ids)
            numbered = phones != 0
            self._by_phone.add(phones[numbered], ordinals[numbered], self._phones)
            self.count = max(self.count, highest)
        self.version = version

    def _reserve(self, count: int) -> None:
        if count <= len(self._ids):
            return
        size = max(count, len(self._ids) * 3 // 2, 65_536)
        for name in ("_ids", "_phones", "_counties", "_changed"):
            old = getattr(self, name)
            grown = np.zeros(size, dtype=old.dtype)
            grown[: self.count] = old[: self.count]
            setattr(self, name, grown)


def repeats(keys: Ids, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows among those marked whose key stands in an earlier marked row."""
    rows = np.flatnonzero(among)
    _, first = np.unique(keys[rows], return_index=True)
    repeated = np.ones(len(rows), dtype=np.bool_)
    repeated[first] = False
    result = np.zeros(len(keys), dtype=np.bool_)
    result[rows[repeated]] = True
    return result
