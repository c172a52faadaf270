"""Checks tokens of an OIDC issuer and reads from their claims who is calling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
import jwt

from services.kit import errors
from services.kit.actor import ROLES, Actor

_KEYS_SECONDS = 600.0
_REFETCH_SECONDS = 10.0  # an unknown key id asks again, but not more often than this
_ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA")
# Roles that are never given to people by a claim.
_NOT_FOR_USERS = frozenset({"service", "adapter"})


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    async def keys(self, refresh: bool) -> Mapping[str, Any]:
        """The JSON Web Key Set."""


class RemoteKeys:
    """Keys by OIDC discovery."""

    def __init__(self, issuer: str, http: httpx.AsyncClient) -> None:
        self._issuer, self._http = issuer, http
        self._found: Mapping[str, Any] | None = None
        self._at = 0.0
        self._lock = asyncio.Lock()
        self._configuration: Mapping[str, Any] = {}

    async def configuration(self) -> Mapping[str, Any]:
        """The issuer's discovery document."""
        if not self._configuration:
            answer = await self._http.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            answer.raise_for_status()
            found = answer.json()
            if found.get("issuer") != self._issuer:
                raise errors.Unavailable(f"the issuer calls itself {found.get('issuer')!r}")
            self._configuration = found
        return self._configuration

    async def keys(self, refresh: bool) -> Mapping[str, Any]:
        async with self._lock:
            age = time.monotonic() - self._at
            if self._found is None or age > _KEYS_SECONDS or (refresh and age > _REFETCH_SECONDS):
                try:
                    configuration = await self.configuration()
                    answer = await self._http.get(configuration["jwks_uri"])
                    answer.raise_for_status()
                    self._found, self._at = answer.json(), time.monotonic()
                except (httpx.HTTPError, ValueError) as problem:
                    if self._found is None:
                        raise errors.Unavailable("the issuer cannot be reached", retry_after=2) from problem
            return self._found


class FixedKeys:
    """Keys of the built-in issuer."""

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self._keys = keys

    async def keys(self, refresh: bool) -> Mapping[str, Any]:
        return self._keys


class Tokens:
    """Verifies ID or access tokens of one issuer for one audience."""

    def __init__(self, issuer: str, audience: str, source: KeySource) -> None:
        self._issuer, self._audience, self._source = issuer, audience, source

    async def actor(self, token: str) -> Actor:
        """The caller; Unauthenticated with TOKEN_EXPIRED or TOKEN_INVALID when the token is no good."""
        claims = await self.claims(token)
        return actor_of(claims)

    async def claims(self, token: str) -> dict[str, Any]:
        """The verified claims."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as problem:
            raise _invalid(problem) from None
        if header.get("alg") not in _ALGORITHMS:
            raise errors.Unauthenticated("the token's algorithm is not taken", reason="TOKEN_INVALID")
        key = _find(await self._source.keys(False), header.get("kid"))
        if key is None:
            key = _find(await self._source.keys(True), header.get("kid"))
        if key is None:
            raise errors.Unauthenticated("the token is signed by nobody we trust", reason="TOKEN_INVALID")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "iat", "sub"]},
                leeway=5,
            )
        except jwt.ExpiredSignatureError:
            raise errors.Unauthenticated("the token has expired: sign in", reason="TOKEN_EXPIRED") from None
        except jwt.InvalidTokenError as problem:
            raise _invalid(problem) from None
        return claims


def actor_of(claims: Mapping[str, Any]) -> Actor:
    """Who the claims speak of. Unknown roles are dropped; without a region nothing is in scope."""
    roles = frozenset(str(r) for r in _list(claims.get("roles"))) & frozenset(ROLES) - _NOT_FOR_USERS
    try:
        regions = tuple(int(r) for r in _list(claims.get("regions")))
    except (TypeError, ValueError):
        raise errors.Unauthenticated("the token's regions are no codes", reason="TOKEN_INVALID") from None
    return Actor(
        subject=f"user:{claims['sub']}",
        name=str(claims.get("name") or claims["sub"]),
        roles=roles,
        regions=regions,
        campuses=tuple(str(c) for c in _list(claims.get("campuses"))),
    )


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _find(keys: Mapping[str, Any], kid: str | None) -> Any:
    for key in keys.get("keys", ()):
        if kid is None or key.get("kid") == kid:
            return jwt.PyJWK(key).key
    return None


def _invalid(problem: Exception) -> errors.Unauthenticated:
    return errors.Unauthenticated(f"the token is no good: {problem}", reason="TOKEN_INVALID")
