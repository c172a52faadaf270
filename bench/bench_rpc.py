"""What a call costs through the kit: deadline, actor, access, validation, errors, trace.

One client process, one server process, one span store, as in a deployment. The same unary call goes to
a bare grpc.aio server, to the kit without tracing, and to the kit with every call traced; rounds
alternate, medians are told. Figures are CPU of client and server together, which other work on the
machine moves less than wall time; the span store is another machine's in a deployment and not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "build" / "gen")]

import grpc  # noqa: E402
from iop.adapter.v1 import decision_pb2, decision_pb2_grpc  # noqa: E402
from iop.common.v1 import types_pb2  # noqa: E402

from services.kit import actor as actors  # noqa: E402
from services.kit import rpc  # noqa: E402
from services.kit.app import Service  # noqa: E402
from services.kit.config import Runtime  # noqa: E402

CALLS = int(os.environ.get("BENCH_CALLS", "3200"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
IN_FLIGHT = 16
KEY = "a key of the benchmark, thirty-two bytes and more"


class Api(decision_pb2_grpc.DecisionServiceServicer):
    """Answers at once, so that only the way there and back is measured."""

    async def Decide(self, request: Any, context: Any) -> Any:
        return decision_pb2.DecideResponse(offers=[decision_pb2.Offer(activity_code="FX38")])

    async def ReportFeedback(self, request: Any, context: Any) -> Any:
        return decision_pb2.ReportFeedbackResponse(applied=len(request.feedback))


async def serve() -> None:
    """The server process: three servers; prints their ports and stays until its input ends."""
    endpoint = os.environ["BENCH_OTLP"]
    ports = []
    bare = grpc.aio.server()
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(Api(), bare)
    ports.append(bare.add_insecure_port("127.0.0.1:0"))
    await bare.start()
    services = []
    for otlp in ("", endpoint):
        service = Service("bench", Runtime(actor_keys=(KEY,), otlp_endpoint=otlp))
        server = rpc.Server(service)
        server.add(decision_pb2_grpc.add_DecisionServiceServicer_to_server, Api())
        await server.start()
        service.on_stop("rpc", server.stop)
        services.append(service)
        ports.append(server.port)
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for service in services:
        await service.stop()


async def collect() -> None:
    """The span store process."""
    from gateway.spans.collector import serve as serve_spans
    from gateway.spans.store import SpanStore
    from services.kit.embedded.process import free_port

    listen = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        store = SpanStore(Path(folder) / "spans.db")
        server = await serve_spans(store, listen)
        print(listen, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await server.stop(0)


def cpu_seconds(pid: int) -> float:
    """CPU a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(stub: Any, request: Any, server: int) -> float:
    """CPU seconds a call costs client and server, IN_FLIGHT at once."""

    async def worker() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            await stub.Decide(request, timeout=10)

    here, there = time.process_time(), cpu_seconds(server)
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    spent = time.process_time() - here + cpu_seconds(server) - there
    return spent / (CALLS // IN_FLIGHT * IN_FLIGHT)


def start(role: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )


async def main() -> None:
    collector = start("collect", dict(os.environ))
    assert collector.stdout is not None
    endpoint = f"http://{collector.stdout.readline().strip()}"
    server = start("serve", {**os.environ, "BENCH_OTLP": endpoint})
    assert server.stdout is not None
    ports = json.loads(server.stdout.readline())
    user = actors.Actor("user:bench", "bench", frozenset({"clerk"}), (150000,))
    request = decision_pb2.DecideRequest(touchpoint=types_pb2.TOUCHPOINT_STORE_COUNTER, phone=13800000000)
    clients = [Service("client", Runtime(actor_keys=(KEY,), otlp_endpoint=otlp)) for otlp in ("", endpoint)]
    channels: list[Any] = [grpc.aio.insecure_channel(f"127.0.0.1:{ports[0]}")]
    for port, client in zip(ports[1:], clients, strict=True):
        channels.append(rpc.connect(f"127.0.0.1:{port}", user, (KEY,), client.telemetry))
    stubs = [decision_pb2_grpc.DecisionServiceStub(channel) for channel in channels]
    costs: list[list[float]] = [[], [], []]
    for round_number in range(ROUNDS + 1):
        for index, stub in enumerate(stubs):
            if index == 2:
                with clients[1].telemetry.span("bench", root=True):
                    cost = await measure(stub, request, server.pid)
            else:
                cost = await measure(stub, request, server.pid)
            if round_number:  # the first round warms up
                costs[index].append(cost)
    bare, untraced, traced = (statistics.median(c) * 1e6 for c in costs)
    # Each traced round beside the untraced one just before it: what else runs here moves both.
    share = statistics.median(t / u for t, u in zip(costs[2], costs[1], strict=True))
    for channel in channels:
        await channel.close()
    for client in clients:
        await client.stop()
    for process in (server, collector):
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
    figures = [
        {
            "name": "unary call through the kit, every call traced",
            "value": traced, "unit": "us CPU", "limit": bare, "alternatives": {"kit, not traced": untraced},
        },
        {
            # The limit is ours: tracing may cost at most 15 % of a call.
            "name": "cost of tracing a call", "value": share, "unit": "x", "limit": 1.15, "alternatives": {},
        },
    ]  # fmt: skip
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "rpc.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    roles = {"serve": serve, "collect": collect}
    asyncio.run(roles[sys.argv[1]]() if len(sys.argv) > 1 else main())
