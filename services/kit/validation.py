"""Requests against the `buf.validate` rules of the contract: courtesy to callers, not safety."""

from typing import Any

import protovalidate
from google.protobuf.message import Message

from services.kit import errors


class Validation:
    """Checks messages; one per server, since it remembers the compiled rules."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def __call__(self, message: Message) -> None:
        """errors.Invalid with the path of every field that breaks a rule."""
        violations = self._validator.collect_violations(message)
        if not violations:
            return
        fields = [(_path(item.proto.field), item.proto.message or item.proto.rule_id) for item in violations]
        listed = "; ".join(f"{path or 'request'}: {text}" for path, text in fields[:5])
        raise errors.Invalid(listed, fields=fields)


def _path(field: Any) -> str:
    """`activities[2].settings["sms"].text`, as BadRequest wants it."""
    text = ""
    for element in field.elements if field is not None else ():
        text += f"{'.' if text else ''}{element.field_name}"
        subscript = element.subscript
        if subscript is not None:
            value = subscript.value
            text += f"[{value}]" if not isinstance(value, str) else f'["{value}"]'
    return text
