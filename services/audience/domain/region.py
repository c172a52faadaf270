"""Regions as ranges: a county is stored as its adcode less 150000, so a league is one range of codes."""

from collections.abc import Iterable, Sequence

from services.kit import errors

BASE = 150000
HIGHEST = 9999

Ranges = tuple[tuple[int, int], ...]
EVERYWHERE: Ranges = ((0, HIGHEST),)


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Closed ranges of integers, sorted, overlaps and neighbours joined, empty ones dropped."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(r for r in ranges if r[0] <= r[1]):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def ranges_of(regions: Sequence[int], path: str = "selection.regions") -> Ranges:
    """Ranges of the adcodes of provinces, leagues and counties; none means everywhere."""
    if not regions:
        return EVERYWHERE
    found = []
    for position, region in enumerate(regions):
        code = region - BASE
        if not 0 <= code <= HIGHEST:
            raise errors.Invalid(
                f"{region} is no region of the province",
                fields=[(f"{path}[{position}]", "must be a GB/T 2260 code of the form 15xxxx")],
            )
        if code == 0:
            return EVERYWHERE
        found.append((code, code + 99 if code % 100 == 0 else code))
    return merge(found)


def intersect(one: Ranges, other: Ranges) -> Ranges:
    """What two sets of ranges have in common."""
    return merge((max(a, c), min(b, d)) for a, b in one for c, d in other)
