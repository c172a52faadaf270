"""The gateway over HTTP: sign-in, tokens, errors, streams, traces."""

import base64
import json
import time
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.auth.issuer import CLIENT_ID
from gateway.auth.tokens import actor_of
from services.kit import errors


@pytest.fixture
async def door(make_service, free_port, monkeypatch):
    """A gateway and an HTTP client on it."""
    monkeypatch.setenv("IOP_OTLP_LISTEN", f"127.0.0.1:{free_port()}")
    service = await make_service(
        "gateway", database_url="", nats_url="", redis_url="",
        addresses={"touchpoint": f"127.0.0.1:{free_port()}"},
    )  # fmt: skip
    data = Path(service.runtime.data_dir)
    url = json.loads((data / "gateway.json").read_text())["url"]
    async with httpx.AsyncClient(base_url=url) as client:
        yield client, data


@pytest.fixture
def free_port():
    from services.kit.embedded import process

    return process.free_port


async def token(client: httpx.AsyncClient, data: Path, name: str) -> str:
    passwords = json.loads((data / "issuer" / "passwords.json").read_text())
    answer = await client.post("/auth/token", json={"username": name, "password": passwords[name]})
    assert answer.status_code == 200
    return answer.json()["access_token"]


def reason(answer: httpx.Response) -> str:
    return answer.json()["error"]["details"][0]["reason"]


async def test_a_session_tells_roles_and_scope(door):
    """Sign-in gives roles and data scope (POR-19, POR-22, POR-23)."""
    client, data = door
    header = {"Authorization": f"Bearer {await token(client, data, 'wuhai')}"}
    answer = await client.get("/api/gateway/v1/session", headers=header)
    assert answer.status_code == 200
    session = answer.json()
    assert (session["subject"], session["roles"], session["regions"]) == ("user:wuhai", ["planner"], [150300])
    assert session["version"]


async def test_a_cookie_serves_the_portal_and_not_other_sites(door):
    client, data = door
    passwords = json.loads((data / "issuer" / "passwords.json").read_text())
    answer = await client.post("/auth/signin", json={"username": "planner", "password": passwords["planner"]})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert (await client.get("/api/gateway/v1/session")).status_code == 200
    decide = "/api/touchpoint/v1/decisions:decide"
    foreign = await client.post(decide, json={}, headers={"Origin": "http://elsewhere.example"})
    assert foreign.status_code == 403
    # Its own pages get through to the service, which nobody runs here.
    own = await client.post(decide, json={}, headers={"Origin": str(client.base_url).rstrip("/")})
    assert (own.status_code, reason(own)) == (503, "DEPENDENCY_UNAVAILABLE")
    await client.post("/auth/signout")
    assert reason(await client.get("/api/gateway/v1/session")) == "TOKEN_MISSING"


async def test_wrong_passwords_are_refused_and_slowed(door):
    client, _ = door
    for _ in range(5):
        answer = await client.post("/auth/token", json={"username": "planner", "password": "guess"})
        assert (answer.status_code, reason(answer)) == (401, "TOKEN_INVALID")
    answer = await client.post("/auth/token", json={"username": "planner", "password": "guess"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


async def test_expired_and_foreign_tokens_are_refused(door):
    client, data = door
    good = await token(client, data, "planner")
    claims = jwt.decode(good, options={"verify_signature": False})
    stranger = ec.generate_private_key(ec.SECP256R1())
    forged = jwt.encode(claims, stranger, algorithm="ES256", headers={"kid": "1"})
    unsigned = good.rsplit(".", 1)[0] + "."
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((data / "issuer" / "issuer.pem").read_bytes(), None)
    old = jwt.encode({**claims, "exp": int(time.time()) - 60}, key, algorithm="ES256", headers={"kid": "1"})
    other = jwt.encode({**claims, "aud": "another"}, key, algorithm="ES256", headers={"kid": "1"})
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    none = f"{header}.{good.split('.')[1]}."
    for bad, why in [
        (forged, "TOKEN_INVALID"),
        (unsigned, "TOKEN_INVALID"),
        (old, "TOKEN_EXPIRED"),
        (other, "TOKEN_INVALID"),
        (none, "TOKEN_INVALID"),
        ("rubbish", "TOKEN_INVALID"),
    ]:
        answer = await client.get("/api/gateway/v1/session", headers={"Authorization": f"Bearer {bad}"})
        assert (answer.status_code, reason(answer)) == (401, why)


def test_claims_never_make_a_service_or_an_adapter():
    actor = actor_of({"sub": "x", "roles": ["service", "adapter", "planner", "king"], "regions": ["150100"]})
    assert actor.roles == {"planner"}
    assert actor.regions == (150100,)
    assert actor_of({"sub": "x"}).regions == ()
    with pytest.raises(errors.Unauthenticated):
        actor_of({"sub": "x", "regions": ["here"]})


async def test_errors_name_reason_field_and_trace(door):
    client, data = door
    header = {"Authorization": f"Bearer {await token(client, data, 'operator')}"}
    answer = await client.get("/api/gateway/v1/traces", params={"pageSize": "-1"}, headers=header)
    assert answer.status_code == 400
    details = answer.json()["error"]["details"]
    assert details[1]["fieldViolations"][0]["field"] == "page_size"
    assert len(answer.headers["x-trace-id"]) == 32
    missing = await client.get("/api/nothing/here", headers=header)
    assert missing.status_code == 404
    wrong = await client.delete("/api/gateway/v1/traces", headers=header)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    clerk = {"Authorization": f"Bearer {await token(client, data, 'clerk')}"}
    denied = await client.get("/api/gateway/v1/traces", headers=clerk)
    assert (denied.status_code, reason(denied)) == (403, "ROLE_MISSING")


async def test_server_streams_are_lines(door):
    client, data = door
    header = {"Authorization": f"Bearer {await token(client, data, 'operator')}"}
    lines = []
    async with client.stream(
        "GET", "/api/gateway/v1/services:watch", params={"intervalSeconds": 1}, headers=header
    ) as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        async for line in answer.aiter_lines():
            lines.append(json.loads(line))
            if len(lines) == 2:
                break
    assert all("services" in line["result"] for line in lines)


async def test_without_a_portal_the_door_says_so(door):
    client, _ = door
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    document = (await client.get("/api/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert (await client.get("/../../etc/passwd")).status_code in (200, 404)
    assert "root:" not in (await client.get("/..%2f..%2fetc/passwd")).text


async def test_the_issuer_serves_loopback_only(make_service, monkeypatch):
    monkeypatch.setenv("IOP_HTTP_LISTEN", "0.0.0.0:0")
    with pytest.raises(errors.Precondition, match="loopback"):
        await make_service("gateway", database_url="", nats_url="", redis_url="")


async def test_sign_in_by_the_operators_issuer(make_service, monkeypatch, free_port):
    """OIDC code flow with PKCE against a small real issuer (POR-19)."""
    issuer = await Issuer.start(free_port())
    monkeypatch.setenv("IOP_OIDC_ISSUER", issuer.url)
    monkeypatch.setenv("IOP_OIDC_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("IOP_OIDC_CLIENT_SECRET", "s3cret")
    service = await make_service("gateway", database_url="", nats_url="", redis_url="")
    url = json.loads((Path(service.runtime.data_dir) / "gateway.json").read_text())["url"]
    try:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/auth/config")).json() == {"mode": "oidc"}
            assert (await client.post("/auth/signin", json={})).status_code == 405
            away = await client.get("/auth/login")
            back = await client.get(issuer.approve(away.headers["location"]))
            assert back.status_code == 303
            session = (await client.get("/api/gateway/v1/session")).json()
            assert session["roles"] == ["approver"]
            stolen = await client.get("/auth/callback", params={"code": "x", "state": "forged"})
            assert stolen.status_code == 401
    finally:
        await issuer.stop()


class Issuer:
    """An OIDC issuer with one user: discovery, keys, code exchange with PKCE."""

    @classmethod
    async def start(cls, port: int) -> "Issuer":
        import asyncio

        import uvicorn
        from starlette.applications import Starlette
        from starlette.routing import Route

        self = cls()
        self.url = f"http://127.0.0.1:{port}"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.codes: dict[str, dict[str, str]] = {}
        app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.configuration),
                Route("/keys", self.keys),
                Route("/token", self.exchange, methods=["POST"]),
            ]
        )
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
        self.task = asyncio.create_task(self.server._serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        return self

    async def stop(self) -> None:
        self.server.should_exit = True
        await self.task

    async def configuration(self, request):
        from starlette.responses import JSONResponse

        return JSONResponse(
            {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
            }
        )

    async def keys(self, request):
        from jwt.algorithms import ECAlgorithm
        from starlette.responses import JSONResponse

        return JSONResponse({"keys": [{**json.loads(ECAlgorithm.to_jwk(self.key.public_key())), "kid": "k"}]})

    def approve(self, location: str) -> str:
        """What the issuer's page would do: remembers the challenge, sends the browser back with a code."""
        from urllib.parse import parse_qsl, urlencode, urlsplit

        query = dict(parse_qsl(urlsplit(location).query))
        self.codes["c0de"] = query
        return f"{query['redirect_uri']}?{urlencode({'code': 'c0de', 'state': query['state']})}"

    async def exchange(self, request):
        import hashlib

        from starlette.responses import JSONResponse

        form = dict(line.split("=", 1) for line in (await request.body()).decode().split("&"))
        asked = self.codes.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT_ID, "sub": "li", "name": "李", "roles": ["approver"],
            "regions": [150000], "iat": now, "exp": now + 600, "nonce": asked["nonce"],
        }  # fmt: skip
        return JSONResponse(
            {"id_token": jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": "k"})}
        )
