"""Routes read from the contracts: every method with `google.api.http`, nothing typed in twice."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2, http_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

# Contracts served over HTTP, with the service that serves them.
CONTRACTS = {
    "iop.audience.v1.directory_pb2": "audience",
    "iop.audience.v1.tag_pb2": "audience",
    "iop.audience.v1.audience_pb2": "audience",
    "iop.audience.v1.list_pb2": "audience",
    "iop.event.v1.cell_pb2": "event",
    "iop.event.v1.definition_pb2": "event",
    "iop.event.v1.signal_pb2": "event",
    "iop.campaign.v1.campaign_pb2": "campaign",
    "iop.campaign.v1.activity_pb2": "campaign",
    "iop.touchpoint.v1.touchpoint_pb2": "touchpoint",
    "iop.touchpoint.v1.ledger_pb2": "touchpoint",
    "iop.adapter.v1.decision_pb2": "touchpoint",
    "iop.evaluation.v1.report_pb2": "evaluation",
    "iop.campus.v1.school_pb2": "campus",
    "iop.gateway.v1.trace_pb2": "gateway",
    "iop.gateway.v1.platform_pb2": "gateway",
}

_VARIABLE = re.compile(r"\{([a-zA-Z0-9_.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True)
class Route:
    """One HTTP binding of one method."""

    verb: str
    template: str
    pattern: re.Pattern[str]
    variables: tuple[str, ...]
    body: str
    method: MethodDescriptor
    peer: str
    request_type: Any = field(repr=False)
    response_type: Any = field(repr=False)

    @property
    def full_method(self) -> str:
        """The gRPC path."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    def match(self, path: str) -> dict[str, str] | None:
        """Values of the path's variables by field path; None when the path is another's."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        return {name: unquote(value) for name, value in zip(self.variables, found.groups(), strict=True)}


def routes() -> list[Route]:
    """Every route, the most literal first, so that `:verb` paths win over wildcards."""
    found: list[Route] = []
    for module_name, peer in CONTRACTS.items():
        module = importlib.import_module(module_name)
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found.extend(_bindings(method, peer))
    seen: dict[tuple[str, str], str] = {}
    for route in found:
        other = seen.setdefault((route.verb, route.pattern.pattern), route.full_method)
        if other != route.full_method:
            raise ValueError(f"{route.verb} {route.template} is claimed by {other} and {route.full_method}")
    return sorted(found, key=lambda r: (r.template.count("{"), -len(r.template)))


def _bindings(method: MethodDescriptor, peer: str) -> Iterator[Route]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        yield _route(binding, method, peer)


def _route(rule: http_pb2.HttpRule, method: MethodDescriptor, peer: str) -> Route:
    kind = rule.WhichOneof("pattern")
    if kind in (None, "custom"):
        raise ValueError(f"{method.full_name} has an HTTP rule without a path")
    template = getattr(rule, kind)
    variables: list[str] = []
    pattern = ""
    position = 0
    for found in _VARIABLE.finditer(template):
        pattern += re.escape(template[position : found.start()])
        variables.append(found.group(1))
        pattern += "(" + _segments(found.group(2) or "*") + ")"
        position = found.end()
    pattern += re.escape(template[position:])
    for variable in variables:
        resolve(method.input_type, variable)
    return Route(
        verb=kind.upper(),
        template=template,
        pattern=re.compile(pattern),
        variables=tuple(variables),
        body=rule.body,
        method=method,
        peer=peer,
        request_type=message_factory.GetMessageClass(method.input_type),
        response_type=message_factory.GetMessageClass(method.output_type),
    )


def _segments(template: str) -> str:
    parts = {"*": r"[^/:]+", "**": r".+"}
    return "/".join(parts.get(part) or re.escape(part) for part in template.split("/"))


def resolve(message: Any, path: str) -> FieldDescriptor:
    """The field at a dotted path of proto or JSON names; KeyError names the part that does not exist."""
    found: FieldDescriptor | None = None
    for part in path.split("."):
        if message is None:
            raise KeyError(path)
        found = message.fields_by_name.get(part) or message.fields_by_camelcase_name.get(part)
        if found is None:
            raise KeyError(path)
        message = found.message_type
    assert found is not None
    return found
