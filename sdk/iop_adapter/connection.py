"""The wire to the touchpoint service: token, session, retries."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from iop.adapter.v1 import adapter_pb2, adapter_pb2_grpc, decision_pb2_grpc

from iop_adapter.model import Capabilities

log = logging.getLogger("iop_adapter")
T = TypeVar("T")

# gRPC retries what never reached the server; everything longer is retried below.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    # A server that is killed in mid-call shows as cancelled or unknown.
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
}


@dataclass(frozen=True)
class Endpoint:
    """Where the platform is, and the token that says who this adapter is.

    `token_file` is read anew for each call, so that tokens can be rotated.
    `root_certificates` switches TLS on.
    """

    address: str
    token_file: Path
    root_certificates: bytes | None = None


class SessionLost(Exception):
    """The platform does not know the session any more: open a new one."""


class Connection:
    """A channel with the adapter's token on each call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        options = [("grpc.service_config", _SERVICE_CONFIG), ("grpc.max_receive_message_length", 64 << 20)]
        if endpoint.root_certificates is None:
            self.channel = grpc.aio.insecure_channel(endpoint.address, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(endpoint.root_certificates)
            self.channel = grpc.aio.secure_channel(endpoint.address, credentials, options=options)
        # The generated stubs are untyped about grpc.aio.
        self.adapter: Any = adapter_pb2_grpc.AdapterServiceStub(self.channel)
        self.decision: Any = decision_pb2_grpc.DecisionServiceStub(self.channel)

    def metadata(self, traceparent: str = "") -> list[tuple[str, str]]:
        """The metadata of a call."""
        entries = [("iop-actor", self._endpoint.token_file.read_text().strip())]
        if traceparent:
            entries.append(("traceparent", traceparent))
        return entries

    async def open(self, name: str, capabilities: Capabilities) -> tuple[str, float]:
        """Opens a session; returns its id and the seconds a lease lives."""
        request = adapter_pb2.OpenSessionRequest(
            adapter=name,
            touchpoints=[t.value for t in capabilities.touchpoints],
            # The journal makes every adapter idempotent towards the platform.
            idempotency=adapter_pb2.IDEMPOTENCY_IDEMPOTENT,
            max_batch=capabilities.max_batch,
            rate=capabilities.rate,
            receipts=capabilities.receipts,
        )
        answer = await self.persist(
            lambda: self.adapter.OpenSession(request, metadata=self.metadata(), timeout=10)
        )
        return answer.session, answer.lease_seconds

    async def persist(self, call: Callable[[], Awaitable[T]], *, longest: float = 5.0) -> T:
        """Makes the call until it succeeds or fails for good.

        Raises SessionLost when the platform forgot the session.
        """
        delay = 0.1
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION and "SESSION_UNKNOWN" in _reason(
                    error
                ):
                    raise SessionLost(error.details()) from error
                if error.code() not in _TRANSIENT:
                    raise
                log.warning(
                    "call failed, trying again in %.1f s: %s %s", delay, error.code(), error.details()
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)

    async def close(self) -> None:
        """Closes the channel."""
        await self.channel.close()


def _reason(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo reason lies in the status details; its text is enough to look for."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return error.details() or ""
