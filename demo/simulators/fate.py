"""What becomes of a touch at the channel, and what the customer does.

A pure function of (seed, activity code, number, touchpoint): the simulators
apply it message by message, the recomputation to whole columns. All rates are
invented.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

# Shares of messages that reach the channel.
REFUSED = 0.01  # refused by the gateway at once
UNDELIVERED = 0.04  # taken, and not delivered
LATE = 0.02  # of the rest: the report comes LATE_HOURS later
DUPLICATE = 0.03  # reports sent twice
# Shares of delivered messages.
OPT_OUT = 0.004  # answered with TD
INSTRUCTION = 0.03  # answered with the order instruction, where there is one
CHAT = 0.003  # answered with something else
CLICK = 0.08  # opened the article
# Shares of customers at a pull touchpoint who get an offer.
ACCEPT = 0.25
DECLINE = 0.45  # the rest only saw it
# Share of customers who order without having been asked.
SPONTANEOUS = 0.002

LATE_HOURS = 3.0
REPLY_MINUTES = 10.0

U64 = npt.NDArray[np.uint64]
_MASK = 2**64 - 1


@cache
def _salt(seed: int, code: str, touchpoint: str, purpose: str) -> int:
    text = zlib.crc32(f"{code}|{touchpoint}|{purpose}".encode()) | (zlib.crc32(purpose.encode()) << 32)
    return (text ^ (seed * 0x9E3779B97F4A7C15)) & _MASK


def draw(
    seed: int, code: str, numbers: npt.ArrayLike, touchpoint: str, purpose: str
) -> npt.NDArray[np.float64]:
    """Uniform draws in [0, 1), one a number, independent by purpose (splitmix64)."""
    salt = _salt(seed, code, touchpoint, purpose)
    with np.errstate(over="ignore"):
        x = np.asarray(numbers, dtype=np.uint64) ^ np.uint64(salt)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) / float(2**53)


@dataclass(frozen=True)
class Fates:
    """Columns of fates, one row a number; the booleans of later steps imply the earlier ones."""

    refused: npt.NDArray[np.bool_]
    undelivered: npt.NDArray[np.bool_]
    delivered: npt.NDArray[np.bool_]
    late: npt.NDArray[np.bool_]
    duplicate: npt.NDArray[np.bool_]
    opt_out: npt.NDArray[np.bool_]
    instruction: npt.NDArray[np.bool_]
    chat: npt.NDArray[np.bool_]
    click: npt.NDArray[np.bool_]


def push(seed: int, code: str, numbers: npt.ArrayLike, touchpoint: str) -> Fates:
    """Fates of messages that a push touchpoint hands to its provider.

    `instruction` tells who would answer with the order instruction; whether
    the activity has one is the caller's to know.
    """
    first = draw(seed, code, numbers, touchpoint, "channel")
    refused = first < REFUSED
    undelivered = ~refused & (first < REFUSED + UNDELIVERED)
    delivered = ~refused & ~undelivered
    late = ~refused & (draw(seed, code, numbers, touchpoint, "late") < LATE)
    duplicate = ~refused & (draw(seed, code, numbers, touchpoint, "duplicate") < DUPLICATE)
    answer = draw(seed, code, numbers, touchpoint, "answer")
    # Who got the message late answers nothing: his answer would come after the day.
    answers = delivered & ~late
    opt_out = answers & (answer < OPT_OUT)
    instruction = answers & ~opt_out & (answer < OPT_OUT + INSTRUCTION)
    chat = answers & ~opt_out & ~instruction & (answer < OPT_OUT + INSTRUCTION + CHAT)
    click = answers & (draw(seed, code, numbers, touchpoint, "click") < CLICK)
    return Fates(refused, undelivered, delivered, late, duplicate, opt_out, instruction, chat, click)


@dataclass(frozen=True)
class Fate:
    """The fate of one message; the fields of `Fates`."""

    refused: bool
    undelivered: bool
    delivered: bool
    late: bool
    duplicate: bool
    opt_out: bool
    instruction: bool
    chat: bool
    click: bool


def one(seed: int, code: str, number: int, touchpoint: str) -> Fate:
    """`push` for a single message, without the cost of columns."""

    def roll(purpose: str) -> float:
        x = (number ^ _salt(seed, code, touchpoint, purpose)) & _MASK
        x = (x + 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((x ^ (x >> 31)) >> 11) / 2**53

    first = roll("channel")
    if first < REFUSED:
        return Fate(True, False, False, False, False, False, False, False, False)
    delivered = first >= REFUSED + UNDELIVERED
    late, duplicate = roll("late") < LATE, roll("duplicate") < DUPLICATE
    opt_out = instruction = chat = click = False
    if delivered and not late:
        answer = roll("answer")
        opt_out = answer < OPT_OUT
        instruction = not opt_out and answer < OPT_OUT + INSTRUCTION
        chat = not opt_out and not instruction and answer < OPT_OUT + INSTRUCTION + CHAT
        click = roll("click") < CLICK
    return Fate(False, not delivered, delivered, late, duplicate, opt_out, instruction, chat, click)


def pull(seed: int, code: str, numbers: npt.ArrayLike, touchpoint: str) -> npt.NDArray[np.str_]:
    """What customers do with an offer: `accepted`, `declined` or `shown`."""
    u = draw(seed, code, numbers, touchpoint, "offer")
    return np.where(u < ACCEPT, "accepted", np.where(u < ACCEPT + DECLINE, "declined", "shown"))


def spontaneous(seed: int, product: str, numbers: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Who orders the product by himself during the day."""
    return draw(seed, product, numbers, "", "spontaneous") < SPONTANEOUS
