"""Processes and servers die in mid-campaign: nothing is lost, nothing is sent twice."""

import asyncio
import random

import pytest
from iop.common.v1 import types_pb2

from iop_adapter import Touchpoint
from tests.system.harness import BLOCKED, Harness, Recorder, reasons

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
SMS, EVENT_SMS = types_pb2.TOUCHPOINT_SMS, types_pb2.TOUCHPOINT_EVENT_SMS


async def run_through(world: Harness, recorder: Recorder, break_something) -> None:
    """A push and an event campaign at work while `break_something` breaks; then everything must agree."""
    definition = await world.define_app_use("看视频", "腾讯视频")
    event = await world.campaign(
        "视频",
        code="VIDEO",
        touchpoints=[EVENT_SMS],
        spend_below=3000,
        definition=definition,
        control_percent=5,
    )
    await world.rest(recorder)  # the population is bound: from here on every signal counts
    push = await world.campaign("推送", code="PUSH", touchpoints=[SMS], spend_below=5000, launch=False)
    campaign = push.split("/activities/")[0]

    async def signals() -> None:
        for number in range(12):
            rows = world.subscribers[number * 250 : (number + 1) * 250]
            await world.ingest(world.app_batch(f"{event}-{number}", rows, "腾讯视频", world.now))
            await asyncio.sleep(0.15)

    async with asyncio.TaskGroup() as group:
        group.create_task(world.launch(campaign))
        group.create_task(signals())
        group.create_task(break_something())
    await asyncio.to_thread(world.platform.wait_healthy)
    await world.rest(recorder, seconds=120)

    for activity, touchpoint, selected in ((push, SMS, 5000), (event, EVENT_SMS, 3000)):
        progress, counters = await world.conserve(activity)
        [row] = progress.touchpoints
        if touchpoint == SMS:
            assert (row.target, row.handed, row.unplanned) == (selected, selected - BLOCKED, 0)
        else:
            assert progress.population + row.population_control + BLOCKED == selected
            assert row.target == row.handed == progress.population
        settled = reasons(counters[touchpoint].settled)
        capped = reasons(counters[touchpoint].suppressed)
        assert set(settled) <= {"delivered"} and set(capped) <= {"contact_cap", "duplicate"}, (
            settled,
            capped,
        )
        funnel = (await world.funnels(progress.activity_number))[touchpoint]
        assert reasons(funnel.settled) == settled
    assert max(recorder.sent.values()) == 1
    # Nobody gets more than the policy's two a day.
    contacts: dict[str, int] = {}
    for touch in recorder.touches.values():
        contacts[touch.phone] = contacts.get(touch.phone, 0) + 1
    assert max(contacts.values()) <= 2
    total = 0
    for activity in (push, event):
        number = (await world.progress(activity)).activity_number
        for row in (await world.counters(number)).values():
            total += sum(reasons(row.settled).values())
    assert total == len(recorder.sent)


@pytest.mark.parametrize("victim", ["audience", "event", "campaign", "touchpoint", "evaluation"])
async def test_a_service_is_killed_in_mid_campaign(world: Harness, victim: str):
    """SIGKILL of a service, twice: both conservation laws exact at rest, no touch twice, none lost."""
    moments = random.Random(victim)
    recorder = Recorder([Touchpoint.SMS, Touchpoint.EVENT_SMS])
    async with world.adapter("sms-1", recorder):

        async def kill() -> None:
            for _ in range(2):
                await asyncio.sleep(moments.uniform(0.2, 1.2))
                world.platform.kill(victim)
                await asyncio.to_thread(world.platform.wait_healthy, [victim])

        await run_through(world, recorder, kill)


@pytest.mark.parametrize("server", ["nats", "valkey", "postgres"])
async def test_a_server_is_killed_in_mid_campaign(world: Harness, server: str):
    """NATS, Valkey and PostgreSQL come back after a hard stop, and so does the campaign."""
    recorder = Recorder([Touchpoint.SMS, Touchpoint.EVENT_SMS])
    async with world.adapter("sms-1", recorder):

        async def kill() -> None:
            await asyncio.sleep(0.8)
            await asyncio.to_thread(world.platform.servers.restart, server)

        await run_through(world, recorder, kill)
