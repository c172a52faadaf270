"""Who may import whom: the walls of the house, read from the source of what exists."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("audience", "event", "campaign", "touchpoint", "evaluation", "campus")
OUTSIDE_WORLD = (
    "sqlalchemy", "psycopg", "alembic", "grpc", "grpc_status", "nats", "redis", "starlette", "uvicorn",
    "httpx", "opentelemetry", "prometheus_client", "protovalidate", "google", "iop", "buf",
)  # fmt: skip
# The kit's files that are pure themselves.
PURE_KIT = ("services.kit.errors", "services.kit.partition")
OUR_OWN = ("services", "gateway", "sdk", "iop_adapter", "adapters", "demo", "bench", "tools", "tests")

Import = tuple[Path, int, str]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, late imports and names of packages included."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (above, node.module or "") if part)
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def files(*places: str) -> list[Path]:
    """Python files of rooms that exist; a room is a folder or a file."""
    found: list[Path] = []
    for place in places:
        for path in ROOT.glob(place):
            found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [path for path in found if "node_modules" not in path.parts and path.suffix == ".py"]


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def offences(paths: list[Path], allowed: Callable[[str], bool]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for line, name in imports(path)
        if not allowed(name)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_the_kit_and_itself(service: str) -> None:
    def allowed(name: str) -> bool:
        return not within(name, *OUR_OWN) or within(name, "services.kit", f"services.{service}")

    assert offences(files(f"services/{service}"), allowed) == []


def test_the_kit_knows_no_service() -> None:
    def allowed(name: str) -> bool:
        return not within(name, *OUR_OWN) or within(name, "services.kit")

    assert offences(files("services/kit"), allowed) == []


@pytest.mark.parametrize("service", SERVICES)
def test_rules_are_pure(service: str) -> None:
    """The domain reaches nothing outside: no database, no wire, no generated message."""

    def allowed(name: str) -> bool:
        if within(name, *OUR_OWN):
            return within(name, f"services.{service}.domain", *PURE_KIT)
        return not within(name, *OUTSIDE_WORLD)

    assert offences(files(f"services/{service}/domain", f"services/{service}/domain.py"), allowed) == []


@pytest.mark.parametrize("service", SERVICES)
def test_engines_know_neither_wire_nor_tables(service: str) -> None:
    def allowed(name: str) -> bool:
        return not within(name, "grpc", "sqlalchemy", "starlette", f"services.{service}.api") and not within(
            name, f"services.{service}.store"
        )

    assert offences(files(f"services/{service}/engine", f"services/{service}/engine.py"), allowed) == []


@pytest.mark.parametrize("service", SERVICES)
def test_tables_know_no_wire(service: str) -> None:
    def allowed(name: str) -> bool:
        return not within(name, "grpc", "nats", "starlette", f"services.{service}.api")

    assert offences(files(f"services/{service}/store", f"services/{service}/store.py"), allowed) == []


def test_the_gateway_uses_contracts_and_the_kit_only() -> None:
    def allowed(name: str) -> bool:
        return not within(name, *OUR_OWN) or within(name, "services.kit", "gateway")

    assert offences(files("gateway"), allowed) == []


def test_the_sdk_stands_alone() -> None:
    """A channel owner installs it without the platform."""

    def allowed(name: str) -> bool:
        if within(name, *OUR_OWN):
            return within(name, "sdk", "iop_adapter")
        return not any(within(name, f"iop.{service}") for service in (*SERVICES, "gateway"))

    assert offences(files("sdk"), allowed) == []


def test_adapters_use_the_sdk_only() -> None:
    def allowed(name: str) -> bool:
        if within(name, *OUR_OWN):
            return within(name, "sdk", "iop_adapter", "adapters")
        return not any(within(name, f"iop.{service}") for service in (*SERVICES, "gateway"))

    assert offences(files("adapters"), allowed) == []


def test_the_recomputation_is_independent() -> None:
    """What checks the platform's counts shares no code with the platform."""

    def allowed(name: str) -> bool:
        return not within(name, "services", "gateway", "sdk", "iop_adapter", "adapters", "iop")

    assert offences(files("demo/recompute*"), allowed) == []


def test_the_demo_goes_through_the_front_door() -> None:
    """Cases run through the platform's own interfaces: of the services only the kit is used."""

    def allowed(name: str) -> bool:
        return not within(name, "gateway", *(f"services.{service}" for service in SERVICES))

    assert offences(files("demo"), allowed) == []


def test_an_offence_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader finds late, relative and aliased imports."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    room = tmp_path / "services" / "audience"
    room.mkdir(parents=True)
    (room / "api.py").write_text(
        "import services.campaign.store as s\n"
        "from services import event\n"
        "from ..campus import store\n"
        "def late():\n    from services.touchpoint import domain\n"
        "from services.kit import db\nfrom . import store\nimport numpy\n"
    )
    found = offences(
        files("services/audience"),
        lambda name: not within(name, "services") or within(name, "services.kit", "services.audience"),
    )
    assert found == [
        "services/audience/api.py:1 imports services.campaign.store",
        "services/audience/api.py:2 imports services.event",
        "services/audience/api.py:3 imports services.campus.store",
        "services/audience/api.py:5 imports services.touchpoint.domain",
    ]
