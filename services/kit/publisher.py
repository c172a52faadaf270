"""Many publishes in flight over one reply subject, each with its confirmation by the stream.

The library's own `publish_async` loses a refusal with status 5xx (a full stream), so that its caller
waits in vain; this one tells every answer apart and costs less.
"""

import asyncio
import json
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.kit import errors
from services.kit.envelope import Envelope

_STORE_FAILED = 10077  # the server's code for "cannot store"; with "maximum" in the text the stream is full

Answer = errors.Error | None


class Publisher:
    """Sends envelopes on one connection and matches the answers."""

    def __init__(self, connection: Client) -> None:
        self._nc = connection
        self._prefix = ""
        self._number = 0
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def send(self, envelopes: list[Envelope], timeout: float) -> list[Answer]:
        """Send in order without waiting in between, then await every answer; one result each."""
        if not self._nc.is_connected:
            # The library would keep them and send them late, after their sender has given up.
            return [errors.Unavailable("there is no connection to NATS") for _ in envelopes]
        if not self._prefix:
            self._prefix = self._nc.new_inbox() + "."
            await self._nc.subscribe(self._prefix + "*", cb=self._on_answer)
        results: list[Answer] = [None] * len(envelopes)
        pending: dict[asyncio.Future[Answer], tuple[int, str]] = {}
        loop = asyncio.get_running_loop()
        for i, item in enumerate(envelopes):
            self._number += 1
            token = str(self._number)
            future = self._waiting[token] = loop.create_future()
            pending[future] = (i, token)
            try:
                await self._nc.publish(item.subject, item.body, self._prefix + token, headers=item.headers)
            except nats_errors.MaxPayloadError:
                future.set_result(
                    errors.Invalid(f"a message of {len(item.body)} bytes is too large for the bus")
                )
            except (nats_errors.Error, OSError) as problem:
                future.set_result(unavailable(problem))
                for rest in range(i + 1, len(envelopes)):
                    results[rest] = unavailable(problem)
                break
        try:
            if pending:
                await asyncio.wait(pending, timeout=timeout)
            for future, (i, _) in pending.items():
                results[i] = (
                    future.result() if future.done() else errors.Unavailable("NATS did not confirm in time")
                )
        finally:
            for future, (_, token) in pending.items():
                self._waiting.pop(token, None)
                future.cancel()
        return results

    def lost(self) -> None:
        """The connection went away: whoever waits for an answer will not get one."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(errors.Unavailable("the connection to NATS was lost"))

    async def _on_answer(self, msg: Msg) -> None:
        future = self._waiting.get(msg.subject[len(self._prefix) :])
        if future is not None and not future.done():
            future.set_result(_read(msg))


def _read(msg: Msg) -> Answer:
    if msg.headers and msg.headers.get("Status") == "503":
        return errors.Unavailable("no stream takes this subject, or JetStream is away")
    try:
        answer: dict[str, Any] = json.loads(msg.data)
    except ValueError:
        return errors.Unavailable("NATS gave an answer that is none")
    problem = answer.get("error")
    if problem is None:
        return None
    text = problem.get("description", "")
    if problem.get("err_code") == _STORE_FAILED and "maximum" in text:
        return errors.Exhausted("the stream is full", retry_after=0.5)
    return errors.Unavailable(f"NATS: {text}")


def unavailable(problem: BaseException) -> errors.Error:
    """An error of the client library as ours."""
    if isinstance(problem, nats_errors.MaxPayloadError):
        return errors.Invalid("the message is too large for the bus")
    return errors.Unavailable(f"NATS: {problem or type(problem).__name__}")
