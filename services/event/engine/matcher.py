"""One partition's matcher: records of the log in, matches out, nothing else. Pure but for its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.event.domain.coverage import BURST_SECONDS, BURST_SIGNALS
from services.event.domain.model import Definition, Source
from services.event.engine import keeping
from services.event.engine.columns import LocalTime, Signals, days, months
from services.event.engine.index import Bound, Candidates, Entry, Index, Plan, expand, plan
from services.event.engine.populations import Populations
from services.event.engine.slots import pack
from services.event.engine.state import Binding, State

COMPACT_EVERY = 4096  # records

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """Subscribers that met a definition within one batch of the log; columns of one length."""

    batch: int  # position of the batch among those given
    definition_number: int
    activity_number: int
    period: int  # yyyymm
    ordinals: NDArray[np.uint32]
    occurred_at: Ints
    tac_cells: NDArray[np.uint64]
    counties: NDArray[np.int32]


class Plans:
    """Compiled definitions, shared by the partitions of a process."""

    def __init__(self) -> None:
        self._known: dict[Definition, Plan] = {}

    def of(self, definition: Definition) -> Plan:
        """The plan of a definition that has passed its check."""
        found = self._known.get(definition)
        if found is None:
            found = self._known[definition] = plan(definition)
        return found

    def keep(self, used: Iterable[Definition]) -> None:
        """Forget the others."""
        self._known = {
            definition: self._known[definition] for definition in used if definition in self._known
        }


class Matcher:
    """The matcher of one partition. `state` may be given from a checkpoint."""

    def __init__(
        self,
        timezone: str,
        populations: Populations,
        plans: Plans | None = None,
        state: State | None = None,
    ) -> None:
        self.state = state or State()
        self._time = LocalTime(timezone)
        self._populations = populations
        self._plans = plans or Plans()
        self._index: Index | None = None
        self._groups: dict[int, Ints] = {}  # period -> group by place of the population in the index
        self._group_of = {group: number for number, group in enumerate(self.state.groups)}
        for binding in self.state.bindings.values():
            populations.hold(binding.digest)

    @property
    def stale(self) -> bool:
        """The index has to be built before the next batch; `build` may be called in another thread."""
        return self._index is None

    def build(self) -> None:
        """Build the index of what is bound now."""
        entries = [
            Entry(self._plans.of(known.definition), known.first_id, bound)
            for number, known in sorted(self.state.definitions.items())
            if (bound := self._bound(number))
        ]
        self._index = Index(entries)
        self._groups = {}

    def define(self, definition: Definition, record: bytes) -> None:
        """A definition was made or changed."""
        if self.state.define(definition, record) and self.state.bound_to(definition.number):
            self._index = None

    def forget(self, number: int) -> None:
        """A definition was removed."""
        if self.state.forget(number):
            self._index = None

    def bind(self, binding: Binding) -> None:
        """A population was bound; its bitmap must be among the populations."""
        self._populations.hold(binding.digest)
        before = self.state.bindings.get(binding.activity_number)
        self.state.bind(binding)
        if before is not None:
            self._populations.release(before.digest)
        self._index = None

    def unbind(self, activity_number: int) -> None:
        """An activity no longer listens."""
        before = self.state.unbind(activity_number)
        if before is not None:
            self._populations.release(before.digest)
            self._index = None

    def advance(self, watermark: int) -> None:
        """No earlier signal will come."""
        self.state.watermark = max(self.state.watermark, watermark)

    def until_compaction(self) -> int:
        """Records that may be taken in before the state has to be compacted."""
        return COMPACT_EVERY - self.state.applied % COMPACT_EVERY

    def applied(self, records: int, sequence: int) -> None:
        """These records, up to `sequence` of the log, are in the state now."""
        self.state.applied += records
        self.state.sequence = sequence
        if self.state.applied % COMPACT_EVERY == 0:
            self.state.compact()
            self._group_of = {group: number for number, group in enumerate(self.state.groups)}
            self._groups = {}

    def match(self, batches: Sequence[Signals]) -> list[Match]:
        """Take in batches in their order. Several at once give what they would give one by one."""
        if self._index is None:
            self.build()
        signals = Signals.join(batches)
        if not len(signals):
            return []
        self.advance(int(signals.occurred_at.max()))
        local = self._time.local(signals.occurred_at)
        sources = self._changes_only(signals)
        self._count_bursts(signals, local)
        index = self._index
        assert index is not None
        numbers = np.zeros(len(signals), np.int64)
        if index.dwells:
            where = np.flatnonzero(signals.sources == Source.LOCATION)
            numbers[where] = keeping.located(self.state.located, signals.ordinals[where])
        if index.empty:
            return []
        found = index.candidates(signals, sources, local)
        pair, bound = self._members(index, signals, found)
        fires = index.direct[found.rule]
        if not fires.all():
            fires = fires | self._kept(index, signals, found, pair, numbers)
        chosen = fires[pair]
        row, bound = found.row[pair[chosen]], bound[chosen]
        ends = np.cumsum([len(batch) for batch in batches])
        return self._fire(index, signals, months(local), row, bound, ends)

    def _changes_only(self, signals: Signals) -> NDArray[np.uint8]:
        """The sources of the rows, without terminal signals that show no change."""
        rows = np.flatnonzero(signals.sources == Source.TERMINAL_CHANGE)
        if not len(rows):
            return signals.sources
        sources = signals.sources.copy()
        sources[rows] = 0
        rows = rows[signals.imeis[rows] != 0]
        changed = keeping.terminal_changes(self.state.imeis, signals.ordinals[rows], signals.imeis[rows])
        sources[rows[changed]] = Source.TERMINAL_CHANGE
        return sources

    def _count_bursts(self, signals: Signals, local: Ints) -> None:
        """Note where phones go off and on again and again (EVT-34)."""
        rows = np.flatnonzero((signals.sources == Source.POWER_SWITCH) & (signals.tac_cells != 0))
        if not len(rows):
            return
        window = np.full(len(rows), BURST_SECONDS * 1_000_000)
        at, keys = signals.occurred_at[rows], signals.ordinals[rows].astype(np.uint64)
        burst = rows[keeping.counted(self.state.power, BURST_SIGNALS, keys, at, window)]
        for day, cell in zip(days(local[burst]).tolist(), signals.tac_cells[burst].tolist(), strict=True):
            key = (day, cell)
            self.state.bursts[key] = self.state.bursts.get(key, 0) + 1

    def _members(self, index: Index, signals: Signals, found: Candidates) -> tuple[Ints, Ints]:
        """(pair, population) wherever the subscriber of a pair is in a population that may match then."""
        definition = index.definition[found.rule]
        pair, bound = expand(index.bound_start[definition], index.bound_count[definition])
        row = found.row[pair]
        at = signals.occurred_at[row]
        member = (at >= index.bound_from[bound]) & (at < index.bound_to[bound])
        member &= self._populations.test(index.first_byte[bound], index.bytes[bound], signals.ordinals[row])
        return pair[member], bound[member]

    def _kept(
        self, index: Index, signals: Signals, found: Candidates, pair: Ints, numbers: Ints
    ) -> NDArray[np.bool_]:
        """Which pairs complete a stay, a count or a combination. Others than members leave no trace."""
        fires = np.zeros(len(found.row), bool)
        member = np.zeros(len(found.row), bool)
        member[pair] = True
        rest = np.flatnonzero(member & ~index.direct[found.rule])
        if not len(rest):
            return fires
        row, rule = found.row[rest], found.rule[rest]
        at, ordinals = signals.occurred_at[row], signals.ordinals[row]
        true = np.ones(len(rest), bool)
        dwell = np.flatnonzero(index.dwell_us[rule] > 0)
        if len(dwell):
            keys = pack(index.rule_id[rule[dwell]], ordinals[dwell])
            true[dwell] = keeping.stayed(
                self.state.stays, keys, numbers[row[dwell]], at[dwell], index.dwell_us[rule[dwell]]
            )
        counting = index.count[rule]
        for count in np.unique(counting[counting > 1]).tolist():
            mine = np.flatnonzero(counting == count)
            keys = pack(index.rule_id[rule[mine]], ordinals[mine])
            window = index.window_us[rule[mine]]
            true[mine] = keeping.counted(self.state.count_table(count), count, keys, at[mine], window)
        plain = index.plain[index.definition[rule]]
        fires[rest[true & plain]] = True
        parts = np.flatnonzero(true & ~plain)
        if len(parts):
            complete = keeping.combined(
                self.state, index, row[parts], rule[parts], signals.ordinals, signals.occurred_at
            )
            fires[rest[parts[complete]]] = True
        return fires

    def _fire(
        self, index: Index, signals: Signals, periods: Ints, row: Ints, bound: Ints, ends: Ints
    ) -> list[Match]:
        """Matches of subscribers that have not matched yet for the activity in the contact period."""
        if not len(row):
            return []
        keys = pack(self._group(index, periods[row], bound), signals.ordinals[row])
        fresh = self.state.fired.find(keys) < 0
        row, bound, keys = row[fresh], bound[fresh], keys[fresh]
        keys, first = np.unique(keys, return_index=True)
        if not len(keys):
            return []
        self.state.fired.place(keys)
        row, bound = row[first], bound[first]
        batch = np.searchsorted(ends, row, side="right")
        period = periods[row]
        order = np.lexsort((row, period, bound, batch))
        row, bound, batch, period = row[order], bound[order], batch[order], period[order]
        new = np.ones(len(row), bool)
        new[1:] = (bound[1:] != bound[:-1]) | (batch[1:] != batch[:-1]) | (period[1:] != period[:-1])
        starts = np.flatnonzero(new).tolist()
        ordinals, at = signals.ordinals[row], signals.occurred_at[row]
        cells, counties = signals.tac_cells[row], signals.counties[row]
        matches = []
        for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
            place = int(bound[start])
            number = int(index.number[index.bound_definition[place]])
            self.state.match_counts[number] = self.state.match_counts.get(number, 0) + end - start
            matches.append(
                Match(
                    batch=int(batch[start]),
                    definition_number=number,
                    activity_number=int(index.activity[place]),
                    period=int(period[start]),
                    ordinals=ordinals[start:end],
                    occurred_at=at[start:end],
                    tac_cells=cells[start:end],
                    counties=counties[start:end],
                )
            )
        return matches

    def _group(self, index: Index, periods: Ints, bound: Ints) -> Ints:
        """The number of each (activity, contact period)."""
        found = np.empty(len(bound), np.int64)
        for period in np.unique(periods).tolist():
            known = self._groups.get(period)
            if known is None:
                known = self._groups[period] = np.full(len(index.activity), -1, np.int64)
            mine = periods == period
            for place in np.unique(bound[mine][known[bound[mine]] < 0]).tolist():
                key = (int(index.activity[place]), period)
                if key not in self._group_of:
                    self._group_of[key] = len(self.state.groups)
                    self.state.groups.append(key)
                known[place] = self._group_of[key]
            found[mine] = known[bound[mine]]
        return found

    def _bound(self, number: int) -> tuple[Bound, ...]:
        return tuple(
            Bound(
                binding.activity_number, *self._populations.place(binding.digest), binding.start, binding.end
            )
            for binding in self.state.bound_to(number)
            if binding.digest in self._populations
        )
