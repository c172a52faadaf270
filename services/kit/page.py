"""Keyset pages: a token holds the last key seen and a digest of the other arguments of the call."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from services.kit import errors

_PAGING = ("page_size", "page_token")


def size(requested: int, default: int = 50, limit: int = 1000) -> int:
    """The number of rows to give: `default` for 0, at most `limit`."""
    if requested < 0:
        raise errors.Invalid("page_size is negative", fields=[("page_size", "must not be negative")])
    return min(requested or default, limit)


def token(last_key: list[Any], args: Message | Mapping[str, Any]) -> str:
    """The token of the page after `last_key` (JSON values) for a request with these arguments."""
    body = json.dumps(last_key, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_check(body, args) + body).decode().rstrip("=")


def read(given: str, args: Message | Mapping[str, Any]) -> list[Any] | None:
    """The last key in a token, None for an empty one.

    A token that was altered, or given out for other arguments, is errors.Invalid (PAGE_TOKEN_INVALID).
    """
    if not given:
        return None
    try:
        raw = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        check, body = raw[:12], raw[12:]
        if check == _check(body, args):
            key = json.loads(body)
            if isinstance(key, list):
                return key
    except ValueError:
        pass
    raise errors.Invalid(
        "the page token does not belong to this request",
        reason="PAGE_TOKEN_INVALID",
        fields=[("page_token", "take it from the previous page of the same request")],
    )


def _check(body: bytes, args: Message | Mapping[str, Any]) -> bytes:
    digest = hashlib.blake2s(digest_size=12, person=b"iop-page")
    if isinstance(args, Message):
        bare = type(args)()
        bare.CopyFrom(args)
        for field in _PAGING:
            if field in bare.DESCRIPTOR.fields_by_name:
                bare.ClearField(field)
        digest.update(bare.SerializeToString(deterministic=True))
    else:
        kept = {key: value for key, value in args.items() if key not in _PAGING}
        digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    digest.update(b"\0" + body)
    return digest.digest()
