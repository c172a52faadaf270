"""Errors over HTTP: google.rpc.Status as JSON, with the status code people expect."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import json_format
from starlette.responses import JSONResponse

from services.kit import errors, telemetry, wire_errors

HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def body_of(problem: errors.Error, service: str = "gateway") -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON body of an error."""
    code = wire_errors.code_of(problem)
    status = json_format.MessageToDict(wire_errors.to_status(problem, service))
    status["status"] = code.name
    status["code"] = HTTP.get(code, 500)
    if problem.reason == "DEADLINE_EXCEEDED":
        status["code"] = 504
    return status["code"], {"error": status}


def response_of(problem: errors.Error) -> JSONResponse:
    """The HTTP answer to an error."""
    code, body = body_of(problem)
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    if code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="iop"'
    trace_id = telemetry.current_trace_id()
    if trace_id:
        headers["X-Trace-Id"] = trace_id
    return JSONResponse(body, code, headers)
