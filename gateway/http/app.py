"""The HTTP door: API routes from the contracts, sign-in, OpenAPI, the portal's files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount
from starlette.routing import Route as HttpRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auth.session import Sessions
from gateway.http import transcode
from gateway.http.errors import body_of, response_of
from gateway.http.routes import Route
from services.kit import attributes, errors, rpc, telemetry
from services.kit.actor import Actor
from services.kit.app import Service
from services.kit.telemetry import SpanKind

BODY_LIMIT = 16 * 1024 * 1024
PREFIX = "/api"
_VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_NO_PORTAL = """<!doctype html><meta charset="utf-8"><title>IOP</title>
<p>The portal was not built: it needs npm (<code>make portal</code>). The API is at
<a href="/api/openapi.json">/api/openapi.json</a>.</p>"""

# Everything the portal needs comes from here; nothing may be loaded from elsewhere.
_SECURITY = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class Api:
    """Turns requests into calls of the service that owns them."""

    def __init__(
        self,
        service: Service,
        routes: list[Route],
        sessions: Sessions,
        channel: Callable[[str], grpc.aio.Channel],
    ) -> None:
        self._service, self._routes, self._sessions = service, routes, sessions
        self._calls: dict[str, Any] = {}
        for route in routes:
            if route.full_method not in self._calls:
                self._calls[route.full_method] = _stub(route, channel(route.peer))

    async def serve(self, request: Request) -> Response:
        """One API request."""
        path = request.url.path.removeprefix(PREFIX)
        found = self._find(request.method, path)
        if isinstance(found, Response):
            return found
        route, variables = found
        tracer = self._service.telemetry
        parent = telemetry.extract(request.headers) if "traceparent" in request.headers else None
        with tracer.span(
            f"{route.verb} {route.template}",
            {attributes.HTTP_METHOD: route.verb, attributes.HTTP_ROUTE: route.template},
            kind=SpanKind.SERVER,
            root=parent is None,
            parent=parent,
        ) as span:
            try:
                response = await self._call(request, route, variables)
            except errors.Error as problem:
                response = response_of(problem)
                if response.status_code >= 500:
                    telemetry.fail(span, problem)
            span.set_attribute(attributes.HTTP_STATUS, response.status_code)
            trace_id = telemetry.current_trace_id()
            if trace_id:
                response.headers["X-Trace-Id"] = trace_id
            return response

    def _find(self, verb: str, path: str) -> tuple[Route, dict[str, str]] | Response:
        allowed = set()
        for route in self._routes:
            variables = route.match(path)
            if variables is None:
                continue
            if route.verb == verb:
                return route, variables
            allowed.add(route.verb)
        if allowed:
            _, body = body_of(errors.Invalid(f"{path} does not take {verb}"))
            body["error"]["code"] = 405
            return JSONResponse(body, 405, {"Allow": ", ".join(sorted(allowed))})
        return response_of(errors.NotFound(f"there is nothing at {path}"))

    async def _call(self, request: Request, route: Route, variables: dict[str, str]) -> Response:
        actor = await self._sessions.actor(request)
        body = await _body(request)
        message = transcode.request_of(route, variables, request.query_params.multi_items(), body)
        call = self._calls[route.full_method]
        with rpc.acting(actor):
            if route.method.server_streaming:
                return await self._stream(call(message), actor)
            return JSONResponse(transcode.json_of(await call(message)), headers={"Cache-Control": "no-store"})

    async def _stream(self, call: Any, actor: Actor) -> Response:
        """One JSON object a line. An error before the first is an ordinary error answer."""
        answers = call.__aiter__()
        try:
            first = await anext(answers)
        except StopAsyncIteration:
            first = None

        async def lines() -> AsyncIterator[bytes]:
            try:
                if first is not None:
                    yield _line({"result": transcode.json_of(first)})
                async for answer in answers:
                    yield _line({"result": transcode.json_of(answer)})
            except errors.Error as problem:
                yield _line(body_of(problem)[1])
            finally:
                call.cancel()

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def build(api: Api, sessions: Sessions, openapi: dict[str, Any], portal: Path) -> Starlette:
    """The whole application. `portal` is the folder of the built portal; it may be absent."""

    async def document(request: Request) -> Response:
        return JSONResponse(openapi)

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def file(request: Request) -> Response:
        return _file(portal, request.path_params["path"])

    async def missing(request: Request) -> Response:
        return response_of(errors.NotFound(f"there is nothing at {request.url.path}"))

    return Starlette(
        routes=[
            HttpRoute("/healthz", live),
            HttpRoute(f"{PREFIX}/openapi.json", document),
            *sessions.routes(),
            Mount("/auth", routes=[HttpRoute("/{rest:path}", missing)]),
            HttpRoute(f"{PREFIX}/{{rest:path}}", api.serve, methods=_VERBS),
            HttpRoute("/{path:path}", file),
        ],
        middleware=[Middleware(_Headers), Middleware(GZipMiddleware, minimum_size=1024)],
        exception_handlers={errors.Error: _on_error, HTTPException: _on_http_error},
    )


async def _on_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, errors.Error)
    return response_of(problem)


async def _on_http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return JSONResponse(
        {"error": {"code": problem.status_code, "message": problem.detail}},
        problem.status_code,
        problem.headers,
    )


class _Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in _SECURITY.items()),
                ]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise errors.Invalid(
                f"the body is larger than {BODY_LIMIT} bytes",
                reason="FIELD_INVALID",
                fields=[("body", "is too large: send it in parts")],
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _stub(route: Route, channel: grpc.aio.Channel) -> Any:
    kind = channel.unary_stream if route.method.server_streaming else channel.unary_unary
    return kind(
        route.full_method,
        request_serializer=route.request_type.SerializeToString,
        response_deserializer=route.response_type.FromString,
    )


def _file(portal: Path, path: str) -> Response:
    """A file of the portal; unknown paths without a suffix are pages of the portal itself."""
    index = portal / "index.html"
    if not index.exists():
        return Response(_NO_PORTAL, 200 if path == "" else 404, media_type="text/html")
    wanted = (portal / path).resolve()
    if wanted.is_relative_to(portal.resolve()) and wanted.is_file():
        # Built files carry a hash in their name.
        cache = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        return FileResponse(wanted, headers={"Cache-Control": cache})
    if Path(path).suffix:
        return JSONResponse({"error": {"code": 404, "message": f"no file {path}"}}, 404)
    return FileResponse(index, headers={"Cache-Control": "no-cache"})
