"""Runs the benchmarks and prints every figure beside its limit and its alternatives.

    python -m bench                    # all
    python -m bench event_match rpc    # bench_event_match.py and bench_rpc.py

Each `bench/bench_<name>.py` is a process of its own that writes `build/bench/<name>.json`: a list of
`{"name", "value", "unit", "limit", "alternatives"}`. `limit` is the physical or floor figure in the same
unit, or null; `alternatives` maps a peer or a plain design to its figure. A unit that ends in "/s" is a
rate (more is better); every other one is a cost (less is better).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "bench"
LIMIT_SECONDS = 900


@dataclass(frozen=True)
class Figure:
    """One measured figure; all numbers in `unit`."""

    name: str
    value: float
    unit: str
    limit: float | None
    alternatives: dict[str, float]

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    def times_limit(self) -> float | None:
        """How many times worse than the limit we are: 1.0 is at the limit."""
        if self.limit is None:
            return None
        return self.limit / self.value if self.is_rate else self.value / self.limit

    def gain(self, alternative: str) -> float:
        """How many times better than an alternative we are: below 1.0 it beats us."""
        other = self.alternatives[alternative]
        return self.value / other if self.is_rate else other / self.value


def parse(entry: Any, source: str) -> Figure:
    """A figure from its JSON form; ValueError names what is wrong and where."""
    if not isinstance(entry, dict) or set(entry) != {"name", "value", "unit", "limit", "alternatives"}:
        raise ValueError(f"{source}: an entry has name, value, unit, limit and alternatives: {entry!r}")
    numbers = [entry["value"], *entry["alternatives"].values()]
    if entry["limit"] is not None:
        numbers.append(entry["limit"])
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
            raise ValueError(f"{source}: {entry['name']!r} holds {number!r}, not a positive number")
    return Figure(entry["name"], entry["value"], entry["unit"], entry["limit"], entry["alternatives"])


def read(path: Path) -> list[Figure]:
    """The figures of one benchmark's file."""
    entries = json.loads(path.read_text())
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path.name}: a list of figures is expected")
    return [parse(entry, path.name) for entry in entries]


def table(figures: list[Figure]) -> Table:
    """Each figure beside its limit and alternatives, with ratios."""
    made = Table(title="Hot paths", title_justify="left")
    made.add_column("what")
    made.add_column("ours", justify="right")
    made.add_column("unit")
    made.add_column("limit", justify="right")
    made.add_column("from limit", justify="right")
    made.add_column("alternative (ours is better by)")
    for figure in figures:
        distance = figure.times_limit()
        others = [
            f"{name}: {_short(value)} (x{_short(figure.gain(name))})"
            for name, value in figure.alternatives.items()
        ]
        made.add_row(
            figure.name,
            _short(figure.value),
            figure.unit,
            "-" if figure.limit is None else _short(figure.limit),
            "-" if distance is None else f"x{_short(distance)}",
            "\n".join(others) or "-",
        )
    return made


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def run(name: str, console: Console) -> list[Figure]:
    """Runs one benchmark as a process of its own; its output is shown as it comes."""
    result = RESULTS / f"{name}.json"
    result.unlink(missing_ok=True)
    console.print(f"[bold]{name}[/bold]")
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", f"bench.bench_{name}"], cwd=ROOT, check=True, timeout=LIMIT_SECONDS)
    figures = read(result)
    console.print(f"  {len(figures)} figures in {time.monotonic() - begin:.0f} s")
    return figures


def main() -> int:
    known = sorted(path.stem.removeprefix("bench_") for path in (ROOT / "bench").glob("bench_*.py"))
    parser = argparse.ArgumentParser(description="Measure the hot paths.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(known) or 'none yet'}")
    wanted = parser.parse_args().names or known
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(known)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    # Wide enough for a log file, and for a terminal whatever it has.
    console = Console(width=None if sys.stdout.isatty() else 150)
    figures: list[Figure] = []
    failed: list[str] = []
    for name in wanted:
        try:
            figures += run(name, console)
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            failed.append(name)
            console.print(f"  failed: {error}", style="red", markup=False)
    console.print(table(figures))
    if failed:
        console.print(f"failed: {', '.join(failed)}", style="red")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
