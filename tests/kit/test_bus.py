"""The bus on a real NATS server: declarations, order, retries, dead letters, objects."""

import asyncio
import time

import pytest
import pytest_asyncio
from nats.js import api

from services.kit import embedded, envelope, errors
from services.kit.bus import Bucket, Bus, Consumer, KeyValue, Stream

EVENTS = Stream("IOP_KITTEST", ("iop.kittest.v1.thing.>",), max_age_s=3600)
WORK = Stream(
    "IOP_KITTEST_WORK",
    ("iop.kittest.v1.work.>",),
    retention="workqueue",
    max_age_s=0,
    max_bytes=20_000,
    discard="new",
)
READER = Consumer("IOP_KITTEST", "kit-reader", ack_wait_s=2, max_deliver=3)


@pytest_asyncio.fixture
async def bus(bare_service, nats_url):
    """A connected bus with the streams declared; `bus._service` is its service."""
    made = await Bus.connect(bare_service("kit", nats_url=nats_url))
    await made.ensure(streams=[EVENTS, WORK], consumers=[READER])
    return made


class Collector:
    """A handler that keeps what it got and fails as told."""

    def __init__(self):
        self.numbers, self.batches, self.fail = [], [], lambda numbers: None

    async def __call__(self, deliveries):
        numbers = [delivery.message.number for delivery in deliveries]
        self.fail(deliveries)
        self.batches.append(numbers)
        self.numbers += numbers


async def until(condition, seconds=15.0):
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)


async def test_batches_arrive_in_order_and_are_acknowledged(bus, echo):
    got = Collector()
    await bus.consume(READER, got, batch=16)
    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n)) for n in range(200)])
    await until(lambda: len(got.numbers) == 200)
    assert got.numbers == list(range(200))
    assert max(map(len, got.batches)) <= 16 < len(got.numbers) / len(got.batches) * 4
    status = bus._service.status
    assert (status.published, status.handled) == (200, 200)
    await until(lambda: True)
    report = await status.report("kit")
    assert (report.consumers[0].pending, report.consumers[0].handled) == (0, 200)


async def test_headers_are_cloudevents(bus, echo):
    got = []

    async def handler(deliveries):
        got.extend(deliveries)

    await bus.consume(READER, handler)
    await bus.publish(echo.pb.Happened(number=7), message_id="id-7", key="k", subject_ref="things/内蒙")
    await until(lambda: got)
    delivery = got[0]
    assert (delivery.id, delivery.ref, delivery.partition, delivery.lane) == ("id-7", "things/内蒙", None, "")
    assert delivery.headers["ce-type"] == "iop.kittest.v1.Happened"
    assert delivery.headers["ce-source"] == "/iop/kit"
    assert delivery.headers["Nats-Msg-Id"] == delivery.headers["ce-id"] == "id-7"
    assert delivery.headers["ce-subject"].isascii()
    assert abs(delivery.time.timestamp() - time.time()) < 30
    assert delivery.sequence == 1


async def test_lane_and_partition_make_the_subject(bus, echo):
    got = []

    async def handler(deliveries):
        got.extend((d.lane, d.partition, d.message.number) for d in deliveries)

    urgent = Consumer("IOP_KITTEST_WORK", "urgent", (envelope.filter_of(echo.pb.Wanted, lane="high"),))
    second = Consumer("IOP_KITTEST_WORK", "low-p02", (envelope.address(echo.pb.Wanted, 2, "low"),))
    await bus.ensure(consumers=[urgent, second])
    await bus.consume(urgent, handler)
    await bus.consume(second, handler)
    for number, (lane, partition) in enumerate([("high", 0), ("high", 3), ("low", 2), ("low", 1)]):
        await bus.publish(echo.pb.Wanted(number=number), partition=partition, lane=lane)
    await until(lambda: len(got) == 3)
    assert sorted(got) == [("high", 0, 0), ("high", 3, 1), ("low", 2, 2)]
    for wrong in ({}, {"partition": 1}, {"partition": 1, "lane": "middle"}, {"lane": "high"}):
        with pytest.raises(ValueError):
            await bus.publish(echo.pb.Wanted(), **wrong)


async def test_the_same_id_is_stored_once(bus, echo):
    for _ in range(3):
        await bus.publish(echo.pb.Happened(number=1), message_id="same")
    assert (await bus.js.stream_info("IOP_KITTEST")).state.messages == 1


async def test_a_full_work_stream_pushes_back(bus, echo):
    with pytest.raises(errors.Exhausted):
        for number in range(200):
            await bus.publish(echo.pb.Wanted(number=number), partition=0, lane="low")


async def test_what_is_missing_is_waited_for_without_losing_order(bus, echo):
    got, calls = Collector(), []

    def away(deliveries):
        calls.append(len(deliveries))
        if len(calls) <= 5:
            raise errors.Unavailable("the database is away")

    got.fail = away
    await bus.consume(READER, got, batch=8)
    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n)) for n in range(40)])
    await until(lambda: len(got.numbers) >= 40)
    assert got.numbers == list(range(40))
    assert bus._service.status.dead == 0


async def test_a_poison_message_dies_alone_and_the_rest_keeps_its_order(bus, echo):
    got, attempts = Collector(), []

    def choke(deliveries):
        for delivery in deliveries:
            if delivery.message.number == 5:
                if len(deliveries) == 1:
                    attempts.append(delivery)
                raise RuntimeError("it breaks here")
            if delivery.message.number == 8:
                raise delivery.invalid("eight is not a number")

    got.fail = choke
    await bus.consume(READER, got, batch=64, linger_s=0.2)
    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n), message_id=f"m{n}") for n in range(12)])
    await until(lambda: len(got.numbers) == 10 and bus._service.status.dead == 2)
    assert got.numbers == [n for n in range(12) if n not in (5, 8)]
    assert len(attempts) == READER.max_deliver
    letters = await dead_letters(bus, 2)
    assert [letter.headers["ce-id"] for letter in letters] == ["m5", "m8"]
    assert letters[0].headers["iop-dlq-reason"] == "RuntimeError: it breaks here"
    assert letters[1].headers["iop-dlq-reason"].endswith("eight is not a number")
    assert letters[0].headers["iop-dlq-subject"] == "iop.kittest.v1.thing.happened"

    got.fail = lambda deliveries: None
    assert await bus.replay_dead_letters(READER.name) == 2
    await until(lambda: len(got.numbers) == 12)
    assert got.numbers[-2:] == [5, 8]
    assert await bus.replay_dead_letters(READER.name) == 0


async def dead_letters(bus, count):
    found = [await bus.js.get_msg("IOP_DLQ", seq=i) for i in range(1, count + 1)]
    return found


async def test_a_message_of_an_unknown_type_is_a_dead_letter(bus, echo):
    got = Collector()
    await bus.consume(READER, got)
    await bus.js.publish("iop.kittest.v1.thing.happened", b"x", headers={"ce-type": "iop.nowhere.v1.Nothing"})
    await bus.js.publish(
        "iop.kittest.v1.thing.happened", b"\xff\xff", headers={"ce-type": "iop.kittest.v1.Happened"}
    )
    await bus.publish(echo.pb.Happened(number=1))
    await until(lambda: got.numbers == [1])
    reasons = [letter.headers["iop-dlq-reason"] for letter in await dead_letters(bus, 2)]
    assert "iop.nowhere.v1.Nothing" in reasons[0]
    assert "not a iop.kittest.v1.Happened" in reasons[1]


async def test_a_long_handler_keeps_its_messages(bus, echo):
    got = Collector()

    async def slow(deliveries):
        await asyncio.sleep(5)  # ack_wait is two seconds
        await got(deliveries)

    await bus.consume(READER, slow, batch=2)
    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n)) for n in range(4)])
    await until(lambda: len(got.numbers) >= 4, 20)
    await asyncio.sleep(2.5)
    assert got.numbers == [0, 1, 2, 3]


async def test_a_successor_goes_on_in_order_where_the_dead_one_stopped(bus, bare_service, nats_url, echo):
    patient = Consumer("IOP_KITTEST", "patient", ack_wait_s=600)
    await bus.ensure(consumers=[patient])
    first = Collector()

    async def stuck(deliveries):
        await first(deliveries)
        if deliveries[-1].message.number >= 19:
            await asyncio.sleep(3600)

    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n)) for n in range(60)])
    await bus.consume(patient, stuck, batch=10)
    await until(lambda: len(first.numbers) == 20)
    await bus._nc.close()  # as a killed process does: nothing is given back

    second = Collector()
    heir = await Bus.connect(bare_service("heir", nats_url=nats_url))
    await heir.consume(patient, second, batch=10)
    await until(lambda: len(second.numbers) >= 50)
    assert second.numbers == list(range(10, 60))


async def test_a_stream_is_replayed_from_a_checkpoint(bus, bare_service, nats_url, echo):
    got = Collector()
    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n)) for n in range(30)])
    subscription = await bus.consume(READER, got)
    await until(lambda: len(got.numbers) == 30)
    await subscription.close()
    again = Collector()
    heir = await Bus.connect(bare_service("heir", nats_url=nats_url))
    await heir.consume(READER, again, start_sequence=21)
    await until(lambda: len(again.numbers) >= 10)
    assert again.numbers == list(range(20, 30))


async def test_a_stop_gives_back_what_was_not_handled(bus, bare_service, nats_url, echo):
    got, release = Collector(), asyncio.Event()

    async def waiting(deliveries):
        await release.wait()
        await got(deliveries)

    await bus.publish_all([envelope.wrap(echo.pb.Happened(number=n)) for n in range(30)])
    await bus.consume(READER, waiting, batch=5)
    await until(lambda: bus._subscriptions[0].busy >= 10)
    stopping = asyncio.ensure_future(bus._service.stop())
    await asyncio.sleep(0.1)
    release.set()
    await stopping
    handled = len(got.numbers)
    assert got.numbers == list(range(handled)) and handled <= 5
    rest = Collector()
    heir = await Bus.connect(bare_service("heir", nats_url=nats_url))
    await heir.consume(READER, rest)
    await until(lambda: len(rest.numbers) >= 30 - handled, 5)
    assert rest.numbers == list(range(handled, 30))


async def test_a_difference_in_a_declaration_is_refused(bus, bare_service, nats_url):
    other = await Bus.connect(bare_service("other", nats_url=nats_url))
    changed = Stream("IOP_KITTEST", EVENTS.subjects, retention="workqueue", max_age_s=3600)
    with pytest.raises(errors.Precondition, match="retention: declared 'workqueue', stored 'limits'"):
        await other.ensure(streams=[changed])
    await bus.js.add_stream(
        api.StreamConfig(name="FOREIGN", subjects=["foreign"], storage=api.StorageType.MEMORY)
    )
    with pytest.raises(errors.Precondition, match="storage"):
        await other.ensure(streams=[Stream("FOREIGN", ("foreign",))])


async def test_a_changeable_difference_is_brought_up_to_date(bus):
    await bus.ensure(streams=[Stream("IOP_KITTEST", EVENTS.subjects, max_age_s=7200)])
    assert (await bus.js.stream_info("IOP_KITTEST")).config.max_age == 7200


async def test_a_consumer_begins_once_its_foreign_stream_is_there(bus, bare_service, nats_url, echo):
    other = await Bus.connect(bare_service("other", nats_url=nats_url))
    late, got = Consumer("IOP_LATE", "late", ("iop.kittest.v1.thing.>",)), Collector()
    await other.ensure(consumers=[late])
    await other.consume(late, got)
    assert (await other._service.status.report("other")).idle
    await bus.js.delete_stream("IOP_KITTEST")
    await bus.ensure(streams=[Stream("IOP_LATE", ("iop.kittest.v1.thing.>",))])
    await bus.publish(echo.pb.Happened(number=1))
    await until(lambda: got.numbers == [1])


async def test_objects_are_verified_by_digest(bus):
    await bus.ensure(buckets=[Bucket("KITTEST")])
    data = bytes(range(256)) * 2000
    digest = await bus.put_object("KITTEST", "snapshots/1", data)
    assert await bus.put_object("KITTEST", "snapshots/1", data) == digest
    assert await bus.get_object("KITTEST", "snapshots/1", digest) == data
    with pytest.raises(errors.Conflict):
        await bus.get_object("KITTEST", "snapshots/1", "0" * 64)
    with pytest.raises(errors.NotFound):
        await bus.get_object("KITTEST", "snapshots/2", digest)
    empty = await bus.put_object("KITTEST", "empty", b"")
    assert await bus.get_object("KITTEST", "empty", empty) == b""
    await bus.delete_object("KITTEST", "snapshots/1")
    with pytest.raises(errors.NotFound):
        await bus.get_object("KITTEST", "snapshots/1", digest)


async def test_key_values_are_declared_with_their_life(bus):
    await bus.ensure(kvs=[KeyValue("LEASES", ttl_s=30)])
    leases = await bus.kv("LEASES")
    await leases.create("p00", b"me")
    assert (await leases.get("p00")).value == b"me"
    with pytest.raises(errors.Precondition, match="ttl"):
        await bus.ensure(kvs=[KeyValue("LEASES", ttl_s=60)])


async def test_a_restarted_server_is_found_again(bare_service, tmp_path, echo):
    server = embedded.start_nats(tmp_path / "own-nats", durable=False)
    try:
        bus = await Bus.connect(bare_service("kit", nats_url=server.url))
        await bus.ensure(streams=[EVENTS], consumers=[READER])
        got = Collector()
        await bus.consume(READER, got)
        await bus.publish(echo.pb.Happened(number=1))
        await until(lambda: got.numbers == [1])
        server.kill()
        with pytest.raises(errors.Unavailable):
            await asyncio.wait_for(bus.publish(echo.pb.Happened(number=2), message_id="two"), 15)
        await asyncio.to_thread(server.launch)
        await until(lambda: bus.connected)
        await bus.publish(echo.pb.Happened(number=2), message_id="two")
        # An acknowledgement that the server had not written down yet may bring a message twice.
        await until(lambda: set(got.numbers) == {1, 2})
    finally:
        server.stop()


async def test_the_trace_of_the_publisher_reaches_the_handler(bus, echo, exporter):
    telemetry = bus._service.telemetry
    got = Collector()
    with telemetry.span("launch", root=True):
        await bus.publish(echo.pb.Happened(number=1))
    await bus.consume(READER, got)
    await until(lambda: got.numbers == [1] and len(exporter.get_finished_spans()) == 3)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    publish, process = (
        spans["publish iop.kittest.v1.thing.happened"],
        spans["process iop.kittest.v1.thing.happened"],
    )
    assert process.parent.span_id == publish.context.span_id
    assert publish.parent.span_id == spans["launch"].context.span_id


async def test_a_batch_of_several_causes_is_linked_to_each(bus, echo, exporter):
    telemetry = bus._service.telemetry
    got = Collector()
    for number in range(3):
        with telemetry.span(f"cause {number}", root=True):
            await bus.publish(echo.pb.Happened(number=number))
    await bus.publish(echo.pb.Happened(number=3))
    await bus.consume(READER, got, linger_s=0.3)
    await until(lambda: len(got.batches) == 1 and len(exporter.get_finished_spans()) == 7)
    process = next(s for s in exporter.get_finished_spans() if s.name.startswith("process"))
    causes = {s.context.trace_id for s in exporter.get_finished_spans() if s.name.startswith("cause")}
    assert {link.context.trace_id for link in process.links} == causes
    assert process.context.trace_id not in causes
