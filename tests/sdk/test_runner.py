"""The adapter SDK against a small real server of its contract."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from iop.adapter.v1 import adapter_pb2, adapter_pb2_grpc

from iop_adapter import Capabilities, Endpoint, Journal, Receipt, Result, Runner, Status, Touch, Touchpoint

NOW = datetime(2020, 9, 16, 1, tzinfo=UTC)  # the platform's business clock, years from the adapter's own


class Platform(adapter_pb2_grpc.AdapterServiceServicer):
    """Hands out the leases it is given, remembers what is reported."""

    def __init__(self) -> None:
        self.leases: list[list[adapter_pb2.Touch]] = []
        self.receipts: list[adapter_pb2.Receipt] = []
        self.sessions = 0
        self.forget_session = False
        self.recalled: list[str] = []
        self.unknown_rounds = 0
        self.failures = 0
        self.tokens: set[str] = set()
        self.lease_seconds = 30.0

    async def OpenSession(self, request, context):
        self.sessions += 1
        assert request.idempotency == adapter_pb2.IDEMPOTENCY_IDEMPOTENT
        return adapter_pb2.OpenSessionResponse(session=f"s{self.sessions}", lease_seconds=self.lease_seconds)

    async def LeaseTouches(self, request, context):
        self.tokens.update(value for key, value in context.invocation_metadata() if key == "iop-actor")
        if self.forget_session:
            self.forget_session = False
            await unknown_session(context)
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        if not self.leases:
            await asyncio.sleep(0.05)
            return adapter_pb2.LeaseTouchesResponse()
        answer = adapter_pb2.LeaseTouchesResponse(lease=f"l{len(self.leases)}", touches=self.leases.pop(0))
        answer.now.FromDatetime(NOW)
        return answer

    async def ExtendLeases(self, request, context):
        return adapter_pb2.ExtendLeasesResponse(recalled=self.recalled)

    async def ReportReceipts(self, request, context):
        if self.unknown_rounds:
            self.unknown_rounds -= 1
            return adapter_pb2.ReportReceiptsResponse(unknown=range(len(request.receipts)))
        self.receipts.extend(request.receipts)
        return adapter_pb2.ReportReceiptsResponse(applied=len(request.receipts))

    def status_of(self, touch_id: str) -> list[Status]:
        return [Status(r.status) for r in self.receipts if r.touch_id == touch_id]


async def unknown_session(context) -> None:
    status = status_pb2.Status(code=9, message="open a session")
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="SESSION_UNKNOWN", domain="touchpoint.iop"))
    status.details.append(packed)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, status.message, trailing)


class Channel:
    """An adapter that says yes to everything, unless told otherwise."""

    def __init__(self) -> None:
        self.capabilities = Capabilities([Touchpoint.SMS], max_batch=10, receipts=True, concurrency=1)
        self.sent: list[str] = []
        self.fail = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self, reports) -> None:
        self.reports = reports

    async def stop(self) -> None:
        pass

    async def send(self, touches: Sequence[Touch]) -> Sequence[Result]:
        await self.gate.wait()
        self.sent.extend(t.touch_id for t in touches)
        if self.fail:
            raise ConnectionError("the provider is gone")
        return [Result(Status.ACCEPTED, provider_message_id=f"p{t.touch_id}") for t in touches]


def touch(touch_id: str, left: float = 600) -> adapter_pb2.Touch:
    made = adapter_pb2.Touch(touch_id=touch_id, touchpoint=1, phone="13800000000", text="您好")
    made.expire_time.FromDatetime(NOW + timedelta(seconds=left))
    return made


@pytest.fixture
async def platform():
    server = grpc.aio.server()
    servicer = Platform()
    adapter_pb2_grpc.add_AdapterServiceServicer_to_server(servicer, server)
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer
    await server.stop(0)


async def until(check, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


class Running:
    """A runner in the background."""

    def __init__(self, platform: Platform, channel: Channel, folder: Path) -> None:
        token = folder / "token"
        token.write_text("a-token\n")
        endpoint = Endpoint(f"127.0.0.1:{platform.port}", token)
        self._runner = Runner("sms-1", channel, endpoint, folder / "journal.db")

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._runner.run())

    async def __aexit__(self, *_: object) -> None:
        self._runner.stop()
        await asyncio.wait_for(self._task, 20)


async def test_what_is_leased_again_is_answered_and_not_sent_again(platform, tmp_path):
    channel = Channel()
    platform.leases = [[touch("a"), touch("b")], [touch("a"), touch("c")]]
    async with Running(platform, channel, tmp_path):
        await until(lambda: len(platform.receipts) == 4)
    assert sorted(channel.sent) == ["a", "b", "c"]
    assert platform.status_of("a") == [Status.ACCEPTED, Status.ACCEPTED]
    assert {r.provider_message_id for r in platform.receipts if r.touch_id == "a"} == {"pa"}
    assert platform.tokens == {"a-token"}


async def test_a_crash_between_sending_and_result_leaves_doubt_and_no_second_message(platform, tmp_path):
    channel = Channel()
    platform.leases = [[touch("a")]]
    journal = Journal(tmp_path / "journal.db")
    assert journal.begin(["a"]) == {}
    journal.close()  # the process died here
    async with Running(platform, channel, tmp_path):
        await until(lambda: platform.status_of("a"))
    assert channel.sent == []
    assert platform.status_of("a") == [Status.UNKNOWN]


async def test_a_failed_send_is_in_doubt(platform, tmp_path):
    channel = Channel()
    channel.fail = True
    platform.leases = [[touch("a")]]
    async with Running(platform, channel, tmp_path):
        await until(lambda: platform.status_of("a"))
    assert platform.status_of("a") == [Status.UNKNOWN]


async def test_expiry_is_read_by_the_platforms_clock(platform, tmp_path):
    channel = Channel()
    platform.leases = [[touch("late", -1), touch("fresh", 1)]]
    async with Running(platform, channel, tmp_path):
        await until(lambda: len(platform.receipts) == 2)
    assert channel.sent == ["fresh"]
    assert platform.status_of("late") == [Status.DROPPED]


async def test_a_recalled_touch_is_dropped(platform, tmp_path):
    channel = Channel()
    platform.lease_seconds = 0.15
    channel.gate.clear()
    platform.leases = [[touch("a")], [touch("b")]]
    platform.recalled = ["b"]
    async with Running(platform, channel, tmp_path):
        await asyncio.sleep(0.5)  # the lease of `a` is extended, the recall of `b` is heard
        channel.gate.set()
        await until(lambda: platform.status_of("b"))
    assert platform.status_of("b") == [Status.DROPPED]
    assert channel.sent == ["a"]


async def test_a_lost_session_and_a_restarting_platform_are_waited_out(platform, tmp_path):
    channel = Channel()
    platform.forget_session = True
    platform.failures = 6
    platform.leases = [[touch("a")]]
    async with Running(platform, channel, tmp_path):
        await until(lambda: platform.status_of("a"))
    assert platform.sessions == 2
    assert channel.sent == ["a"]


async def test_a_report_that_overtakes_its_touch_is_repeated(platform, tmp_path):
    channel = Channel()
    platform.unknown_rounds = 2
    async with Running(platform, channel, tmp_path):
        await until(lambda: hasattr(channel, "reports"))
        known = await channel.reports.receipt(Receipt(Status.DELIVERED, provider_message_id="px"))
    assert known
    assert [r.provider_message_id for r in platform.receipts] == ["px"]


def test_a_retried_touch_may_be_sent_later(tmp_path):
    journal = Journal(tmp_path / "j.db")
    assert journal.begin(["a", "b"]) == {}
    journal.finish({"a": Result(Status.RETRY, retry_after=1), "b": Result(Status.ACCEPTED, "p1")})
    again = journal.begin(["a", "b"])
    assert "a" not in again
    assert again["b"] == Result(Status.ACCEPTED, "p1")
    journal.close()
