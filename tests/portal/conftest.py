"""One whole platform for all tests of the portal: a small region, a finished push, an event campaign.

The platform's processes are driven from a loop in a thread of its own, so that the tests can drive the
browser in plain synchronous steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from iop.common.v1 import types_pb2
from iop.evaluation.v1 import report_pb2, report_pb2_grpc
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from iop_adapter import Touchpoint
from tests.system.harness import FIRST_PHONE, MORNING, Harness, Recorder, running

SUBSCRIBERS = 3000
ORDERS = 25
PUSH, EVENT = "飞享套餐38元档升档", "爱奇艺联合流量包"
PRODUCT = "101040040146"
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class World:
    """The running platform, as the tests see it."""

    url: str
    passwords: dict[str, str]
    harness: Harness
    recorder: Recorder
    loop: asyncio.AbstractEventLoop
    push: str = ""
    event: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def run(self, step: Coroutine[Any, Any, Any], seconds: float = 150.0) -> Any:
        """Runs a step of the harness."""
        return asyncio.run_coroutine_threadsafe(step, self.loop).result(seconds)

    def call(self, user: str, verb: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer of the HTTP API to a user's call."""
        if user not in self.tokens:
            answer = httpx.post(
                f"{self.url}/auth/token", json={"username": user, "password": self.passwords[user]}
            )
            self.tokens[user] = answer.raise_for_status().json()["access_token"]
        answer = httpx.request(
            verb,
            f"{self.url}/api/{path}",
            json=body,
            params=query,
            headers={"Authorization": f"Bearer {self.tokens[user]}"},
            timeout=30,
        )
        assert answer.is_success, answer.text
        return answer.json()

    def campaign(self, activity: str) -> Any:
        """The campaign of an activity's name."""
        return self.call("planner", "GET", f"campaign/v1/{'/'.join(activity.split('/')[:2])}")

    def rest(self) -> None:
        """Waits until nothing is in hand."""
        self.run(self.harness.rest(self.recorder))


async def _seed(harness: Harness, recorder: Recorder) -> tuple[str, str]:
    push = await harness.campaign(
        PUSH, code="FX38", spend_below=1000, control_percent=10, instruction="KTFX38",
        touchpoints=[types_pb2.TOUCHPOINT_SMS, types_pb2.TOUCHPOINT_STORE_COUNTER],
    )  # fmt: skip
    definition = await harness.define_app_use("使用视频APP", "爱奇艺")
    event = await harness.campaign(
        EVENT, code="IQY", spend_below=2000, definition=definition,
        touchpoints=[types_pb2.TOUCHPOINT_EVENT_SMS],
    )  # fmt: skip
    await harness.rest(recorder)
    reached = [t for t in recorder.touches.values() if t.touchpoint is Touchpoint.SMS][:ORDERS]
    orders = harness.stub("evaluation", report_pb2_grpc.OrderServiceStub)
    request = report_pb2.RecordOrdersRequest()
    for number, touch in enumerate(reached):
        subscriber = int(harness.subscribers[int(touch.phone) - FIRST_PHONE])
        order = request.orders.add(
            order_id=f"order-{number}", subscriber_id=subscriber, product_code=PRODUCT, price_fen=3800,
            channel="sms_reply",
        )  # fmt: skip
        order.order_time.FromDatetime(MORNING.replace(tzinfo=None))
    answer = await orders.RecordOrders(request)
    assert answer.attributed == ORDERS, answer
    await harness.rest(recorder)
    return push, event


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The platform, seeded and at rest."""
    folder = tmp_path_factory.mktemp("portal")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = contextlib.AsyncExitStack()
    recorder = Recorder([Touchpoint.SMS, Touchpoint.EVENT_SMS])

    def run(step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(200)

    try:
        harness = run(stack.enter_async_context(running(folder, SUBSCRIBERS)))
        run(stack.enter_async_context(harness.adapter("sms-1", recorder)))
        passwords = json.loads((folder / "data" / "issuer" / "passwords.json").read_text())
        made = World(f"http://{harness.platform.http_address}", passwords, harness, recorder, loop)
        made.push, made.event = run(_seed(harness, recorder))
        yield made
    finally:
        run(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    """A headless Chromium."""
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Faults of the pages of a test; it fails when there are any."""
    found: list[str] = []
    yield found
    assert found == []


Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def sessions(browser: Browser, world: World) -> Iterator[Callable[[str], BrowserContext]]:
    """`sessions("planner")`: a browser session of a user who is signed in, shared by all tests."""
    made: dict[str, BrowserContext] = {}

    def session(user: str) -> BrowserContext:
        if user not in made:
            context = browser.new_context()
            answer = context.request.post(
                f"{world.url}/auth/signin",
                data={"username": user, "password": world.passwords[user]},
                headers={"Origin": world.url},
            )
            assert answer.ok, answer.text()
            made[user] = context
        return made[user]

    yield session
    for context in made.values():
        context.close()


@pytest.fixture
def visit(
    browser: Browser, world: World, sessions: Callable[[str], BrowserContext], faults: list[str]
) -> Iterator[Visit]:
    """`visit("planner", "/campaigns")`: a page of a user who is signed in; without a user, of nobody.

    A test that signs in or out, or changes the language, asks for `fresh=True`.
    """
    open_now: list[Page | BrowserContext] = []

    def open_page(
        user: str = "", path: str = "/", *, fresh: bool = False, width: int = 1440, height: int = 900
    ) -> Page:
        if user and not fresh:
            context = sessions(user)
        else:
            state = sessions(user).storage_state() if user else None
            context = browser.new_context(storage_state=state)
            open_now.append(context)
        page = context.new_page()
        open_now.append(page)
        page.set_default_timeout(30_000)
        page.set_viewport_size({"width": width, "height": height})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(world.url + path)
        return page

    yield open_page
    for thing in reversed(open_now):
        thing.close()


def sign_in(page: Page, user: str, password: str) -> None:
    """Fills in the form and waits for the frame."""
    page.get_by_test_id("username").fill(user)
    page.get_by_test_id("password").fill(password)
    page.get_by_test_id("sign-in").click()
    page.get_by_test_id("account").wait_for()
