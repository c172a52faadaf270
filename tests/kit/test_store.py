"""Transactions, outbox, inbox and request ids on a real PostgreSQL and NATS."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest
import pytest_asyncio
import sqlalchemy as sa

from services.kit import call, db, errors, inbox, outbox, requests
from services.kit.actor import Actor
from services.kit.bus import Bus, Consumer, Stream
from tests.kit.test_bus import until

METADATA = sa.MetaData()
for make in (outbox.table, inbox.table, requests.table):
    make(METADATA)
ACCOUNT = sa.Table(
    "kit_account",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("good", sa.Boolean),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("raw", sa.LargeBinary),
)
STREAM = Stream("IOP_KITTEST", ("iop.kittest.v1.thing.>",), max_age_s=3600)
READER = Consumer("IOP_KITTEST", "kit-reader")
ACTOR = Actor("user:li")


@pytest.fixture
def url(postgres):
    """A database with the kit's tables."""
    base = sa.engine.make_url(postgres.database_urls["gateway"])
    name = f"kit_{os.getpid()}_{time.monotonic_ns()}"
    with postgres.connect() as admin:
        postgres.create_database(admin, name, base.username)
    made = base.set(database=name).render_as_string(hide_password=False)
    engine = db.engine(made)
    METADATA.create_all(engine)
    engine.dispose()
    yield made
    with postgres.connect() as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture
async def service(bare_service, url, nats_url):
    return bare_service("kit", database_url=url, nats_url=nats_url)


@pytest_asyncio.fixture
async def database(service):
    return service.database()


def scalar(statement):
    """A read for `database.read`."""
    return lambda tx: tx.execute(sa.text(statement)).scalar_one()


async def test_concurrent_changes_lose_nothing(database):
    """Twenty transfers at once on the strictest isolation all take effect, by retrying lost races."""
    await database.transaction(lambda tx: tx.execute(sa.insert(ACCOUNT).values(id=1, amount=0)))

    def add_one(tx):
        tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        amount = tx.execute(sa.select(ACCOUNT.c.amount).where(ACCOUNT.c.id == 1)).scalar_one()
        time.sleep(0.002)
        tx.execute(sa.update(ACCOUNT).where(ACCOUNT.c.id == 1).values(amount=amount + 1))

    await asyncio.gather(*(database.transaction(add_one, retries=40) for _ in range(20)))
    assert await database.read(scalar("SELECT amount FROM kit_account")) == 20


async def test_a_lost_race_that_stays_lost_is_a_conflict(database):
    await database.transaction(lambda tx: tx.execute(sa.insert(ACCOUNT).values(id=1, amount=0)))

    def disturbed(tx):
        tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        tx.execute(sa.select(ACCOUNT)).all()
        with database.engine.begin() as other:
            other.execute(sa.update(ACCOUNT).values(amount=ACCOUNT.c.amount + 1))
        tx.execute(sa.update(ACCOUNT).values(amount=0))

    with pytest.raises(errors.Conflict) as caught:
        await database.transaction(disturbed, retries=2)
    assert caught.value.reason == "CONCURRENT_CHANGE"


async def test_a_dropped_connection_before_the_commit_is_retried(database):
    attempts = []

    def cut_off_once(tx):
        tx.execute(sa.insert(ACCOUNT).values(id=len(attempts), amount=1))
        attempts.append(1)
        if len(attempts) == 1:
            pid = tx.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            with database.engine.begin() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:p)"), {"p": pid})
        return tx.execute(sa.text("SELECT count(*) FROM kit_account")).scalar_one()

    assert await database.transaction(cut_off_once) == 1
    assert len(attempts) == 2


async def test_a_failure_rolls_back_and_runs_no_hook(database, service):
    hooks = []

    def failing(tx):
        db.after_commit(tx, lambda: hooks.append(1))
        tx.execute(sa.insert(ACCOUNT).values(id=1, amount=1))
        raise errors.Precondition("no")

    with pytest.raises(errors.Precondition):
        await database.transaction(failing)
    assert await database.read(scalar("SELECT count(*) FROM kit_account")) == 0
    await database.transaction(lambda tx: db.after_commit(tx, lambda: hooks.append(2)))
    assert hooks == [2]


async def test_a_read_cannot_write(database):
    with pytest.raises(sa.exc.DBAPIError, match="read-only"):
        await database.read(lambda tx: tx.execute(sa.insert(ACCOUNT).values(id=1, amount=1)))


async def test_columns_are_copied_as_they_are(database):
    when = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
    texts = ["plain", 'a\tb\nc\\d\r"', None, "内蒙古"]
    columns = {
        "id": np.arange(4, dtype=np.uint32),
        "amount": np.array([1, -2, 2**62, 0], dtype=np.int64),
        "note": texts,
        "good": np.array([True, False, True, False]),
        "at": np.array([when.replace(tzinfo=None)] * 4, dtype="datetime64[us]"),
        "raw": [b"\x00\xff\\", b"", None, b"x"],
    }
    assert await database.transaction(lambda tx: db.copy_columns(tx, "kit_account", columns)) == 4
    rows = await database.read(lambda tx: tx.execute(sa.select(ACCOUNT).order_by(ACCOUNT.c.id)).all())
    assert [row.note for row in rows] == texts
    assert [row.amount for row in rows] == [1, -2, 2**62, 0]
    assert [row.good for row in rows] == [True, False, True, False]
    assert {row.at for row in rows} == {when}
    assert [row.raw for row in rows] == [b"\x00\xff\\", b"", None, b"x"]
    more = [(10, 1, "x"), (11, 2, None)]
    copied = await database.transaction(
        lambda tx: db.copy_rows(tx, "kit_account", ["id", "amount", "note"], more)
    )
    assert copied == 2
    with pytest.raises(ValueError, match="lengths"):
        await database.transaction(
            lambda tx: db.copy_columns(tx, "kit_account", {"id": [1], "amount": [1, 2]})
        )


async def test_the_same_request_is_answered_once(database, echo):
    runs = []

    def create(tx, text="a", request_id="r1", actor=ACTOR):
        def effect():
            runs.append(text)
            tx.execute(sa.insert(ACCOUNT).values(id=len(runs), amount=0))
            return echo.pb.EchoResponse(text=f"made {len(runs)}")

        request = echo.pb.EchoRequest(text=text, request_id=request_id)
        return requests.once(tx, "Create", request_id, actor, echo.pb.EchoResponse, effect, request)

    first = await database.transaction(create)
    assert await database.transaction(create) == first
    assert len(runs) == 1
    with pytest.raises(errors.Invalid) as caught:
        await database.transaction(lambda tx: create(tx, text="b"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    await database.transaction(lambda tx: create(tx, actor=Actor("user:wang")))
    await database.transaction(lambda tx: create(tx, request_id=""))
    await database.transaction(lambda tx: create(tx, request_id=""))
    assert len(runs) == 4


async def test_two_at_once_under_one_request_id_change_once(database, echo):
    def create(tx):
        def effect():
            time.sleep(0.2)
            tx.execute(sa.insert(ACCOUNT).values(id=1, amount=0))
            return echo.pb.EchoResponse(text=threading.current_thread().name)

        call.current.set(call.Call("Create", ACTOR, request=echo.pb.EchoRequest(text="same")))
        return requests.once(tx, "Create", "r1", ACTOR, echo.pb.EchoResponse, effect)

    answers = await asyncio.gather(*(database.transaction(create) for _ in range(5)))
    assert len({answer.text for answer in answers}) == 1
    assert await database.read(scalar("SELECT count(*) FROM kit_account")) == 1


async def test_a_failed_request_may_be_made_again(database, echo):
    def fail():
        raise errors.Unavailable("not now")

    with pytest.raises(errors.Unavailable):
        await database.transaction(
            lambda tx: requests.once(
                tx, "Create", "r", ACTOR, echo.pb.EchoResponse, fail, echo.pb.EchoRequest()
            )
        )
    done = await database.transaction(
        lambda tx: requests.once(
            tx,
            "Create",
            "r",
            ACTOR,
            echo.pb.EchoResponse,
            lambda: echo.pb.EchoResponse(text="ok"),
            echo.pb.EchoRequest(),
        )
    )
    assert done.text == "ok"


async def test_the_inbox_lets_each_id_pass_once(database):
    accept = lambda ids: lambda tx: inbox.accept(tx, "c", ids)  # noqa: E731
    assert await database.transaction(accept(["a", "b", "b"])) == {"a", "b"}
    assert await database.transaction(accept(["b", "c"])) == {"c"}
    assert await database.transaction(lambda tx: inbox.accept(tx, "other", ["a"])) == {"a"}
    await database.transaction(lambda tx: inbox.prune(tx, days=-1))
    assert await database.transaction(accept(["a"])) == {"a"}


async def test_messages_leave_with_the_commit_and_only_then(database, service, echo):
    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM], consumers=[READER])
    service.spawn("outbox", outbox.Relay(database, bus, service).run())
    got = []

    async def handler(deliveries):
        got.extend((d.message.number, d.id, d.headers["ce-source"]) for d in deliveries)

    await bus.consume(READER, handler)

    def failing(tx):
        outbox.add(tx, echo.pb.Happened(number=1))
        raise errors.Precondition("rolled back")

    with pytest.raises(errors.Precondition):
        await database.transaction(failing)
    await database.transaction(lambda tx: outbox.add(tx, echo.pb.Happened(number=2), message_id="two"))
    await database.transaction(lambda tx: outbox.add(tx, echo.pb.Happened(number=2), message_id="two"))
    await until(lambda: got)
    await asyncio.sleep(0.3)
    assert got == [(2, "two", "/iop/kit")]
    await until(lambda: service.status.published == 2 or service.status.published == 1)
    report = await service.status.report("kit")
    assert (report.outbox_rows, report.idle) == (0, True)


async def test_a_full_stream_holds_back_only_its_own_subject(database, service, echo):
    bus = await Bus.connect(service)
    work = Stream(
        "IOP_KITTEST_WORK",
        ("iop.kittest.v1.work.>",),
        retention="workqueue",
        max_age_s=0,
        max_bytes=40_000,
        discard="new",
    )
    await bus.ensure(streams=[STREAM, work])
    relay = outbox.Relay(database, bus, service)

    def add(tx):
        for number in range(600):
            outbox.add(tx, echo.pb.Wanted(number=number), partition=0, lane="low")
        outbox.add(tx, echo.pb.Happened(number=1))

    await database.transaction(add)
    service.spawn("outbox", relay.run())

    async def announced():
        return (await bus.js.stream_info("IOP_KITTEST")).state.messages == 1

    for _ in range(200):
        if await announced():
            break
        await asyncio.sleep(0.05)
    assert await announced()
    stored = (await bus.js.stream_info("IOP_KITTEST_WORK")).state.messages
    assert 0 < stored < 600
    taken = []

    async def handler(deliveries):
        taken.extend(d.message.number for d in deliveries)

    await bus.consume(Consumer("IOP_KITTEST_WORK", "worker"), handler, batch=64)
    await until(lambda: len(set(taken)) == 600, 30)


async def test_the_trace_goes_through_the_outbox(database, service, echo, exporter):
    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM], consumers=[READER])
    got = []

    async def handler(deliveries):
        got.extend(deliveries)

    await bus.consume(READER, handler)
    with service.telemetry.span("launch", root=True) as launch:
        await database.transaction(lambda tx: outbox.add(tx, echo.pb.Happened(number=1)))
    service.spawn("outbox", outbox.Relay(database, bus, service).run())
    await until(lambda: got and len(exporter.get_finished_spans()) == 3)
    spans = {span.name.split()[0]: span for span in exporter.get_finished_spans()}
    own = launch.get_span_context()
    for name in ("publish", "process"):
        assert spans[name].context.trace_id == own.trace_id
        assert spans[name].parent.span_id == own.span_id
    assert spans["publish"].attributes["iop.outbox.wait_ms"] >= 0


def _relay_process(url, nats_url, started, slow):
    """A relay in a process of its own, which a test kills."""
    from services.kit.app import Service
    from services.kit.config import Runtime

    async def relay():
        service = Service("kit", Runtime(database_url=url, nats_url=nats_url))
        database = service.database()
        bus = await Bus.connect(service)
        relay = outbox.Relay(database, bus, service)
        if slow:  # stays between the confirmation and the deletion
            send = bus.send_all

            async def dawdle(envelopes):
                results = await send(envelopes)
                started.set()
                await asyncio.sleep(0.3)
                return results

            bus.send_all = dawdle
        await relay.run()

    asyncio.run(relay())


async def test_a_relay_killed_in_mid_batch_loses_and_doubles_nothing(database, service, url, nats_url, echo):
    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM], consumers=[READER])
    total = 3000

    def add(tx):
        outbox.add_all(tx, [outbox.row(tx, echo.pb.Happened(number=n)) for n in range(total)])

    await database.transaction(add)
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        started = context.Event()
        process = context.Process(target=_relay_process, args=(url, nats_url, started, True))
        process.start()
        assert await asyncio.to_thread(started.wait, 20)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.join)
    left = await database.read(outbox.count)
    assert left >= total - 3 * outbox.BATCH

    def effect(deliveries):
        def apply(tx):
            new = inbox.accept(tx, "kit-reader", [d.id for d in deliveries])
            fresh = [d.message.number for d in deliveries if d.id in new]
            tx.execute(sa.insert(ACCOUNT), [{"id": n, "amount": 1} for n in fresh]) if fresh else None

        return apply

    async def handler(deliveries):
        await database.transaction(effect(deliveries))

    service.spawn("outbox", outbox.Relay(database, bus, service).run())
    await bus.consume(READER, handler, batch=200)
    deadline = time.monotonic() + 30
    while await database.read(scalar("SELECT count(*) FROM kit_account")) < total:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert await database.read(outbox.count) == 0
    # A message published twice within the window is stored once; later ones stop at the inbox.
    assert await database.read(scalar("SELECT sum(amount) FROM kit_account")) == total
    assert service.status.dead == 0


async def test_two_relays_keep_the_order_of_each_key(database, bare_service, service, url, nats_url, echo):
    bus = await Bus.connect(service)
    await bus.ensure(streams=[STREAM], consumers=[READER])
    other = bare_service("kit2", database_url=url, nats_url=nats_url)
    second = await Bus.connect(other)
    databases = [database, other.database()]
    service.spawn("outbox", outbox.Relay(databases[0], bus, service).run())
    other.spawn("outbox", outbox.Relay(databases[1], second, other).run())
    keys = [f"key-{i}" for i in range(12)]

    async def write(key):
        for number in range(60):
            await databases[number % 2].transaction(
                lambda tx, n=number: outbox.add(tx, echo.pb.Happened(number=n, key=key), key=key)
            )

    await asyncio.gather(*(write(key) for key in keys))
    seen = {key: [] for key in keys}

    async def handler(deliveries):
        for delivery in deliveries:
            seen[delivery.message.key].append(delivery.message.number)

    await bus.consume(READER, handler, batch=100)
    await until(lambda: sum(map(len, seen.values())) >= 60 * len(keys), 30)
    assert all(numbers == list(range(60)) for numbers in seen.values())
    assert service.status.published > 0 and other.status.published > 0
