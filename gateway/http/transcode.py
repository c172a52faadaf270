"""HTTP/JSON to protobuf and back, by the contracts' annotations (AIP-127)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.http.routes import Route, resolve
from services.kit import errors

_AT = re.compile(r' at "([^"]*)"')
_FIELD_PATH = re.compile(r"^[a-zA-Z0-9_.]+$")


def request_of(
    route: Route, variables: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes
) -> Message:
    """The request message; errors.Invalid names the field that does not fit."""
    request: Message = route.request_type()
    masked: list[str] = []
    if route.body:
        data = _json(body)
        if route.body == "*":
            _parse(data, request, "")
        else:
            target = resolve(route.method.input_type, route.body)
            _parse(data, getattr(request, target.name), route.body)
            if isinstance(data, dict):
                masked = sorted(resolve(target.message_type, key).name for key in data)
    elif body.strip():
        raise errors.Invalid(
            f"{route.verb} takes no body here", reason="FIELD_INVALID", fields=[("body", "must be empty")]
        )
    parameters: dict[str, list[str]] = {}
    for key, value in query:
        parameters.setdefault(key, []).append(value)
    for key, values in parameters.items():
        if route.body == "*":
            raise errors.Invalid(
                f"unknown parameter {key!r}",
                reason="FIELD_INVALID",
                fields=[(key, "everything belongs in the body here")],
            )
        _set(request, route, key, values)
    for path, value in variables.items():
        _set(request, route, path, [value])
    # AIP-134: a PATCH without a mask changes what the body names.
    mask = request.DESCRIPTOR.fields_by_name.get("update_mask")
    if route.verb == "PATCH" and mask is not None and not request.HasField("update_mask"):
        bound = {path.split(".", 1)[1] for path in variables if path.startswith(f"{route.body}.")}
        paths = [p for p in masked if p not in bound and p != "etag"]
        request.update_mask.paths.extend(paths)  # type: ignore[attr-defined]
    return request


def json_of(message: Message) -> dict[str, Any]:
    """The JSON form: lowerCamelCase names, 64-bit integers as texts, empty values shown."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _json(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError as problem:
        raise errors.Invalid(
            f"the body is not JSON: {problem}", reason="FIELD_INVALID", fields=[("body", str(problem))]
        ) from None


def _parse(data: Any, message: Message, prefix: str) -> None:
    if not isinstance(data, dict):
        what = prefix or "body"
        raise errors.Invalid(
            f"{what} must be an object", reason="FIELD_INVALID", fields=[(what, "must be an object")]
        )
    try:
        json_format.ParseDict(data, message)
    except json_format.ParseError as problem:
        text = str(problem)
        found = _AT.search(text)
        # `at "Type.field.sub"` names the message type first.
        path = found.group(1).partition(".")[2] if found else ""
        unknown = re.search(r'has no field named "([^"]+)"', text)
        if unknown:
            path = f"{path}.{unknown.group(1)}" if path else unknown.group(1)
        else:
            named = re.search(r"Failed to parse (\S+) field", text)
            if named and not path:
                path = named.group(1)
        full = ".".join(part for part in (prefix, path) if part) or "body"
        raise errors.Invalid(
            f"{full}: {text}", reason="FIELD_INVALID", fields=[(full, _short(text))]
        ) from None
    except RecursionError:
        raise errors.Invalid(
            "the body is nested too deeply", reason="FIELD_INVALID", fields=[(prefix or "body", "too deep")]
        ) from None


def _short(text: str) -> str:
    return text.split("\n", 1)[0][:300]


def _set(request: Message, route: Route, path: str, values: list[str]) -> None:
    """Sets a field from texts of the path or the query."""
    try:
        if not _FIELD_PATH.match(path):
            raise KeyError(path)
        field = resolve(route.method.input_type, path)
    except KeyError:
        raise errors.Invalid(
            f"unknown parameter {path!r}", reason="FIELD_INVALID", fields=[(path, "no such field")]
        ) from None
    kind = field.message_type
    if kind is not None and not kind.full_name.startswith("google.protobuf."):
        raise errors.Invalid(
            f"{path} cannot be a parameter", reason="FIELD_INVALID", fields=[(path, "name one of its fields")]
        )
    if len(values) > 1 and not field.is_repeated:
        raise errors.Invalid(
            f"{path} is given twice", reason="FIELD_INVALID", fields=[(path, "takes one value")]
        )
    converted = [_scalar(field, value, path) for value in values]
    nested: Any = converted if field.is_repeated else converted[0]
    names = path.split(".")
    for name in reversed(names):
        nested = {name: nested}
    patch = route.request_type()
    _parse(nested, patch, "")
    request.MergeFrom(patch)


def _scalar(field: FieldDescriptor, value: str, path: str) -> Any:
    if field.type == FieldDescriptor.TYPE_BOOL:
        if value not in ("true", "false"):
            raise errors.Invalid(
                f"{path}: {value!r} is neither true nor false",
                reason="FIELD_INVALID",
                fields=[(path, "must be true or false")],
            )
        return value == "true"
    if field.type == FieldDescriptor.TYPE_ENUM and value.lstrip("-").isdigit():
        return int(value)
    return value
