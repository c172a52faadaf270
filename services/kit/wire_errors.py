"""Errors on the wire, both ways: google.rpc.Status with ErrorInfo, BadRequest and RetryInfo."""

import asyncio
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.kit import errors

_Code = grpc.StatusCode

CODES: dict[type[errors.Error], grpc.StatusCode] = {
    errors.NotFound: _Code.NOT_FOUND,
    errors.Invalid: _Code.INVALID_ARGUMENT,
    errors.Conflict: _Code.ABORTED,
    errors.Exists: _Code.ALREADY_EXISTS,
    errors.Precondition: _Code.FAILED_PRECONDITION,
    errors.Denied: _Code.PERMISSION_DENIED,
    errors.Unauthenticated: _Code.UNAUTHENTICATED,
    errors.Exhausted: _Code.RESOURCE_EXHAUSTED,
    errors.Unavailable: _Code.UNAVAILABLE,
}
_KINDS: dict[grpc.StatusCode, type[errors.Error]] = {code: kind for kind, code in CODES.items()} | {
    _Code.DEADLINE_EXCEEDED: errors.Unavailable,
    _Code.CANCELLED: errors.Unavailable,
    _Code.OUT_OF_RANGE: errors.Invalid,
}
DETAILS_KEY = "grpc-status-details-bin"


def code_of(problem: errors.Error) -> grpc.StatusCode:
    """The status code of an error; INTERNAL for a bare one."""
    for kind in type(problem).__mro__:
        if kind in CODES:
            return CODES[kind]
    return _Code.INTERNAL


def to_status(problem: errors.Error, service: str) -> status_pb2.Status:
    """The rich status of an error raised in `service`."""
    status = status_pb2.Status(code=code_of(problem).value[0], message=problem.message)
    info = error_details_pb2.ErrorInfo(
        reason=problem.reason, domain=problem.domain or f"{service}.iop", metadata=problem.metadata
    )
    details: list[Any] = [info]
    if problem.fields:
        bad = error_details_pb2.BadRequest()
        for path, description in problem.fields:
            bad.field_violations.add(field=path, description=description)
        details.append(bad)
    if problem.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(problem.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(context: Any, problem: errors.Error, service: str) -> None:
    """End a call with the error; does not return."""
    status = to_status(problem, service)
    trailing = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code_of(problem), status.message, trailing)


def translate(problem: Any) -> errors.Error:
    """The kit's error in a failed call, with its reason, fields, metadata and delay."""
    code: grpc.StatusCode = problem.code()
    kind = _KINDS.get(code, errors.Error)
    message = problem.details() or code.name.lower()
    found = kind(message, reason="DEADLINE_EXCEEDED" if code is _Code.DEADLINE_EXCEEDED else "")
    for key, value in problem.trailing_metadata() or ():
        if key == DETAILS_KEY:
            _fill(found, value)
    return found


def _fill(found: errors.Error, raw: bytes) -> None:
    try:
        status = status_pb2.Status.FromString(raw)
    except DecodeError:
        return
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            found.reason, found.domain, found.metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            found.fields = tuple((item.field, item.description) for item in bad.field_violations)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            found.retry_after = retry.retry_delay.ToNanoseconds() / 1e9


def known(problem: BaseException) -> errors.Error | None:
    """An exception as an error of ours; None when it is a fault nobody foresaw."""
    if isinstance(problem, errors.Error):
        return problem
    if isinstance(problem, grpc.RpcError):
        return translate(problem)
    if isinstance(problem, asyncio.TimeoutError | TimeoutError):
        return errors.Unavailable("it took too long", reason="DEADLINE_EXCEEDED")
    return None
