"""The embedded span store speaks OTLP and finds traces by what people know."""

from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Status, StatusCode

from gateway.spans.collector import serve
from gateway.spans.store import SpanStore
from services.kit.embedded import process


async def test_spans_come_in_by_otlp_and_are_found(tmp_path: Path):
    import asyncio

    store = SpanStore(tmp_path / "spans.db")
    listen = f"127.0.0.1:{process.free_port()}"
    server = await serve(store, listen)
    provider = TracerProvider(resource=Resource({"service.name": "campaign"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"http://{listen}", insecure=True)))
    tracer = provider.get_tracer("t")
    with (
        tracer.start_as_current_span("launch", attributes={"iop.campaign.id": "c1"}) as launch,
        tracer.start_as_current_span("plan") as plan,
    ):
        plan.set_status(Status(StatusCode.ERROR, "no room"))
    context = launch.get_span_context()
    with tracer.start_as_current_span(
        "touch", context={}, links=[Link(context)], attributes={"iop.touch.id": "t1"}
    ) as touch:
        pass
    await asyncio.to_thread(provider.shutdown)
    await server.stop(1)
    trace_id = f"{context.trace_id:032x}"
    touch_id = f"{touch.get_span_context().trace_id:032x}"
    for known in ("c1", "campaigns/c1"):
        [line] = store.find(campaign=known)
        assert (line.trace_id, line.root, line.service, line.spans, line.errors) == (
            trace_id, "launch", "campaign", 2, 1,
        )  # fmt: skip
    assert [line.trace_id for line in store.find(touch="t1")] == [touch_id]
    assert [line.trace_id for line in store.find(failed=True)] == [trace_id]
    assert [line.trace_id for line in store.linked(trace_id)] == [touch_id]
    assert [line.trace_id for line in store.linked(touch_id)] == [trace_id]
    spans = store.trace(trace_id)
    assert spans[1].parent_id == spans[0].span_id and spans[1].message == "no room"
    store.close()


def test_the_store_is_bounded_by_whole_traces(tmp_path: Path):
    from gateway.spans.store import StoredSpan

    store = SpanStore(tmp_path / "spans.db", keep_spans=100)
    for number in range(60):
        trace = f"{number:032x}"
        store.add(
            StoredSpan(trace, f"{i:016x}", "", "n", "s", "internal", number * 10 + i, 1, False, "", {}, ())
            for i in range(5)
        )
    kept = store.find(most=1000)
    assert 15 <= len(kept) <= 25
    assert all(line.spans == 5 for line in kept)
    assert kept[0].trace_id == f"{59:032x}"
    store.close()
