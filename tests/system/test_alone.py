"""Each service starts alone: from a tree that holds the contracts, the kit and itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import nats
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.js import api

from services.kit.embedded.process import free_port
from tests.conftest import MakeDatabase

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("audience", "event", "campaign", "touchpoint", "evaluation", "campus")

# A service waits for the streams it consumes; these stand in for those of their owners.
STREAMS = {
    "IOP_AUDIENCE": ["iop.audience.v1.>"],
    "IOP_EVENT_LOG": [
        "iop.event.v1.signal.received.*",
        "iop.event.v1.definition.changed.*",
        "iop.event.v1.population.bound.*",
        "iop.event.v1.watermark.advanced.*",
    ],
    "IOP_EVENT": ["iop.event.v1.event.>"],
    "IOP_CAMPAIGN": ["iop.campaign.v1.>"],
    "IOP_TOUCHPOINT": [
        "iop.touchpoint.v1.touch.settled.>",
        "iop.touchpoint.v1.reply.received",
        "iop.touchpoint.v1.feedback.recorded",
    ],
    "IOP_EVALUATION": ["iop.evaluation.v1.>"],
    "IOP_CAMPUS": ["iop.campus.v1.>"],
}
BUCKETS = {"IOP_BITMAPS": "audience", "IOP_EVENT_STATE": "event"}


async def declare_for_others(url: str, service: str) -> None:
    """The streams and buckets that the other services would have made."""
    connection = await nats.connect(url)
    try:
        jetstream = connection.jetstream()
        for name, subjects in STREAMS.items():
            if not name.startswith(f"IOP_{service.upper()}"):
                await jetstream.add_stream(
                    api.StreamConfig(name=name, subjects=subjects, storage=api.StorageType.FILE)
                )
        for bucket, owner in BUCKETS.items():
            if owner != service:
                await jetstream.create_object_store(bucket)
    finally:
        await connection.close()


def tree_of(service: str, target: Path) -> Path:
    """A checkout that holds nothing but the contracts, the kit and the service."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "build" / "gen", target / "build" / "gen", ignore=ignore)
    (target / "services").mkdir()
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "services" / name, target / "services" / name)
    for room in ("kit", service):
        shutil.copytree(ROOT / "services" / room, target / "services" / room, ignore=ignore)
    return target


def serving(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_from_contracts_kit_and_itself(
    service: str, make_database: MakeDatabase, nats_url: str, redis_url: str, tmp_path: Path
) -> None:
    asyncio.run(declare_for_others(nats_url, service))
    tree = tree_of(service, tmp_path / "tree")
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tree),
        "NATS_URL": nats_url,
        "REDIS_URL": redis_url,
        f"DATABASE_URL_{service.upper()}": make_database(service),
        "IOP_LISTEN": f"127.0.0.1:{port}",
        "IOP_DATA_DIR": str(tmp_path / "data"),
        "IOP_ACTOR_KEYS": "a key for the tests that is long enough for HS256",
        # Where the others would be, were they there: nobody listens on the discard port.
        **{f"IOP_ADDR_{peer.upper()}": "127.0.0.1:9" for peer in SERVICES if peer != service},
    }
    log = tmp_path / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services", service],
            cwd=tree,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 60
        while not serving(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
