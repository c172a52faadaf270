"""Lift with its interval, against published figures."""

import pytest

from services.evaluation.domain.lift import newcombe, wilson


# Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
@pytest.mark.parametrize(
    ("a", "m", "b", "n", "lower", "upper"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_the_interval_is_newcombes(a, m, b, n, lower, upper):
    """The effect beside the control group comes with its published interval (EVA-08)."""
    found = newcombe(a, m, b, n)
    assert found.lift == pytest.approx(a / m - b / n)
    assert (found.lower, found.upper) == (pytest.approx(lower, abs=6e-5), pytest.approx(upper, abs=6e-5))


def test_the_score_interval_is_wilsons():
    # Wilson 1927 for 15 of 148, as in Newcombe's companion paper on single proportions.
    assert wilson(15, 148)[1:] == (pytest.approx(0.0624, abs=5e-5), pytest.approx(0.1605, abs=5e-5))


def test_an_empty_group_tells_nothing():
    found = newcombe(0, 0, 0, 0)
    assert (found.lift, found.lower, found.upper) == (0.0, -1.0, 1.0)
