"""The matcher against the plain reading of the rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.event.domain.model import (
    All,
    Comparison,
    Definition,
    Either,
    Every,
    Operator,
    Rule,
    Source,
)
from services.event.domain.predicates import TooComplex
from services.event.engine import checkpoint
from services.event.engine.matcher import COMPACT_EVERY, Matcher
from services.event.engine.populations import Populations, members_of
from services.event.engine.slots import Slots, Table, pack
from services.event.engine.state import Binding
from tests.event.oracle import Oracle, Population, Signal
from tests.event.worlds import CELLS, MINUTE, NOON, bind, columns, flat, scenes

ZONE = "Asia/Shanghai"
PROPERTY = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def matcher_of(definitions: list[Definition], populations: list[Population]) -> Matcher:
    made = Matcher(ZONE, Populations())
    for definition in definitions:
        made.define(definition, str(definition.number).encode())
    bind(made, populations)
    return made


def in_cell(*cells: int, **kwargs: object) -> Rule:
    values = cells or (CELLS[0],)
    return Rule(Source.LOCATION, Comparison("tac_cell", Operator.IN, values), **kwargs)  # type: ignore[arg-type]


def here(at: int, cell: int = CELLS[0], ordinal: int = 1) -> Signal:
    return Signal(ordinal, Source.LOCATION, NOON + at * 1_000_000, cell=cell)


def times(definition: Definition, signals: list[Signal]) -> list[int]:
    """Seconds after noon at which subscriber 1 matches, in periods of one signal each."""
    made = matcher_of([definition], [Population(100, definition.number, frozenset({1}))])
    found = []
    for signal in signals:
        matches = made.match([columns([signal])])
        found += [(match[4] - NOON) // 1_000_000 for match in flat(matches)]
        made.state.fired, made.state.groups = Slots(), []
        made._group_of, made._groups = {}, {}
    return found


@PROPERTY
@given(scenes(), st.integers(1, 40))
def test_columns_agree_with_the_plain_reading(scene: tuple, cut: int) -> None:
    """Whatever the rules, and however the stream is cut into batches (EVT-04, EVT-11, EVT-13)."""
    definitions, populations, signals = scene
    try:
        made = matcher_of(definitions, populations)
        made.build()
    except TooComplex:
        return
    expected = sorted(Oracle(definitions, populations).feed(signals))
    parts = [columns(signals[i : i + cut]) for i in range(0, len(signals), cut)]
    one_by_one = [match for part in parts for match in flat(made.match([part]))]
    assert sorted(one_by_one) == expected
    together = matcher_of(definitions, populations).match(parts)
    assert sorted(flat(together)) == expected
    assert one_by_one == [
        item for i in range(len(parts)) for item in flat([m for m in together if m.batch == i])
    ]


@PROPERTY
@given(scenes(), st.integers(0, 59))
def test_a_checkpoint_changes_nothing(scene: tuple, cut: int) -> None:
    """State that was stored and read again gives the same matches as state that never left memory."""
    definitions, populations, signals = scene
    try:
        straight = matcher_of(definitions, populations)
        straight.build()
    except TooComplex:
        return
    head, tail = signals[:cut], signals[cut:]
    expected = flat(straight.match([columns(head)])) + flat(straight.match([columns(tail)]))
    first = matcher_of(definitions, populations)
    got = flat(first.match([columns(head)]))
    first.applied(7, 1234)
    by_number = {str(definition.number).encode(): definition for definition in definitions}
    bindings = iter(list(first.state.bindings.values()))
    data = checkpoint.encode(checkpoint.freeze(first.state))
    state = checkpoint.decode(data, by_number.__getitem__, lambda _: next(bindings))
    assert (state.sequence, state.applied) == (1234, 7)
    second = Matcher(ZONE, first._populations, state=state)
    assert got + flat(second.match([columns(tail)])) == expected
    assert second.state.match_counts == straight.state.match_counts


def test_a_stay_is_measured_between_location_signals_and_cleared_by_leaving() -> None:
    """True after an hour in the cells; one signal elsewhere starts it anew (EVT-26)."""
    definition = Definition(1, in_cell(dwell_seconds=3600))
    away = CELLS[1]
    assert times(definition, [here(0), here(1800), here(3599), here(3600), here(3700)]) == [3600, 3700]
    assert times(definition, [here(0), here(1800, away), here(3600), here(7199), here(7200)]) == [7200]
    # Other kinds of signals neither end a stay nor prolong it.
    power = Signal(1, Source.POWER_SWITCH, NOON + 1000 * 1_000_000, cell=away)
    assert times(definition, [here(0), power, here(3600)]) == [3600]


def test_parts_of_a_combination_last_half_an_hour_and_start_anew_once_it_is_complete() -> None:
    """Location and power switch within 30 minutes, in any order (EVT-04, EVT-08)."""
    definition = Definition(1, Every((in_cell(), Rule(Source.POWER_SWITCH))))

    def switch(at: int) -> Signal:
        return Signal(1, Source.POWER_SWITCH, NOON + at * 1_000_000)

    assert times(definition, [here(0), switch(1800)]) == [1800]
    assert times(definition, [here(0), switch(1801)]) == []
    assert times(definition, [switch(0), here(10), here(20), switch(30)]) == [10, 30]
    assert times(definition, [switch(0), here(10), switch(20), switch(30), here(40)]) == [10, 40]
    short = Definition(1, definition.expression, combination_seconds=60)
    assert times(short, [here(0), switch(61)]) == []


def test_a_combination_of_many_rules_is_computed_where_no_table_fits() -> None:
    """Twelve rules: too many for a table of values."""
    every = Every(tuple(Rule(Source.APP_USE, Comparison("app", Operator.EQ, (f"a{i}",))) for i in range(12)))
    definition = Definition(1, Either((every, in_cell())))

    def uses(i: int) -> Signal:
        return Signal(1, Source.APP_USE, NOON + i * 1_000_000, text=f"A{i}")

    assert times(definition, [uses(i) for i in range(11)]) == []
    assert times(definition, [uses(i) for i in range(12)]) == [11]
    assert times(definition, [uses(3), here(9)]) == [9]


def test_a_first_terminal_only_records() -> None:
    """A change is another IMEI than the last one stored (EVT-32)."""
    definition = Definition(1, Rule(Source.TERMINAL_CHANGE))
    old, new = 861234567890123, 861234567890124

    def shows(at: int, imei: int) -> Signal:
        return Signal(1, Source.TERMINAL_CHANGE, NOON + at * 1_000_000, imei=imei)

    assert times(definition, [shows(0, old), shows(1, old), shows(2, new), shows(3, 0), shows(4, new)]) == [2]
    assert times(definition, [shows(0, old), shows(1, new), shows(2, old)]) == [1, 2]


def test_a_subscriber_matches_once_per_activity_and_contact_period() -> None:
    """Twice in October is once, November is another period; local midnight divides them."""
    definition = Definition(1, in_cell())
    made = matcher_of(
        [definition], [Population(100, 1, frozenset({1, 2})), Population(101, 1, frozenset({1}))]
    )
    midnight = (13 * 24 - 12) * 3600  # from noon of October 19th to the end of the month
    signals = [here(0), here(0, ordinal=2), here(5), here(midnight - 1), here(midnight)]
    found = [
        (activity, period, ordinal)
        for _, activity, period, ordinal, _ in flat(made.match([columns(signals)]))
    ]
    assert sorted(found) == [
        (100, 202510, 1),
        (100, 202510, 2),
        (100, 202511, 1),
        (101, 202510, 1),
        (101, 202511, 1),
    ]
    assert made.match([columns(signals)]) == []
    assert made.state.match_counts == {1: 5}


def test_a_population_is_swapped_between_two_signals() -> None:
    """New members match at once, former ones no longer; an activity that ends is silent."""
    made = matcher_of([Definition(1, in_cell())], [Population(100, 1, frozenset({1}))])
    everybody = [here(0, ordinal=ordinal) for ordinal in range(4)]
    assert [match[3] for match in flat(made.match([columns(everybody)]))] == [1]
    bind(made, [Population(100, 1, frozenset({2, 3}))])
    assert sorted(match[3] for match in flat(made.match([columns(everybody)]))) == [2, 3]
    made.unbind(100)
    assert made.match([columns(everybody)]) == []
    assert len(made._populations) == 0


def test_a_changed_rule_forgets_what_the_former_one_kept() -> None:
    """Half a stay under the old cells counts nothing under the new ones; a new name changes nothing."""
    old, new = Definition(1, in_cell(dwell_seconds=60)), Definition(1, in_cell(*CELLS[:2], dwell_seconds=60))
    made = matcher_of([old], [Population(100, 1, frozenset({1}))])
    made.match([columns([here(0)])])
    made.define(old, b"renamed")
    assert not made.stale
    made.define(new, b"other cells")
    assert flat(made.match([columns([here(60)])])) == []
    assert [match[4] for match in flat(made.match([columns([here(120)])]))] == [NOON + 120_000_000]


def test_compaction_drops_only_what_is_over() -> None:
    """After it, stays go on, old combinations and periods are gone, and memory is given back."""
    stay, both = (
        Definition(1, in_cell(dwell_seconds=60)),
        Definition(2, Every((in_cell(), Rule(Source.APP_USE)))),
    )
    made = matcher_of(
        [stay, both], [Population(100, 1, frozenset({1, 2})), Population(101, 2, frozenset({1, 2}))]
    )
    made.match([columns([here(0, ordinal=2), here(40, ordinal=1), here(40, ordinal=1, cell=9)])])
    month = 31 * 24 * 3600
    made.match([columns([here(3 * month, ordinal=2)])])
    before = (made.state.stays.size, made.state.parts[2].size, len(made.state.groups))
    made.applied(COMPACT_EVERY, 99)
    after = (made.state.stays.size, made.state.parts[2].size, len(made.state.groups))
    assert before == (2, 2, 1)
    assert after == (1, 1, 1)
    again = flat(made.match([columns([here(3 * month + 60, ordinal=2)])]))
    assert again == []  # fired for this period already


def test_power_signals_in_a_row_are_a_burst() -> None:
    """Three within ten minutes from one phone count for the cell of the last (EVT-34)."""
    made = matcher_of([], [])
    signals = [
        Signal(ordinal, Source.POWER_SWITCH, NOON + minute * MINUTE, cell=CELLS[0])
        for ordinal, minute in ((1, 0), (2, 0), (1, 5), (1, 10), (2, 6), (2, 11), (1, 30))
    ]
    made.match([columns(signals)])
    assert {cell: count for (_, cell), count in made.state.bursts.items()} == {CELLS[0]: 1}


@given(st.lists(st.lists(st.integers(0, 40), unique=True), max_size=6), st.integers(0, 2**63))
def test_slots_number_keys_as_they_come(batches: list[list[int]], base: int) -> None:
    slots = Slots()
    known: dict[int, int] = {}
    for batch in batches:
        keys = np.array([base + key * 2**32 for key in batch if base + key * 2**32 < 2**64 - 1], np.uint64)
        rows, new = slots.place(keys)
        for key, row, fresh in zip(keys.tolist(), rows.tolist(), new.tolist(), strict=True):
            assert fresh == (key not in known)
            assert row == known.setdefault(key, len(known))
    assert slots.keys.tolist() == list(known)
    assert (slots.find(np.array([2**64 - 2], np.uint64)) == -1).all() or 2**64 - 2 in known


def test_tables_keep_values_with_their_keys() -> None:
    table = Table({"value": (np.int64, 0), "pair": (np.int64, 2)})
    keys = pack(3, np.arange(5000, dtype=np.uint32))
    rows, _ = table.place(keys)
    table.column("value")[rows] = np.arange(5000)
    table.keep(table.column("value") % 2 == 0)
    rows = table.find(keys)
    assert (rows[::2] >= 0).all() and (rows[1::2] == -1).all()
    assert table.column("value")[rows[::2]].tolist() == list(range(0, 5000, 2))
    assert table.column("pair").shape == (2500, 2)


def test_populations_share_memory_and_give_it_back() -> None:
    made = Populations()
    for digest, members in (("a", [1, 9, 70_000]), ("b", [0]), ("c", [])):
        made.add(digest, np.array(members, np.uint32))
        made.hold(digest)
    places = np.array([made.place(digest) for digest in "aabbc"], np.int64)
    ordinals = np.array([9, 10, 0, 70_000, 0], np.uint32)
    assert made.test(places[:, 0], places[:, 1], ordinals).tolist() == [True, False, True, False, False]
    made.release("a")
    assert "a" not in made
    made.add("d", np.array([65_000], np.uint32))
    assert made.place("d")[0] == places[0, 0]
    with pytest.raises(ValueError, match="not a Roaring bitmap"):
        members_of(b"nothing of the kind")


def test_a_binding_without_its_bitmap_matches_nobody() -> None:
    """A lost object does not stop the partition."""
    made = Matcher(ZONE, Populations())
    made.define(Definition(1, Rule(Source.LOCATION, All(()))), b"")
    made.bind(Binding(100, 1, "lost", 0, 1 << 62, b""))
    assert made.match([columns([here(0)])]) == []
