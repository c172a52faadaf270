"""The business clock: windows, validity and caps read it; leases and timeouts read monotonic time.

It is the system's time, or a small file that many processes map and one (the demo, a test) writes.
"""

import mmap
import os
import struct
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# business micros, unix micros when it was set, rate (0 = frozen), sequence (odd while being written)
_RECORD = struct.Struct("<qqfI")


def from_micros(micros: int) -> datetime:
    """UTC datetime of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (at - EPOCH) // timedelta(microseconds=1)


class _Source(Protocol):
    def micros(self) -> int: ...

    def changed(self) -> int: ...


class _System:
    def micros(self) -> int:
        return time.time_ns() // 1000

    def changed(self) -> int:
        return 0


class Clock:
    """Reads the business time. Make one with `Clock.system()` or `Clock.file(path)`."""

    def __init__(self, source: _Source) -> None:
        self._source = source

    @classmethod
    def system(cls) -> "Clock":
        """The system's own time."""
        return cls(_System())

    @classmethod
    def file(cls, path: str | Path) -> "Clock":
        """The clock in the file `path`; it appears in every process when `ClockFile.write` changes it."""
        return cls(ClockFile(path))

    def now(self) -> datetime:
        """Business time, UTC."""
        return from_micros(self._source.micros())

    def micros(self) -> int:
        """Business time in microseconds since 1970."""
        return self._source.micros()

    def changed_micros(self) -> int:
        """Unix microseconds at which the clock was last set; 0 for the system's time."""
        return self._source.changed()

    def today(self, tz: str) -> date:
        """The business date in the time zone `tz`."""
        return self.now().astimezone(ZoneInfo(tz)).date()


class ClockFile:
    """One clock file, mapped. Readers never block; a torn read is seen by the sequence and repeated."""

    def __init__(self, path: str | Path) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), _RECORD.size, access=mmap.ACCESS_READ)

    @staticmethod
    def write(path: str | Path, at: datetime, rate: float = 0.0) -> None:
        """Set the clock to `at`; it then runs at `rate` business seconds a second (0 = frozen)."""
        path = Path(path)
        if not path.exists():
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            fresh.write_bytes(_RECORD.pack(to_micros(at), time.time_ns() // 1000, rate, 0))
            os.replace(fresh, path)
            return
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), _RECORD.size) as record:
            sequence = _RECORD.unpack_from(record)[3]
            struct.pack_into("<I", record, 20, (sequence | 1) & 0xFFFFFFFF)
            struct.pack_into("<qqf", record, 0, to_micros(at), time.time_ns() // 1000, rate)
            struct.pack_into("<I", record, 20, ((sequence | 1) + 1) & 0xFFFFFFFF)

    def micros(self) -> int:
        business, anchor, rate = self._read()
        if rate == 0.0:
            return int(business)
        return int(business + (time.time_ns() // 1000 - anchor) * rate)

    def changed(self) -> int:
        return self._read()[1]

    def _read(self) -> tuple[int, int, float]:
        while True:
            business, anchor, rate, sequence = _RECORD.unpack_from(self._map)
            if sequence % 2 == 0 and struct.unpack_from("<I", self._map, 20)[0] == sequence:
                return business, anchor, rate
            time.sleep(0)
