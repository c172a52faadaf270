"""The CMPP codec, and the SMS adapter against the gateway simulator over real sockets."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sms import cmpp
from adapters.sms.adapter import SmsAdapter
from demo.simulators import fate
from demo.simulators.log import MessageLog, read
from demo.simulators.smsc import Smsc
from iop_adapter import Receipt, Reply, ReplyResult, Status, Touch, Touchpoint

NOON = datetime(2026, 9, 7, 4, tzinfo=UTC)


def test_submit_has_the_layout_of_version_3():
    """The fixed part of CMPP 3.0 SUBMIT is 183 octets with one number."""
    message = cmpp.Submit("900001", "FX38", "10086", "13800001111", b"\x4e\x2d")
    body = message.encode()
    assert len(body) == 183 + 2
    assert body[8:10] == b"\x01\x01"  # Pk_total, Pk_number
    assert cmpp.Submit.decode(body) == message


def test_report_is_71_octets():
    report = cmpp.Report(7, "DELIVRD", "2609070900", "2609070901", "13800001111", 5)
    assert len(report.encode()) == 71
    assert cmpp.Report.decode(report.encode()) == report


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400))
def test_a_message_survives_splitting(text: str):
    parts = cmpp.split(text, 300)
    assert all(len(content) <= 140 for content, _ in parts)
    assert (len(parts) == 1) == (len(text.encode("utf-16-be")) <= 140)
    shuffled = [(number, content, udhi) for number, (content, udhi) in enumerate(parts, 1)][::-1]
    assert cmpp.join(shuffled) == text


def test_seventy_one_characters_take_two_parts():
    parts = cmpp.split("惠" * 71, 1)
    assert [len(content) for content, _ in parts] == [140, 6 + 8]
    assert parts[0][0][:6] == bytes([5, 0, 3, 1, 2, 1])


class Recorder:
    """Takes what the adapter reports."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.replied: list[Reply] = []

    async def receipt(self, receipt: Receipt) -> bool:
        self.receipts.append(receipt)
        return True

    async def replies(self, replies: list[Reply]) -> list[ReplyResult]:
        self.replied.extend(replies)
        return [ReplyResult(r.reply_id, "opt_out", "您已退订") for r in replies]


def touch(phone: int, text: str = "您好", touchpoint: Touchpoint = Touchpoint.SMS) -> Touch:
    return Touch(f"t{phone}", touchpoint, str(phone), text, {}, "FX38", None, "")


async def until(check, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


@pytest.fixture
async def gateway(tmp_path: Path):
    """A running gateway whose business clock the test moves."""
    times = [NOON]
    smsc = Smsc(
        "900001", "secret", 1, lambda: times[0], MessageLog(tmp_path / "smsc.jsonl"), {"FX38": "KT38"}
    )
    port = await smsc.start("127.0.0.1", 0)
    yield smsc, port, times, tmp_path / "smsc.jsonl"
    await smsc.stop()


async def test_messages_reports_and_answers_travel(gateway):
    """SMS goes out as text, reports and replies come back (TCH-01, TCH-20, TCH-79)."""
    smsc, port, times, path = gateway
    phones = list(range(13800000000, 13800000400))
    fates = fate.push(1, "FX38", phones, "sms")
    adapter, recorder = SmsAdapter("127.0.0.1", port, "900001", "secret"), Recorder()
    await adapter.start(recorder)  # type: ignore[arg-type]
    try:
        results = await adapter.send([touch(p, "长" * 100) for p in phones])
        accepted = {
            r.provider_message_id: p
            for p, r in zip(phones, results, strict=True)
            if r.status is Status.ACCEPTED
        }
        refused = [p for p, r in zip(phones, results, strict=True) if r.status is Status.REJECTED]
        assert refused == [p for p, no in zip(phones, fates.refused, strict=True) if no]
        assert len(accepted) + len(refused) == len(phones)
        due_now = int((~fates.refused & ~fates.late).sum() + (fates.duplicate & ~fates.late).sum())
        await until(lambda: len(recorder.receipts) == due_now)
        times[0] = NOON.replace(hour=8)
        total = int((~fates.refused).sum() + fates.duplicate.sum())
        await until(lambda: len(recorder.receipts) == total)
        for receipt in recorder.receipts:
            row = phones.index(accepted[receipt.provider_message_id])
            assert (receipt.status is Status.DELIVERED) == bool(fates.delivered[row])
        expected = int(fates.opt_out.sum() + fates.instruction.sum() + fates.chat.sum())
        await until(lambda: len(recorder.replied) == expected)
        assert {r.text for r in recorder.replied} >= {"KT38"}
        await until(lambda: smsc.agenda.due() == 0)
    finally:
        await adapter.stop()
    messages = [m for m in read(path) if m["kind"] == "message"]
    assert {m["text"] for m in messages} == {"长" * 100}
    assert all(m["parts"] == 2 for m in messages)
    assert sum(m["kind"] == "answer" for m in read(path)) == len(recorder.replied)


async def test_a_report_is_repeated_until_it_is_stored(gateway):
    """A report whose storing fails comes again: nothing is lost."""
    _, port, _, _ = gateway
    phone = next(p for p in range(13900000000, 13900001000) if _plain(p))

    class Flaky(Recorder):
        failures = 0

        async def receipt(self, receipt: Receipt) -> bool:
            if self.failures == 0:
                self.failures += 1
                raise ConnectionError("the platform is away")
            return await super().receipt(receipt)

    import demo.simulators.smsc as module

    recorder, adapter = Flaky(), SmsAdapter("127.0.0.1", port, "900001", "secret")
    seconds, module._DELIVER_SECONDS = module._DELIVER_SECONDS, 0.3
    await adapter.start(recorder)  # type: ignore[arg-type]
    try:
        await adapter.send([touch(phone)])
        await until(lambda: len(recorder.receipts) == 1)
    finally:
        module._DELIVER_SECONDS = seconds
        await adapter.stop()


def _plain(phone: int) -> bool:
    one = fate.push(1, "FX38", [phone], "sms")
    return bool(one.delivered[0] and not one.late[0] and not one.duplicate[0])


async def test_a_wrong_secret_is_refused_and_nothing_is_sent(gateway, monkeypatch):
    _, port, _, path = gateway
    monkeypatch.setattr("adapters.sms.client._ANSWER_SECONDS", 0.5)
    adapter = SmsAdapter("127.0.0.1", port, "900001", "wrong")
    await adapter.start(Recorder())  # type: ignore[arg-type]
    try:
        [result] = await adapter.send([touch(13800000001)])
    finally:
        await adapter.stop()
    assert result.status is Status.RETRY
    assert not path.exists() or json.loads(path.read_text() or "null") is None
