"""The Data+ official account: token, follower directory, customer-service messages.

The endpoints and error codes of DOMAIN 3.3; the follower directory is the
account's own. Articles are opened by some, and their H5 page tells the adapter.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.simulators import fate
from demo.simulators.agenda import Agenda
from demo.simulators.log import MessageLog

log = logging.getLogger("demo.official_account")
_TOKEN_SECONDS = 7200


class OfficialAccount:
    """One account. `followers` are the numbers bound to it."""

    def __init__(
        self,
        app_id: str,
        secret: str,
        seed: int,
        now: Callable[[], datetime],
        messages: MessageLog,
        followers: set[int],
        callback: Callable[[], str],
        touchpoint: str = "data_plus",
    ) -> None:
        """`callback` gives the URL to which the H5 page reports clicks; empty for none."""
        self._app_id, self._secret, self._seed, self._now = app_id, secret, seed, now
        self._log, self._followers, self._callback, self._touchpoint = (
            messages,
            followers,
            callback,
            touchpoint,
        )
        self._tokens: dict[str, float] = {}
        self._phones: dict[str, int] = {}
        self.agenda = Agenda(now)
        self._http = httpx.AsyncClient(timeout=10.0)
        self._agenda_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to open articles."""
        self._agenda_task = asyncio.create_task(self.agenda.run())

    async def stop(self) -> None:
        """Ends."""
        if self._agenda_task is not None:
            self._agenda_task.cancel()
        await self._http.aclose()

    def app(self) -> Starlette:
        """The account's HTTP API."""
        return Starlette(
            routes=[
                Route("/cgi-bin/token", self._token),
                Route("/followers:batchGet", self._batch_get, methods=["POST"]),
                Route("/cgi-bin/message/custom/send", self._send, methods=["POST"]),
            ]
        )

    def open_id(self, phone: int) -> str:
        """The OpenID of a number at this account."""
        digest = hashlib.sha256(f"{self._app_id}|{phone}".encode()).digest()
        return "o" + base64.urlsafe_b64encode(digest).decode()[:27]

    def _valid(self, request: Request) -> bool:
        return self._tokens.get(request.query_params.get("access_token", ""), 0) > time.monotonic()

    async def _token(self, request: Request) -> Response:
        query = request.query_params
        if query.get("appid") != self._app_id or query.get("secret") != self._secret:
            return JSONResponse({"errcode": 40001, "errmsg": "invalid credential"})
        token = secrets.token_urlsafe(32)
        self._tokens[token] = time.monotonic() + _TOKEN_SECONDS
        return JSONResponse({"access_token": token, "expires_in": _TOKEN_SECONDS})

    async def _batch_get(self, request: Request) -> Response:
        if not self._valid(request):
            return JSONResponse({"errcode": 40001, "errmsg": "invalid credential", "open_ids": {}})
        open_ids = {}
        for phone in (await request.json())["phones"]:
            if int(phone) in self._followers:
                open_ids[phone] = self.open_id(int(phone))
                self._phones[open_ids[phone]] = int(phone)
        return JSONResponse({"open_ids": open_ids})

    async def _send(self, request: Request) -> Response:
        if not self._valid(request):
            return JSONResponse({"errcode": 40001, "errmsg": "invalid credential"})
        body = await request.json()
        phone = self._phones.get(body.get("touser", ""))
        if phone is None:
            return JSONResponse({"errcode": 40003, "errmsg": "invalid openid"})
        article = body["news"]["articles"][0]
        query = parse_qs(urlsplit(article["url"]).query)
        code, touch_id = query.get("a", [""])[0], query.get("t", [""])[0]
        one = fate.one(self._seed, code, phone, self._touchpoint)
        if not one.delivered:
            self._log.write(kind="refused", code=code, phone=str(phone), touchpoint=self._touchpoint)
            self._log.flush()
            # Out of the time window in which the account may speak to the user.
            return JSONResponse({"errcode": 45015, "errmsg": "response out of time limit"})
        self._log.write(
            kind="message", code=code, phone=str(phone), touchpoint=self._touchpoint, touch_id=touch_id,
            text=article["description"], at=self._now().isoformat(),
        )  # fmt: skip
        self._log.flush()
        if one.click:
            self._log.write(kind="clicked", code=code, phone=str(phone), touchpoint=self._touchpoint)
            self.agenda.add(self._now() + timedelta(minutes=5), lambda: self._click(touch_id))
        return JSONResponse({"errcode": 0, "errmsg": "ok"})

    async def _click(self, touch_id: str) -> None:
        while url := self._callback():
            try:
                answer = await self._http.post(f"{url}/clicks", json={"touch_ids": [touch_id]})
                answer.raise_for_status()
                return
            except httpx.HTTPError as error:
                log.info("click report failed, again: %s", error)
                await asyncio.sleep(0.5)
