"""The channels of the demonstration as a process: fates, protocol, logs, and what is still due."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapters.sms import cmpp
from adapters.sms.client import Client
from demo.options import ROOT
from demo.simulators import fate, log
from demo.world import at
from services.kit.clock import ClockFile
from services.kit.embedded.process import free_port

NUMBERS = np.arange(13_800_000_000, 13_800_004_000)


@pytest.mark.parametrize("touchpoint", ["sms", "event_sms", "data_plus"])
def test_one_fate_is_that_of_the_column(touchpoint: str) -> None:
    """Message by message the same as over whole columns."""
    columns = fate.push(11, "FX38", NUMBERS, touchpoint)
    for field in dataclasses.fields(fate.Fate):
        single = [getattr(fate.one(11, "FX38", int(n), touchpoint), field.name) for n in NUMBERS]
        assert single == getattr(columns, field.name).tolist(), field.name


def test_fates_have_their_shares() -> None:
    """Refused, undelivered and late come as often as they should; each message ends in one way."""
    found = fate.push(11, "FX38", NUMBERS, "sms")
    assert abs(found.refused.mean() - fate.REFUSED) < 0.01
    assert abs(found.undelivered.mean() - fate.UNDELIVERED) < 0.01
    assert abs(found.late.mean() - fate.LATE) < 0.01
    assert (found.refused.astype(int) + found.undelivered + found.delivered == 1).all()
    assert not (found.opt_out & ~found.delivered).any()


def numbers_with(**wanted: bool) -> list[int]:
    """Numbers whose message meets such a fate."""
    fates = fate.push(11, "AQY30", NUMBERS, "event_sms")
    chosen = np.all([getattr(fates, name) == value for name, value in wanted.items()], axis=0)
    return [int(n) for n in NUMBERS[chosen]]


@pytest.fixture
def channels(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The simulators' process at 10:00 of a clock of its own."""
    ClockFile.write(tmp_path / "clock", at(600))
    np.save(tmp_path / "followers.npy", NUMBERS[:10])
    settings: dict[str, Any] = {
        "clock": str(tmp_path / "clock"),
        "seed": 11,
        "smsc": {"host": "127.0.0.1", "port": free_port(), "source": "910086", "secret": "s1"},
        "account": {"host": "127.0.0.1", "port": free_port(), "app_id": "wx1", "secret": "s2"},
        "instructions": {"AQY30": "KTAQY30"},
        "followers": str(tmp_path / "followers.npy"),
        "logs": str(tmp_path / "logs"),
        "clicks": "",
    }
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    process = subprocess.Popen([sys.executable, "-m", "demo.simulators", str(path)], cwd=ROOT)
    try:
        yield settings
    finally:
        process.terminate()
        assert process.wait(20) == 0


async def status(settings: dict[str, Any]) -> dict[str, Any]:
    """What the process says of itself, once it is up."""
    url = f"http://127.0.0.1:{settings['account']['port']}/status"
    async with httpx.AsyncClient() as http:
        for _ in range(200):
            try:
                found: dict[str, Any] = (await http.get(url)).json()
                return found
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise AssertionError("the simulators did not come up")


async def quiet(settings: dict[str, Any]) -> dict[str, Any]:
    """The status once nothing is due."""
    for _ in range(200):
        found = await status(settings)
        if not found["due"]:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("something stays due")


async def test_reports_and_answers_come_in_their_time(channels: dict[str, Any]) -> None:
    """A late report keeps its message unreported for three hours; answers come after ten minutes."""
    delivered: list[cmpp.Deliver] = []

    async def take(message: cmpp.Deliver) -> int:
        delivered.append(message)
        return 0

    sms = channels["smsc"]
    late = numbers_with(late=True, delivered=True, duplicate=False)[0]
    orders = numbers_with(instruction=True, duplicate=False)[0]
    twice = numbers_with(duplicate=True, late=False, opt_out=False, instruction=False, chat=False)[0]
    refused = numbers_with(refused=True)[0]
    await status(channels)
    client = Client("127.0.0.1", sms["port"], sms["source"], sms["secret"], take)
    await client.start()
    try:
        for phone in (late, orders, twice, refused):
            content, udhi = cmpp.split("回复KTAQY30办理", 1)[0]
            answer = await client.submit(
                cmpp.Submit(
                    source=sms["source"],
                    service_id="AQY30",
                    sender="1008601",
                    phone=str(phone),
                    content=content,
                    part=1,
                    parts=1,
                    udhi=udhi,
                    report=1,
                )
            )
            assert answer.result == (13 if phone == refused else 0)
        found = await quiet(channels)
        assert len(found["unreported"]) == 1
        assert sorted(m.report for m in delivered) == [True, True, True]
        delivered.clear()
        ClockFile.write(channels["clock"], at(610))
        await asyncio.sleep(0.2)
        await quiet(channels)
        assert [m.text() for m in delivered] == ["KTAQY30"]
        delivered.clear()
        ClockFile.write(channels["clock"], at(780))
        await asyncio.sleep(0.2)
        found = await quiet(channels)
        assert found["unreported"] == []
        assert [cmpp.Report.decode(m.content).state for m in delivered] == ["DELIVRD"]
    finally:
        await client.stop()
    entries = log.read(Path(channels["logs"]) / "sms.jsonl")
    assert sorted((e["kind"], int(e["phone"])) for e in entries) == sorted(
        [
            ("message", late),
            ("message", orders),
            ("message", twice),
            ("refused", refused),
            ("answered", orders),
        ]
    )
