"""Settings: a dataclass read from the environment, secrets from files, masked when printed.

The field `window_start: str = "08:00"` reads `IOP_WINDOW_START`. A `secret()` field also reads the
file named by `<VARIABLE>_FILE`. A value that does not fit raises `errors.Invalid` naming the variable.
"""

import dataclasses
import os
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, time
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from services.kit import errors

T = TypeVar("T")

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def secret(default: str = "", *, env: str = "") -> Any:
    """A field that is never printed and may come from the file named by `<VARIABLE>_FILE`."""
    return dataclasses.field(default=default, metadata={"secret": True, "env": env}, repr=False)


def variable(default: Any = dataclasses.MISSING, *, env: str) -> Any:
    """A field that reads the variable `env` instead of the one derived from its name."""
    return dataclasses.field(default=default, metadata={"env": env})


def load(cls: type[T], env: Mapping[str, str] = os.environ) -> T:
    """Build the settings dataclass `cls` from `env`; errors.Invalid names each bad or missing variable."""
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = field.metadata.get("env") or f"IOP_{field.name.upper()}"
        try:
            raw = _raw(name, env, field.metadata.get("secret", False))
            if raw is not None:
                values[field.name] = convert(raw, hints[field.name])
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append((name, "is required"))
        except (ValueError, OSError) as problem:
            problems.append((name, str(problem)))
    if problems:
        text = "; ".join(f"{name}: {what}" for name, what in problems)
        raise errors.Invalid(f"bad settings: {text}", reason="FIELD_INVALID", fields=problems)
    return cls(**values)


def masked(settings: Any) -> dict[str, str]:
    """The settings as text, with secrets and passwords in addresses hidden."""
    shown = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        shown[field.name] = "***" if field.metadata.get("secret") and value else _hide_password(str(value))
    return shown


def convert(raw: str, kind: Any) -> Any:
    """One text as a value of type `kind`: simple types, Enum, tuple[X, ...], X | None."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        return None if raw == "" else convert(raw, inner[0])
    if origin in (tuple, list):
        parts = [part.strip() for part in raw.split(",") if part.strip()]
        return origin(convert(part, typing.get_args(kind)[0]) for part in parts)
    if kind is bool:
        if raw.lower() in _TRUE:
            return True
        if raw.lower() in _FALSE:
            return False
        raise ValueError(f"{raw!r} is neither true nor false")
    simple: dict[Any, Callable[[str], Any]] = {
        str: str,
        int: int,
        float: float,
        Path: Path,
        date: date.fromisoformat,
        time: time.fromisoformat,
    }
    if kind in simple:
        try:
            return simple[kind](raw)
        except ValueError:
            raise ValueError(f"{raw!r} is not a {kind.__name__}") from None
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(raw)
    raise ValueError(f"settings of type {kind} are not supported")


def _raw(name: str, env: Mapping[str, str], is_secret: bool) -> str | None:
    if name in env:
        return env[name]
    if is_secret and env.get(f"{name}_FILE"):
        return Path(env[f"{name}_FILE"]).read_text().strip()
    return None


def _hide_password(text: str) -> str:
    head, colon, rest = text.partition("://")
    if not colon or "@" not in rest:
        return text
    credentials, _, host = rest.rpartition("@")
    user = credentials.split(":", 1)[0]
    return f"{head}://{user}:***@{host}"


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What every process needs, whichever service it runs. Tests build it directly."""

    database_url: str = dataclasses.field(default="", repr=False)
    nats_url: str = dataclasses.field(default="", repr=False)
    redis_url: str = dataclasses.field(default="", repr=False)
    listen: str = "127.0.0.1:0"
    addresses: Mapping[str, str] = dataclasses.field(default_factory=dict)  # service -> host:port
    otlp_endpoint: str = ""  # empty: no spans are exported
    trace_ratio: float = 1.0  # of the calls of users that come without a trace
    clock: str = ""  # path of the business clock's file; empty: the system's time
    data_dir: str = ".data"
    actor_keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)  # HS256 secrets, the first signs
    partitions: int = 4
    timezone: str = "Asia/Shanghai"
    metrics_listen: str = ""  # host:port of /metrics; empty: none
    log_level: str = "INFO"


@dataclasses.dataclass(frozen=True)
class _RuntimeVariables:
    nats_url: str = secret(env="NATS_URL")
    redis_url: str = secret(env="REDIS_URL")
    listen: str = "127.0.0.1:0"
    otlp_endpoint: str = variable("", env="OTEL_EXPORTER_OTLP_ENDPOINT")
    trace_ratio: float = 1.0
    clock: str = ""
    data_dir: str = ".data"
    actor_keys: str = secret()
    partitions: int = 4
    timezone: str = "Asia/Shanghai"
    metrics_listen: str = ""
    log_level: str = "INFO"


def runtime(service: str, env: Mapping[str, str] = os.environ) -> Runtime:
    """The Runtime of the process of `service`: DATABASE_URL_<SERVICE>, NATS_URL, IOP_ADDR_<SERVICE>, ..."""
    base = load(_RuntimeVariables, env)
    values = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    values["actor_keys"] = tuple(key.strip() for key in base.actor_keys.split(",") if key.strip())
    prefix = "IOP_ADDR_"
    addresses = {name[len(prefix) :].lower(): value for name, value in env.items() if name.startswith(prefix)}
    database_url = _raw(f"DATABASE_URL_{service.upper()}", env, True) or ""
    return Runtime(database_url=database_url, addresses=addresses, **values)
