"""The gateway's own gRPC services: traces, and the platform as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from iop.common.v1 import runtime_pb2, runtime_pb2_grpc
from iop.gateway.v1 import platform_pb2, platform_pb2_grpc, trace_pb2, trace_pb2_grpc

from gateway.spans.store import SpanStore, StoredSpan, TraceLine
from services.kit import actor as actors
from services.kit import errors, page, rpc
from services.kit.app import Service

VERSION = "V2.0"
_STATUS_SECONDS = 2.0


class TraceApi(trace_pb2_grpc.TraceServiceServicer):
    """Look-up in the embedded span store; absent when spans go to a collector."""

    def __init__(self, store: SpanStore | None) -> None:
        self._store = store

    async def ListTraces(self, request: Any, context: Any) -> Any:
        store = self._open()
        size = page.size(request.page_size)
        last = page.read(request.page_token, request)
        lines = await asyncio.to_thread(
            lambda: store.find(
                campaign=request.campaign,
                touch=request.touch_id,
                service=request.service,
                failed=request.failed,
                before_ns=int(last[0]) if last else 2**62,
                most=size + 1,
            )
        )
        answer = trace_pb2.ListTracesResponse(traces=[_summary(line) for line in lines[:size]])
        if len(lines) > size:
            answer.next_page_token = page.token([lines[size - 1].start_ns], request)
        return answer

    async def GetTrace(self, request: Any, context: Any) -> Any:
        store = self._open()
        trace_id = request.name.removeprefix("traces/")
        spans, linked = await asyncio.to_thread(lambda: (store.trace(trace_id), store.linked(trace_id)))
        if not spans:
            raise errors.NotFound(f"no spans of trace {trace_id} are kept", reason="RESOURCE_NOT_FOUND")
        return trace_pb2.Trace(
            name=request.name, spans=[_span(s) for s in spans], linked=[_summary(line) for line in linked]
        )

    def _open(self) -> SpanStore:
        if self._store is None:
            raise errors.Precondition("spans go to a collector here: look there", reason="STATE_FORBIDS")
        return self._store


class PlatformApi(platform_pb2_grpc.PlatformServiceServicer):
    """Session and state of all services."""

    def __init__(self, service: Service, peers: Mapping[str, runtime_pb2_grpc.RuntimeServiceStub]) -> None:
        self._service, self._peers = service, peers

    async def GetSession(self, request: Any, context: Any) -> Any:
        caller = rpc.actor()
        answer = platform_pb2.Session(
            subject=caller.subject,
            display_name=caller.name,
            roles=sorted(caller.roles),
            regions=caller.regions,
            campuses=caller.campuses,
            version=VERSION,
            time_zone=self._service.runtime.timezone,
        )
        answer.business_time.FromDatetime(self._service.clock.now())
        return answer

    async def ListServices(self, request: Any, context: Any) -> Any:
        return await self._states()

    async def WatchServices(self, request: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            yield await self._states()
            await asyncio.sleep(request.interval_seconds or 2)

    async def _states(self) -> platform_pb2.ListServicesResponse:
        # Asked as the gateway: the caller's role was checked by the contract.
        with rpc.acting(actors.of_service("gateway")):
            states = await asyncio.gather(*(self._state(name, peer) for name, peer in self._peers.items()))
        return platform_pb2.ListServicesResponse(services=states)

    async def _state(self, name: str, peer: Any) -> platform_pb2.ServiceState:
        try:
            status = await peer.GetStatus(runtime_pb2.GetStatusRequest(), timeout=_STATUS_SECONDS)
        except errors.Error as problem:
            return platform_pb2.ServiceState(service=name, error=problem.message)
        return platform_pb2.ServiceState(service=name, reachable=True, status=status)


def _summary(line: TraceLine) -> trace_pb2.TraceSummary:
    found = trace_pb2.TraceSummary(
        name=f"traces/{line.trace_id}",
        root=line.root,
        service=line.service,
        duration_micros=line.duration_ns // 1000,
        span_count=line.spans,
        error_count=line.errors,
    )
    found.start_time.FromNanoseconds(line.start_ns)
    return found


def _span(span: StoredSpan) -> trace_pb2.Span:
    found = trace_pb2.Span(
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        display_name=span.name,
        service=span.service,
        kind=span.kind,
        duration_micros=span.duration_ns // 1000,
        error=span.error,
        status_message=span.message,
        attributes=span.attributes,
        links=span.links,
    )
    found.start_time.FromNanoseconds(span.start_ns)
    return found
