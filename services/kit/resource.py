"""Resource names, identifiers and etags."""

import base64
import re
import secrets

from services.kit import errors

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}")


def new_id() -> str:
    """A fresh id: 80 random bits in lower-case base32, 16 characters."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()


def name(*parts: str | int) -> str:
    """name("campaigns", "c1", "activities", "a2") -> "campaigns/c1/activities/a2"."""
    return "/".join(str(part) for part in parts)


def ids(resource: str, *collections: str, field: str = "name") -> tuple[str, ...]:
    """The ids in a name: ids("campaigns/c1/activities/a2", "campaigns", "activities") -> ("c1", "a2").

    Anything else is errors.Invalid, reason FIELD_INVALID, naming `field`.
    """
    parts = resource.split("/")
    good = len(parts) == 2 * len(collections) and all(
        parts[2 * i] == collection and _ID.fullmatch(parts[2 * i + 1])
        for i, collection in enumerate(collections)
    )
    if not good:
        shape = "/".join(f"{collection}/{{id}}" for collection in collections)
        raise errors.Invalid(
            f"{resource!r} is not a name of the form {shape}",
            reason="FIELD_INVALID",
            fields=[(field, f"must have the form {shape}")],
        )
    return tuple(parts[1::2])


def parse(resource: str, collection: str, field: str = "name") -> str:
    """The id of a top-level resource: parse("campaigns/c1", "campaigns") -> "c1"; else errors.Invalid."""
    return ids(resource, collection, field=field)[0]


def etag(version: int) -> str:
    """The etag of a row's version."""
    return f"v{version}"


def check_etag(given: str, version: int) -> None:
    """Conflict (reason ETAG_STALE) when an etag is given and is not that of `version`."""
    if given and given != etag(version):
        raise errors.Conflict(
            "the resource was changed meanwhile; read it again",
            reason="ETAG_STALE",
            metadata={"given": given, "current": etag(version)},
        )
