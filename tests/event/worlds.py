"""Random definitions, populations and signals out of a small world, so that they meet often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from services.event.domain.model import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Definition,
    Either,
    Every,
    Expression,
    Not,
    Operator,
    Rule,
    Source,
)
from services.event.domain.sources import ATTRIBUTES, SOURCES
from services.event.engine.columns import Signals
from services.event.engine.matcher import Match, Matcher
from services.event.engine.state import Binding
from tests.event.oracle import Population, Signal

NOON = 1_760_846_400_000_000  # 2025-10-19 12:00 in Shanghai
MINUTE = 60_000_000
CELLS = (1 << 32 | 5, 1 << 32 | 6, 2 << 32 | 5, 7)
COUNTIES = (150102, 150103, 150202)
HOMES = (150100, 150200, 110100)
TEXTS = ("三星Note7", "三星note7 价格", "iphone", "www.10010.com", "10010.com", "189.cn", "爱奇艺", "优酷")
BRANDS = ("Apple", "华为", "小米")
WORDS = ("三星note7", "NOTE", "10010", "爱奇艺", "优酷", "n")

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "tac_cell": st.sampled_from(CELLS),
    "source_tac_cell": st.sampled_from(CELLS),
    "current_county": st.sampled_from([*COUNTIES, "新城区"]),
    "current_city": st.sampled_from([150100, "包头", "150200"]),
    "home_city": st.sampled_from([150100, "包头市", 110100]),
    "home_province": st.sampled_from(["内蒙古", "110000"]),
    "roaming_type": st.sampled_from(["local", "省内漫游", 3]),
    "power_state": st.sampled_from(["on", "关机"]),
    "terminal_changed": st.just("yes"),
    "hour": st.integers(10, 14),
    "brand": st.sampled_from(BRANDS),
    "keyword": st.sampled_from(WORDS),
    "host": st.sampled_from(WORDS),
    "app": st.sampled_from(WORDS),
    "site": st.sampled_from(["联通官网", "电信官网"]),
}


@st.composite
def comparisons(draw: st.DrawFn, source: Source) -> Comparison:
    """A comparison that the check of its source lets pass."""
    name = draw(st.sampled_from([name for name in SOURCES[source].attributes if name != "outlet"]))
    operator = draw(st.sampled_from(ATTRIBUTES[name].operators))
    if operator in (Operator.EXISTS, Operator.NOT_EXISTS):
        return Comparison(name, operator)
    several = operator in (Operator.IN, Operator.NOT_IN, Operator.CONTAINS, Operator.NOT_CONTAINS)
    least, most = (2, 2) if operator is Operator.BETWEEN else (1, 3 if several else 1)
    values = draw(st.lists(_VALUES[name], min_size=least, max_size=most))
    return Comparison(name, operator, tuple(values), draw(st.booleans()), draw(st.booleans()))


def conditions(source: Source) -> st.SearchStrategy[Condition]:
    """Trees of comparisons."""
    return st.recursive(
        comparisons(source),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: All(tuple(items))),
            st.lists(inner, max_size=3).map(lambda items: AnyOf(tuple(items))),
            inner.map(Not),
        ),
        max_leaves=4,
    )


@st.composite
def any_rules(draw: st.DrawFn) -> Rule:
    """A rule of any source and kind."""
    source = draw(st.sampled_from(list(Source)))
    condition = draw(st.one_of(st.just(All(())), conditions(source)))
    kind = draw(st.sampled_from(["one", "one", "count", "dwell"]))
    times: dict[str, Any] = {}
    if kind == "count":
        times = {"count": draw(st.integers(2, 4)), "window_seconds": draw(st.sampled_from([60, 600, 3600]))}
    elif kind == "dwell" and source is Source.LOCATION:
        times = {"dwell_seconds": draw(st.sampled_from([60, 600]))}
    if draw(st.integers(0, 5)) == 0:
        times["start"] = NOON + 5 * MINUTE
    if draw(st.integers(0, 5)) == 0:
        times["end"] = NOON + 20 * MINUTE
    return Rule(source, condition, **times)


def expressions() -> st.SearchStrategy[Expression]:
    """Trees of rules."""
    return st.recursive(
        any_rules(),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda items: Every(tuple(items))),
            st.lists(inner, min_size=1, max_size=3).map(lambda items: Either(tuple(items))),
        ),
        max_leaves=4,
    )


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Definition], list[Population], list[Signal]]:
    """Definitions, populations on them, and a stream of signals."""
    definitions = [
        Definition(number, draw(expressions()), draw(st.sampled_from([60, 600, 1800])))
        for number in range(1, draw(st.integers(1, 5)) + 1)
    ]
    populations = [
        Population(
            activity=100 + i,
            definition=draw(st.integers(1, len(definitions))),
            members=draw(st.frozensets(st.integers(0, 4), min_size=2)),
            start=draw(st.sampled_from([0, 0, NOON + 3 * MINUTE])),
            end=draw(st.sampled_from([1 << 62, 1 << 62, NOON + 25 * MINUTE])),
        )
        for i in range(draw(st.integers(1, 6)))
    ]
    at = NOON
    signals = []
    for _ in range(draw(st.integers(1, 60))):
        at += draw(st.sampled_from([0, 1, MINUTE // 2, MINUTE, 4 * MINUTE, 17 * 24 * 60 * MINUTE]))
        signals.append(draw(_signals(at)))
    return definitions, populations, signals


def _signals(at: int) -> st.SearchStrategy[Signal]:
    return st.builds(
        Signal,
        ordinal=st.integers(0, 3),
        source=st.sampled_from([1, 1, 1, 2, 3, 4, 5, 6, 7]),
        at=st.just(at),
        cell=st.sampled_from([0, *CELLS]),
        came_from=st.sampled_from([0, *CELLS]),
        county=st.sampled_from([0, *COUNTIES]),
        home=st.sampled_from([0, *HOMES]),
        roaming=st.integers(0, 4),
        power=st.integers(0, 2),
        imei=st.sampled_from([0, 861234567890123, 861234567890124]),
        text=st.sampled_from(["", *TEXTS]),
        brand=st.sampled_from(["", *BRANDS]),
    )


def columns(signals: Sequence[Signal]) -> Signals:
    """Signals as columns."""
    texts = sorted({text for signal in signals for text in (signal.text, signal.brand) if text})
    place = {text: i for i, text in enumerate(texts)}
    return Signals(
        ordinals=np.array([signal.ordinal for signal in signals], np.uint32),
        sources=np.array([signal.source for signal in signals], np.uint8),
        occurred_at=np.array([signal.at for signal in signals], np.int64),
        tac_cells=np.array([signal.cell for signal in signals], np.uint64),
        source_tac_cells=np.array([signal.came_from for signal in signals], np.uint64),
        counties=np.array([signal.county for signal in signals], np.int32),
        home_cities=np.array([signal.home for signal in signals], np.int32),
        roaming_types=np.array([signal.roaming for signal in signals], np.uint8),
        power_states=np.array([signal.power for signal in signals], np.uint8),
        imeis=np.array([signal.imei for signal in signals], np.uint64),
        text_indexes=np.array([place.get(signal.text, -1) for signal in signals], np.int32),
        brand_indexes=np.array([place.get(signal.brand, -1) for signal in signals], np.int32),
        texts=texts,
    )


def bind(matcher: Matcher, populations: Sequence[Population]) -> None:
    """Bind populations as the log does."""
    for population in populations:
        digest = f"{population.activity}-{sorted(population.members)}"
        matcher._populations.add(digest, np.array(sorted(population.members), np.uint32))
        matcher.bind(
            Binding(population.activity, population.definition, digest, population.start, population.end, b"")
        )


def flat(matches: Sequence[Match]) -> list[tuple[int, int, int, int, int]]:
    """(definition, activity, period, ordinal, time) of every match."""
    return [
        (match.definition_number, match.activity_number, match.period, ordinal, at)
        for match in matches
        for ordinal, at in zip(match.ordinals.tolist(), match.occurred_at.tolist(), strict=True)
    ]
