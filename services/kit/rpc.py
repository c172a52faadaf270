"""gRPC of a service: one server, channels to the others.

Every handler is wrapped once, when it is added: deadline, actor, trace, access, validation and errors
are one function around it, which costs far less a call than a stack of interceptors.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind

from services.kit import attributes, call, errors, telemetry, validation, wire_errors
from services.kit.actor import METADATA_KEY, Actor, Signer, Verifier, of_service
from services.kit.call import acting, actor, remaining
from services.kit.channel import MESSAGE_LIMIT, Channel
from services.kit.wire_errors import translate

if TYPE_CHECKING:
    from services.kit.app import Service

__all__ = ["Channel", "Server", "acting", "actor", "channel", "connect", "remaining", "translate"]

_SHAVE_S = 0.020  # kept back for the way home
_LEAST_S = 0.100  # with less time left than this it is not worth beginning
_ALWAYS = {"admin", "service"}


def channel(service: "Service", peer: str) -> Channel:
    """A channel to the service `peer`, closed with `service`.

    The actor is the one of `rpc.acting(...)`, else the user whose call is being served, else the
    service itself. Failed calls raise kit errors. Unary calls end after 30 s unless told otherwise.
    """
    address = service.runtime.addresses.get(peer)
    if not address:
        raise errors.Precondition(f"no address of {peer} is set (IOP_ADDR_{peer.upper()})")
    signer = service.signer
    own = of_service(service.name)

    def token() -> str:
        acting_as = call.acting_actor()
        if acting_as is not None:
            return signer(acting_as)
        current = call.current.get()
        if current is not None and current.actor is not None and current.actor.is_user:
            return current.token
        return signer(own)

    made = Channel(_target(address), token, service.telemetry)
    service.on_stop(f"channel {peer}", made.close)
    return made


def connect(
    address: str, actor: Actor, keys: tuple[str, ...], tracer: telemetry.Telemetry | None = None
) -> Channel:
    """A channel for a process that is not a service (demo, tests, tools); calls are made as `actor`."""
    signer = Signer(keys, "iop-tool")
    return Channel(_target(address), lambda: signer(call.acting_actor() or actor), tracer)


class Server:
    """The gRPC server of a service. Health, reflection and RuntimeService are always there.

    server = rpc.Server(service); server.add(add_XServicer_to_server, X(...)); await server.start();
    service.on_stop("rpc", server.stop)
    """

    def __init__(self, service: "Service") -> None:
        self.service = service
        self.port = 0
        self._server = aio.server(
            options=[
                ("grpc.max_receive_message_length", MESSAGE_LIMIT),
                ("grpc.max_send_message_length", MESSAGE_LIMIT),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_time_ms", 60_000),
                # New replicas get their share of long-lived connections.
                ("grpc.max_connection_age_ms", 30 * 60_000),
                ("grpc.max_connection_age_grace_ms", 60_000),
            ]
        )
        self._names: list[str] = [
            reflection.SERVICE_NAME,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        ]
        self._verify = Verifier(service.runtime.actor_keys)
        self._validate = validation.Validation()
        self._latency = (
            service.telemetry.histogram(
                "rpc_server_call_duration_seconds", "Calls served", ("method", "code")
            )
            if service.runtime.metrics_listen
            else None
        )

    def add(self, add_to_server: Callable[[Any, Any], None], servicer: Any) -> None:
        """Serve a generated service: `server.add(x_pb2_grpc.add_XServiceServicer_to_server, api)`."""
        add_to_server(servicer, _Registrar(self))

    async def start(self) -> None:
        """Bind `runtime.listen` and serve; `port` tells the port chosen."""
        from iop.common.v1 import runtime_pb2_grpc

        from services.kit.status import RuntimeApi

        self.add(runtime_pb2_grpc.add_RuntimeServiceServicer_to_server, RuntimeApi(self.service))
        health_pb2_grpc.add_HealthServicer_to_server(self.service.health, self._server)
        reflection.enable_server_reflection(self._names, self._server)
        try:
            self.port = self._server.add_insecure_port(self.service.runtime.listen)
        except RuntimeError:
            raise errors.Unavailable(
                f"cannot listen on {self.service.runtime.listen}: the address is taken"
            ) from None
        await self._server.start()
        self.service.rpc = self

    async def stop(self, grace: float = 5.0) -> None:
        """Refuse new calls, give running ones `grace` seconds."""
        await self._server.stop(grace)

    @property
    def address(self) -> str:
        """host:port as others on this machine reach it."""
        host = self.service.runtime.listen.rpartition(":")[0]
        return f"{host if host not in ('0.0.0.0', '[::]', '') else '127.0.0.1'}:{self.port}"

    def register(self, name: str, handlers: dict[str, Any]) -> None:
        """Wrap and serve the handlers of one service."""
        self._names.append(name)
        wrapped = {method: self._wrap(_Method(name, method), handler) for method, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, wrapped),))
        self._server.add_registered_method_handlers(name, wrapped)

    def _wrap(self, method: "_Method", handler: Any) -> Any:
        kind = (handler.request_streaming, handler.response_streaming)
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if kind == (False, False):
            return grpc.unary_unary_rpc_method_handler(self._single(method, handler.unary_unary), **codec)
        if kind == (True, False):
            return grpc.stream_unary_rpc_method_handler(self._single(method, handler.stream_unary), **codec)
        if kind == (False, True):
            return grpc.unary_stream_rpc_method_handler(self._many(method, handler.unary_stream), **codec)
        return grpc.stream_stream_rpc_method_handler(self._many(method, handler.stream_stream), **codec)

    def _single(self, method: "_Method", behaviour: Any) -> Any:
        async def serve(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            running = _Running(method)
            try:
                return await behaviour(self._begin(running, request, context), context)
            except BaseException as problem:
                await self._failed(running, problem, context)
            finally:
                self._end(running, started)

        return serve

    def _many(self, method: "_Method", behaviour: Any) -> Any:
        async def serve(request: Any, context: Any) -> AsyncIterator[Any]:
            started = time.perf_counter()
            running = _Running(method)
            try:
                result = behaviour(self._begin(running, request, context), context)
                if inspect.isawaitable(result):  # a handler that uses context.write
                    await result
                else:
                    async for response in result:
                        yield response
            except GeneratorExit:
                raise
            except BaseException as problem:
                await self._failed(running, problem, context)
            finally:
                self._end(running, started)

        return serve

    def _begin(self, running: "_Running", request: Any, context: Any) -> Any:
        """Everything that comes before a handler; the request it gets. Errors go to `_failed`."""
        method = running.method
        token = traceparent = tracestate = ""
        for key, value in context.invocation_metadata() or ():
            if key == METADATA_KEY:
                token = value
            elif key == "traceparent":
                traceparent = value
            elif key == "tracestate":
                tracestate = value
        left = context.time_remaining()
        now = call.Call(method.full_name, token=token)
        if left is not None:
            if left < _LEAST_S:
                raise errors.Unavailable("too little time is left to begin", reason="DEADLINE_TOO_SHORT")
            now.deadline = time.monotonic() + left - _SHAVE_S
        # A call has a task, and with it a context, of its own: what is set here ends with it.
        call.current.set(now)
        if not token:
            raise errors.Unauthenticated("no actor token came with the call")
        now.actor = self._verify(token)
        running.span = self._trace(method, traceparent, tracestate, now.actor)
        method.admit(now.actor)
        if isinstance(request, Message):
            self._validate(request)
            now.request = request
            return request
        return self._validated(request)

    async def _validated(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._validate(request)
            yield request

    def _trace(self, method: "_Method", traceparent: str, tracestate: str, caller: Actor) -> Span | None:
        tracer = self.service.telemetry
        remote = telemetry.parse(traceparent, tracestate) if traceparent else None
        if remote is None and not (tracer.enabled and caller.is_user):
            return None
        span: Span
        if remote is not None and not (tracer.enabled and remote.trace_flags.sampled):
            span = NonRecordingSpan(remote)
        else:
            parent = trace.set_span_in_context(NonRecordingSpan(remote), otel.Context()) if remote else None
            span = tracer.start_span(
                method.full_name,
                {
                    attributes.RPC_SYSTEM: "grpc",
                    attributes.RPC_METHOD: method.full_name,
                    attributes.ACTOR: caller.subject,
                },
                kind=SpanKind.SERVER,
                root=remote is None,
                parent=parent,
            )
        otel.attach(trace.set_span_in_context(span))
        return span

    async def _failed(self, running: "_Running", problem: BaseException, context: Any) -> None:
        if isinstance(problem, aio.AbortError):
            running.code = "ABORTED_BY_HANDLER"
            raise problem
        if isinstance(problem, asyncio.CancelledError):
            running.code = "CANCELLED"
            raise problem
        found = wire_errors.known(problem)
        if found is None or type(found) is errors.Error:
            self.service.log.error("%s failed", running.method.full_name, exc_info=problem)
            found = found or errors.Error("an internal error; the log has it under the trace id")
            if trace_id := telemetry.current_trace_id():
                found.metadata["trace_id"] = trace_id
        running.code = wire_errors.code_of(found).name
        if running.span is not None:
            running.span.set_attribute(attributes.RPC_STATUS, running.code)
            telemetry.fail(running.span, problem)
        await wire_errors.abort(context, found, self.service.name)

    def _end(self, running: "_Running", started: float) -> None:
        if running.span is not None:
            running.span.end()
        if self._latency is not None:
            took = time.perf_counter() - started
            self._latency.labels(running.method.full_name, running.code).observe(took)


class _Running:
    __slots__ = ("code", "method", "span")

    def __init__(self, method: "_Method") -> None:
        self.method = method
        self.span: Span | None = None
        self.code = "OK"


class _Method:
    """What the contract says of a method."""

    def __init__(self, service: str, name: str) -> None:
        from iop.common.v1 import options_pb2

        self.full_name = f"{service}/{name}"
        pool: Any = descriptor_pool.Default()
        options = pool.FindServiceByName(service).methods_by_name[name].GetOptions()
        rule = options.Extensions[options_pb2.access]
        self._roles = frozenset(rule.roles)
        self._admitted = self._roles if rule.strict else self._roles | _ALWAYS

    def admit(self, caller: Actor) -> None:
        """Denied, reason ROLE_MISSING, unless the caller has a role the method asks for."""
        if self._roles and not caller.roles & self._admitted:
            raise errors.Denied(
                f"this needs one of the roles {', '.join(sorted(self._roles))}",
                reason="ROLE_MISSING",
                metadata={"roles": ",".join(sorted(self._roles))},
            )


class _Registrar:
    """Stands in for a server while generated code adds its handlers."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, _: Any) -> None:
        """The same handlers come by name below."""

    def add_registered_method_handlers(self, name: str, handlers: dict[str, Any]) -> None:
        self._server.register(name, handlers)


def _target(address: str) -> str:
    """A name is resolved to all its addresses, so that calls spread over the replicas."""
    if "://" in address or address[:1].isdigit() or address.startswith(("[", "unix:", "dns:", "ipv4:")):
        return address
    return f"dns:///{address}"
