"""Touches from page to receipt, and decisions, on real PostgreSQL, NATS and Valkey.

The service runs in this process; an adapter calls it over gRPC. Pages are taken in, leased and reported
delivered one after the other, so that each figure is one path's. Beside them: the same touches written by
the plain design (a row a touch: INSERT, then UPDATE at lease and at receipt), and PostgreSQL's own COPY
into the ledger's key table, which no ledger of ours can beat.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "build" / "gen")]

import numpy as np  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from iop.adapter.v1 import adapter_pb2, adapter_pb2_grpc, decision_pb2, decision_pb2_grpc  # noqa: E402
from iop.audience.v1 import directory_pb2, directory_pb2_grpc, list_pb2, list_pb2_grpc  # noqa: E402
from iop.campaign.v1 import activity_pb2, events_pb2  # noqa: E402
from iop.touchpoint.v1 import events_pb2 as touch_events  # noqa: E402
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc  # noqa: E402

from services.kit import actor, app, db, embedded, migrate, rpc  # noqa: E402
from services.kit.app import Service  # noqa: E402
from services.kit.bus import Bus, Stream  # noqa: E402
from services.kit.config import Runtime  # noqa: E402
from services.touchpoint.domain import keys  # noqa: E402

TOUCHES = int(os.environ.get("BENCH_TOUCHES", "60000"))
PLAIN = int(os.environ.get("BENCH_PLAIN", "3000"))
DECISIONS = int(os.environ.get("BENCH_DECISIONS", "3000"))
PAGE = 500
SMS, COUNTER = 1, 8
PHONE = 13800000000
KEY = "a key of the benchmark, thirty-two bytes and more"
ADAPTER = actor.Actor("adapter:sms-1", "sms-1", frozenset({"adapter"}), touchpoints=("sms", "store_counter"))
DAY = 9_600


class Directory(directory_pb2_grpc.DirectoryServiceServicer):
    """Consecutive numbers."""

    async def StreamDirectory(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """All in one chunk."""
        ordinals = np.arange(request.start_ordinal, TOUCHES)
        yield directory_pb2.DirectoryChunk(
            directory_version=1,
            ordinals=ordinals.astype("<u4").tobytes(),
            subscriber_ids=(ordinals + 10**9).astype("<i8").tobytes(),
            phones=(ordinals + PHONE).astype("<i8").tobytes(),
            counties=np.zeros(len(ordinals), "<i4").tobytes(),
        )


class Lists(list_pb2_grpc.ListServiceServicer):
    """No lists."""

    async def GetSuppressionBitmaps(self, request: Any, context: Any) -> Any:
        """Nothing is suppressed."""
        return list_pb2.SuppressionBitmaps(version=1)


@asynccontextmanager
async def platform(folder: Path) -> AsyncIterator[tuple[Service, Bus, rpc.Channel, str]]:
    """The service on its servers: (service, bus of a neighbour, channel of an adapter, database)."""
    postgres = embedded.start_postgres(folder / "postgres", ("touchpoint",), durable=True)
    nats = embedded.start_nats(folder / "nats", durable=True)
    valkey = embedded.start_valkey(folder / "valkey")
    url = postgres.database_urls["touchpoint"]
    neighbour = Service("audience", Runtime(nats_url=nats.url, actor_keys=(KEY,)))
    service = None
    try:
        migrate.upgrade("touchpoint", url)
        bus = await Bus.connect(neighbour)
        await bus.ensure(
            streams=[
                Stream("IOP_CAMPAIGN", ("iop.campaign.v1.>",)),
                Stream("IOP_AUDIENCE", ("iop.audience.v1.>",)),
            ]
        )
        server = rpc.Server(neighbour)
        server.add(directory_pb2_grpc.add_DirectoryServiceServicer_to_server, Directory())  # type: ignore[abstract]
        server.add(list_pb2_grpc.add_ListServiceServicer_to_server, Lists())  # type: ignore[abstract]
        await server.start()
        neighbour.on_stop("rpc", server.stop)
        os.environ.update(IOP_WINDOW="00:00-24:00", IOP_QUEUE_LIMIT=str(10 * TOUCHES))
        runtime = Runtime(
            database_url=url,
            nats_url=nats.url,
            redis_url=valkey.url,
            actor_keys=(KEY,),
            addresses={"audience": server.address},
        )
        service = await app.start_in_process("touchpoint", runtime)
        assert service.rpc is not None
        channel = rpc.connect(service.rpc.address, ADAPTER, (KEY,))
        yield service, bus, channel, url
        await channel.close()
    finally:
        if service is not None:
            await service.stop()
        await neighbour.stop()
        for stop in (valkey.stop, nats.stop, postgres.stop):
            stop()


async def launch(bus: Bus) -> None:
    """One activity at SMS and at the counter."""
    activity = activity_pb2.Activity(
        name="campaigns/c/activities/a",
        display_name="Bench",
        code="B",
        mode=activity_pb2.MODE_ACTIVE_PUSH,
        activity_number=7,
    )
    for touchpoint in (SMS, COUNTER):
        setting = activity.settings.add(
            touchpoint=touchpoint, priority=2, marketing_words="流量优惠，退订回TD"
        )
        setting.period.start_date, setting.period.end_date = "2020-01-01", "2099-12-31"
    await bus.publish(events_pb2.ActivityLaunched(activity=activity), key="activity-7")


async def hand_over(bus: Bus, touchpoint: int) -> None:
    """All pages onto the bus."""
    for start in range(0, TOUCHES, PAGE):
        message = touch_events.TouchRequested(
            page_id=f"7.{touchpoint}.{start}",
            activity_number=7,
            touchpoint=touchpoint,  # type: ignore[arg-type]
            planned_day=DAY,
            occurrence=1,
            ordinals=np.arange(start, min(start + PAGE, TOUCHES), dtype="<u4").tobytes(),
        )
        await bus.publish(message, partition=0, lane="medium")


async def received(ledger: Any, touchpoint: int) -> int:
    """Touches taken in so far."""
    answer = await ledger.ListTouchCounters(ledger_pb2.ListTouchCountersRequest(activity_numbers=[7]))
    for row in answer.counters:
        assert row.imbalance == 0
        if row.touchpoint == touchpoint:
            return int(row.received)
    return 0


async def intake(bus: Bus, ledger: Any, touchpoint: int) -> float:
    """Touches a second from the bus into ledger and queue."""
    started = time.perf_counter()
    await hand_over(bus, touchpoint)
    while await received(ledger, touchpoint) < TOUCHES:
        await asyncio.sleep(0.02)
    return TOUCHES / (time.perf_counter() - started)


async def deliver(adapter: Any) -> tuple[float, float, float]:
    """(leases, receipts, both) as touches a second: an adapter leases 1,000 and reports them delivered."""
    opened = await adapter.OpenSession(
        adapter_pb2.OpenSessionRequest(
            adapter="sms-1",
            touchpoints=[SMS],  # type: ignore[list-item]
            idempotency=adapter_pb2.IDEMPOTENCY_IDEMPOTENT,
            max_batch=1000,
            receipts=True,
        )
    )
    delivered = adapter_pb2.RECEIPT_STATUS_DELIVERED
    leasing = reporting = 0.0
    count = 0
    while count < TOUCHES:
        began = time.perf_counter()
        lease = await adapter.LeaseTouches(
            adapter_pb2.LeaseTouchesRequest(session=opened.session, max_touches=1000, wait_milliseconds=5000)
        )
        middle = time.perf_counter()
        receipts = [
            adapter_pb2.Receipt(
                touch_id=touch.touch_id, provider_message_id=f"m{count + i}", status=delivered
            )
            for i, touch in enumerate(lease.touches)
        ]
        told = await adapter.ReportReceipts(
            adapter_pb2.ReportReceiptsRequest(session=opened.session, receipts=receipts)
        )
        assert told.applied == len(receipts) > 0
        count += len(receipts)
        leasing += middle - began
        reporting += time.perf_counter() - middle
    return count / leasing, count / reporting, count / (leasing + reporting)


async def decisions(stub: Any) -> tuple[float, float]:
    """(median, 99th percentile) of a decision over gRPC, milliseconds, one after the other."""
    times = []
    dice = np.random.default_rng(1)
    for ordinal in dice.integers(0, TOUCHES, DECISIONS).tolist():
        began = time.perf_counter()
        answer = await stub.Decide(
            decision_pb2.DecideRequest(touchpoint=COUNTER, phone=PHONE + ordinal)  # type: ignore[arg-type]
        )
        times.append((time.perf_counter() - began) * 1000)
        assert len(answer.offers) == 1
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


def plain_rows(url: str) -> tuple[float, float]:
    """(intake, delivery) of a row a touch: each touch its own INSERT and UPDATEs, 100 in a transaction."""
    engine = db.engine(url, pool=1)
    with engine.connect() as tx:
        tx.execute(
            sa.text(
                "CREATE TABLE plain (id text PRIMARY KEY, activity bigint, ordinal bigint, state text,"
                " sent timestamptz)"
            )
        )
        tx.execute(sa.text("CREATE INDEX ON plain (activity, state)"))
        tx.commit()
        ids = [keys.encode(keys.TouchKey(DAY, 7, 1, SMS, i)) for i in range(PLAIN)]
        insert = sa.text("INSERT INTO plain VALUES (:id, 7, :ordinal, 'queued', NULL) ON CONFLICT DO NOTHING")
        began = time.perf_counter()
        for start in range(0, PLAIN, 100):
            for i in range(start, start + 100):
                tx.execute(insert, {"id": ids[i], "ordinal": i})
            tx.commit()
        middle = time.perf_counter()
        for state in ("leased", "delivered"):
            update = sa.text("UPDATE plain SET state = :state, sent = now() WHERE id = :id")
            for start in range(0, PLAIN, 100):
                for i in range(start, start + 100):
                    tx.execute(update, {"id": ids[i], "state": state})
                tx.commit()
        ended = time.perf_counter()
    engine.dispose()
    return PLAIN / (middle - began), PLAIN / (ended - middle)


def copy_floor(url: str) -> float:
    """Rows a second of COPY alone into a table with the ledger's key."""
    engine = db.engine(url, pool=1)
    columns = {
        "planned_day": np.full(TOUCHES, DAY),
        "activity_number": np.full(TOUCHES, 8),
        "occurrence": np.full(TOUCHES, 1),
        "touchpoint": np.full(TOUCHES, SMS),
        "ordinal": np.arange(TOUCHES),
    }
    with engine.connect() as tx:
        tx.execute(
            sa.text(
                "CREATE TABLE floor (planned_day int, activity_number bigint, occurrence bigint,"
                " touchpoint smallint, ordinal bigint,"
                " PRIMARY KEY (planned_day, activity_number, occurrence, touchpoint, ordinal))"
            )
        )
        began = time.perf_counter()
        db.copy_columns(tx, "floor", columns)
        tx.commit()
        took = time.perf_counter() - began
    engine.dispose()
    return TOUCHES / took


async def measure() -> list[dict[str, Any]]:
    """All figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        async with platform(Path(folder)) as (_, bus, channel, url):
            ledger = ledger_pb2_grpc.LedgerServiceStub(channel)
            adapter = adapter_pb2_grpc.AdapterServiceStub(channel)
            await launch(bus)
            taken = await intake(bus, ledger, SMS)
            leased, reported, both = await deliver(adapter)
            await intake(bus, ledger, COUNTER)
            median, tail = await decisions(decision_pb2_grpc.DecisionServiceStub(channel))
            plain_in, plain_out = await asyncio.to_thread(plain_rows, url)
            floor = await asyncio.to_thread(copy_floor, url)
    return [
        figure("touch intake", taken, "touches/s", floor, {"a row a touch": plain_in}),
        figure("touch lease", leased, "touches/s", floor, {}),
        figure("touch receipts", reported, "touches/s", floor, {}),
        figure("touch lease and receipt", both, "touches/s", floor, {"a row a touch": plain_out}),
        figure("decision, median", median, "ms", 0.5, {}),
        figure("decision, 99th percentile", tail, "ms", 10.0, {}),
    ]


def figure(
    name: str, value: float, unit: str, limit: float, alternatives: dict[str, float]
) -> dict[str, Any]:
    """One entry of the report."""
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "limit": round(limit, 3),
        "alternatives": {key: round(number, 3) for key, number in alternatives.items()},
    }


def main() -> None:
    """Measure and write build/bench/touchpoint.json."""
    results = asyncio.run(measure())
    target = ROOT / "build" / "bench" / "touchpoint.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
