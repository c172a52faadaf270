"""The gateway process: HTTP door, sign-in, span store, portal."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from iop.common.v1 import runtime_pb2_grpc
from iop.gateway.v1 import platform_pb2_grpc, trace_pb2_grpc

from gateway.api import VERSION, PlatformApi, TraceApi
from gateway.auth.issuer import CLIENT_ID, BuiltInIssuer
from gateway.auth.session import OidcClient, Sessions
from gateway.auth.tokens import FixedKeys, RemoteKeys, Tokens
from gateway.http import openapi
from gateway.http.app import Api, build
from gateway.http.routes import routes
from gateway.spans.collector import serve as serve_spans
from gateway.spans.store import SpanStore
from services.kit import config, errors, rpc
from services.kit.app import Service

_ROOT = Path(__file__).parent.parent
SERVICES = ("audience", "event", "touchpoint", "campaign", "evaluation", "campus")


@dataclass(frozen=True)
class Settings:
    """Settings of the gateway, from IOP_<NAME>."""

    http_listen: str = "127.0.0.1:0"
    # Listening address of the embedded span store; empty when spans go to a collector.
    otlp_listen: str = ""
    # Issuer of the operator's sign-in; empty for the built-in one, which serves loopback only.
    oidc_issuer: str = ""
    oidc_client_id: str = CLIENT_ID
    oidc_client_secret: str = config.secret()
    portal: str = str(_ROOT / "gateway" / "portal" / "dist")


async def start(service: Service) -> None:
    """Starts the gateway; its HTTP address is written to `<data dir>/gateway.json`."""
    settings = config.load(Settings)
    data = Path(service.runtime.data_dir)
    data.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything is served
    host, _, port = settings.http_listen.rpartition(":")

    store = None
    if settings.otlp_listen:
        store = SpanStore(data / "spans.db")
        service.on_stop("span store", store.close)
        collector = await serve_spans(store, settings.otlp_listen)
        service.on_stop("span door", lambda: collector.stop(1))

    http = httpx.AsyncClient(timeout=10.0)
    service.on_stop("issuer client", http.aclose)
    issuer, client = None, None
    if settings.oidc_issuer:
        keys = RemoteKeys(settings.oidc_issuer, http)
        tokens = Tokens(settings.oidc_issuer, settings.oidc_client_id, keys)
        client = OidcClient(settings.oidc_client_id, settings.oidc_client_secret, keys, http)
    else:
        issuer = BuiltInIssuer(data / "issuer", "http://iop.localhost/auth", host)
        tokens = Tokens(issuer.url, CLIENT_ID, FixedKeys(issuer.jwks()))
    sessions = Sessions(tokens, issuer, client)

    channels = {name: rpc.channel(service, name) for name in SERVICES if name in service.runtime.addresses}
    server = rpc.Server(service)
    server.add(trace_pb2_grpc.add_TraceServiceServicer_to_server, TraceApi(store))
    peers = {name: runtime_pb2_grpc.RuntimeServiceStub(channel) for name, channel in channels.items()}
    server.add(platform_pb2_grpc.add_PlatformServiceServicer_to_server, PlatformApi(service, peers))
    await server.start()
    service.on_stop("rpc", server.stop)
    if "gateway" not in service.runtime.addresses:
        own = {**service.runtime.addresses, "gateway": server.address}
        service.runtime = dataclasses.replace(service.runtime, addresses=own)
    channels["gateway"] = rpc.channel(service, "gateway")

    found = [route for route in routes() if route.peer in channels]
    comments = openapi.Comments(_ROOT / "build" / "gen" / "iop.binpb")
    api = Api(service, found, sessions, channels.__getitem__)
    app = build(api, sessions, openapi.document(found, comments, VERSION), Path(settings.portal))
    address = await _listen(service, app, host, int(port))
    (data / "gateway.json").write_text(json.dumps({"url": f"http://{address}"}))
    service.log.info("the portal is at http://%s", address)


async def _listen(service: Service, app: object, host: str, port: int) -> str:
    """Serves HTTP; returns host:port once it listens."""
    web = uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            # Reached through the cluster's ingress, which tells the scheme the browser used.
            proxy_headers=True,
        )
    )

    def stop() -> None:
        web.should_exit = True

    # `serve` would take the process's signals for itself; the service's life is the kit's.
    task = service.spawn("http", web._serve(), stop=stop)
    while not web.started:
        if task.done():
            raise errors.Unavailable(f"cannot listen on {host}:{port}: the address is taken")
        await asyncio.sleep(0.01)
    bound = web.servers[0].sockets[0].getsockname()
    return f"{host}:{bound[1]}"
