"""Sign-in for browsers: a session cookie that holds the ID token; bearer tokens for programs."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.auth.issuer import BuiltInIssuer
from gateway.auth.tokens import RemoteKeys, Tokens
from services.kit import errors
from services.kit.actor import Actor

COOKIE = "iop_session"
_LOGIN_COOKIE = "iop_login"
_LOGIN_SECONDS = 600


@dataclass(frozen=True)
class OidcClient:
    """This gateway as a client of the operator's issuer."""

    client_id: str
    client_secret: str
    keys: RemoteKeys
    http: httpx.AsyncClient


class Sessions:
    """Who is calling, and the endpoints of sign-in."""

    def __init__(self, tokens: Tokens, issuer: BuiltInIssuer | None, client: OidcClient | None) -> None:
        self._tokens, self._issuer, self._client = tokens, issuer, client

    async def actor(self, request: Request) -> Actor:
        """The caller of a request, by `Authorization: Bearer` or by session cookie."""
        header = request.headers.get("authorization", "")
        if header:
            kind, _, token = header.partition(" ")
            if kind.lower() != "bearer" or not token:
                raise errors.Unauthenticated("Authorization must be a bearer token", reason="TOKEN_INVALID")
            return await self._tokens.actor(token.strip())
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            raise errors.Unauthenticated("sign in first", reason="TOKEN_MISSING")
        if request.method not in ("GET", "HEAD"):
            _require_own_origin(request)
        return await self._tokens.actor(cookie)

    def routes(self) -> list[Route]:
        """The HTTP routes of sign-in."""
        found = [
            Route("/auth/config", self._config),
            Route("/auth/signout", self._sign_out, methods=["POST"]),
        ]
        if self._issuer is not None:
            found += [
                Route("/auth/signin", self._sign_in, methods=["POST"]),
                Route("/auth/token", self._token, methods=["POST"]),
                Route("/auth/jwks", self._jwks),
            ]
        if self._client is not None:
            found += [Route("/auth/login", self._login), Route("/auth/callback", self._callback)]
        return found

    async def _config(self, request: Request) -> Response:
        return JSONResponse({"mode": "password" if self._issuer is not None else "oidc"})

    async def _sign_in(self, request: Request) -> Response:
        """Password sign-in of the built-in issuer, for the portal."""
        assert self._issuer is not None
        _require_own_origin(request)
        name, password = await _credentials(request)
        token = self._issuer.sign_in(name, password)
        response = JSONResponse({"ok": True})
        _set_session(response, request, token, await self._tokens.claims(token))
        return response

    async def _token(self, request: Request) -> Response:
        """A bearer token of the built-in issuer, for the command line."""
        assert self._issuer is not None
        name, password = await _credentials(request)
        token = self._issuer.sign_in(name, password)
        claims = await self._tokens.claims(token)
        return JSONResponse(
            {"access_token": token, "token_type": "Bearer", "expires_in": int(claims["exp"] - time.time())},
            headers={"Cache-Control": "no-store"},
        )

    async def _jwks(self, request: Request) -> Response:
        assert self._issuer is not None
        return JSONResponse(self._issuer.jwks())

    async def _sign_out(self, request: Request) -> Response:
        response = JSONResponse({"ok": True})
        response.delete_cookie(COOKIE, path="/")
        return response

    async def _login(self, request: Request) -> Response:
        """Authorisation code flow with PKCE: off to the issuer."""
        assert self._client is not None
        configuration = await self._client.keys.configuration()
        verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._client.client_id,
                "redirect_uri": _callback_url(request),
                "scope": "openid profile",
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge.decode(),
                "code_challenge_method": "S256",
            }
        )
        response = RedirectResponse(f"{configuration['authorization_endpoint']}?{query}", 303)
        memory = base64.urlsafe_b64encode(json.dumps([verifier, state, nonce]).encode()).decode()
        response.set_cookie(
            _LOGIN_COOKIE, memory, max_age=_LOGIN_SECONDS, httponly=True, samesite="lax",
            secure=request.url.scheme == "https", path="/auth",
        )  # fmt: skip
        return response

    async def _callback(self, request: Request) -> Response:
        """Back from the issuer with a code."""
        assert self._client is not None
        try:
            memory = json.loads(base64.urlsafe_b64decode(request.cookies.get(_LOGIN_COOKIE, "")))
            verifier, state, nonce = memory
        except ValueError:
            raise errors.Unauthenticated("begin to sign in again", reason="TOKEN_INVALID") from None
        if not secrets.compare_digest(state, request.query_params.get("state", "")):
            raise errors.Unauthenticated("the sign-in was not begun here", reason="TOKEN_INVALID")
        code = request.query_params.get("code")
        if not code:
            what = request.query_params.get("error_description") or request.query_params.get("error", "")
            raise errors.Unauthenticated(f"the issuer refused: {what}", reason="TOKEN_INVALID")
        configuration = await self._client.keys.configuration()
        answer = await self._client.http.post(
            configuration["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": _callback_url(request),
                "client_id": self._client.client_id,
                "client_secret": self._client.client_secret,
                "code_verifier": verifier,
            },
        )
        if answer.status_code != 200:
            raise errors.Unauthenticated("the issuer did not take the code", reason="TOKEN_INVALID")
        token = answer.json().get("id_token", "")
        claims = await self._tokens.claims(token)
        if claims.get("nonce") != nonce:
            raise errors.Unauthenticated("the token answers another sign-in", reason="TOKEN_INVALID")
        response = RedirectResponse("/", 303)
        _set_session(response, request, token, claims)
        response.delete_cookie(_LOGIN_COOKIE, path="/auth")
        return response


def _set_session(response: Response, request: Request, token: str, claims: dict[str, Any]) -> None:
    response.set_cookie(
        COOKIE, token, max_age=max(0, int(claims["exp"] - time.time())), httponly=True, samesite="strict",
        secure=request.url.scheme == "https", path="/",
    )  # fmt: skip


def _callback_url(request: Request) -> str:
    return str(request.url.replace(path="/auth/callback", query=""))


def _require_own_origin(request: Request) -> None:
    """A page of another site must not act with the cookie (beside SameSite)."""
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise errors.Denied("this request comes from another site", reason="ROLE_MISSING")


async def _credentials(request: Request) -> tuple[str, str]:
    try:
        data = await request.json()
        name, password = data["username"], data["password"]
        if not isinstance(name, str) or not isinstance(password, str):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise errors.Invalid(
            "username and password are needed",
            reason="FIELD_INVALID",
            fields=[("username", "text"), ("password", "text")],
        ) from None
    return name, password
