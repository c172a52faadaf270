"""Outgoing gRPC: a channel that carries deadline, trace and actor, retries what never arrived, and
raises the kit's errors. It wraps the calls instead of using interceptors, which cost a task a call.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from grpc import aio
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from services.kit import attributes, call, errors, telemetry, wire_errors
from services.kit.actor import METADATA_KEY

MESSAGE_LIMIT = 64 * 1024 * 1024
UNARY_TIMEOUT_S = 30.0

# Retries are data. It holds no `timeout`: in Python that fails calls at once.
_SERVICE_CONFIG = (Path(__file__).parent / "retry.json").read_text()

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A peer that restarts is found again within a second; the default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Channel(aio.Channel):
    """A grpc.aio channel for generated stubs. `token()` gives the value of `iop-actor`."""

    def __init__(
        self, address: str, token: Callable[[], str], tracer: telemetry.Telemetry | None = None
    ) -> None:
        self._channel = aio.insecure_channel(address, options=OPTIONS)
        self._token = token
        self._tracer = tracer if tracer is not None and tracer.enabled else None
        self.address = address

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Unary(self, method, self._channel.unary_unary(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Streaming(self, method, self._channel.stream_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Streaming(self, method, self._channel.unary_stream(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Streaming(self, method, self._channel.stream_stream(method, *args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def begin(self, method: str, kwargs: dict[str, Any], default: float | None) -> Span | None:
        """Fill in timeout and metadata of a call; the span it runs under, if one is recorded."""
        given = kwargs.get("timeout")
        timeout = default if given is None else given
        left = call.remaining()
        if left is not None:
            if left <= 0:
                raise errors.Unavailable("no time is left for this call", reason="DEADLINE_EXCEEDED")
            timeout = left if timeout is None else min(timeout, left)
        kwargs["timeout"] = timeout
        metadata = list(kwargs.get("metadata") or ())
        if not any(key == METADATA_KEY for key, _ in metadata):
            metadata.append((METADATA_KEY, self._token()))
        span = None
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            if self._tracer is not None and context.trace_flags.sampled:
                span = self._tracer.start_span(
                    method[1:],
                    {attributes.RPC_SYSTEM: "grpc", attributes.RPC_METHOD: method[1:]},
                    kind=SpanKind.CLIENT,
                )
                context = span.get_span_context()
            metadata.append(
                (
                    "traceparent",
                    f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}",
                )
            )
        kwargs["metadata"] = metadata
        return span


class _Unary(aio.UnaryUnaryMultiCallable):
    def __init__(self, channel: Channel, method: str, inner: Any) -> None:
        self._channel, self._method, self._inner = channel, method, inner

    async def __call__(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        span = self._channel.begin(self._method, kwargs, UNARY_TIMEOUT_S)
        try:
            return await self._inner(request, **kwargs)
        except aio.AioRpcError as problem:
            found = wire_errors.translate(problem)
            _mark(span, found, problem.code())
            raise found from None
        finally:
            if span is not None:
                span.end()


class _Streaming:
    """stream-unary, unary-stream and stream-stream calls."""

    def __init__(self, channel: Channel, method: str, inner: Any) -> None:
        self._channel, self._method, self._inner = channel, method, inner

    def __call__(self, *args: Any, **kwargs: Any) -> "_Call":
        span = self._channel.begin(self._method, kwargs, None)
        return _Call(self._inner(*args, **kwargs), span)


class _Call:
    """A call with a stream on one side or both; everything else is grpc.aio's own."""

    def __init__(self, inner: Any, span: Span | None) -> None:
        self._inner, self._span = inner, span
        if span is not None:
            inner.add_done_callback(lambda _: span.end())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._responses()

    async def _responses(self) -> AsyncIterator[Any]:
        try:
            async for response in self._inner:
                yield response
        except aio.AioRpcError as problem:
            raise self._failed(problem) from None
        finally:
            if not self._inner.done():
                self._inner.cancel()

    def __await__(self) -> Any:
        return self._result().__await__()

    async def _result(self) -> Any:
        return await self._guard(self._inner)

    async def read(self) -> Any:
        """The next response, or grpc.aio.EOF."""
        return await self._guard(self._inner.read())

    async def write(self, request: Any) -> None:
        """Send one more request."""
        try:
            await self._guard(self._inner.write(request))
        except asyncio.InvalidStateError:
            # The call has ended under us: its status says why.
            code = await self._inner.code()
            raise errors.Unavailable(f"the stream ended: {code.name.lower()}") from None

    async def _guard(self, work: Any) -> Any:
        try:
            return await work
        except aio.AioRpcError as problem:
            raise self._failed(problem) from None

    def _failed(self, problem: aio.AioRpcError) -> errors.Error:
        found = wire_errors.translate(problem)
        _mark(self._span, found, problem.code())
        return found


def _mark(span: Span | None, found: errors.Error, code: grpc.StatusCode) -> None:
    if span is not None:
        span.set_attribute(attributes.RPC_STATUS, code.name)
        telemetry.fail(span, found)
