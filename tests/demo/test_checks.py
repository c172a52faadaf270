"""What the end of a run compares, and the shape of the day."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demo import checks
from demo.cases import by_case, cases
from demo.options import Options
from demo.recompute.contacts import Line
from demo.recompute.expected import Row
from demo.results import Results
from demo.schedule import BEHAVIOUR, LAUNCH, LOCATION, positions
from demo.simulators import fate


def row(**fields: Any) -> Row:
    """A sound row of ten, eight of them settled."""
    made = Row(
        target=14, control=2, excluded={"minor": 2}, handed=10, received=10, suppressed={"contact_cap": 2},
        settled={"delivered": 7, "failed": 1},
    )  # fmt: skip
    return dataclasses.replace(made, **fields)


def results(**fields: Any) -> Results:
    """Results of one activity."""
    return Results({("CMP-40", "sms"): row(**fields)}, {("CMP-40", "sms"): 0}, {}, {}, {})


def test_a_difference_names_its_field() -> None:
    """Expected and actual stand beside the field that differs."""
    other = row(settled={"delivered": 6, "unknown": 2}, clicks=1)
    assert checks.differences(row(), other) == [
        "clicks: expected 0, is 1",
        "settled.delivered: expected 7, is 6",
        "settled.failed: expected 1, is 0",
        "settled.unknown: expected 0, is 2",
    ]
    assert checks.differences(row(), row()) == []


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({}, set()),
        ({"control": 1}, {"conservation in campaign"}),
        ({"waiting": 1}, {"conservation in the ledger"}),
        ({"received": 9, "suppressed": {"contact_cap": 1}}, {"nothing in transit"}),
        ({"leased": 1, "settled": {"delivered": 7}}, {"nothing in transit"}),
    ],
)
def test_both_laws_are_exact(fields: dict[str, Any], broken: set[str]) -> None:
    """One touch too few or too many breaks exactly the law it belongs to."""
    assert {item.name for item in checks.conservation(results(**fields)) if not item.ok} == broken


def channel_logs(folder: Path, *entries: dict[str, str]) -> Path:
    """A channel's log."""
    text = "".join(json.dumps({"code": "CY12580", "touchpoint": "sms", **entry}) + "\n" for entry in entries)
    (folder / "sms.jsonl").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("entries", "broken"),
    [
        ([("message", "100", "words"), ("refused", "101", "")], set()),
        (
            [("message", "100", "words"), ("message", "100", "words"), ("refused", "101", "")],
            {"each message exactly once"},
        ),
        ([("refused", "101", "")], {"channels and recomputation"}),
        (
            [("message", "100", "words"), ("message", "102", "words"), ("refused", "101", "")],
            {"channels and recomputation"},
        ),
        ([("message", "100", "other"), ("refused", "101", "")], {"words as approved"}),
    ],
)
def test_the_channels_logs_are_compared(
    tmp_path: Path, entries: list[tuple[str, str, str]], broken: set[str]
) -> None:
    """A message missing, twice, to a stranger or in other words is found."""
    line = Line(by_case("CMP-40"), "sms", "words", taken={0}, refused={1})
    world: Any = SimpleNamespace(people=SimpleNamespace(phone=np.array([100, 101, 102])))
    expected: Any = SimpleNamespace(lines={("CMP-40", "sms"): line})
    folder = channel_logs(tmp_path, *({"kind": k, "phone": p, "text": t} for k, p, t in entries))
    assert {item.name for item in checks.channels(world, expected, folder) if not item.ok} == broken


def test_the_day_is_played_without_gaps() -> None:
    """Each kind of signal is played once and in order, and no two parts of the day meet."""
    minutes = [position.minute for position in positions()]
    assert minutes == sorted(set(minutes))
    for part in (LOCATION, BEHAVIOUR):
        mine = [position for position in positions() if position.part == part]
        assert all(a.end == b.begin for a, b in itertools.pairwise(mine))
        assert all(position.end == position.minute for position in mine)
    sends = [p.minute for p in positions() if p.part in (LOCATION, BEHAVIOUR, LAUNCH)]
    # Answers to one part are in before the next one sends.
    assert min(np.diff(sends)) >= fate.REPLY_MINUTES
    assert {name for p in positions() for name in p.launches} == {case.case for case in cases()}


def test_eight_cases_with_distinct_codes_and_products() -> None:
    """The seed cases (CMP-21, CMP-22, CAM-32)."""
    known = cases()
    assert {case.case for case in known} == {
        "CMP-21", "CMP-22", "CMP-40", "CMP-41", "CMP-42", "CMP-43", "CMP-44", "CAM-32",
    }  # fmt: skip
    assert len({case.code for case in known}) == len({case.product[0] for case in known}) == 8
    assert by_case("CMP-21").product[0] == "101040040146"
    assert [s.touchpoint for s in by_case("CMP-22").settings] == ["data_plus", "toolbar"]
    assert by_case("CMP-44").instruction == "KTAQY30"


def test_options_name_what_is_wrong() -> None:
    """SUBSCRIBERS and SEED are checked before anything starts."""
    assert Options.read({"SUBSCRIBERS": "5000", "SEED": "3", "KEEP": "1"}).subscribers == 5000
    assert not Options.read({"KEEP": "0"}).keep
    with pytest.raises(ValueError, match="SUBSCRIBERS"):
        Options.read({"SUBSCRIBERS": "12"})
    with pytest.raises(ValueError, match="SEED"):
        Options.read({"SEED": "abc"})
