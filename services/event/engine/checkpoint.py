"""A partition's state as bytes: arrays and a little JSON in one uncompressed archive."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.event.domain.model import Definition
from services.event.engine.slots import Slots, Table
from services.event.engine.state import Binding, Known, State

FORMAT = 1

Arrays = dict[str, NDArray[Any]]


class Unreadable(Exception):
    """The bytes are no checkpoint of a form this version knows."""


def freeze(state: State) -> Arrays:
    """The state as arrays that no longer change; made between two records, in microseconds a megabyte."""
    arrays: Arrays = {}
    tables: dict[str, Table] = {
        "imeis": state.imeis,
        "located": state.located,
        "stays": state.stays,
        "power": state.power,
        **{f"counts-{count}": table for count, table in state.counts.items()},
        **{f"parts-{width}": table for width, table in state.parts.items()},
    }
    for name, table in tables.items():
        arrays[f"{name}/keys"] = table.keys.copy()
        for column in table.columns:
            arrays[f"{name}/{column}"] = table.column(column).copy()
    arrays["fired"] = state.fired.keys.copy()
    arrays["groups"] = np.array(state.groups, np.int64).reshape(-1, 2)
    bursts = [(day, cell, count) for (day, cell), count in state.bursts.items()]
    arrays["bursts"] = np.array(bursts, np.int64).reshape(-1, 3)
    meta = {
        "format": FORMAT,
        "sequence": state.sequence,
        "applied": state.applied,
        "watermark": state.watermark,
        "next_id": state.next_id,
        "match_counts": [list(item) for item in state.match_counts.items()],
        "definitions": [known.first_id for known in state.definitions.values()],
    }
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    _pack(arrays, "definitions", [known.record for known in state.definitions.values()])
    _pack(arrays, "bindings", [binding.record for binding in state.bindings.values()])
    return arrays


def encode(arrays: Arrays) -> bytes:
    """Frozen state as bytes."""
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def decode(
    data: bytes, definition: Callable[[bytes], Definition], binding: Callable[[bytes], Binding]
) -> State:
    """The state in a checkpoint; `definition` and `binding` read the log's records. Unreadable otherwise."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays["meta"].tobytes())
        if meta["format"] != FORMAT:
            raise Unreadable(f"checkpoint format {meta['format']} is not known")
        return _decode(arrays, meta, definition, binding)
    except (KeyError, ValueError, OSError) as problem:
        raise Unreadable(str(problem)) from None


def _decode(
    arrays: Arrays,
    meta: dict[str, Any],
    definition: Callable[[bytes], Definition],
    binding: Callable[[bytes], Binding],
) -> State:
    state = State(
        sequence=meta["sequence"],
        applied=meta["applied"],
        watermark=meta["watermark"],
        next_id=meta["next_id"],
        match_counts={int(number): int(count) for number, count in meta["match_counts"]},
        bursts={(int(day), int(cell)): int(count) for day, cell, count in arrays["bursts"]},
        groups=[(int(activity), int(period)) for activity, period in arrays["groups"]],
        fired=Slots(arrays["fired"]),
    )
    for first_id, record in zip(meta["definitions"], _unpack(arrays, "definitions"), strict=True):
        made = definition(record)
        state.definitions[made.number] = Known(made, first_id, record)
    for record in _unpack(arrays, "bindings"):
        state.listen(binding(record))
    for name in {key.split("/")[0] for key in arrays if key.endswith("/keys")}:
        table = _table(state, name)
        table.fill(arrays[f"{name}/keys"], {column: arrays[f"{name}/{column}"] for column in table.columns})
    return state


def _table(state: State, name: str) -> Table:
    kind, _, size = name.partition("-")
    if kind == "counts":
        return state.count_table(int(size))
    if kind == "parts":
        return state.part_table(int(size))
    found = getattr(state, kind)
    assert isinstance(found, Table)
    return found


def _pack(arrays: Arrays, name: str, records: list[bytes]) -> None:
    arrays[f"{name}-lengths"] = np.array([len(record) for record in records], np.int64)
    arrays[f"{name}-bytes"] = np.frombuffer(b"".join(records), np.uint8)


def _unpack(arrays: Arrays, name: str) -> list[bytes]:
    data = arrays[f"{name}-bytes"].tobytes()
    ends = np.cumsum(arrays[f"{name}-lengths"]).tolist()
    return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=False)]
