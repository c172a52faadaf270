"""Settled touches as facts and sets, against a plain model that remembers every touch."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluation.domain.settling import (
    REACHED,
    REACHED_SET,
    FactKey,
    Outcome,
    Settling,
    Touches,
    scopes,
)

COUNTIES = (150102, 150202)


def message(rows, touchpoint=1):
    """Rows: (ordinal, occurrence, outcome, previous, day)."""
    ordinals = np.array([row[0] for row in rows], np.uint32)
    return Touches(
        activity_number=1,
        touchpoint=touchpoint,
        planned_day=7000,
        ordinals=ordinals,
        occurrences=np.array([row[1] for row in rows], np.uint32),
        outcomes=np.array([row[2] for row in rows], np.uint8),
        previous=np.array([row[3] for row in rows], np.uint8),
        days=np.array([row[4] for row in rows], np.int64),
        reasons=np.array(["opt_out" if row[0] % 2 else "window" for row in rows], object),
        counties=np.array([COUNTIES[row[0] % 2] for row in rows], np.int32),
    )


FIRST = [
    Outcome.DELIVERED,
    Outcome.FAILED,
    Outcome.UNKNOWN,
    Outcome.SHOWN,
    Outcome.SUPPRESSED,
    Outcome.EXPIRED,
]
NEXT = {
    Outcome.UNKNOWN: [Outcome.DELIVERED, Outcome.FAILED],
    Outcome.SHOWN: [Outcome.ACCEPTED, Outcome.DECLINED],
}


@st.composite
def histories(draw):
    """Batches of messages as the touchpoint service sends them: each touch settles once, some are amended."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from([0, 1, 2, 3, 65535, 65536, 200000]), st.integers(1, 2)),
            min_size=1,
            unique=True,
        )
    )
    events = []
    for ordinal, occurrence in keys:
        outcome = draw(st.sampled_from(FIRST))
        day = draw(st.integers(100, 102))
        events.append((day, 0, (ordinal, occurrence, outcome, 0, day)))
        if outcome in NEXT and draw(st.booleans()):
            later = draw(st.integers(day, 103))
            events.append(
                (later, 1, (ordinal, occurrence, draw(st.sampled_from(NEXT[outcome])), outcome, later))
            )
    events.sort(key=lambda event: event[:2])
    rows = [event[2] for event in events]
    size = draw(st.integers(1, 4))
    parts = []
    for row in rows:
        # A touch stands once in a message.
        if parts and len(parts[-1]) < size and row[:2] not in [one[:2] for one in parts[-1]]:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


@settings(max_examples=150, deadline=None)
@given(histories(), st.integers(1, 3))
def test_facts_and_sets_are_those_of_a_plain_count(parts, batch):
    """Amended outcomes replace what was counted, on its day; each customer is reached once (EVA-20)."""
    stored, facts = {}, Counter()
    for start in range(0, len(parts), batch):
        messages = [message(part) for part in parts[start : start + batch]]
        wanted = set(scopes(messages))
        settling = Settling({key: members.copy() for key, members in stored.items() if key[0] in wanted})
        for one in messages:
            settling.apply(one)
        facts.update(settling.facts)
        stored.update({key: settling.members(key) for key in settling.changed})

    last, first_reached = {}, {}
    for ordinal, occurrence, outcome, _, day in (row for part in parts for row in part):
        last[ordinal, occurrence] = (outcome, day)
        if outcome in REACHED:
            first_reached.setdefault((ordinal, occurrence), day)
    expected = Counter()
    for (ordinal, _), (outcome, day) in last.items():
        reason = ("opt_out" if ordinal % 2 else "window") if outcome == Outcome.SUPPRESSED else ""
        expected[FactKey(1, 1, day, COUNTIES[ordinal % 2], outcome, reason)] += 1
    assert {key: n for key, n in facts.items() if n} == expected
    reached = {
        (ordinal, scope.occurrence, day)
        for (scope, day, kind), members in stored.items()
        if kind == REACHED_SET
        for ordinal in members
    }
    assert reached == {(ordinal, occurrence, day) for (ordinal, occurrence), day in first_reached.items()}


def test_a_chunk_holds_its_own_ordinals():
    settling = Settling({})
    settling.apply(message([(65535, 1, Outcome.DELIVERED, 0, 100), (65536, 1, Outcome.DELIVERED, 0, 100)]))
    assert sorted((key[0].chunk, list(settling.members(key))) for key in settling.changed) == [
        (0, [65535]),
        (1, [65536]),
    ]


def test_a_reach_that_is_taken_back_is_gone_from_its_day():
    settling = Settling({})
    settling.apply(message([(5, 1, Outcome.DELIVERED, 0, 100)]))
    settling.apply(message([(5, 1, Outcome.FAILED, Outcome.DELIVERED, 101)]))
    assert all(not settling.members(key) for key in settling.changed)
    assert sum(settling.facts.values()) == 1
