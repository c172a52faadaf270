"""A load of tag values on its way in: decoded, checked row by row, laid by ordinal over what was there.

Staged columns lie in scratch files, so a load of any size needs little memory.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.audience.domain.catalogue import MAX_STORED, Tag, TagType
from services.audience.engine.columns import Column, dtype_for
from services.kit import errors

Codes = NDArray[np.integer]
WIRE: dict[TagType, np.dtype] = {
    TagType.NUMBER: np.dtype("<f8"),
    TagType.ENUMERATION: np.dtype("<i4"),
    TagType.FLAG: np.dtype("u1"),
    TagType.DATE: np.dtype("<i4"),
    TagType.SET: np.dtype("<u8"),
}
_DATES = (-25567, 84005)  # 1900-01-01 to 2199-12-31
_NONE = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Decoded:
    """Stored values of a chunk (int64, `_NONE` is missing; masks for a set) and the rows that do not fit."""

    codes: Codes
    bad: NDArray[np.bool_]
    description: str
    texts: Sequence[str] = ()


def decode(tag: Tag, data: bytes, texts: Sequence[str], rows: int, path: str) -> Decoded:
    """One column of a chunk as it came over the wire; Invalid names `path` when its length is wrong."""
    if tag.type == TagType.TEXT:
        if len(texts) != rows:
            raise errors.Invalid(
                "a column has another length than its rows",
                fields=[(f"{path}.texts", f"must hold {rows} texts, not {len(texts)}")],
            )
        return Decoded(np.empty(0, dtype=np.int64), np.zeros(rows, dtype=np.bool_), "", texts)
    dtype = WIRE[tag.type]
    if len(data) != rows * dtype.itemsize:
        raise errors.Invalid(
            "a column has another length than its rows",
            fields=[(f"{path}.data", f"must hold {rows} values of {dtype.itemsize} bytes")],
        )
    wire = np.frombuffer(data, dtype=dtype)
    if tag.type == TagType.SET:
        known = np.uint64((1 << len(tag.values)) - 1)
        return Decoded(wire, (wire & ~known) != 0, f"has bits beyond its {len(tag.values)} codes")
    if tag.type == TagType.NUMBER:
        missing = np.isnan(wire)
        with np.errstate(over="ignore"):
            scaled = np.where(missing, 0.0, wire) * 10.0**tag.decimals
        # A product such as 0.29 * 100 lies beside its integer; rounding puts it back.
        bad = ~(np.abs(scaled) <= MAX_STORED)
        codes = np.rint(np.where(bad, 0.0, scaled)).astype(np.int64)
        codes[missing] = _NONE
        return Decoded(codes, bad, "is out of range")
    codes = wire.astype(np.int64)
    if tag.type == TagType.ENUMERATION:
        missing = codes == -1
        bad = ~missing & ((codes < 0) | (codes >= len(tag.values)))
        description = f"must be -1 or an index of its {len(tag.values)} codes"
    elif tag.type == TagType.FLAG:
        missing = codes == 255
        bad = ~missing & (codes > 1)
        description = "must be 0, 1 or 255"
    else:
        missing = wire == np.iinfo(np.int32).min
        bad = ~missing & ((codes < _DATES[0]) | (codes > _DATES[1]))
        description = "must be a day between 1900 and 2199"
    codes[missing] = _NONE
    return Decoded(codes, bad, description)


class StagedColumn:
    """One tag's column being loaded: what was there before, and the new rows laid over it."""

    def __init__(self, tag: Tag, base: Column | None, count: int, path: Path) -> None:
        self.tag, self.base = tag, base
        dtype = np.uint64 if tag.type == TagType.SET else np.int64
        self.codes = np.memmap(path, dtype=dtype, mode="w+", shape=(max(count, 1),))
        self.missing = 0 if tag.type == TagType.SET else _NONE
        self.codes[:] = self.missing
        self.texts = list(base.texts) if base else []
        self._position = {text: i for i, text in enumerate(self.texts)}
        if base is not None:
            self.codes[: len(base.codes)] = _widen(base, self.missing, dtype)

    def put(self, ordinals: NDArray[np.integer], decoded: Decoded, rows: NDArray[np.bool_]) -> None:
        """Lay the chosen rows of a chunk at their ordinals."""
        if self.tag.type == TagType.TEXT:
            values: Codes = np.array([self._code(text) for text in decoded.texts], dtype=np.int64)
        else:
            values = decoded.codes
        self.codes[ordinals[rows]] = values[rows]

    def finish(self) -> tuple[Codes, tuple[str, ...]] | None:
        """The column as it is to be written, or None when it is what was there before."""
        if self.base is not None:
            before = _widen(self.base, self.missing, self.codes.dtype)
            same = np.array_equal(self.codes[: len(before)], before)
            if same and bool((self.codes[len(before) :] == self.missing).all()):
                return None
        present = self.codes != self.missing
        low = int(self.codes.min(initial=0, where=present)) if self.tag.type != TagType.SET else 0
        high = int(self.codes.max(initial=0, where=present)) if self.tag.type != TagType.SET else 0
        dtype = dtype_for(self.tag, low, high)
        if self.tag.type == TagType.SET:
            return self.codes.astype(dtype), ()
        info = np.iinfo(dtype)
        gap = info.min if info.min < 0 else info.max
        return np.where(present, self.codes, gap).astype(dtype), tuple(self.texts)

    def _code(self, text: str) -> int:
        if not text:
            return int(_NONE)
        position = self._position.get(text)
        if position is None:
            position = self._position[text] = len(self.texts)
            self.texts.append(text)
        return position


def _widen(column: Column, missing: int, dtype: np.dtype | type) -> Codes:
    wide = column.codes.astype(dtype)
    if column.missing != missing:
        wide[column.codes == column.codes.dtype.type(column.missing)] = missing
    return wide


class Scratch:
    """A folder of scratch files that goes away with the load."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(dir=parent, prefix="load-"))

    def file(self, name: str) -> Path:
        """A path inside."""
        return self.folder / name

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
