"""The OTLP/gRPC door of the span store. Loopback only: it takes what comes."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from gateway.spans.store import SpanStore, from_otlp


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes exports of spans."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store

    async def Export(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(lambda: self._store.add(from_otlp(request)))
        return trace_service_pb2.ExportTraceServiceResponse()


async def serve(store: SpanStore, listen: str) -> grpc.aio.Server:
    """Starts the door at host:port."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(store), server)
    server.add_insecure_port(listen)
    await server.start()
    return server
