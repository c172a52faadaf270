"""Calls between services: errors, deadlines, actors, access, validation, traces."""

import asyncio
import time

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from iop.common.v1 import runtime_pb2, runtime_pb2_grpc

from services.kit import actor, app, config, errors, rpc
from tests.fixtures.services import ADMIN, KEY, address_of

USER = actor.Actor("user:li", "Li", frozenset({"planner"}), (150100,))


class Echo:
    """Answers, fails and relays on command."""

    def __init__(self, echo, peer=None):
        self.pb, self.peer, self.failures = echo.pb, peer, 0

    async def Echo(self, request, context):
        return self.pb.EchoResponse(
            text=request.text, actor=rpc.actor().subject, remaining=rpc.remaining() or 0
        )

    Approve = ApproveStrictly = Echo

    async def Fail(self, request, context):
        kind = getattr(errors, request.text, None)
        if kind is None:
            raise RuntimeError("nobody foresaw this")
        raise kind(
            "it is so", reason="ETAG_STALE", fields=[("a.b", "bad")], metadata={"k": "v"}, retry_after=1.5
        )

    async def Relay(self, request, context):
        return await self.peer.Echo(self.pb.EchoRequest(text=request.text))

    async def Count(self, request, context):
        for i in range(3):
            yield self.pb.EchoResponse(text=str(i))
        if request.text:
            raise errors.Precondition(request.text)

    async def Gather(self, requests, context):
        return self.pb.EchoResponse(text=",".join([request.text async for request in requests]))

    async def Talk(self, requests, context):
        async for request in requests:
            yield self.pb.EchoResponse(text=request.text.upper())


@pytest_asyncio.fixture
async def serve(bare_service, echo):
    """`await serve("name", peer=service)`: a service with an EchoService."""

    async def make(name="echo", peer=None, **fields):
        addresses = {peer.name: address_of(peer)} if peer else {}
        service = bare_service(name, addresses=addresses, **fields)
        peer_stub = echo.grpc.EchoServiceStub(rpc.channel(service, peer.name)) if peer else None
        server = rpc.Server(service)
        server.add(echo.grpc.add_EchoServiceServicer_to_server, Echo(echo, peer_stub))
        await server.start()
        service.on_stop("rpc", server.stop)
        service.ready()
        return service

    return make


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("NotFound", grpc.StatusCode.NOT_FOUND),
        ("Invalid", grpc.StatusCode.INVALID_ARGUMENT),
        ("Conflict", grpc.StatusCode.ABORTED),
        ("Exists", grpc.StatusCode.ALREADY_EXISTS),
        ("Precondition", grpc.StatusCode.FAILED_PRECONDITION),
        ("Denied", grpc.StatusCode.PERMISSION_DENIED),
        ("Unauthenticated", grpc.StatusCode.UNAUTHENTICATED),
        ("Exhausted", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_errors_cross_the_wire_whole(serve, stub, echo, kind, code):
    service = await serve()
    with pytest.raises(getattr(errors, kind)) as caught:
        await stub(service, echo.grpc.EchoServiceStub).Fail(echo.pb.EchoRequest(text=kind))
    problem = caught.value
    assert (problem.message, problem.reason, problem.fields) == ("it is so", "ETAG_STALE", (("a.b", "bad"),))
    assert (problem.metadata, problem.retry_after, problem.domain) == ({"k": "v"}, 1.5, "echo.iop")

    async with grpc.aio.insecure_channel(address_of(service)) as plain:
        with pytest.raises(grpc.aio.AioRpcError) as raw:
            token = actor.sign(ADMIN, keys=[KEY])
            await echo.grpc.EchoServiceStub(plain).Fail(
                echo.pb.EchoRequest(text=kind), metadata=[("iop-actor", token)]
            )
        assert raw.value.code() is code


async def test_a_fault_of_ours_tells_no_details_but_is_logged(serve, stub, echo, capsys):
    service = await serve()
    with pytest.raises(errors.Error) as caught:
        await stub(service, echo.grpc.EchoServiceStub).Fail(echo.pb.EchoRequest(text="bug"))
    assert type(caught.value) is errors.Error
    assert caught.value.reason == "INTERNAL"
    assert "foresaw" not in caught.value.message
    logged = capsys.readouterr().err
    assert logged.count("RuntimeError: nobody foresaw this") == 1
    assert caught.value.metadata["trace_id"] in logged


async def test_rules_of_the_contract_name_the_field(serve, stub, echo):
    service = await serve()
    request = echo.pb.EchoRequest(text="x" * 21, items=[echo.pb.Item(code="a"), echo.pb.Item(code="A1")])
    request.named["sms"].code = "9"
    with pytest.raises(errors.Invalid) as caught:
        await stub(service, echo.grpc.EchoServiceStub).Echo(request)
    assert {path for path, _ in caught.value.fields} == {"text", "items[1].code", 'named["sms"].code'}
    assert caught.value.reason == "FIELD_INVALID"
    with pytest.raises(errors.Invalid):
        await stub(service, echo.grpc.EchoServiceStub).Gather(_stream([echo.pb.EchoRequest(text="y" * 30)]))


async def _stream(items):
    for item in items:
        yield item


async def test_streams_carry_results_and_errors(serve, stub, echo):
    service = await serve()
    client = stub(service, echo.grpc.EchoServiceStub)
    assert [r.text async for r in client.Count(echo.pb.EchoRequest())] == ["0", "1", "2"]
    seen = []
    with pytest.raises(errors.Precondition, match="enough"):
        async for response in client.Count(echo.pb.EchoRequest(text="enough")):
            seen.append(response.text)
    assert seen == ["0", "1", "2"]
    gathered = await client.Gather(_stream([echo.pb.EchoRequest(text=t) for t in "abc"]))
    assert gathered.text == "a,b,c"
    talk = client.Talk()
    for text in ("x", "y"):
        await talk.write(echo.pb.EchoRequest(text=text))
        assert (await talk.read()).text == text.upper()
    await talk.done_writing()
    assert await talk.read() is grpc.aio.EOF


async def test_a_deadline_is_shaved_and_passed_on(serve, stub, echo):
    inner = await serve("inner")
    outer = await serve("outer", peer=inner)
    client = stub(outer, echo.grpc.EchoServiceStub)
    direct = await client.Echo(echo.pb.EchoRequest(), timeout=5)
    assert 4 < direct.remaining <= 4.98
    relayed = await client.Relay(echo.pb.EchoRequest(), timeout=5)
    assert 4 < relayed.remaining <= 4.96
    with pytest.raises(errors.Unavailable) as caught:
        await client.Echo(echo.pb.EchoRequest(), timeout=0.09)
    assert caught.value.reason in ("DEADLINE_TOO_SHORT", "DEADLINE_EXCEEDED")


async def test_tokens_that_do_not_hold_are_refused(serve, echo):
    service = await serve()
    other = "another key, also long enough for an HS256 token"
    tokens = {
        "TOKEN_EXPIRED": actor.sign(USER, keys=[KEY], ttl=-1),
        "TOKEN_INVALID": actor.sign(USER, keys=[other]),
        "TOKEN_MISSING": "",
    }
    async with grpc.aio.insecure_channel(address_of(service)) as plain:
        client = echo.grpc.EchoServiceStub(plain)
        for reason, token in tokens.items():
            with pytest.raises(grpc.aio.AioRpcError) as raw:
                await client.Echo(echo.pb.EchoRequest(), metadata=[("iop-actor", token)] if token else None)
            assert raw.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert rpc.translate(raw.value).reason == reason
        with pytest.raises(grpc.aio.AioRpcError) as raw:
            foreign = actor.sign(USER, "someone-else", [KEY])
            await client.Echo(echo.pb.EchoRequest(), metadata=[("iop-actor", foreign)])
        assert rpc.translate(raw.value).reason == "TOKEN_INVALID"
        health = await health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_any_listed_key_is_accepted_and_the_first_signs(serve, echo):
    old, new = KEY, "the next key, which is long enough for HS256 too"
    service = await serve(actor_keys=(new, old))
    async with rpc.connect(address_of(service), USER, (old,)) as channel:
        assert (await echo.grpc.EchoServiceStub(channel).Echo(echo.pb.EchoRequest())).actor == "user:li"
    assert actor.verify(service.signer(USER), keys=[new]) == USER


async def test_roles_of_the_contract_are_enforced(serve, stub, echo):
    service = await serve()
    approver = actor.Actor("user:wang", roles=frozenset({"approver"}))
    request = echo.pb.EchoRequest()
    with pytest.raises(errors.Denied) as caught:
        await stub(service, echo.grpc.EchoServiceStub, USER).Approve(request)
    assert caught.value.reason == "ROLE_MISSING"
    await stub(service, echo.grpc.EchoServiceStub, approver).Approve(request)
    await stub(service, echo.grpc.EchoServiceStub).Approve(request)
    with pytest.raises(errors.Denied):
        await stub(service, echo.grpc.EchoServiceStub).ApproveStrictly(request)
    await stub(service, echo.grpc.EchoServiceStub, approver).ApproveStrictly(request)


def test_data_scope_follows_the_region_tree():
    assert USER.may_see_region(150102) and USER.may_see_region(150100)
    assert not USER.may_see_region(150200) and not USER.may_see_region(150000)
    assert actor.Actor("user:x", regions=(150000,)).may_see_region(152921)
    with pytest.raises(errors.Denied) as caught:
        USER.require_region(150202)
    assert caught.value.reason == "REGION_OUT_OF_SCOPE"


async def test_a_user_is_passed_on_and_a_service_signs_for_itself(serve, stub, echo):
    inner = await serve("inner")
    outer = await serve("outer", peer=inner)
    asked = await stub(outer, echo.grpc.EchoServiceStub, USER).Relay(echo.pb.EchoRequest())
    assert asked.actor == "user:li"
    own = await stub(outer, echo.grpc.EchoServiceStub, actor.of_service("campaign")).Relay(
        echo.pb.EchoRequest()
    )
    assert own.actor == "service:outer"
    channel = rpc.channel(outer, "inner")
    with rpc.acting(ADMIN):
        acted = await echo.grpc.EchoServiceStub(channel).Echo(echo.pb.EchoRequest())
    assert acted.actor == "user:admin"


async def test_one_trace_spans_both_services(serve, stub, echo, exporter):
    inner = await serve("inner")
    outer = await serve("outer", peer=inner)
    await stub(outer, echo.grpc.EchoServiceStub, USER).Relay(echo.pb.EchoRequest())
    spans = {(s.resource.attributes["service.name"], s.kind.name): s for s in exporter.get_finished_spans()}
    assert set(spans) == {("outer", "SERVER"), ("outer", "CLIENT"), ("inner", "SERVER")}
    assert len({s.context.trace_id for s in spans.values()}) == 1
    assert spans["outer", "CLIENT"].parent.span_id == spans["outer", "SERVER"].context.span_id
    assert spans["inner", "SERVER"].parent.span_id == spans["outer", "CLIENT"].context.span_id
    assert spans["inner", "SERVER"].name == "iop.kittest.v1.EchoService/Echo"


async def test_what_is_not_sampled_costs_no_span_anywhere(serve, stub, echo, exporter):
    inner = await serve("inner")
    outer = await serve("outer", peer=inner, trace_ratio=0.0)
    await stub(outer, echo.grpc.EchoServiceStub, USER).Relay(echo.pb.EchoRequest())
    await stub(inner, echo.grpc.EchoServiceStub, actor.of_service("campaign")).Echo(echo.pb.EchoRequest())
    assert exporter.get_finished_spans() == ()


async def test_a_call_finds_a_restarted_peer_again(serve, stub, echo, bare_service):
    first = await serve("inner")
    address = address_of(first)
    outer = await serve("outer", peer=first)
    client = stub(outer, echo.grpc.EchoServiceStub)
    await client.Relay(echo.pb.EchoRequest())
    await first.stop()
    with pytest.raises(errors.Unavailable):
        await client.Relay(echo.pb.EchoRequest(), timeout=1)
    await serve("inner", listen=address)
    deadline = time.monotonic() + 20
    while True:
        try:
            await client.Relay(echo.pb.EchoRequest(text="back"), timeout=3)
            break
        except errors.Unavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_the_status_tells_what_is_in_hand(serve, stub):
    service = await serve()
    queued = [3]
    service.status.busy("queued", lambda: queued[0])
    client = stub(service, runtime_pb2_grpc.RuntimeServiceStub)
    status = await client.GetStatus(runtime_pb2.GetStatusRequest())
    assert (status.service, status.busy["queued"], status.idle) == ("echo", 3, False)
    queued[0] = 0
    assert (await client.GetStatus(runtime_pb2.GetStatusRequest())).idle
    with pytest.raises(errors.Denied):
        await stub(service, runtime_pb2_grpc.RuntimeServiceStub, USER).GetStatus(
            runtime_pb2.GetStatusRequest()
        )


async def test_a_taken_address_is_one_clear_line(serve, bare_service):
    service = await serve()
    second = bare_service("second", listen=address_of(service))
    with pytest.raises(errors.Unavailable, match="taken"):
        await rpc.Server(second).start()


async def test_a_peer_without_address_is_named(bare_service):
    service = app.Service("alone", config.Runtime())
    with pytest.raises(errors.Precondition, match="IOP_ADDR_AUDIENCE"):
        rpc.channel(service, "audience")
    await service.stop()
