"""Data+ and WeChat hall over the official-account API (TCH-03, TCH-06, TCH-80).

A touch is a picture-and-text article (`news`) sent as a customer-service
message (DOMAIN 3.3). The account's own follower directory tells which OpenID
a number is bound to; a number without one does not follow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from iop_adapter import Capabilities, Receipt, Reports, Result, Status, Touch, Touchpoint

_BUSY = {-1, 45009}  # system busy, daily call quota
_TOKEN = {40001, 40014, 42001}
_NOT_A_FOLLOWER = 43004


class DataPlusAdapter:
    """Sends articles, and takes the click reports of their H5 pages."""

    def __init__(self, base_url: str, app_id: str, secret: str, *, rate: float = 0.0) -> None:
        self.capabilities = Capabilities(
            touchpoints=[Touchpoint.DATA_PLUS, Touchpoint.WECHAT_HALL],
            max_batch=200,
            rate=rate,
            concurrency=2,
        )
        self._http = httpx.AsyncClient(
            base_url=base_url,
            timeout=30.0,
            # Idle connections are given up before the account closes them: a message sent into a closing
            # connection would be in doubt.
            limits=httpx.Limits(max_connections=16, keepalive_expiry=2.0),
        )
        self._app_id, self._secret = app_id, secret
        self._token, self._token_until = "", 0.0
        self._token_lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(16)
        self._reports: Reports | None = None

    async def start(self, reports: Reports) -> None:
        self._reports = reports

    async def stop(self) -> None:
        await self._http.aclose()

    async def send(self, touches: Sequence[Touch]) -> Sequence[Result]:
        try:
            open_ids = await self._open_ids([t.phone for t in touches])
        except httpx.HTTPError:
            return [Result(Status.RETRY, code="DIRECTORY_UNREACHABLE", retry_after=2.0) for _ in touches]
        return await asyncio.gather(*(self._send(t, open_ids.get(t.phone, "")) for t in touches))

    async def _send(self, touch: Touch, open_id: str) -> Result:
        if not open_id:
            return Result(Status.REJECTED, code=str(_NOT_A_FOLLOWER))
        url = touch.fields.get("url", "")
        # The H5 page reports its visits with these marks.
        marks = urlencode({"a": touch.activity_code, "t": touch.touch_id})
        article = {
            "title": touch.fields.get("title", ""),
            "description": touch.text,
            "url": f"{url}{'&' if '?' in url else '?'}{marks}",
            "picurl": touch.fields.get("image", ""),
        }
        body = {"touser": open_id, "msgtype": "news", "news": {"articles": [article]}}
        for _ in range(2):
            async with self._slots:
                try:
                    token = await self._access_token()
                except httpx.HTTPError:
                    return Result(Status.RETRY, code="TOKEN_UNREACHABLE", retry_after=2.0)
                try:
                    answer = await self._http.post(
                        "/cgi-bin/message/custom/send", params={"access_token": token}, json=body
                    )
                    answer.raise_for_status()
                except httpx.ConnectError:
                    return Result(Status.RETRY, code="UNREACHABLE", retry_after=2.0)
                except httpx.HTTPError:
                    return Result(Status.UNKNOWN, code="NO_ANSWER")
            code = int(answer.json()["errcode"])
            if code not in _TOKEN:
                break
            self._token_until = 0.0
        if code == 0:
            return Result(Status.ACCEPTED)
        if code in _BUSY or code in _TOKEN:
            return Result(Status.RETRY, code=str(code), retry_after=2.0)
        return Result(Status.REJECTED, code=str(code))

    async def _access_token(self) -> str:
        async with self._token_lock:
            if time.monotonic() >= self._token_until:
                answer = await self._http.get(
                    "/cgi-bin/token",
                    params={"grant_type": "client_credential", "appid": self._app_id, "secret": self._secret},
                )
                answer.raise_for_status()
                data = answer.json()
                self._token = data["access_token"]
                # Renewed early: a token that ends in mid-call costs a second call.
                self._token_until = time.monotonic() + data["expires_in"] * 0.9
            return self._token

    async def _open_ids(self, phones: list[str]) -> dict[str, str]:
        answer = await self._http.post(
            "/followers:batchGet",
            params={"access_token": await self._access_token()},
            json={"phones": phones},
        )
        answer.raise_for_status()
        return dict(answer.json()["open_ids"])

    def callbacks(self) -> Starlette:
        """The HTTP door for the H5 pages: `POST /clicks` with `{"touch_ids": [...]}`."""

        async def clicks(request: Request) -> Response:
            if self._reports is None:
                return JSONResponse({"error": "not started"}, status_code=503)
            body = await request.json()
            ids = body.get("touch_ids") if isinstance(body, dict) else None
            if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
                return JSONResponse({"error": "touch_ids must be a list of texts"}, status_code=400)
            reports = self._reports
            known = await asyncio.gather(*(reports.receipt(Receipt(Status.CLICKED, touch_id=i)) for i in ids))
            return JSONResponse({"taken": sum(known)})

        return Starlette(routes=[Route("/clicks", clicks, methods=["POST"])])
