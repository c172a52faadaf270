"""Event matching: 5,000 definitions against the plain loop, and from ingest to match on real servers."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from iop.event.v1 import events_pb2

from services.event.domain.model import All, Comparison, Condition, Definition, Operator, Rule, Source
from services.event.engine.columns import Signals
from services.event.engine.matcher import Matcher
from services.event.engine.populations import Populations
from services.event.engine.state import Binding

RESULTS = Path(__file__).resolve().parent.parent / "build" / "bench"
ZONE = "Asia/Shanghai"
NOON = 1_760_846_400_000_000
DEFINITIONS = 5_000
SUBSCRIBERS = 200_000
CELLS = 20_000
APPS = 2_000
BATCH = 2_000
WORDS = [f"关键词{i}" for i in range(3_000)]


def definitions(random: np.random.Generator) -> list[Definition]:
    """Half of them areas of a few cells at some hours, the rest apps, hosts, keywords, power switches."""
    made = []
    for number in range(1, DEFINITIONS + 1):
        kind = random.random()
        hours = Comparison(
            "hour", Operator.BETWEEN, (int(random.integers(0, 12)), int(random.integers(12, 24)))
        )
        if kind < 0.5:
            cells = tuple(int(cell) for cell in random.integers(1, CELLS, random.integers(2, 20)))
            parts: tuple[Condition, ...] = (Comparison("tac_cell", Operator.IN, cells), hours)
            rule = Rule(Source.LOCATION, All(parts))
        elif kind < 0.7:
            app = f"app{random.integers(0, APPS)}"
            rule = Rule(Source.APP_USE, All((Comparison("app", Operator.EQ, (app,)), hours)))
        elif kind < 0.8:
            rule = Rule(
                Source.SITE_VISIT, Comparison("host", Operator.EQ, (f"h{random.integers(0, APPS)}.cn",))
            )
        elif kind < 0.95:
            word = WORDS[int(random.integers(0, len(WORDS)))]
            rule = Rule(Source.KEYWORD_SEARCH, Comparison("keyword", Operator.CONTAINS, (word,)))
        else:
            county = 150100 + int(random.integers(1, 30))
            place = Comparison("current_county", Operator.EQ, (county,))
            rule = Rule(Source.POWER_SWITCH, All((place, Comparison("power_state", Operator.EQ, ("off",)))))
        made.append(Definition(number, rule))
    return made


def batch(random: np.random.Generator, rows: int, start: int) -> Signals:
    """Signals as probes send them: mostly locations, five in a hundred with a text."""
    sources = random.choice(np.array([1, 2, 6, 5, 4], np.uint8), rows, p=[0.75, 0.05, 0.1, 0.05, 0.05])
    texts = [f"app{i}" for i in random.integers(0, APPS, 50)]
    texts += [f"h{i}.cn" for i in random.integers(0, APPS, 50)]
    texts += [f"买{WORDS[i]}的{i % 97}" for i in random.integers(0, len(WORDS), 50)]
    base = np.select([sources == 6, sources == 5, sources == 4], [0, 50, 100], -1000)
    return Signals(
        ordinals=random.integers(0, SUBSCRIBERS, rows, dtype=np.uint32),
        sources=sources,
        occurred_at=NOON + start + np.arange(rows, dtype=np.int64) * 1000,
        tac_cells=random.integers(1, CELLS, rows).astype(np.uint64),
        source_tac_cells=np.zeros(rows, np.uint64),
        counties=(150100 + random.integers(1, 30, rows)).astype(np.int32),
        home_cities=np.full(rows, 150100, np.int32),
        roaming_types=np.ones(rows, np.uint8),
        power_states=random.integers(1, 3, rows, dtype=np.uint8),
        imeis=np.zeros(rows, np.uint64),
        text_indexes=np.where(base >= 0, base + random.integers(0, 50, rows), -1).astype(np.int32),
        brand_indexes=np.full(rows, -1, np.int32),
        texts=texts,
    )


def best(work: Callable[[], int], rounds: int = 3) -> float:
    """Items a second: the median round."""
    rates = []
    for _ in range(rounds):
        begin = time.perf_counter()
        items = work()
        rates.append(items / (time.perf_counter() - begin))
    return statistics.median(rates)


def matcher_of(made: list[Definition], random: np.random.Generator) -> Matcher:
    """Every definition bound to one of a hundred populations of 15 % of the subscribers."""
    populations = Populations()
    for i in range(100):
        members = random.choice(SUBSCRIBERS, SUBSCRIBERS * 3 // 20, replace=False).astype(np.uint32)
        populations.add(f"population-{i}", members)
        populations.hold(f"population-{i}")
    matcher = Matcher(ZONE, populations)
    for definition in made:
        matcher.define(definition, b"")
        matcher.bind(
            Binding(
                definition.number, definition.number, f"population-{definition.number % 100}", 0, 1 << 62, b""
            )
        )
    return matcher


def core(random: np.random.Generator) -> list[dict[str, Any]]:
    """The matcher from protobuf to matches, by batch size; and the loop that tests every rule."""
    made = definitions(random)
    matcher = matcher_of(made, random)
    begin = time.perf_counter()
    matcher.build()
    built = time.perf_counter() - begin
    figures = [
        {
            "name": f"index of {DEFINITIONS} definitions built",
            "value": built * 1000,
            "unit": "ms",
            "limit": None,
            "alternatives": {},
        }
    ]
    floor = _columns_floor(random)
    naive = _naive(made, random)
    for rows in (500, BATCH):
        wire = [
            events_pb2.SignalReceived(**batch(random, rows, i * 1_000_000).encode()).SerializeToString()
            for i in range(20)
        ]

        def run(wire: list[bytes] = wire, rows: int = rows) -> int:
            for data in wire:
                matcher.match([Signals.of(events_pb2.SignalReceived.FromString(data))])
            return rows * len(wire)

        run()
        figures.append(
            {
                "name": f"match {DEFINITIONS} definitions, batches of {rows}",
                "value": best(run),
                "unit": "signals/s",
                "limit": floor,
                "alternatives": {"every rule on every signal": naive},
            }
        )
    return figures


def _columns_floor(random: np.random.Generator) -> float:
    """Decoding the columns and one look-up of the cell: what no index can avoid."""
    wire = events_pb2.SignalReceived(**batch(random, BATCH, 0).encode()).SerializeToString()
    known = np.arange(CELLS, dtype=np.int64)

    def run() -> int:
        for _ in range(200):
            signals = Signals.of(events_pb2.SignalReceived.FromString(wire))
            np.searchsorted(known, signals.tac_cells.view(np.int64))
        return 200 * BATCH

    return best(run, 5)


def _naive(made: list[Definition], random: np.random.Generator) -> float:
    """A compiled test per rule, by source, on each signal as a tuple; no state, no populations."""
    tests: dict[int, list[Callable[[tuple[int, int, int, int, str]], bool]]] = {}
    for definition in made:
        rule = definition.expression
        assert isinstance(rule, Rule)
        tests.setdefault(int(rule.source), []).append(_compiled(rule.condition))
    signals = batch(random, 200, 0)
    rows = [
        (int(cell), 12, int(county), int(power), signals.texts[text] if text >= 0 else "")
        for cell, county, power, text in zip(
            signals.tac_cells, signals.counties, signals.power_states, signals.text_indexes, strict=True
        )
    ]
    sources = signals.sources.tolist()

    def run() -> int:
        hits = 0
        for source, row in zip(sources, rows, strict=True):
            for test in tests.get(source, ()):
                if test(row):
                    hits += 1
        return len(rows)

    return best(run, 3)


def _compiled(condition: Condition) -> Callable[[tuple[int, int, int, int, str]], bool]:
    parts = condition.children if isinstance(condition, All) else (condition,)
    words = []
    for part in parts:
        assert isinstance(part, Comparison)
        if part.attribute == "tac_cell":
            words.append(f"row[0] in {set(part.values)!r}")
        elif part.attribute == "hour":
            words.append(f"{part.values[0]} <= row[1] <= {part.values[1]}")
        elif part.attribute == "current_county":
            words.append(f"row[2] == {part.values[0]}")
        elif part.attribute == "power_state":
            words.append("row[3] == 2")
        elif part.operator is Operator.CONTAINS:
            words.append(f"{part.values[0]!r} in row[4]")
        else:
            words.append(f"row[4] == {part.values[0]!r}")
    made: Callable[[tuple[int, int, int, int, str]], bool] = eval("lambda row: " + " and ".join(words))
    return made


def counting(random: np.random.Generator) -> dict[str, Any]:
    """Three power signals within ten minutes, beside a deque a subscriber."""
    from collections import defaultdict, deque

    definition = Definition(1, Rule(Source.POWER_SWITCH, count=3, window_seconds=600))
    matcher = matcher_of([definition], random)
    batches = []
    for i in range(20):
        signals = batch(random, BATCH, i * 1_000_000)
        signals.sources = np.full(BATCH, 2, np.uint8)
        batches.append(signals)

    def run() -> int:
        for signals in batches:
            matcher.match([signals])
        return BATCH * len(batches)

    columns = [(signals.ordinals.tolist(), signals.occurred_at.tolist()) for signals in batches]

    def plain() -> int:
        last: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=3))
        hits = 0
        for ordinals, times in columns:
            for ordinal, at in zip(ordinals, times, strict=True):
                seen = last[ordinal]
                seen.append(at)
                hits += len(seen) == 3 and at - seen[0] <= 600_000_000
        return BATCH * len(batches)

    run()
    return {
        "name": "count of 3 within 10 minutes, kept twice (rule and weak coverage)",
        "value": best(run),
        "unit": "signals/s",
        "limit": None,
        "alternatives": {"a deque a subscriber, count only": best(plain, 3)},
    }


async def through(random: np.random.Generator, folder: Path) -> dict[str, Any]:
    """From the stream of records to announced matches: NATS on file with every write synced."""
    from services.event.announce import LOG, MATCHES, log_consumer
    from services.event.messages.log import PartitionLog, Shared
    from services.kit import embedded, envelope
    from services.kit.app import Service
    from services.kit.bus import Bus
    from services.kit.config import Runtime

    server = embedded.start_nats(folder / "nats")
    service = Service("event", Runtime(nats_url=server.url, actor_keys=("k" * 40,), log_level="ERROR"))
    try:
        bus = await Bus.connect(service)
        await bus.ensure(streams=[LOG, MATCHES], consumers=[log_consumer(0)])
        log = PartitionLog(Shared(service, None, bus), 0, None)  # type: ignore[arg-type]
        log._matcher = matcher_of(definitions(random), random)
        messages = [
            envelope.wrap(
                events_pb2.SignalReceived(**batch(random, BATCH, i * 1_000_000).encode()),
                source="event",
                partition=0,
            )
            for i in range(60)
        ]
        await log.start()
        begin = time.perf_counter()
        for i in range(0, len(messages), 16):
            await bus.publish_all(messages[i : i + 16])
        last = (await bus.js.stream_info(LOG.name)).state.last_seq
        while log.state.sequence < last or log._unsent:
            await asyncio.sleep(0.002)
        took = time.perf_counter() - begin
        return {
            "name": f"log to match and back over NATS, batches of {BATCH}, one process",
            "value": BATCH * len(messages) / took,
            "unit": "signals/s",
            "limit": None,
            "alternatives": {},
        }
    finally:
        await service.stop()
        server.stop()


def main() -> None:
    """Writes build/bench/event.json."""
    random = np.random.default_rng(20251019)
    figures = core(random)
    figures.append(counting(random))
    with tempfile.TemporaryDirectory() as folder:
        figures.append(asyncio.run(through(random, Path(folder))))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "event.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
