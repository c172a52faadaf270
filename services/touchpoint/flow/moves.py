"""Every change of a touch: state, counter, outcome, announcement and contact slot change together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from iop.touchpoint.v1 import events_pb2
from numpy.typing import NDArray

from services.kit import db, outbox
from services.kit.partition import partition_of
from services.touchpoint.domain import catalogue, keys
from services.touchpoint.domain.states import COUNTER_OF, HOLDS_SLOT, OUTCOME_OF, State, Step
from services.touchpoint.store import ledger, registry, slices
from services.touchpoint.store.slices import LEASES_MASK, Slice

_MOST_ROWS = 10_000  # of one announcement


@dataclass
class Settled:
    """Columns of touches that came to rest, of one activity, touchpoint and planned day."""

    ordinals: list[int] = field(default_factory=list)
    occurrences: list[int] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)
    previous: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


Groups = dict[tuple[int, int, int], Settled]  # activity, touchpoint, planned day


def announce(tx: db.Connection, groups: Mapping[tuple[int, int, int], Settled], partitions: int) -> None:
    """Put touch.settled into the outbox."""
    rows = []
    for (activity, touchpoint, day), all_rows in sorted(groups.items()):
        for start in range(0, len(all_rows.ordinals), _MOST_ROWS):
            part = slice(start, start + _MOST_ROWS)
            names = list(dict.fromkeys(all_rows.reasons[part]))
            index = {name: i for i, name in enumerate(names)}
            message = events_pb2.TouchSettled(
                activity_number=activity,
                touchpoint=touchpoint,  # type: ignore[arg-type]
                planned_day=day,
                ordinals=np.array(all_rows.ordinals[part], "<u4").tobytes(),
                occurrences=np.array(all_rows.occurrences[part], "<u4").tobytes(),
                outcomes=bytes(all_rows.outcomes[part]),
                previous_outcomes=bytes(all_rows.previous[part]),
                settled_at=np.array(all_rows.at[part], "<i8").tobytes(),
                reason_indexes=bytes([min(index[name], 255) for name in all_rows.reasons[part]]),
                reasons=names[:256],
            )
            rows.append(
                outbox.row(tx, message, partition_of(activity, partitions), key=f"activity-{activity}")
            )
    outbox.add_all(tx, rows)


class Moves:
    """Changes to touches of locked slices within one transaction; nothing is written before `flush`."""

    def __init__(self, tx: db.Connection, locked: Mapping[int, Slice], at: int, partitions: int) -> None:
        self.tx = tx
        self.slices = locked
        self.at = at
        self._partitions = partitions
        self._counts: Counter[ledger.CounterKey] = Counter()
        self._outcomes: list[ledger.OutcomeRow] = []
        self._noted: set[tuple[int, int, int]] = set()
        self._settled: Groups = {}
        self._refunds: list[bytes] = []
        self.settled_traces: list[
            tuple[str, int, str]
        ] = []  # (traceparent, outcome, code) to write after commit

    def to(
        self,
        item: Slice,
        position: int,
        state: int,
        *,
        reason: str = "",
        code: str = "",
        at: int | None = None,
        provider_id: str | None = None,
    ) -> None:
        """Give one touch another state. `reason` is ours, `code` the provider's."""
        before = item.states[position]
        if before == state:
            return
        activity, touchpoint = item.activity, item.touchpoint
        counter, kind = COUNTER_OF[before]
        self._counts[activity, touchpoint, counter, kind] -= 1
        counter, kind = COUNTER_OF[state]
        self._counts[activity, touchpoint, counter, reason if state == State.SUPPRESSED else kind] += 1
        item.states[position] = state
        item.changed = True
        when = self.at if at is None else at
        if state == State.INFLIGHT:
            item.inflight_since = when if item.inflight_since is None else min(item.inflight_since, when)
        if before in HOLDS_SLOT and state not in HOLDS_SLOT and touchpoint in catalogue.PUSH:
            self.refund(item, position)
        outcome = OUTCOME_OF[state]
        if outcome:
            self._settle(
                item, position, outcome, OUTCOME_OF[before], code or reason, reason, when, provider_id
            )

    def lease(self, item: Slice, positions: NDArray[np.intp]) -> None:
        """Queued rows go to an adapter."""
        column = item.columns
        column[positions] = State.LEASED
        marks = np.frombuffer(item.marks, np.uint8)
        fresh = positions[(marks[positions] & LEASES_MASK) < LEASES_MASK]
        marks[fresh] += 1
        item.changed = True
        self._counts[item.activity, item.touchpoint, "queued", ""] -= len(positions)
        self._counts[item.activity, item.touchpoint, "leased", ""] += len(positions)

    def note(
        self,
        item: Slice,
        position: int,
        step: Step,
        *,
        code: str = "",
        at: int | None = None,
        provider_id: str | None = None,
        lease_id: int = 0,
    ) -> None:
        """Write a step that is no outcome."""
        self._noted.add((item.slice_id, position, step))
        when = self.at if at is None else at
        self._outcomes.append(
            ledger.OutcomeRow(
                item.planned_day, item.slice_id, position, step, lease_id, 0, code, when, provider_id
            )
        )

    def noted(self, item: Slice, position: int, step: Step) -> bool:
        """Whether this transaction has written the step already."""
        return (item.slice_id, position, step) in self._noted

    def give_back(self, item: Slice, position: int, code: str) -> None:
        """A leased touch returns to the queue; its contact slot stays reserved."""
        leases = item.marks[position] & LEASES_MASK
        if leases < LEASES_MASK:
            self.note(item, position, Step.RETURNED, code=code, lease_id=leases)
        self.to(item, position, State.QUEUED)

    def count(self, activity: int, touchpoint: int, counter: str, n: int = 1) -> None:
        """Add to a counter that no state stands behind."""
        self._counts[activity, touchpoint, counter, ""] += n

    def refund(self, item: Slice, position: int) -> None:
        """Give the contact slot of a touch back."""
        self._refunds.append(keys.pack(key_of(item, position)))

    def end(self, item: Slice) -> None:
        """Nothing of the slice is offered any more."""
        item.ended = item.changed = True

    def flush(self, traced: Iterable[int] = ()) -> None:
        """Write everything. `traced` are the slices that may hold traced touches."""
        slices.save(self.tx, self.slices.values())
        ledger.append_outcomes(self.tx, self._outcomes)
        ledger.count(self.tx, self._counts)
        ledger.add_refunds(self.tx, self._refunds)
        announce(self.tx, self._settled, self._partitions)
        watched = set(traced) & self.slices.keys()
        rows = [
            row for row in self._outcomes if row.step < Step.PROVIDER_ACCEPTED and row.slice_id in watched
        ]
        found = registry.traces(self.tx, [(row.slice_id, row.position) for row in rows])
        self.settled_traces = [
            (found[row.slice_id, row.position], row.step, row.code)
            for row in rows
            if (row.slice_id, row.position) in found
        ]

    @property
    def failures(self) -> list[ledger.OutcomeRow]:
        """Touches that failed at the channel."""
        return [row for row in self._outcomes if row.step in (2, 3)]

    def _settle(
        self,
        item: Slice,
        position: int,
        outcome: int,
        previous: int,
        code: str,
        reason: str,
        at: int,
        provider_id: str | None,
    ) -> None:
        self._outcomes.append(
            ledger.OutcomeRow(
                item.planned_day, item.slice_id, position, outcome, 0, previous, code, at, provider_id or None
            )
        )
        group = self._settled.setdefault((item.activity, item.touchpoint, item.planned_day), Settled())
        group.ordinals.append(int(item.ordinals[position]))
        group.occurrences.append(item.occurrence)
        group.outcomes.append(outcome)
        group.previous.append(previous)
        group.at.append(at)
        group.reasons.append(reason)


def key_of(item: Slice, position: int) -> keys.TouchKey:
    """The key of a touch of a slice."""
    return keys.TouchKey(
        item.planned_day, item.activity, item.occurrence, item.touchpoint, int(item.ordinals[position])
    )


def touch_id_of(item: Slice, position: int) -> str:
    """The id of a touch of a slice."""
    return keys.encode(key_of(item, position))
