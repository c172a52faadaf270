"""The sign of weak radio coverage: the same phone goes off and on again and again (EVT-34)."""

from __future__ import annotations

from collections.abc import Iterable

BURST_SIGNALS = 3  # power signals of one subscriber ...
BURST_SECONDS = 600  # ... within this time are a burst
WEAK_BURSTS = 10  # bursts in a cell on one day that make it weak


def weakest(bursts: Iterable[tuple[int, int]], least: int = 0, limit: int = 100) -> list[tuple[int, int]]:
    """(cell, bursts) of the cells with at least `least` bursts on a day, the weakest first.

    `bursts` are (cell, bursts) counts, one or several a cell.
    """
    totals: dict[int, int] = {}
    for cell, count in bursts:
        totals[cell] = totals.get(cell, 0) + count
    found = [(cell, count) for cell, count in totals.items() if count >= (least or WEAK_BURSTS)]
    return sorted(found, key=lambda item: (-item[1], item[0]))[:limit]
