"""Values of tags in files: one uncompressed .npy per (tag, date, version), dense by ordinal, memory-mapped.

A file is written once and never changed; the row in PostgreSQL that names it, with its digest, makes it
visible. A text column carries its dictionary in a second file.
"""

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.audience.domain.catalogue import Tag, TagType
from services.kit import errors

Codes = NDArray[np.integer]


@dataclass(frozen=True)
class ColumnFile:
    """A published file. `digest` is the SHA-256 of the codes and, for text, of the dictionary after them."""

    name: str
    digest: str
    rows: int
    has_texts: bool = False


@dataclass(frozen=True, eq=False)
class Column:
    """Stored values by ordinal; `missing` is the code of no value; `texts` is the dictionary of a text."""

    codes: Codes
    missing: int
    texts: tuple[str, ...] = ()


def missing_code(kind: TagType, dtype: np.dtype) -> int:
    """The code of no value: the empty set, the lowest of a signed type, the highest of an unsigned one."""
    if kind == TagType.SET:
        return 0
    info = np.iinfo(dtype)
    return int(info.min) if info.min < 0 else int(info.max)


def dtype_for(tag: Tag, low: int, high: int) -> np.dtype:
    """The narrowest type for stored values between `low` and `high` that leaves room for the missing code."""
    if tag.type in (TagType.NUMBER, TagType.DATE):
        for kind in (np.int8, np.int16, np.int32, np.int64):
            info = np.iinfo(kind)
            if info.min < low and high <= info.max:
                return np.dtype(kind)
    if tag.type == TagType.SET:
        for kind_of_set in (np.uint8, np.uint16, np.uint32):
            if len(tag.values) <= np.iinfo(kind_of_set).bits:
                return np.dtype(kind_of_set)
        return np.dtype(np.uint64)
    if tag.type == TagType.ENUMERATION:
        high = max(high, len(tag.values) - 1)
    for unsigned in (np.uint8, np.uint16):
        if high < np.iinfo(unsigned).max:
            return np.dtype(unsigned)
    return np.dtype(np.int32)


class ColumnStore:
    """The files of all columns, below one folder that replicas share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Column] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, file: ColumnFile, kind: TagType) -> Column:
        """Map a file, checking its digest the first time. Unavailable when it is not there or damaged."""
        known = self._open.get(file.name)
        if known is not None:
            return known
        path = self.folder / file.name
        try:
            digest = _digest(path, path.with_suffix(".json") if file.has_texts else None)
            if digest != file.digest:
                raise errors.Unavailable(f"the column file {file.name} is damaged")
            codes = np.load(path, mmap_mode="r").view(np.ndarray)
            texts: tuple[str, ...] = ()
            if file.has_texts:
                texts = tuple(json.loads(path.with_suffix(".json").read_text()))
        except FileNotFoundError:
            raise errors.Unavailable(f"the column file {file.name} is not there") from None
        column = Column(codes, missing_code(kind, codes.dtype), texts)
        with self._lock:
            return self._open.setdefault(file.name, column)

    def write(self, tag: Tag, day: str, codes: Codes, texts: Sequence[str] = ()) -> ColumnFile:
        """Write a new file and bring it to disk. Nobody sees it until a row names it."""
        name = f"{tag.code}-{day}-{secrets.token_hex(6)}.npy"
        path = self.folder / name
        has_texts = tag.type == TagType.TEXT
        if has_texts:
            with path.with_suffix(".json").open("w") as out:
                json.dump(list(texts), out, ensure_ascii=False)
                out.flush()
                os.fsync(out.fileno())
        with path.open("wb") as raw:
            np.save(raw, codes)
            raw.flush()
            os.fsync(raw.fileno())
        digest = _digest(path, path.with_suffix(".json") if has_texts else None)
        return ColumnFile(name, digest, len(codes), has_texts)

    def forget(self, keep: Collection[str]) -> None:
        """Unmap the files that no published version names any more."""
        with self._lock:
            for name in set(self._open) - set(keep):
                del self._open[name]

    def sweep(self, keep: Collection[str], older_than_s: float) -> int:
        """Delete files that nobody names and that are old enough for no reader to want them."""
        limit, removed = time.time() - older_than_s, 0
        kept = {Path(name).stem for name in keep}
        for path in self.folder.iterdir():
            if path.is_file() and path.stem not in kept and path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _digest(*paths: Path | None) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path is not None:
            with path.open("rb") as raw:
                while piece := raw.read(1 << 20):
                    digest.update(piece)
    return digest.hexdigest()
