"""Days of the region and periods of reports."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.evaluation.domain import days
from services.kit import errors


@pytest.mark.parametrize("tz", ["Asia/Shanghai", "America/New_York", "Asia/Kathmandu"])
def test_a_time_falls_on_the_day_of_its_region(tz):
    """Statistics are by the day of the region (EVA-13)."""
    rng = np.random.default_rng(7)
    micros = rng.integers(1_580_000_000_000_000, 1_620_000_000_000_000, 2000)
    expected = [
        days.number(datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZoneInfo(tz)).date()) for at in micros
    ]
    assert days.days_of(micros, tz).tolist() == expected


def test_periods_are_days_or_months_cut_to_the_range():
    """The process report goes by day, the result report by month (EVA-13, EVA-14)."""
    first, last = days.parse("2020-08-30", "a"), days.parse("2020-10-02", "b")
    assert [one.label for one in days.periods(first, first + 2, False)] == [
        "2020-08-30",
        "2020-08-31",
        "2020-09-01",
    ]
    months = days.periods(first, last, True)
    assert [(one.label, one.last - one.first + 1) for one in months] == [
        ("2020-08", 2),
        ("2020-09", 30),
        ("2020-10", 2),
    ]


def test_bad_periods_are_refused():
    for first, last in ((10, 9), (10, 10 + days.LONGEST)):
        with pytest.raises(errors.Invalid):
            days.periods(first, last, False)
    with pytest.raises(errors.Invalid) as refused:
        days.parse("2020-02-30", "start_date")
    assert refused.value.fields[0][0] == "start_date"
