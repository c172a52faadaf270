"""Data scope: which campaigns an actor of some regions sees (GB/T 2260 codes)."""

from collections.abc import Iterable


def ranges(regions: Iterable[int]) -> list[tuple[int, int]]:
    """Closed ranges of adcodes that the regions cover: 150100 covers 150100 to 150199."""
    found = []
    for region in sorted(set(regions)):
        width = 10_000 if region % 10_000 == 0 else 100 if region % 100 == 0 else 1
        found.append((region, region + width - 1))
    return found
