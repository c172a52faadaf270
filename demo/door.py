"""The HTTP API as its users call it: signed in with a name and a password, JSON in and out.

Every call may be repeated: reads, calls with a `request_id`, decisions and feedback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from demo.again import again
from services.kit.errors import Unavailable

_PASSING = (502, 503, 504)  # somebody behind the door is being restarted


class Refused(Exception):
    """The platform refused a request; the text names the request, the reason and the fields."""


class Door:
    """HTTP calls as one of the demonstration's accounts. Use as an async context manager."""

    def __init__(self, url: str, passwords: Mapping[str, str]) -> None:
        self._passwords = passwords
        self._tokens: dict[str, str] = {}
        self._http = httpx.AsyncClient(
            base_url=url, timeout=60.0, limits=httpx.Limits(max_connections=16, max_keepalive_connections=16)
        )
        self.calls = 0

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def sign_in(self, *users: str) -> None:
        """Gets a token for each of the users."""
        for user in users:
            answer = await self._http.post(
                "/auth/token", json={"username": user, "password": self._passwords[user]}
            )
            answer.raise_for_status()
            self._tokens[user] = answer.json()["access_token"]

    async def get(self, user: str, path: str, **query: Any) -> Any:
        """GET as `user`; `path` is that of the contract, such as `/campaign/v1/campaigns`."""
        return await self._call(user, "GET", path, None, query)

    async def post(self, user: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """POST as `user`."""
        return await self._call(user, "POST", path, body or {}, query)

    async def put(self, user: str, path: str, body: Mapping[str, Any]) -> Any:
        """PUT as `user`."""
        return await self._call(user, "PUT", path, body, {})

    async def _call(
        self, user: str, verb: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any]
    ) -> Any:
        if user not in self._tokens:
            await self.sign_in(user)
        self.calls += 1

        async def call() -> httpx.Response:
            given = await self._http.request(
                verb,
                f"/api{path}",
                json=body,
                params=dict(query),
                headers={"Authorization": f"Bearer {self._tokens[user]}"},
            )
            if given.status_code in _PASSING:
                raise Unavailable(f"{verb} {path} as {user}: {given.status_code} {given.text[:300]}")
            return given

        answer = await again(call)
        if answer.status_code >= 400:
            raise Refused(f"{verb} {path} as {user}: {answer.status_code} {answer.text[:1000]}")
        return answer.json()
