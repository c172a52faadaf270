"""The recomputation by itself: each rule on input small enough to be checked by eye."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demo import campuses, stations
from demo.cases import Case, by_case, cases
from demo.recompute import events, targets
from demo.recompute.contacts import Contacts
from demo.recompute.expected import expected
from demo.signals import Signals
from demo.simulators import fate
from demo.world import World, micros

LISTS = ("opt_out", "no_consent", "minor", "block", "red", "sensitive", "no_location_consent")


def world_of(count: int, **columns: Any) -> Any:
    """A world of `count` subscribers with nothing but the given columns."""
    return SimpleNamespace(
        count=count,
        seed=1,
        people=SimpleNamespace(phone=np.arange(13_800_000_000, 13_800_000_000 + count)),
        columns={"data_plus_follower": np.ones(count, np.uint8), **columns},
        lists={name: np.zeros(count, np.bool_) for name in LISTS},
    )


def fates_of(**true: list[bool]) -> Callable[..., fate.Fates]:
    """A fate that is good but for what is given."""

    def push(seed: int, code: str, numbers: Any, touchpoint: str) -> fate.Fates:
        rows = np.asarray(numbers) - 13_800_000_000
        made = {field.name: np.zeros(len(rows), np.bool_) for field in dataclasses.fields(fate.Fates)}
        made["delivered"][:] = True
        for name, values in true.items():
            made[name] = np.array(values)[rows]
        return fate.Fates(**made)

    return push


def signals_of(rows: list[tuple[int, int, int]], source: int = 1) -> Signals:
    """(row, minute, cell) as location signals."""
    n = len(rows)
    zero: dict[str, Any] = {
        field.name: np.zeros(n, np.int64)
        for field in dataclasses.fields(Signals)
        if field.name not in ("row", "source", "occurred_at", "tac_cell")
    }
    return Signals(
        row=np.array([r[0] for r in rows], np.int64),
        source=np.full(n, source, np.uint8),
        occurred_at=np.array([micros(r[1]) for r in rows], np.int64),
        tac_cell=np.array([r[2] for r in rows], np.uint64),
        **zero,
    )


def test_nothing_of_the_services_is_imported() -> None:
    """The recomputation is independent of what it checks."""
    code = (
        "import sys, demo.recompute.expected, demo.recompute.contacts; "
        "print([m for m in sys.modules if m.split('.')[0] in ('services', 'gateway', 'iop')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_caliber_is_open_at_spend_and_closed_elsewhere() -> None:
    """28 < spend < 38, 200 <= traffic <= 300, 50 <= minutes <= 70 (AUD-30)."""
    spend = [2800, 2801, 3799, 3800, 3000, 3000, 3000, 3000]
    traffic = [25000, 20000, 30000, 25000, 19999, 30001, 25000, 25000]
    minutes = [6000, 5000, 7000, 6000, 6000, 6000, 4999, 7001]
    world = world_of(
        8,
        monthly_spend=np.array(spend),
        monthly_traffic=np.array(traffic),
        outgoing_minutes=np.array(minutes),
    )
    found = targets.CONDITIONS["CMP-21"](world)
    assert found.tolist() == [False, True, True, False, False, False, False, False]


def test_the_first_list_of_the_funnel_gives_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opt-outs before consent, minors and the special-number lists (AUD-10, AUD-31)."""
    world = world_of(6)
    monkeypatch.setitem(targets.CONDITIONS, "CMP-21", lambda world: np.array([True] * 5 + [False]))
    world.lists["red"][[0, 1, 5]] = True
    world.lists["minor"][[1, 2]] = True
    opted_out = np.array([False, False, True, False, False, False])
    case = dataclasses.replace(by_case("CMP-21"), control_percent=0.0)
    found = targets.select(world, case, opted_out)
    assert found.excluded == {"opt_out": 1, "minor": 1, "red_list": 1}
    assert found.target.tolist() == [False, False, False, True, True, False]


def test_the_control_group_follows_the_published_formula() -> None:
    """splitmix64 of seed and ordinal, upper half below the share."""
    import hashlib

    name, mask = "campaigns/a/activities/b", 2**64 - 1
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")

    def control(ordinal: int) -> bool:
        h = (seed + (ordinal + 1) * 0x9E3779B97F4A7C15) & mask
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & mask
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & mask
        return (h ^ (h >> 31)) >> 32 < int(0.1 * 2**32)

    assert targets.control_group(name, 3000, 10.0).tolist() == [control(i) for i in range(3000)]


def test_a_stay_is_an_hour_without_a_sign_from_elsewhere() -> None:
    """Leaving clears a stay (EVT-13, CAM-32)."""
    here = int(events.cells("CAM-32")[0])
    matching = events.Matching(by_case("CAM-32"), np.array([True, True, True, False]))
    first = signals_of(
        [(0, 480, here), (1, 480, here), (2, 480, here), (3, 480, here), (1, 500, 7), (1, 510, here)]
    )
    assert matching.play(first)[0].tolist() == []
    rows, at = matching.play(
        signals_of([(0, 540, here), (1, 545, here), (2, 539, here), (3, 545, here), (1, 571, here)])
    )
    assert rows.tolist() == [0, 1]
    assert at.tolist() == [micros(540), micros(571)]
    assert matching.play(signals_of([(0, 700, here), (2, 701, here)]))[0].tolist() == [2]


def test_campus_cells_lie_inside_the_outlines() -> None:
    """The cells of CAM-32 are those whose station stands on a site of the school (EVT-30)."""
    net = stations.network()
    mine = np.isin(net.tac_cell, events.cells("CAM-32"))
    sites = [site for site in campuses.campuses() if site.school.code == "4115010126"]
    import shapely

    inside = np.zeros(net.cells, np.bool_)
    for site in sites:
        inside |= shapely.contains_xy(site.outline, net.lon, net.lat)
    assert mine.sum() > 0
    assert (mine == inside).all()


def contacts(world: Any, *chosen: str) -> tuple[Contacts, list[Case]]:
    """The day of some cases."""
    mine = [by_case(name) for name in chosen]
    return Contacts(world, mine), mine


def test_push_is_held_until_the_window_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held at 07:30, sent at 08:00 (TCH-72)."""
    monkeypatch.setattr(fate, "push", fates_of())
    day, (case,) = contacts(world_of(3), "CMP-40")
    day.clock(450)
    day.push(case, np.arange(3))
    line = day.lines["CMP-40", "sms"]
    assert line.states() == {"held": 3}
    day.clock(480)
    assert line.states() == {"delivered": 3}


def test_a_late_report_amends_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours without report settle as unknown; the report of the third hour is still heard."""
    monkeypatch.setattr(
        fate, "push", fates_of(late=[True, True], delivered=[True, False], undelivered=[False, True])
    )
    day, (case,) = contacts(world_of(2), "CMP-40")
    day.clock(540)
    day.push(case, np.arange(2))
    line = day.lines["CMP-40", "sms"]
    assert line.states() == {"leased": 2}
    day.clock(660)
    assert line.states() == {"unknown": 2}
    day.clock(720)
    assert line.states() == {"delivered": 1, "failed": 1}


def test_one_contact_a_day_unless_it_reached_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed message gives its contact back; a delivered one does not."""
    monkeypatch.setattr(fate, "push", fates_of(delivered=[True, False], undelivered=[False, True]))
    day, (first, second) = contacts(world_of(2), "CMP-21", "CMP-40")
    day.clock(540)
    day.push(first, np.arange(2))
    day.clock(600)
    day.push(second, np.arange(2))
    assert day.lines["CMP-21", "sms"].states() == {"delivered": 1, "failed": 1}
    assert day.lines["CMP-40", "sms"].states() == {"suppressed:contact_cap": 1, "failed": 1}


def test_td_keeps_everything_later_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer TD counts ten minutes later, for other activities and for offers too (TCH-79)."""
    monkeypatch.setattr(fate, "push", fates_of(opt_out=[True, False]))
    monkeypatch.setattr(fate, "pull", lambda seed, code, numbers, touchpoint: np.array(["accepted"]))
    day, (push, event) = contacts(world_of(2), "CMP-21", "CMP-41")
    day.clock(540)
    day.push(push, np.arange(2))
    day.clock(550)
    assert day.opted_out.tolist() == [True, False]
    day.visit("store_counter", [0, 1])
    assert day.lines["CMP-21", "store_counter"].states() == {"waiting": 1, "accepted": 1}
    assert day.lines["CMP-21", "store_counter"].orders == 1
    day.matched(event, np.arange(2), np.array([micros(545)] * 2))
    assert day.lines["CMP-41", "event_sms"].states() == {
        "suppressed:opt_out": 1,
        "suppressed:contact_cap": 1,
    }


def test_an_event_is_not_sent_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too old on arrival, or held after the window closed until its time is over: expired."""
    monkeypatch.setattr(fate, "push", fates_of())
    day, (case,) = contacts(world_of(3), "CMP-41")
    life = case.time_to_live_s // 60
    day.clock(600)
    day.matched(case, np.array([0, 1]), np.array([micros(600 - life), micros(601 - life)]))
    line = day.lines["CMP-41", "event_sms"]
    assert line.states() == {"expired": 1, "delivered": 1}
    day.clock(1080)
    day.matched(case, np.array([2]), np.array([micros(1070)]))
    assert line.states()["held"] == 1
    day.clock(1070 + life)
    assert line.states() == {"expired": 2, "delivered": 1}


def test_the_day_conserves_and_repeats() -> None:
    """A whole small day: both laws hold in the recomputation too, and a second one is the same."""
    world = World(6_000, 7)
    first, second = expected(world), expected(World(6_000, 7))
    assert first.rows == second.rows
    assert {case for case, _ in first.rows} == {case.case for case in cases()}
    for row in first.rows.values():
        assert row.target == row.control + sum(row.excluded.values()) + row.unplanned + row.handed
        parts = sum(row.suppressed.values()) + sum(row.settled.values())
        assert row.received == parts + row.waiting + row.held + row.queued + row.leased + row.cancelled
    assert sum(row.received for row in first.rows.values()) > 100
