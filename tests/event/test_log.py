"""The partition log: what comes out depends on it alone, whatever happens to the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from iop.common.v1 import runtime_pb2_grpc
from iop.event.v1 import cell_pb2_grpc, definition_pb2_grpc, events_pb2, signal_pb2, signal_pb2_grpc

from services.event.announce import CHECKPOINTS, log_consumer
from services.event.engine import checkpoint
from services.event.messages.log import PartitionLog, Shared
from services.kit import envelope, errors, rpc
from services.kit.app import Service
from services.kit.bus import Bus, Consumer, Delivery
from services.kit.embedded.process import free_port
from tests.event.conftest import NOON, SUBSCRIBERS, MakeWorld, World, signal_batch
from tests.event.test_api import compare, create, rule
from tests.fixtures.services import ADMIN, KEY

ROOT = Path(__file__).resolve().parents[2]
CELL = 1 << 32 | 1


class Recorder:
    """A bus that keeps what is announced instead of sending it."""

    def __init__(self, bus: Bus, failures: int = 0) -> None:
        self._bus, self._failures = bus, failures
        self.sent: dict[str, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish_all(self, envelopes: list[envelope.Envelope]) -> None:
        if self._failures:
            self._failures -= 1
            raise errors.Unavailable("not now")
        self.sent.update({item.id: item.body for item in envelopes})


async def busy_day(world: World) -> None:
    """Definitions of every kind, populations that change, five batches of signals."""
    both = all_of(
        rule("LOCATION", compare("tac_cell", "IN", CELL)), rule("APP_USE", compare("app", "EQ", "优酷"))
    )
    expressions = [
        rule("LOCATION", compare("tac_cell", "IN", CELL, CELL + 1), dwell_seconds=600),
        rule("POWER_SWITCH", count=2, window_seconds=900),
        rule("TERMINAL_CHANGE"),
        both,
    ]
    numbers = [(await create(world, expression)).definition_number for expression in expressions]
    for i, number in enumerate(numbers):
        await world.bind(number, 10 + i, range(i, 200))
    random = np.random.default_rng(7)
    for i in range(5):
        if i == 2:
            await world.bind(numbers[1], 11, range(100, 400))
        if i == 4:
            await world.bind(numbers[0], 10, None)
        rows = [
            {
                "subscriber": int(random.integers(0, 40)) * 10,
                "source": int(random.choice([1, 1, 2, 3, 6])),
                "cell": CELL + int(random.integers(0, 3)),
                "text": "优酷",
                "imei": 861234567890120 + int(random.integers(0, 2)),
                "at": NOON + (i * 300 + n) * 1_000_000,
            }
            for n in range(300)
        ]
        await world.send(rows, f"b{i}")


def all_of(*children: Any) -> Any:
    """All of these rules."""
    made = type(children[0])()
    made.all_of.expressions.extend(children)
    return made


async def test_the_same_log_gives_the_same_matches(
    world: World, bare_service: Callable[..., Service], make_database: Any, nats_url: str
) -> None:
    """In one piece, record by record, from a checkpoint, after a failed announcement: same ids and bytes."""
    await busy_day(world)
    service = bare_service("event", nats_url=nats_url, database_url=make_database("event"))
    bus = await Bus.connect(service)
    found = 0
    for partition in range(service.runtime.partitions):
        records: list[Delivery] = []

        async def keep(deliveries: list[Delivery], records: list[Delivery] = records) -> None:
            records.extend(deliveries)

        consumer = log_consumer(partition)
        await bus.consume(Consumer(consumer.stream, f"again-{partition}", consumer.filters), keep)
        for _ in range(300):
            if len(records) >= 15:  # 4 definitions, 6 changes of populations, 5 batches, a tick
                break
            await asyncio.sleep(0.02)
        assert len(records) >= 15

        def fresh(failures: int = 0) -> tuple[Recorder, Shared]:
            recorder = Recorder(bus, failures)
            return recorder, Shared(service, None, recorder)  # type: ignore[arg-type]

        whole, shared = fresh()
        await PartitionLog(shared, partition, None).handle(records)
        single, shared = fresh()
        log = PartitionLog(shared, partition, None)
        for record in records:
            await log.handle([record])
            await log.handle([record])  # a record that comes twice
        assert single.sent == whole.sent

        failing, shared = fresh(failures=1)
        log = PartitionLog(shared, partition, None)
        with pytest.raises(errors.Unavailable):
            await log.handle(records)
        await log.handle(records)
        assert failing.sent == whole.sent

        for cut in (3, 9, 12):
            resumed, shared = fresh()
            first = PartitionLog(shared, partition, None)
            await first.handle(records[:cut])
            data = checkpoint.encode(checkpoint.freeze(first.state))
            state = checkpoint.decode(data, *_readers(shared))
            await PartitionLog(shared, partition, state).handle(records)
            assert resumed.sent == whole.sent
        found += len(whole.sent)
    assert found == len({delivery.id for delivery in world.matches}) > 20


def _readers(shared: Shared) -> tuple[Any, Any]:
    from services.event import translate

    return translate.definition_record, lambda record: translate.binding_record(record, shared.time)


async def test_a_restart_goes_on_from_its_checkpoint(make_world: MakeWorld, outside: SimpleNamespace) -> None:
    """A stay that began before the restart completes after it; one checkpoint a partition is kept."""
    world = await make_world()
    made = await create(world, rule("LOCATION", compare("tac_cell", "IN", CELL), dwell_seconds=600))
    await world.bind(made.definition_number, 7, range(50))
    await world.send([{"subscriber": i, "cell": CELL, "at": NOON} for i in range(100)], "b1")
    await world.event.stop()
    again = await make_world(database_url=world.event.runtime.database_url)
    await again.send([{"subscriber": i, "cell": CELL, "at": NOON + 600_000_000} for i in range(100)], "b2")
    await asyncio.sleep(0.1)
    assert again.matched() == [(7, i) for i in range(50)]
    await again.event.stop()
    objects = await (await outside.bus.js.object_store(CHECKPOINTS.name)).list()
    assert sorted(item.name.split("/")[0] for item in objects if not item.deleted) == [
        "p00",
        "p01",
        "p02",
        "p03",
    ]


async def test_without_log_and_checkpoint_the_tables_tell_again(
    make_world: MakeWorld, outside: SimpleNamespace
) -> None:
    """Definitions and populations survive the loss of everything that NATS kept of this service."""
    world = await make_world()
    made = await create(world, rule("APP_USE"))
    await world.bind(made.definition_number, 7, range(50))
    await world.event.stop()
    for stream in ("IOP_EVENT_LOG", f"OBJ_{CHECKPOINTS.name}"):
        await outside.bus.js.delete_stream(stream)
    again = await make_world(database_url=world.event.runtime.database_url)
    await again.at_rest()
    await again.send([{"subscriber": 3, "source": 6, "text": "x"}], "b1")
    await asyncio.sleep(0.1)
    assert again.matched() == [(7, 3)]


async def test_a_broken_population_is_put_aside(world: World) -> None:
    """It goes to the dead letters; the partition goes on."""
    made = await create(world, rule("APP_USE"))
    name, junk = "population/junk", b"no bitmap"
    digest = await world.bus.put_object("IOP_BITMAPS", name, junk)
    bad = events_pb2.PopulationBound(activity_number=9, definition_number=made.definition_number, version=1)
    bad.bitmap.object, bad.bitmap.digest = name, digest
    for partition in range(4):
        await world.bus.publish(bad, partition=partition)
    await world.bind(made.definition_number, 7, range(5))
    await world.send([{"subscriber": 3, "source": 6, "text": "x"}], "b1")
    await asyncio.sleep(0.1)
    assert world.matched() == [(7, 3)]
    assert world.event.status.dead == 4


@pytest.mark.slow
async def test_killed_again_and_again_nothing_is_lost_or_doubled(
    outside: SimpleNamespace, nats_url: str, make_database: Any, stub: Any, tmp_path: Path
) -> None:
    """SIGKILL in mid-stream: every subscriber matches once, under one id."""
    database_url, address = make_database("event"), f"127.0.0.1:{free_port()}"
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'build/gen'}",
        "DATABASE_URL_EVENT": database_url,
        "NATS_URL": nats_url,
        "IOP_ADDR_AUDIENCE": outside.service.rpc.address,
        "IOP_ACTOR_KEYS": KEY,
        "IOP_LISTEN": address,
        "IOP_EVENT_CHECKPOINT_SECONDS": "0.5",
    }

    async def start() -> asyncio.subprocess.Process:
        log = (tmp_path / "event.log").open("ab")
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services", "event", cwd=ROOT, env=env, stdout=log, stderr=log
        )

    channel = rpc.connect(address, ADMIN, (KEY,))
    world = World.__new__(World)
    world.bus, world.matches, world._versions = outside.bus, [], {}
    world.definitions = definition_pb2_grpc.DefinitionServiceStub(channel)
    world.cells = cell_pb2_grpc.CellServiceStub(channel)
    world.signals = signal_pb2_grpc.SignalServiceStub(channel)
    world.runtime = runtime_pb2_grpc.RuntimeServiceStub(channel)
    process = await start()
    try:
        made = await patiently(lambda: create(world, both_rules(), definition_id="both"))
        await patiently(lambda: world.bind(made.definition_number, 7, range(300)))

        async def hear(deliveries: list[Delivery]) -> None:
            world.matches.extend(deliveries)

        await outside.bus.consume(Consumer("IOP_EVENT", "listener"), hear)
        for number in range(16):
            rows = [
                {
                    "subscriber": i,
                    "source": 1 if number % 2 == 0 else 6,
                    "cell": CELL,
                    "text": "优酷",
                    "at": NOON + number * 60_000_000,
                }
                for i in range(number // 2, SUBSCRIBERS, 8)
            ]
            batch = signal_pb2.IngestSignalsRequest(batch=signal_batch(rows, f"k{number}"))
            await patiently(lambda batch=batch: world.signals.IngestSignals(batch))
            if number in (3, 6, 11):
                await asyncio.sleep(0.02 * number)
                process.send_signal(signal.SIGKILL)
                await process.wait()
                process = await start()
        await patiently(world.at_rest)
        await asyncio.sleep(0.2)
        assert world.matched() == [(7, i) for i in range(300)]
        contents: dict[str, set[bytes]] = {}
        for delivery in world.matches:
            contents.setdefault(delivery.id, set()).add(delivery.message.SerializeToString())
        assert all(len(bodies) == 1 for bodies in contents.values())
    finally:
        process.kill()
        await process.wait()
        await channel.close()


def both_rules() -> Any:
    """In the cell, and using the app."""
    return all_of(rule("LOCATION", compare("tac_cell", "IN", CELL)), rule("APP_USE"))


async def patiently(work: Callable[[], Any]) -> Any:
    """Call again while the service is away."""
    for _ in range(200):
        try:
            return await work()
        except (errors.Unavailable, grpc.aio.AioRpcError):
            await asyncio.sleep(0.2)
        except errors.Exists:
            raise AssertionError("made twice") from None
    raise AssertionError("the service did not come back")
