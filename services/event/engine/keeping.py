"""Rules that need more than one signal: stays, counts in a window, parts of a combination.

Pairs come sorted by row, so that a stable sort by key puts each subscriber's signals in their order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.event.engine.index import Index
from services.event.engine.slots import Keys, Table
from services.event.engine.state import State

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Runs:
    """Items sorted by key: `order` sorts, `first` marks each key's first item, `group` numbers the keys."""

    def __init__(self, keys: Keys) -> None:
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]
        self.first = np.empty(len(keys), bool)
        self.first[:1] = True
        self.first[1:] = self.keys[1:] != self.keys[:-1]
        self.group = np.cumsum(self.first) - 1
        self.starts = np.flatnonzero(self.first)
        self.lengths = np.diff(np.append(self.starts, len(keys)))
        self.lasts = self.starts + self.lengths - 1
        self.rank = np.arange(len(keys)) - self.starts[self.group]

    @property
    def distinct(self) -> Keys:
        """Each key once."""
        return self.keys[self.starts]


def terminal_changes(imeis: Table, ordinals: NDArray[np.uint32], values: NDArray[np.uint64]) -> Flags:
    """Which signals show another terminal than the subscriber's signal before; a first one only records."""
    runs = Runs(ordinals.astype(np.uint64))
    slots, _ = imeis.place(runs.distinct)
    column = imeis.column("imei")
    now = values[runs.order]
    before = np.empty_like(now)
    before[1:] = now[:-1]
    before[runs.starts] = column[slots]
    column[slots] = now[runs.lasts]
    changed = np.empty(len(now), bool)
    changed[runs.order] = (before != 0) & (before != now)
    return changed


def located(table: Table, ordinals: NDArray[np.uint32]) -> Ints:
    """The number of each location signal among those of its subscriber."""
    runs = Runs(ordinals.astype(np.uint64))
    slots, _ = table.place(runs.distinct)
    column = table.column("signals")
    numbers = np.empty(len(ordinals), np.int64)
    numbers[runs.order] = column[slots][runs.group] + runs.rank + 1
    column[slots] += runs.lengths
    return numbers


def stayed(table: Table, keys: Keys, numbers: Ints, at: Ints, needed: Ints) -> Flags:
    """Which signals complete a stay of `needed` microseconds; `numbers` as given by `located`.

    A stay goes on while every location signal of the subscriber matches: no number is left out.
    """
    runs = Runs(keys)
    slots, new = table.place(runs.distinct)
    since, seen = table.column("since"), table.column("seen")
    number, time = numbers[runs.order], at[runs.order]
    goes_on = np.zeros(len(keys), bool)
    goes_on[1:] = number[1:] == number[:-1] + 1
    known = ~new & (seen[slots] + 1 == number[runs.starts])
    goes_on[runs.starts] = known
    begin = np.where(goes_on, 0, time)
    begin[runs.starts] = np.where(known, since[slots], time[runs.starts])
    opens = ~goes_on | runs.first
    begin = begin[np.maximum.accumulate(np.where(opens, np.arange(len(keys)), 0))]
    since[slots], seen[slots] = begin[runs.lasts], number[runs.lasts]
    true = np.empty(len(keys), bool)
    true[runs.order] = time - begin >= needed[runs.order]
    return true


def counted(table: Table, count: int, keys: Keys, at: Ints, window: Ints) -> Flags:
    """Which signals are the `count`-th within `window` microseconds."""
    runs = Runs(keys)
    slots, _ = table.place(runs.distinct)
    filled, times = table.column("filled"), table.column("times")
    had, place = filled[slots], np.arange(count - 1)
    length = had + runs.lengths
    start = np.cumsum(length) - length
    sequence = np.empty(int(length.sum()), np.int64)
    there = place < had[:, None]
    sequence[(start[:, None] + place)[there]] = times[slots][there]
    position = (start + had)[runs.group] + runs.rank
    sequence[position] = at[runs.order]
    back = position - (count - 1)
    true = np.empty(len(keys), bool)
    enough = back >= start[runs.group]
    true[runs.order] = enough & (sequence[position] - sequence[np.maximum(back, 0)] <= window[runs.order])
    kept = np.minimum(length, count - 1)
    there = place < kept[:, None]
    fresh = np.zeros((len(slots), count - 1), np.int64)
    fresh[there] = sequence[((start + length - kept)[:, None] + place)[there]]
    filled[slots], times[slots] = kept, fresh
    return true


def combined(
    state: State, index: Index, row: Ints, rule: Ints, ordinals: NDArray[np.uint32], at: Ints
) -> Flags:
    """Which pairs of a row and a true rule belong to a combination that is complete at that row.

    A part stays true for the combination's time; completing it makes all its parts wait again.
    """
    complete = np.zeros(len(row), bool)
    definition = index.definition[rule]
    width = np.maximum(2, 1 << np.ceil(np.log2(np.maximum(index.width[definition], 1))).astype(np.int64))
    for size in np.unique(width).tolist():
        mine = np.flatnonzero(width == size)
        complete[mine] = _combined(
            state.part_table(size), size, index, row[mine], rule[mine], ordinals[row[mine]], at[row[mine]]
        )
    return complete


def _combined(
    table: Table, size: int, index: Index, row: Ints, rule: Ints, ordinals: NDArray[np.uint32], at: Ints
) -> Flags:
    definition = index.definition[rule]
    keys = (index.combination_id[definition].astype(np.uint64) << np.uint64(32)) | ordinals.astype(np.uint64)
    # One event is one row of one combination, however many of its rules are true there.
    order = np.lexsort((row, keys))
    new = np.ones(len(row), bool)
    new[1:] = (keys[order][1:] != keys[order][:-1]) | (row[order][1:] != row[order][:-1])
    event = np.empty(len(row), np.int64)
    event[order] = np.cumsum(new) - 1
    leader = order[new]
    runs = Runs(keys[leader])  # sorted already: its order is the identity
    place = index.place_in_definition[rule]
    done = np.zeros(len(leader), bool)
    by_event = np.argsort(event, kind="stable")
    first_pair = np.searchsorted(event[by_event], np.arange(len(leader) + 1))
    # Subscribers with several events take them one after the other, all subscribers at once.
    for turn in range(int(runs.rank.max()) + 1):
        events = np.flatnonzero(runs.rank == turn)
        slots, _ = table.place(keys[leader[events]])
        until = table.column("until")
        waiting = until[slots]
        counts = first_pair[events + 1] - first_pair[events]
        line = np.repeat(np.arange(len(events)), counts)
        pairs = by_event[np.arange(len(line)) + (first_pair[events] - (np.cumsum(counts) - counts))[line]]
        waiting[line, place[pairs]] = at[pairs] + index.combination_us[definition[pairs]]
        true = waiting >= at[leader[events]][:, None]
        complete = _evaluate(index, definition[leader[events]], true, size)
        waiting[complete] = 0
        until[slots] = waiting
        done[events] = complete
    return done[event]


def _evaluate(index: Index, definitions: Ints, true: Flags, size: int) -> Flags:
    """The value of each definition's expression for its line of true rules."""
    start = index.truth_start[definitions]
    values = np.zeros(len(definitions), bool)
    looked_up = start >= 0
    if looked_up.any():
        bits = true[looked_up].astype(np.int64) @ (1 << np.arange(size))
        values[looked_up] = index.truth[start[looked_up] + bits]
    for i in np.flatnonzero(~looked_up).tolist():
        entry = index.entries[int(definitions[i])]
        values[i] = entry.plan.value(true[i, : entry.plan.width].tolist())
    return values
