"""Audience: counts, reports and snapshots over mapped columns, beside memory bandwidth and other engines.

    python -m bench audience                        # 10 million subscribers
    BENCH_SUBSCRIBERS=1000000 python -m bench audience

Every figure is a median of rounds of one run. The limit of a count is a reduction (numpy max) over the
very bytes of its columns: nobody can answer without reading them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.audience.domain.catalogue import Frequency, Tag, TagClass, TagType
from services.audience.domain.condition import (
    AllOf,
    AnyOf,
    Comparison,
    Constant,
    Node,
    Not,
    Operator,
    check,
    tags_of,
)
from services.audience.engine import bitmap, execute, report
from services.audience.engine.columns import Column, ColumnStore, dtype_for
from services.audience.engine.directory import Directory

ROOT = Path(__file__).resolve().parent.parent
SUBSCRIBERS = int(os.environ.get("BENCH_SUBSCRIBERS", "10000000"))
ROUNDS = 7
DAY = date(2026, 10, 31)
KEYS = min(1_000_000, SUBSCRIBERS)  # of one translation


def timed(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median milliseconds of `work` after one run to warm it."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def tag(code: str, kind: TagType, values: int = 0, decimals: int = 0) -> Tag:
    """An entry of the catalogue."""
    listed = tuple((f"c{i}", "") for i in range(values))
    return Tag(code, code, TagClass.BEHAVIOUR, kind, Frequency.MONTH, values=listed, decimals=decimals)


class Base:
    """The subscribers: stored codes by tag, and their mapped columns."""

    def __init__(self, folder: Path, count: int) -> None:
        rng = np.random.default_rng(20261031)
        self.count = count
        self.tags: dict[str, Tag] = {}
        self.codes: dict[str, NDArray[np.integer]] = {}
        self.columns: dict[str, Column] = {}
        self._store = ColumnStore(folder)
        money = np.clip(rng.lognormal(3.6, 0.6, count), 0, 320) * 100
        self._add(tag("spend", TagType.NUMBER, decimals=2), money)
        self._add(tag("traffic", TagType.NUMBER), rng.gamma(1.5, 200, count))
        self._add(tag("minutes", TagType.NUMBER), rng.gamma(1.2, 80, count))
        for i, values in enumerate((2, 3, 5, 6, 9, 12, 12, 24, 30, 103)):
            shares = rng.dirichlet(np.ones(values))
            drawn = np.searchsorted(np.cumsum(shares), rng.random(count)).clip(0, values - 1)
            self._add(tag(f"kind_{i}", TagType.ENUMERATION, values), drawn)
        for i in range(8):
            self._add(tag(f"flag_{i}", TagType.FLAG), rng.random(count) < 0.1 + i / 20)

    def _add(self, entry: Tag, values: NDArray[Any]) -> None:
        stored = np.asarray(values).astype(np.int64)
        codes = stored.astype(dtype_for(entry, int(stored.min()), int(stored.max())))
        self.tags[entry.code] = entry
        self.columns[entry.code] = self._store.open(
            self._store.write(entry, DAY.isoformat(), codes), entry.type
        )
        self.codes[entry.code] = self.columns[entry.code].codes

    def step(self, condition: Node) -> execute.Step:
        """The steps of a condition."""
        checked = check(condition, self.tags.get, lambda _: DAY)
        return execute.build(
            checked, lambda test: self.columns[test.tag.code], lambda _: np.zeros(0, dtype=bool)
        )

    def read(self, codes: list[str]) -> float:
        """The floor: milliseconds to read the columns once."""
        return timed(lambda: [int(self.codes[code].max()) for code in codes])


def between(
    code: str, low: float, high: float, lower_open: bool = False, upper_open: bool = False
) -> Comparison:
    """A range of a number."""
    values = (Constant("number", low), Constant("number", high))
    return Comparison(code, Operator.BETWEEN, values, lower_open, upper_open)


def among(code: str, *positions: int) -> Comparison:
    """One of some values of an enumeration."""
    return Comparison(code, Operator.IN, tuple(Constant("text", f"c{i}") for i in positions))


def is_true(code: str) -> Comparison:
    """A flag that is set."""
    return Comparison(code, Operator.EQ, (Constant("flag", True),))


THREE = AllOf(
    (between("spend", 28, 38, True, True), between("traffic", 200, 300), between("minutes", 50, 70))
)
THREE_SQL = "spend > 2800 AND spend < 3800 AND traffic BETWEEN 200 AND 300 AND minutes BETWEEN 50 AND 70"
TWENTY = AllOf(
    (
        AnyOf((between("spend", 10, 60), between("traffic", 100, 900), is_true("flag_0"))),
        AnyOf((between("minutes", 10, 200), is_true("flag_1"), among("kind_9", 1, 5, 9, 33, 70))),
        Not(AllOf((is_true("flag_2"), is_true("flag_3"), among("kind_2", 0, 1)))),
        AnyOf((among("kind_0", 0), among("kind_1", 1, 2), Not(is_true("flag_4")))),
        AnyOf((among("kind_3", 0, 2, 4), among("kind_4", 1, 3, 5, 7), among("kind_5", 0, 1, 2))),
        Not(AllOf((is_true("flag_5"), among("kind_6", 3, 4), is_true("flag_6")))),
        AnyOf((is_true("flag_7"), among("kind_7", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))),
    )
)
TWENTY_SQL = (
    "(spend BETWEEN 1000 AND 6000 OR traffic BETWEEN 100 AND 900 OR flag_0 = 1)"
    " AND (minutes BETWEEN 10 AND 200 OR flag_1 = 1 OR kind_9 IN (1, 5, 9, 33, 70))"
    " AND NOT (flag_2 = 1 AND flag_3 = 1 AND kind_2 IN (0, 1))"
    " AND (kind_0 = 0 OR kind_1 IN (1, 2) OR NOT flag_4 = 1)"
    " AND (kind_3 IN (0, 2, 4) OR kind_4 IN (1, 3, 5, 7) OR kind_5 IN (0, 1, 2))"
    " AND NOT (flag_5 = 1 AND kind_6 IN (3, 4) AND flag_6 = 1)"
    " AND (flag_7 = 1 OR kind_7 IN (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))"
)
BROAD = between("spend", 30, 62)
BROAD_SQL = "spend BETWEEN 3000 AND 6200"
ATTRIBUTES = [f"kind_{i}" for i in range(10)]


def named(condition: Node) -> list[str]:
    """Tags a condition reads."""
    return list(tags_of(condition))


def whole_masks(base: Base, condition: Node) -> Any:
    """The obvious numpy: a mask of all subscribers for every comparison."""
    if isinstance(condition, AllOf):
        return np.logical_and.reduce([whole_masks(base, child) for child in condition.children])
    if isinstance(condition, AnyOf):
        return np.logical_or.reduce([whole_masks(base, child) for child in condition.children])
    if isinstance(condition, Not):
        return ~whole_masks(base, condition.child)
    assert isinstance(condition, Comparison)
    codes, entry = base.codes[condition.field], base.tags[condition.field]
    if condition.operator == Operator.BETWEEN:
        low, high = (round(value.value * 10**entry.decimals) for value in condition.values)
        left = codes > low if condition.lower_open else codes >= low
        return left & (codes < high if condition.upper_open else codes <= high)
    wanted = [1 if v.kind == "flag" else entry.index[v.value] for v in condition.values]
    return codes == wanted[0] if len(wanted) == 1 else np.isin(codes, wanted)


def engines(base: Base) -> dict[str, Callable[[str, str], Callable[[], Any]]]:
    """Engines that take SQL, those that are installed: name -> (select list, where) -> work."""
    found: dict[str, Callable[[str, str], Callable[[], Any]]] = {}
    try:
        import duckdb
    except ImportError:
        print("DuckDB is not installed: left out", file=sys.stderr)
    else:
        connection = duckdb.connect()
        connection.execute("PRAGMA threads=2")
        plain = {code: np.asarray(codes) for code, codes in base.codes.items()}  # noqa: F841 (read by name)
        connection.execute(f"CREATE TABLE base AS SELECT {', '.join(base.codes)} FROM plain")
        found["DuckDB"] = lambda what, where: (
            lambda: connection.execute(f"SELECT {what} FROM base WHERE {where}").fetchall()
        )
    try:
        import polars
    except ImportError:
        print("Polars is not installed: left out", file=sys.stderr)
    else:
        table = polars.DataFrame({code: np.asarray(codes) for code, codes in base.codes.items()})
        context = polars.SQLContext({"base": table}, eager=True)
        found["Polars"] = lambda what, where: (
            lambda: context.execute(f"SELECT {what} FROM base WHERE {where}")
        )
    return found


def counts(base: Base, others: dict[str, Callable[[str, str], Callable[[], Any]]]) -> list[dict[str, Any]]:
    """Counting three ranges (AUD-30) and twenty conditions."""
    figures = []
    for name, condition, where in (
        ("count three ranges", THREE, THREE_SQL),
        ("count twenty conditions", TWENTY, TWENTY_SQL),
    ):
        step = base.step(condition)
        expected = int(np.count_nonzero(whole_masks(base, condition)))
        if execute.count_of(step, base.count) != expected:
            raise AssertionError(f"{name}: the executors disagree")
        alternatives = {"numpy masks": timed(lambda c=condition: np.count_nonzero(whole_masks(base, c)), 3)}  # type: ignore[misc]
        for engine, query in others.items():
            work = query("count(*) AS n", where)
            result = work()
            found = int(result[0][0] if isinstance(result, list) else result["n"][0])
            if found != expected:
                raise AssertionError(f"{name}: {engine} finds {found}, we find {expected}")
            alternatives[engine] = timed(work, 3)
        value = timed(lambda s=step: execute.count_of(s, base.count))  # type: ignore[misc]
        figures.append(figure(name, value, "ms", base.read(named(condition)), alternatives))
    return figures


def reports(base: Base, others: dict[str, Callable[[str, str], Callable[[], Any]]]) -> list[dict[str, Any]]:
    """Ten distributions of a broad selection."""
    step = base.step(BROAD)
    mask = execute.select(step, base.count)
    bands = report.Bands()
    attributes = [bands.enumeration(base.columns[code], len(base.tags[code].values)) for code in ATTRIBUTES]
    ours = report.count(attributes, mask)
    for code, counts_ in zip(ATTRIBUTES, ours, strict=True):
        plain = np.bincount(base.codes[code][mask], minlength=len(counts_))
        if not np.array_equal(plain, counts_):
            raise AssertionError(f"report: {code} is miscounted")

    def numpy_plain() -> None:
        for code in ATTRIBUTES:
            np.bincount(base.codes[code][mask])

    alternatives = {"numpy bincount": timed(numpy_plain, 3)}
    if "DuckDB" in others:
        sets = ", ".join(f"({code})" for code in ATTRIBUTES)
        query = others["DuckDB"](
            f"{', '.join(ATTRIBUTES)}, count(*)", f"{BROAD_SQL} GROUP BY GROUPING SETS ({sets})"
        )
        alternatives["DuckDB"] = timed(query, 3)
    if "Polars" in others:

        def polars_plain() -> None:
            for code in ATTRIBUTES:
                others["Polars"](f"{code}, count(*) AS n", f"{BROAD_SQL} GROUP BY {code}")()

        alternatives["Polars"] = timed(polars_plain, 3)
    value = timed(lambda: report.count(attributes, mask))
    name = f"ten distributions of {np.count_nonzero(mask) / 1e6:.1f} million"
    return [figure(name, value, "ms", base.read(ATTRIBUTES), alternatives)]


def snapshots(base: Base, others: dict[str, Callable[[str, str], Callable[[], Any]]]) -> list[dict[str, Any]]:
    """A broad selection as portable Roaring; the limit is reading its column."""
    from pyroaring import BitMap

    step = base.step(BROAD)

    def ours() -> bytes:
        return bitmap.serialize(bitmap.from_mask(execute.select(step, base.count)))

    def one_by_one() -> bytes:
        return bytes(BitMap(np.flatnonzero(whole_masks(base, BROAD)).tolist()).serialize())

    alternatives = {"numpy and a list": timed(one_by_one, 1)}
    if "DuckDB" in others:
        alternatives["DuckDB row ids, no bitmap"] = timed(
            others["DuckDB"]("count(DISTINCT rowid)", BROAD_SQL), 1
        )
    name = "snapshot bitmap of a broad selection"
    return [figure(name, timed(ours), "ms", base.read(["spend"]), alternatives)]


def translation(count: int) -> list[dict[str, Any]]:
    """Subscriber ids to ordinals, random order; the limit is one gather from memory for each."""
    rng = np.random.default_rng(11)
    ids = rng.permutation(np.arange(count, dtype=np.int64)) * 7 + 10_000_000_000
    directory = Directory()
    for low in range(0, count, 1_000_000):
        part = np.arange(low, min(count, low + 1_000_000), dtype=np.int64)
        homes = np.full(len(part), 150102, dtype=np.int32)
        directory.replace(
            part, ids[part], 13_000_000_000 + part, homes, np.ones(len(part), dtype=np.int64), 1
        )
    wanted = ids[rng.integers(0, count, KEYS)]
    if not np.array_equal(ids[directory.find_ids(wanted)], wanted):
        raise AssertionError("translation: an ordinal is wrong")
    places = rng.integers(0, count, KEYS)
    order = np.argsort(ids)
    ranked = ids[order]

    def rate(milliseconds: float) -> float:
        return KEYS / milliseconds * 1000

    alternatives = {"one sorted array": rate(timed(lambda: order[np.searchsorted(ranked, wanted)], 3))}
    try:
        import polars
    except ImportError:
        pass
    else:
        known = polars.DataFrame({"id": ids, "ordinal": np.arange(count)})
        asked = polars.DataFrame({"id": wanted})
        alternatives["Polars join"] = rate(timed(lambda: asked.join(known, on="id", how="left"), 3))
    value = rate(timed(lambda: directory.find_ids(wanted), 3))
    return [figure("ids to ordinals", value, "ids/s", rate(timed(lambda: ids[places])), alternatives)]


def figure(
    name: str, value: float, unit: str, limit: float, alternatives: dict[str, float]
) -> dict[str, Any]:
    """One entry of the results."""
    print(f"{name}: {value:,.1f} {unit}, limit {limit:,.1f}", flush=True)
    return {"name": name, "value": value, "unit": unit, "limit": limit, "alternatives": alternatives}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="iop-bench-"))
    try:
        base = Base(folder, SUBSCRIBERS)
        others = engines(base)
        figures = counts(base, others) + reports(base, others) + snapshots(base, others)
        figures += translation(SUBSCRIBERS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for entry in figures:
        entry["name"] = f"audience: {entry['name']}, {SUBSCRIBERS / 1e6:g} M"
    results = ROOT / "build" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    (results / "audience.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
