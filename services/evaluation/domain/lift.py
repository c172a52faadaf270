"""Lift: the order rate of the target beside that of the control group, with its confidence interval."""

import math
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Lift:
    """Difference of two order rates and the bounds of its 95 % interval."""

    lift: float
    lower: float
    upper: float


def newcombe(target_orders: int, target: int, control_orders: int, control: int) -> Lift:
    """Newcombe's hybrid score interval for p1 - p2 (Statistics in Medicine 1998, method 10).

    It stays inside [-1, 1] and behaves with few or no orders, where the textbook interval fails. An
    empty group tells nothing: its rate counts as 0 and its bounds as [0, 1].
    """
    p1, low1, high1 = wilson(target_orders, target)
    p2, low2, high2 = wilson(control_orders, control)
    difference = p1 - p2
    return Lift(
        difference,
        difference - math.hypot(p1 - low1, high2 - p2),
        difference + math.hypot(high1 - p1, p2 - low2),
    )


def wilson(hits: int, n: int) -> tuple[float, float, float]:
    """(rate, lower, upper) of Wilson's score interval at 95 %."""
    if n == 0:
        return 0.0, 0.0, 1.0
    z2 = Z95 * Z95
    centre = 2 * hits + z2
    spread = Z95 * math.sqrt(z2 + 4 * hits * (n - hits) / n)
    return (
        hits / n,
        max(0.0, (centre - spread) / (2 * (n + z2))),
        min(1.0, (centre + spread) / (2 * (n + z2))),
    )
