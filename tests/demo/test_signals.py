"""A generated day: signals however it is cut, patterns that the cases need, visits."""

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from demo import homes, places, signals, stations, subscribers, visits, vocabulary
from demo.people import People

COUNT = 30_000
SEED = 5


@pytest.fixture(scope="module")
def people():
    return People.of(subscribers.generate(COUNT, seed=SEED))


@pytest.fixture(scope="module")
def day(people):
    return signals.Day(people, subscribers.DEMO_DAY, SEED)


@pytest.fixture(scope="module")
def whole(day):
    return day.between(day.start, day.start + timedelta(days=1))


def rows_of(part):
    return np.stack(
        [part.row, part.occurred_at, part.source, part.text, part.tac_cell.astype(np.int64)], axis=1
    )


def test_the_day_begins_at_local_midnight(day, whole):
    """Midnight in the region is 16:00 UTC of the day before; all signals lie in the day and in order."""
    assert day.start.isoformat() == "2020-09-15T16:00:00+00:00"
    assert len(whole) == day.total == 3 * COUNT
    assert (np.diff(whole.occurred_at) >= 0).all()


@pytest.mark.parametrize("minutes", [7, 15, 50, 360])
def test_cutting_the_day_changes_nothing(people, whole, minutes):
    """Slices of any length, in any order, by a fresh generator, join to the same rows."""
    day = signals.Day(people, subscribers.DEMO_DAY, SEED)
    edges = [day.start + timedelta(minutes=step) for step in range(480, 841, minutes)]
    parts = [day.between(begin, end) for begin, end in reversed(list(pairwise(edges)))]
    joined = signals.Signals.concatenate(parts[::-1])
    lo, hi = np.searchsorted(
        whole.occurred_at, [round(edge.timestamp() * 1e6) for edge in (edges[0], edges[-1])]
    )
    assert (rows_of(joined) == rows_of(whole)[lo:hi]).all()


def test_outside_the_day_there_is_nothing(day):
    """Another day's hours give no rows, with columns still typed."""
    later = day.start + timedelta(days=2)
    empty = day.between(later, later + timedelta(hours=1))
    assert len(empty) == 0
    assert empty.columns()["tac_cells"].dtype == np.uint64


def test_seed_and_day_decide(people, day, whole):
    """Another seed or day gives other signals; a higher rate gives more."""
    begin = day.start + timedelta(hours=9)
    here = rows_of(day.between(begin, begin + timedelta(minutes=15)))
    other = signals.Day(people, subscribers.DEMO_DAY, SEED + 1).between(begin, begin + timedelta(minutes=15))
    assert here.shape != rows_of(other).shape or (here != rows_of(other)).any()
    assert signals.Day(people, subscribers.DEMO_DAY, SEED, rate=6).total == 6 * COUNT
    with pytest.raises(ValueError, match="rate"):
        signals.Day(people, subscribers.DEMO_DAY, SEED, rate=0)


def test_columns_are_what_a_batch_takes(people, whole):
    """Types, cells of the network, counties of the cells, texts of the kind (EVT-03, EVT-26)."""
    net = stations.network()
    columns = whole.columns()
    types = {
        "subscriber_ids": "i8",
        "sources": "u1",
        "occurred_at": "i8",
        "tac_cells": "u8",
        "counties": "i4",
    }
    types |= {"source_tac_cells": "u8", "home_cities": "i4", "roaming_types": "u1", "power_states": "u1"}
    types |= {"imeis": "u8", "text_indexes": "i4", "brand_indexes": "i4"}
    assert {name: column.dtype for name, column in columns.items()} == {
        n: np.dtype(t) for n, t in types.items()
    }
    known = dict(zip(net.tac_cell.tolist(), net.county.tolist(), strict=True)) | {0: 0}
    assert all(
        known[cell] == county
        for cell, county in zip(whole.tac_cell.tolist(), whole.county.tolist(), strict=True)
    )
    assert (people.subscriber_id[whole.row] == whole.subscriber_id).all()
    spans = {
        signals.KEYWORD_SEARCH: (0, signals.FIRST_HOST),
        signals.SITE_VISIT: (signals.FIRST_HOST, signals.FIRST_APP),
        signals.APP_USE: (signals.FIRST_APP, signals.FIRST_BRAND),
    }
    for kind, (low, high) in spans.items():
        text = whole.text[whole.source == kind]
        assert len(text) and text.min() >= low and text.max() < high
    assert (whole.text[whole.source <= signals.TERMINAL_CHANGE] == -1).all()
    assert ((whole.power_state > 0) == (whole.source == signals.POWER_SWITCH)).all()
    assert (whole.imei >= 10**14).all() and (whole.imei < 10**15).all()
    assert set(whole.source) == {1, 2, 3, 4, 5, 6}


def test_apps_are_the_subscribers_own(people, whole):
    """App signals name apps of the subscriber's tag, videos more in the evening (EVT-38, EVT-39)."""
    using = whole.source == signals.APP_USE
    app = (whole.text[using] - signals.FIRST_APP).astype(np.uint32)
    assert ((people.apps[whole.row[using]] >> app) & 1).all()
    hour = (whole.occurred_at[using] // 3_600_000_000 + 8) % 24
    video = np.isin(app, [index for index, item in enumerate(vocabulary.APPS) if item.video])
    assert video[(hour >= 19) & (hour < 23)].mean() > video[(hour >= 9) & (hour < 17)].mean() + 0.1


def test_people_are_at_home_by_night_and_at_work_by_day(people, day):
    """Cells follow the hour; travellers are where they roam."""
    move = day.movement
    rows = np.flatnonzero(move.works & (move.away == -2) & (move.errand_place < 0))
    station = stations.SECTORS
    night = move.cell_at(rows, np.full(len(rows), 180.0))
    noon = move.cell_at(rows, np.full(len(rows), 720.0))
    assert (night // station == people.home_cell[rows] // station).all()
    assert (noon == people.work_cell[rows]).all()
    abroad = np.flatnonzero(move.away == -1)
    assert len(abroad) and (move.cell_at(abroad, np.full(len(abroad), 600.0)) == -1).all()
    assert (move.roaming[abroad] >= 3).all()
    sunday = signals.Day(people, date(2020, 9, 20), SEED)
    assert not sunday.movement.works.any()


def test_students_stay_on_campus_for_more_than_an_hour(people, whole):
    """Campus cells carry each student over an hour and more without a signal from elsewhere."""
    net = stations.network()
    calm = np.flatnonzero(people.campus_role == homes.STUDENT)[:400]
    stayed = 0
    for row in calm.tolist():
        mine = (whole.row == row) & (whole.source == signals.LOCATION)
        inside = np.isin(whole.tac_cell[mine], net.tac_cell[net.cells_of_campus[people.campus[row]]])
        times = whole.occurred_at[mine]
        since = None
        longest = 0
        for at, here in zip(times.tolist(), inside.tolist(), strict=True):
            since = (since or at) if here else None
            longest = max(longest, at - since if since else 0)
        stayed += longest >= 3_600_000_000
    assert stayed / len(calm) > 0.95


def test_each_place_is_passed_by(day, whole):
    """Arrival on an errand is seen in the place's own cells (EVT-35)."""
    net, move = stations.network(), day.movement
    going = np.flatnonzero(move.errand_place >= 0)
    seen = whole.source == signals.LOCATION
    for row in going[:200].tolist():
        cells = net.tac_cell[net.cells_of_place[move.errand_place[row]]]
        mine = whole.tac_cell[seen & (whole.row == row)]
        assert np.isin(mine, cells).any()
    kinds = {places.places()[index].kind for index in move.errand_place[going].tolist()}
    assert kinds == {places.STORE, places.HOSPITAL, places.STATION, places.DISTRICT}


def test_the_village_has_residents(people):
    """A quarter of the subscribers of 海南区 live in the fenced cells (CMP-43)."""
    net = stations.network()
    (village,) = places.of_kind(places.VILLAGE)
    there = people.county == village.county
    share = np.isin(people.home_cell[there], net.cells_in(village.outline)).mean()
    assert abs(share - homes.VILLAGE_SHARE) < 0.08


def test_a_changed_terminal_stays_changed(people, whole):
    """The IMEI differs before and after the change, and only there (EVT-32)."""
    changes = np.flatnonzero(whole.source == signals.TERMINAL_CHANGE)
    assert len(changes) > 50
    once, count = np.unique(whole.row[changes], return_counts=True)
    assert (count == 1).all()
    for at in changes[:50].tolist():
        mine = whole.row == whole.row[at]
        before = whole.imei[mine & (whole.occurred_at < whole.occurred_at[at])]
        after = whole.imei[mine & (whole.occurred_at >= whole.occurred_at[at])]
        assert set(after.tolist()) == {int(whole.imei[at])} and int(whole.imei[at]) not in before.tolist()
    others = ~np.isin(whole.row, once)
    pairs = np.unique(np.stack([whole.row[others], whole.imei[others].astype(np.int64)]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]


def test_weak_coverage_shows_as_bursts(whole):
    """Where the network is weak phones switch off and on again and again (EVT-34)."""
    net = stations.network()
    weak = set(net.tac_cell[net.station_weak[net.station]].tolist())
    switching = whole.source == signals.POWER_SWITCH
    rows, count = np.unique(whole.row[switching], return_counts=True)
    bursts = rows[count >= signals.BURST_SIGNALS]
    assert len(bursts) > 20
    in_weak = [
        sum(cell in weak for cell in whole.tac_cell[switching & (whole.row == row)].tolist()) >= 4
        for row in bursts[:40]
    ]
    assert np.mean(in_weak) > 0.8


def test_visits_come_from_errands_and_sessions(people, day):
    """Counter and kiosk customers are at the store; sessions name hosts; cutting changes nothing (TCH-81)."""
    counter, kiosk = visits.visits(day, visits.STORE_COUNTER), visits.visits(day, visits.KIOSK)
    move = day.movement
    assert len(counter) > len(kiosk) > 0
    assert not set(counter.row.tolist()) & set(kiosk.row.tolist())
    start = round(day.start.timestamp() * 1e6)
    minute = (counter.at - start) / 60e6
    assert ((minute >= move.errand_from[counter.row]) & (minute <= move.errand_to[counter.row])).all()
    assert all(counter.names[where].startswith("store-") for where in counter.where.tolist())
    browsing = visits.visits(day, visits.TOOLBAR)
    assert (people.phone[browsing.row] == browsing.phone).all() and (np.diff(browsing.at) >= 0).all()
    assert set(browsing.names) == {host for host, _ in vocabulary.SITES}
    noon = int(datetime(2020, 9, 16, 4, tzinfo=day.start.tzinfo).timestamp() * 1e6)
    assert len(browsing.between(start, noon)) + len(browsing.between(noon, start + 86_400_000_000)) == len(
        browsing
    )
    assert len(visits.visits(day, visits.TOOLBAR, share=0.3)) > 2 * len(browsing)
