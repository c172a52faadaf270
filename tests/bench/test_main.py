"""The table that `make bench` prints."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as bench

RATE = {
    "name": "matches",
    "value": 400.0,
    "unit": "signals/s",
    "limit": 800.0,
    "alternatives": {"loop": 40.0},
}
COST = {"name": "call", "value": 3.0, "unit": "ms", "limit": 1.5, "alternatives": {"stock": 6}}


def test_more_is_better_for_rates_and_less_for_costs() -> None:
    rate, cost = bench.parse(RATE, "x"), bench.parse(COST, "x")
    assert (rate.times_limit(), rate.gain("loop")) == (2.0, 10.0)
    assert (cost.times_limit(), cost.gain("stock")) == (2.0, 2.0)


def test_the_table_shows_figures_and_ratios(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([RATE, {**COST, "limit": None}]))
    out = io.StringIO()
    Console(file=out, width=150).print(bench.table(bench.read(path)))
    lines = out.getvalue().splitlines()
    assert any("matches" in line and "400" in line and "loop: 40 (x10)" in line for line in lines)
    assert any("call" in line and "stock: 6 (x2)" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"value": 0}, "not a positive number"),
        ({"limit": "fast"}, "not a positive number"),
        ({"alternatives": {"loop": float("nan")}}, "not a positive number"),
        ({"more": 1}, "an entry has name"),
    ],
)
def test_a_figure_that_cannot_be_compared_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        bench.parse({**RATE, **change}, "x")
