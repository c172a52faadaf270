"""Generates Python code and one descriptor set from the contracts in `proto/`.

    python -m tools.proto            # build/gen, only when something changed
    python -m tools.proto --force

`build/gen` is the import root (`from iop.audience.v1 import audience_pb2`), and
`build/gen/iop.binpb` holds every file with its imports and comments: the gateway's routes, OpenAPI
and AsyncAPI come from it. `google/*` is imported from googleapis-common-protos, never generated.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
OUTPUT = ROOT / "build" / "gen"
STAMP = ".stamp"
# Only these generate code; the rest of the module is there to be imported.
GENERATED = ("iop", "buf")


def sources(folder: Path = SOURCE) -> list[str]:
    """The contracts that code is generated for, relative to `folder`, in a stable order."""
    return sorted(
        path.relative_to(folder).as_posix() for top in GENERATED for path in (folder / top).rglob("*.proto")
    )


def fingerprint(folder: Path = SOURCE, stub_plugin: Path | None = None) -> str:
    """Changes when a contract, this generator or a tool that it runs changes."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for package in ("grpcio-tools", "protobuf"):
        digest.update(importlib.metadata.version(package).encode())
    digest.update(str(stub_plugin is not None).encode())
    for path in sorted(folder.rglob("*.proto")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stub_plugin() -> Path | None:
    """mypy-protobuf's plugin, which types the gRPC stubs; there after `make lint` or `make test`."""
    found = Path(sys.executable).parent / "protoc-gen-mypy_grpc"
    return found if found.exists() else None


def _generate(target: Path, files: list[str], stub_plugin: Path | None) -> None:
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"--proto_path={SOURCE}",
        f"--proto_path={well_known}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        f"--descriptor_set_out={target / 'iop.binpb'}",
        "--include_imports",
        "--include_source_info",
    ]
    if stub_plugin is not None:
        arguments += [f"--plugin=protoc-gen-mypy_grpc={stub_plugin}", f"--mypy_grpc_out=quiet:{target}"]
    if protoc.main([*arguments, *files]) != 0:
        raise SystemExit("proto: the contracts do not compile (see above)")


def _publish(fresh: Path, target: Path) -> None:
    """Moves each file into place, so that a process importing at this moment never finds a gap."""
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for name in sorted(wanted):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(fresh / name, target / name)
    for path in sorted(target.rglob("*"), reverse=True):
        name = path.relative_to(target)
        if "__pycache__" in name.parts or name.name in (STAMP, ".lock"):
            continue
        if path.is_file() and name not in wanted:
            path.unlink()
        elif path.is_dir() and not any(path.rglob("*.py")):
            shutil.rmtree(path)


def build(force: bool = False) -> bool:
    """Brings `build/gen` up to date; True when it had to generate. Safe to call at the same time."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with open(OUTPUT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        plugin = _stub_plugin()
        # Stubs for the type checker stay good when the plugin is absent from this environment.
        accepted = {fingerprint(stub_plugin=plugin)}
        if plugin is None:
            accepted.add(fingerprint(stub_plugin=Path("present")))
        stamp = OUTPUT / STAMP
        if not force and stamp.exists() and stamp.read_text() in accepted:
            return False
        with tempfile.TemporaryDirectory(dir=OUTPUT.parent, prefix="gen-") as fresh:
            _generate(Path(fresh), sources(), plugin)
            _publish(Path(fresh), OUTPUT)
        stamp.write_text(fingerprint(stub_plugin=plugin))
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate code from the contracts.")
    parser.add_argument("--force", action="store_true", help="generate even when nothing changed")
    if build(force=parser.parse_args().force):
        print(f"proto: generated {len(sources())} contracts into {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
