"""The queue of a touchpoint: lanes high, medium and low, and fair shares between activities.

It holds hints, not truth: each piece names rows of a slice that were queued when it was put in; who
takes a piece checks the slice's states in the transaction of the lease. Pieces are cut as views.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Parts of what is handed out while every lane has work: bulk never stands before urgent, low never starves.
WEIGHTS = {1: 16, 2: 3, 3: 1}
CHUNK = 50  # touches of one activity before the next one has its turn


@dataclass
class Piece:
    """Rows of one slice. `expires` is None where nothing expires, else micros by row, 0 for never."""

    slice_id: int
    activity: int
    touchpoint: int
    planned_day: int
    occurrence: int
    positions: NDArray[np.uint16]
    ordinals: NDArray[np.uint32]
    expires: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def split(self, count: int) -> tuple["Piece", "Piece"]:
        """The first `count` rows and the rest."""
        return self.rows(slice(None, count)), self.rows(slice(count, None))

    def rows(self, which: slice | NDArray[np.bool_]) -> "Piece":
        """The piece with some of its rows."""
        expires = None if self.expires is None else self.expires[which]
        return Piece(
            self.slice_id,
            self.activity,
            self.touchpoint,
            self.planned_day,
            self.occurrence,
            self.positions[which],
            self.ordinals[which],
            expires,
        )


class _Line:
    """What one activity has in the queue."""

    __slots__ = ("lane", "pieces", "size")

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.pieces: deque[Piece] = deque()
        self.size = 0


class TouchQueue:
    """The queue of one touchpoint."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._turn: dict[int, deque[int]] = {lane: deque() for lane in WEIGHTS}
        self._credit = dict.fromkeys(WEIGHTS, 0)
        self._delayed: list[tuple[float, int, Piece, int]] = []
        self._order = itertools.count()

    def put(self, piece: Piece, lane: int) -> None:
        """Append a piece."""
        self._line(piece.activity, lane).pieces.append(piece)
        self._lines[piece.activity].size += len(piece)

    def put_back(self, pieces: Iterable[Piece], lanes: Callable[[int], int]) -> None:
        """Return pieces that were taken and not leased, to the front."""
        for piece in reversed(list(pieces)):
            line = self._line(piece.activity, lanes(piece.activity))
            line.pieces.appendleft(piece)
            line.size += len(piece)

    def put_later(self, piece: Piece, lane: int, at: float) -> None:
        """Append a piece once the monotonic time `at` has come."""
        heapq.heappush(self._delayed, (at, next(self._order), piece, lane))

    def set_lane(self, activity: int, lane: int) -> None:
        """Move all of an activity to another lane."""
        line = self._lines.get(activity)
        if line is not None and line.lane != lane:
            self._turn[line.lane].remove(activity)
            line.lane = lane
            self._turn[lane].append(activity)

    def drop(self, activity: int) -> None:
        """Forget an activity's hints."""
        line = self._lines.pop(activity, None)
        if line is not None:
            self._turn[line.lane].remove(activity)
        self._delayed = [item for item in self._delayed if item[2].activity != activity]
        heapq.heapify(self._delayed)

    def expire(self, now: int) -> None:
        """Forget hints of touches whose time is over, `now` in micros."""
        for number, line in list(self._lines.items()):
            kept: deque[Piece] = deque()
            for piece in line.pieces:
                if piece.expires is not None:
                    piece = piece.rows((piece.expires == 0) | (piece.expires > now))
                if len(piece):
                    kept.append(piece)
            line.pieces, line.size = kept, sum(map(len, kept))
            if not kept:
                self._turn[line.lane].remove(number)
                del self._lines[number]

    def size(self, leasable: Callable[[int], bool] | None = None) -> int:
        """Touches in the queue, delayed ones included; only of the activities that `leasable` admits."""
        total = sum(line.size for number, line in self._lines.items() if leasable is None or leasable(number))
        return total + sum(len(p) for _, _, p, _ in self._delayed if leasable is None or leasable(p.activity))

    def next_delayed(self) -> float | None:
        """Monotonic time at which the next delayed piece is due."""
        return self._delayed[0][0] if self._delayed else None

    def take(self, count: int, leasable: Callable[[int], bool], now: float) -> list[Piece]:
        """Up to `count` touches, high lane first, of the activities that `leasable` admits."""
        while self._delayed and self._delayed[0][0] <= now:
            _, _, piece, lane = heapq.heappop(self._delayed)
            self.put(piece, lane)
        admitted = {number for number in self._lines if leasable(number)}
        taken: dict[int, list[Piece]] = {lane: [] for lane in WEIGHTS}
        while count > 0:
            lane = self._next_lane(admitted)
            if lane == 0:
                break
            number = self._next_activity(lane, admitted)
            wanted = min(count, CHUNK) if len(admitted) > 1 else count
            got = self._cut(number, wanted, taken[lane])
            if self._credit[lane] > 0:
                self._credit[lane] -= got
            count -= got
            if number not in self._lines:
                admitted.discard(number)
        return [piece for lane in WEIGHTS for piece in taken[lane]]

    def _line(self, activity: int, lane: int) -> _Line:
        line = self._lines.get(activity)
        if line is None:
            line = self._lines[activity] = _Line(lane)
            self._turn[lane].append(activity)
        return line

    def _next_lane(self, admitted: set[int]) -> int:
        """The lane with most credit among those with work; credit is dealt out by weight when it is spent."""
        ready = [lane for lane in WEIGHTS if any(number in admitted for number in self._turn[lane])]
        if len(ready) < 2:  # nobody to share with: nothing is charged
            self._credit = dict.fromkeys(WEIGHTS, 0)
            return ready[0] if ready else 0
        while all(self._credit[lane] <= 0 for lane in ready):
            for lane in ready:
                self._credit[lane] += WEIGHTS[lane] * CHUNK
        for lane in WEIGHTS:
            if lane not in ready:
                self._credit[lane] = 0  # no saving up while idle
        return max(ready, key=lambda lane: (self._credit[lane] > 0, -lane))

    def _next_activity(self, lane: int, admitted: set[int]) -> int:
        turn = self._turn[lane]
        while turn[0] not in admitted:
            turn.rotate(-1)
        number = turn[0]
        turn.rotate(-1)
        return number

    def _cut(self, number: int, wanted: int, into: list[Piece]) -> int:
        line = self._lines[number]
        got = 0
        while got < wanted and line.pieces:
            piece = line.pieces.popleft()
            if len(piece) > wanted - got:
                piece, rest = piece.split(wanted - got)
                line.pieces.appendleft(rest)
            got += len(piece)
            into.append(piece)
        line.size -= got
        if not line.pieces:
            self._turn[line.lane].remove(number)
            del self._lines[number]
        return got
