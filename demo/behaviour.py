"""Joint draws of tenure, spend, minutes, service calls and churn from the two public telecom tables.

A subscriber takes one row of each table. The rows agree in churn, and their ranks by charge are tied by a
Gaussian copula (correlation RHO), since the tables share no customer. What is a dollar there becomes yuan
by quantile; the targets of those maps are invented for a province of about 2018.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from demo import region

RHO = 0.72
CONTRACTS = ("Month-to-month", "One year", "Two year")
PAYMENTS = ("Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)")
INTERNETS = ("No", "DSL", "Fiber optic")
# Quantile of the tables -> monthly spend in yuan, monthly outgoing minutes.
SPEND = (
    (0, 0.03, 0.1, 0.25, 0.4, 0.5, 0.75, 0.9, 0.97, 0.99, 1),
    (2, 6, 13, 25, 33, 40, 68, 112, 186, 280, 890),
)
MINUTES = ((0, 0.05, 0.15, 0.3, 0.5, 0.75, 0.9, 0.97, 1), (0.5, 6, 22, 44, 74, 170, 380, 720, 2600))
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """The columns of both tables as arrays; labels as indexes into the tuples above."""

    churn: Ints
    senior: Ints
    dependents: Ints
    tenure: Ints
    internet: Ints
    streaming: Ints
    contract: Ints
    payment: Ints
    spend_rank: Floats  # quantile of the charge within the table, ties broken by position
    # The second table, per churn class ordered by charge.
    minute_rank: tuple[Floats, Floats]
    night_share: tuple[Floats, Floats]
    intl_minutes: tuple[Floats, Floats]
    service_calls: tuple[Ints, Ints]


def _read(name: str) -> dict[str, list[str]]:
    text = gzip.decompress((region.DATA / name).read_bytes()).decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    return {column: [row[column] for row in rows] for column in rows[0]}


def _ranks(values: Floats) -> Floats:
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = (np.arange(len(values)) + 0.5) / len(values)
    return ranks


@cache
def tables() -> Tables:
    """Both tables, read once."""
    wa, mlc = _read("wa_churn.csv.gz"), _read("mlc_churn.csv.gz")
    minutes = sum(np.array(mlc[f"{part}_minutes"], dtype=float) for part in ("day", "evening", "night"))
    night = np.array(mlc["night_minutes"], dtype=float) / minutes
    # Day minutes cost most; the charge orders the customers.
    charge = minutes + 2.0 * np.array(mlc["day_minutes"], dtype=float)
    rank = _ranks(minutes + np.array(mlc["intl_minutes"], dtype=float))
    lost = np.array(mlc["churn"], dtype=int)
    intl, calls = np.array(mlc["intl_minutes"], dtype=float), np.array(mlc["service_calls"], dtype=int)
    order = [np.flatnonzero(lost == side)[np.argsort(charge[lost == side], kind="stable")] for side in (0, 1)]
    return Tables(
        churn=np.array(wa["churn"], dtype=int),
        senior=np.array(wa["senior"], dtype=int),
        dependents=np.array(wa["dependents"], dtype=int),
        tenure=np.array(wa["tenure"], dtype=int),
        internet=np.array([INTERNETS.index(value) for value in wa["internet"]]),
        streaming=np.array([value == "Yes" for value in wa["streaming_tv"]], dtype=int),
        contract=np.array([CONTRACTS.index(value) for value in wa["contract"]]),
        payment=np.array([PAYMENTS.index(value) for value in wa["payment"]]),
        spend_rank=_ranks(np.array(wa["charge"], dtype=float)),
        minute_rank=(rank[order[0]], rank[order[1]]),
        night_share=(night[order[0]], night[order[1]]),
        intl_minutes=(intl[order[0]], intl[order[1]]),
        service_calls=(calls[order[0]], calls[order[1]]),
    )


_GRID = np.linspace(-5, 5, 4001)
_NORMAL = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in _GRID])


@dataclass(frozen=True)
class Draw:
    """Drawn customers, one element each."""

    churned: NDArray[np.bool_]
    senior: NDArray[np.bool_]
    dependents: NDArray[np.bool_]
    tenure_months: Ints
    internet: Ints
    streaming: NDArray[np.bool_]
    contract: Ints
    payment: Ints
    spend_fen: Ints
    minutes_hundredths: Ints
    night_share: Floats
    intl_minutes: Floats
    service_calls: Ints


def draw(rng: np.random.Generator, count: int) -> Draw:
    """Draws customers: rows resampled, spend and minutes spread by a small jitter of their rank."""
    source = tables()
    row = rng.integers(0, len(source.churn), count)
    spend_rank = np.clip(source.spend_rank[row] + rng.uniform(-0.012, 0.012, count), 0, 1)
    z = np.interp(spend_rank, _NORMAL, _GRID)
    tied = np.interp(RHO * z + math.sqrt(1 - RHO * RHO) * rng.standard_normal(count), _GRID, _NORMAL)
    churned = source.churn[row].astype(bool)
    minute_rank, night, intl = np.empty(count), np.empty(count), np.empty(count)
    calls = np.empty(count, dtype=np.int64)
    for side in (0, 1):
        mine = np.flatnonzero(churned == bool(side))
        size = len(source.minute_rank[side])
        pick = np.minimum((tied[mine] * size).astype(np.int64), size - 1)
        minute_rank[mine] = source.minute_rank[side][pick]
        night[mine] = source.night_share[side][pick]
        intl[mine] = source.intl_minutes[side][pick]
        calls[mine] = source.service_calls[side][pick]
    minute_rank = np.clip(minute_rank + rng.uniform(-0.02, 0.02, count), 0, 1)
    tenure = source.tenure[row] * 2 + rng.integers(0, 2, count)  # 72 months there; networks here are older
    return Draw(
        churned=churned,
        senior=source.senior[row].astype(bool),
        dependents=source.dependents[row].astype(bool),
        tenure_months=tenure,
        internet=source.internet[row],
        streaming=source.streaming[row].astype(bool),
        contract=source.contract[row],
        payment=source.payment[row],
        spend_fen=np.rint(100 * _curve(spend_rank, SPEND)).astype(np.int64),
        minutes_hundredths=np.rint(100 * _curve(minute_rank, MINUTES)).astype(np.int64),
        night_share=night,
        intl_minutes=intl,
        service_calls=calls,
    )


def _curve(rank: Floats, curve: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    """A quantile map, straight between its points on a logarithmic scale."""
    return np.asarray(np.exp(np.interp(rank, curve[0], np.log(curve[1]))))


def traffic_hundredths(
    rng: np.random.Generator,
    spend_fen: Ints,
    age: Ints,
    offline: NDArray[np.bool_],
    streaming: NDArray[np.bool_],
) -> Ints:
    """Monthly traffic in hundredths of a MB: an invented conditional, no table holds it.

    Log-normal (sigma 0.75) around 250 MB x (spend / 33 yuan)^1.3 x age factor, x 1.3 for who streams,
    x 0.2 for who has no data service. The age factor falls from 2.2 under 24 to 0.3 over 65.
    """
    factor = np.interp(age, (18, 24, 35, 50, 65, 80), (2.2, 2.2, 1.3, 0.9, 0.45, 0.3))
    middle = (
        250 * (spend_fen / 3300) ** 1.3 * factor * np.where(streaming, 1.3, 1.0) * np.where(offline, 0.2, 1.0)
    )
    drawn = middle * np.exp(0.75 * rng.standard_normal(len(spend_fen)))
    return np.rint(100 * np.minimum(drawn, 200_000)).astype(np.int64)
