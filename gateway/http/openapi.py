"""OpenAPI 3.1 of the HTTP door, generated from the contracts the routes come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.http.routes import Route, resolve

_T = FieldDescriptor
_SCALARS: dict[int, dict[str, Any]] = {
    _T.TYPE_BOOL: {"type": "boolean"},
    _T.TYPE_STRING: {"type": "string"},
    _T.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _T.TYPE_DOUBLE: {"type": "number"},
    _T.TYPE_FLOAT: {"type": "number"},
    _T.TYPE_INT32: {"type": "integer", "format": "int32"},
    _T.TYPE_SINT32: {"type": "integer", "format": "int32"},
    _T.TYPE_SFIXED32: {"type": "integer", "format": "int32"},
    _T.TYPE_UINT32: {"type": "integer", "minimum": 0},
    _T.TYPE_FIXED32: {"type": "integer", "minimum": 0},
}
# 64-bit integers are texts in JSON: a browser's numbers end at 2^53.
_LONG = {"type": "string", "format": "int64"}
_WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d+)?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
}


class Comments:
    """Comments of the contracts, by full name, from the descriptor set with source info."""

    def __init__(self, descriptor_set: Path) -> None:
        self._texts: dict[str, str] = {}
        if not descriptor_set.exists():
            return
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.read_bytes())
        for file in files.file:
            if not file.name.startswith("iop/"):
                continue
            names = _names(file)
            for location in file.source_code_info.location:
                name = names.get(tuple(location.path))
                if name and location.leading_comments:
                    self._texts[name] = re.sub(r"\s+", " ", location.leading_comments).strip()

    def of(self, full_name: str) -> str:
        """The comment before a declaration; empty when there is none."""
        return self._texts.get(full_name, "")


def _names(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    names: dict[tuple[int, ...], str] = {}

    def message(found: descriptor_pb2.DescriptorProto, prefix: str, path: tuple[int, ...]) -> None:
        full = f"{prefix}.{found.name}"
        names[path] = full
        for i, f in enumerate(found.field):
            names[(*path, 2, i)] = f"{full}.{f.name}"
        for i, nested in enumerate(found.nested_type):
            message(nested, full, (*path, 3, i))

    for i, found in enumerate(file.message_type):
        message(found, file.package, (4, i))
    for i, enum in enumerate(file.enum_type):
        names[(5, i)] = f"{file.package}.{enum.name}"
    for i, service in enumerate(file.service):
        names[(6, i)] = f"{file.package}.{service.name}"
        for j, method in enumerate(service.method):
            names[(6, i, 2, j)] = f"{file.package}.{service.name}.{method.name}"
    return names


def document(routes: list[Route], comments: Comments, version: str) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, Any] = {}
    for route in routes:
        path, parameters = _path(route, schemas, comments)
        paths.setdefault(path, {})[route.verb.lower()] = _operation(route, parameters, schemas, comments)
    return {
        "openapi": "3.1.0",
        "info": {"title": "IOP", "version": version, "description": "Marketing operations platform."},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"bearer": []}],
    }


def _path(route: Route, schemas: dict[str, Any], comments: Comments) -> tuple[str, list[dict[str, Any]]]:
    """OpenAPI has no multi-segment variables: `{name=campaigns/*}` becomes `campaigns/{campaign}`."""
    parameters = []

    def part(found: re.Match[str]) -> str:
        variable, template = found.group(1), found.group(2) or "*"
        field = resolve(route.method.input_type, variable)
        pieces = []
        literal = variable.rsplit(".", 1)[-1]
        for segment in template.split("/"):
            if segment != "*":
                literal = segment
                pieces.append(segment)
                continue
            name = literal if template == "*" else _singular(literal)
            parameters.append(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": comments.of(field.full_name),
                    "schema": {"type": "string"},
                }
            )
            pieces.append("{" + name + "}")
        return "/".join(pieces)

    path = re.sub(r"\{([a-zA-Z0-9_.]+)(?:=([^}]*))?\}", part, route.template)
    return path, parameters


def _singular(word: str) -> str:
    return word[:-3] + "y" if word.endswith("ies") else word.removesuffix("s")


def _operation(
    route: Route, parameters: list[dict[str, Any]], schemas: dict[str, Any], comments: Comments
) -> dict[str, Any]:
    answer = _reference(route.method.output_type, schemas, comments)
    content = "application/x-ndjson" if route.method.server_streaming else "application/json"
    operation: dict[str, Any] = {
        "operationId": f"{route.method.containing_service.name}_{route.method.name}",
        "tags": [route.method.containing_service.name],
        "summary": comments.of(route.method.full_name),
        "parameters": [*parameters, *_query(route, schemas, comments)],
        "responses": {
            "200": {"description": "OK", "content": {content: {"schema": answer}}},
            "default": {
                "description": "An error",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if route.body:
        kind = (
            route.method.input_type
            if route.body == "*"
            else resolve(route.method.input_type, route.body).message_type
        )
        assert kind is not None, f"the body of {route.full_method} is no message"
        schema = _reference(kind, schemas, comments)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _query(route: Route, schemas: dict[str, Any], comments: Comments) -> list[dict[str, Any]]:
    if route.body == "*":
        return []
    found = []
    for field in route.method.input_type.fields:
        bound = any(v == field.name or v.startswith(f"{field.name}.") for v in route.variables)
        if bound or field.name == route.body:
            continue
        if field.message_type and field.message_type.full_name not in _WELL_KNOWN:
            continue
        found.append(
            {
                "name": field.camelcase_name,
                "in": "query",
                "description": comments.of(field.full_name),
                "schema": _schema(field, schemas, comments),
            }
        )
    return found


def _reference(message: Descriptor, schemas: dict[str, Any], comments: Comments) -> dict[str, Any]:
    if message.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[message.full_name]
    name = message.full_name
    if name not in schemas:
        schemas[name] = {}  # a message may hold itself
        schemas[name] = {
            "type": "object",
            "description": comments.of(name),
            "additionalProperties": False,
            "properties": {f.camelcase_name: _described(f, schemas, comments) for f in message.fields},
        }
    return {"$ref": f"#/components/schemas/{name}"}


def _described(field: FieldDescriptor, schemas: dict[str, Any], comments: Comments) -> dict[str, Any]:
    schema = _schema(field, schemas, comments)
    text = comments.of(field.full_name)
    return {**schema, "description": text} if text else schema


def _schema(field: FieldDescriptor, schemas: dict[str, Any], comments: Comments) -> dict[str, Any]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _one(value, schemas, comments)}
    one = _one(field, schemas, comments)
    return {"type": "array", "items": one} if field.is_repeated else one


def _one(field: FieldDescriptor, schemas: dict[str, Any], comments: Comments) -> dict[str, Any]:
    if field.message_type:
        return _reference(field.message_type, schemas, comments)
    if field.enum_type:
        return _enum(field.enum_type, schemas, comments)
    return dict(_SCALARS.get(field.type, _LONG))


def _enum(enum: EnumDescriptor, schemas: dict[str, Any], comments: Comments) -> dict[str, Any]:
    schemas.setdefault(
        enum.full_name,
        {
            "type": "string",
            "description": comments.of(enum.full_name),
            "enum": [value.name for value in enum.values],
        },
    )
    return {"$ref": f"#/components/schemas/{enum.full_name}"}


_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "google.rpc.Status: `details` holds ErrorInfo (reason), BadRequest (fields), RetryInfo.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer"},
                "status": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}
