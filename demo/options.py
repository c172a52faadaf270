"""What the environment may choose for a run of the demonstration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.subscribers import DEFAULT_COUNT, DEFAULT_SEED

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Options:
    """SUBSCRIBERS (1,000 to 10,000,000), SEED, KEEP (go on with the data of an earlier `make run`)."""

    subscribers: int = DEFAULT_COUNT
    seed: int = DEFAULT_SEED
    keep: bool = False
    data: Path = ROOT / ".data" / "demo"
    report: Path = ROOT / "build" / "demo" / "report.json"
    portal: Path = ROOT / "gateway" / "portal" / "dist"

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Options:
        """The options of the environment; ValueError names a variable that is wrong."""
        count = _whole(env, "SUBSCRIBERS", cls.subscribers)
        if not 1_000 <= count <= 10_000_000:
            raise ValueError("SUBSCRIBERS must be 1000 to 10000000")
        return cls(count, _whole(env, "SEED", cls.seed), env.get("KEEP", "") not in ("", "0"))


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)
