"""Everything a partition remembers: what it has been told, and what it keeps of each subscriber."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.event.domain.model import Definition, rules
from services.event.engine.slots import Slots, Table

WIDEST_WINDOW_US = 604_800 * 1_000_000  # of a count, by the contract
KEPT_MONTHS = 2  # contact periods after which "has matched" is forgotten, as no signal comes that late
KEPT_DAYS = 8  # of counted bursts


@dataclass(frozen=True)
class Known:
    """A definition and where its state is filed; `record` is the log's record it came from."""

    definition: Definition
    first_id: int
    record: bytes

    @property
    def ids(self) -> range:
        """One for each rule, and one for the combination."""
        return range(self.first_id, self.first_id + sum(1 for _ in rules(self.definition.expression)) + 1)


@dataclass(frozen=True)
class Binding:
    """An activity's population on a definition; times are UTC microseconds, the end is open."""

    activity_number: int
    definition_number: int
    digest: str
    start: int
    end: int
    record: bytes


def stays() -> Table:
    """By (rule, subscriber): since when it stays, and the number of its last location signal there."""
    return Table({"since": (np.int64, 0), "seen": (np.int64, 0)})


def counted(count: int) -> Table:
    """By (rule, subscriber): the times of its last count - 1 matching signals, oldest first."""
    return Table({"filled": (np.int64, 0), "times": (np.int64, count - 1)})


def parts(width: int) -> Table:
    """By (combination, subscriber): until when each rule counts as true."""
    return Table({"until": (np.int64, width)})


@dataclass
class State:
    """The state of one partition after the record `sequence` of its log."""

    sequence: int = 0
    applied: int = 0  # records taken in
    watermark: int = 0  # the latest time seen, microseconds
    next_id: int = 1
    definitions: dict[int, Known] = field(default_factory=dict)
    bindings: dict[int, Binding] = field(default_factory=dict)
    match_counts: dict[int, int] = field(default_factory=dict)  # by definition
    bursts: dict[tuple[int, int], int] = field(default_factory=dict)  # of power signals, by (day, cell)
    groups: list[tuple[int, int]] = field(default_factory=list)  # (activity, contact period)
    fired: Slots = field(default_factory=Slots)  # group << 32 | ordinal
    imeis: Table = field(default_factory=lambda: Table({"imei": (np.uint64, 0)}))
    located: Table = field(default_factory=lambda: Table({"signals": (np.int64, 0)}))
    stays: Table = field(default_factory=stays)
    counts: dict[int, Table] = field(default_factory=dict)  # by count asked for
    parts: dict[int, Table] = field(default_factory=dict)  # by number of rules, rounded up
    power: Table = field(default_factory=lambda: counted(3))
    _listeners: dict[int, set[int]] = field(default_factory=dict)  # definition -> activities

    def define(self, definition: Definition, record: bytes) -> bool:
        """Take in a definition; True when it means something else than before.

        What was remembered under its former rules is left behind.
        """
        before = self.definitions.get(definition.number)
        if before is not None and before.definition == definition:
            self.definitions[definition.number] = Known(definition, before.first_id, record)
            return False
        self._file(definition, record)
        return True

    def forget(self, number: int) -> bool:
        """Remove a definition; True when it was there."""
        return self.definitions.pop(number, None) is not None

    def bind(self, binding: Binding) -> None:
        """Bind or change an activity's population. A definition that nobody listened to starts afresh."""
        known = self.definitions.get(binding.definition_number)
        if known is not None and not self._listeners.get(binding.definition_number):
            self._file(known.definition, known.record)
        self.listen(binding)

    def listen(self, binding: Binding) -> None:
        """Put a binding in its place; nothing else changes."""
        self.unbind(binding.activity_number)
        self.bindings[binding.activity_number] = binding
        self._listeners.setdefault(binding.definition_number, set()).add(binding.activity_number)

    def unbind(self, activity_number: int) -> Binding | None:
        """The activity no longer listens; what it was bound to."""
        found = self.bindings.pop(activity_number, None)
        if found is not None:
            self._listeners[found.definition_number].discard(activity_number)
        return found

    def bound_to(self, number: int) -> list[Binding]:
        """The populations on a definition, by activity."""
        return [self.bindings[activity] for activity in sorted(self._listeners.get(number, ()))]

    def count_table(self, count: int) -> Table:
        """Where counts up to `count` are kept."""
        if count not in self.counts:
            self.counts[count] = counted(count)
        return self.counts[count]

    def part_table(self, width: int) -> Table:
        """Where combinations of `width` rules (a power of two) are kept."""
        if width not in self.parts:
            self.parts[width] = parts(width)
        return self.parts[width]

    def compact(self) -> None:
        """Drop what can have no effect any more. Part of the log's meaning: done at fixed records."""
        live = {id_ for known in self.definitions.values() for id_ in known.ids}
        rows = self.located.find(self.stays.keys & np.uint64(0xFFFFFFFF))
        signals = np.where(rows >= 0, self.located.column("signals")[rows] if self.located.size else 0, -1)
        self.stays.keep(_filed_under(self.stays, live) & (self.stays.column("seen") == signals))
        floor = self.watermark - WIDEST_WINDOW_US
        for table in (*self.counts.values(), self.power):
            last = table.column("times").max(axis=1, initial=0)
            under = np.ones(table.size, bool) if table is self.power else _filed_under(table, live)
            table.keep(under & (last >= floor))
        for table in self.parts.values():
            last = table.column("until").max(axis=1, initial=0)
            table.keep(_filed_under(table, live) & (last >= self.watermark))
        self._drop_old_periods()
        today = self.watermark // 86_400_000_000
        self.bursts = {key: count for key, count in self.bursts.items() if key[0] >= today - KEPT_DAYS}

    def _drop_old_periods(self) -> None:
        if not self.groups:
            return
        month = int(np.datetime64(self.watermark, "us").astype("datetime64[M]").astype(np.int64))
        oldest = (1970 + (month - KEPT_MONTHS) // 12) * 100 + (month - KEPT_MONTHS) % 12 + 1
        kept = [period >= oldest for _, period in self.groups]
        if all(kept):
            return
        group = (self.fired.keys >> np.uint64(32)).astype(np.int64)
        places = np.cumsum(kept) - 1
        alive = np.array(kept)[group]
        keys = (places[group[alive]].astype(np.uint64) << np.uint64(32)) | (
            self.fired.keys[alive] & np.uint64(0xFFFFFFFF)
        )
        self.fired = Slots(keys)
        self.groups = [item for item, stays_ in zip(self.groups, kept, strict=True) if stays_]

    def _file(self, definition: Definition, record: bytes) -> None:
        known = Known(definition, self.next_id, record)
        self.next_id += len(known.ids)
        self.definitions[definition.number] = known


def _filed_under(table: Table, live: Iterable[int]) -> NDArray[np.bool_]:
    return np.isin((table.keys >> np.uint64(32)).astype(np.int64), np.fromiter(live, np.int64))
