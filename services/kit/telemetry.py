"""Traces and metrics of one Service. No globals: several services in one process keep apart.

A span is made only when it will be recorded; an unsampled context travels on at the price of a
dictionary look-up. Nothing starts a trace by itself except calls of users and `root=True`.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceState,
)
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from services.kit import errors
from services.kit.span import RecordedSpan

__all__ = ["Context", "Link", "Span", "SpanKind", "Telemetry", "extract", "inject", "link"]

Attributes = Mapping[str, str | int | float | bool]

# What a caller did wrong is no failure of the span that served it.
_CALLERS_FAULT = (
    errors.NotFound,
    errors.Invalid,
    errors.Conflict,
    errors.Exists,
    errors.Precondition,
    errors.Denied,
    errors.Unauthenticated,
)


def inject() -> dict[str, str]:
    """The current trace context as W3C headers; empty when there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    headers = {
        "traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    }
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """The Context in W3C headers; an empty Context when there is none or it is broken."""
    remote = parse(headers.get("traceparent", ""), headers.get("tracestate", ""))
    return trace.set_span_in_context(NonRecordingSpan(remote), Context()) if remote else Context()


def parse(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """The SpanContext of a `traceparent` header, None when it is missing or broken."""
    if len(traceparent) < 55 or traceparent[2] != "-" or traceparent[35] != "-" or traceparent[52] != "-":
        return None
    try:
        trace_id, span_id = int(traceparent[3:35], 16), int(traceparent[36:52], 16)
        flags = int(traceparent[53:55], 16)
    except ValueError:
        return None
    if not trace_id or not span_id:
        return None
    state = TraceState.from_header([tracestate]) if tracestate else None
    return SpanContext(trace_id, span_id, True, trace.TraceFlags(flags), state)


def sampled(traceparent: str) -> bool:
    """True when a `traceparent` header says that its trace is recorded."""
    context = parse(traceparent)
    return context is not None and bool(context.trace_flags.sampled)


def link(headers: Mapping[str, str], attributes: Attributes | None = None) -> list[Link]:
    """A list with the link to the context in `headers`, empty when there is none (for `span(links=...)`)."""
    remote = parse(headers.get("traceparent", ""), headers.get("tracestate", ""))
    return [Link(remote, attributes)] if remote else []


def current_trace_id() -> str:
    """The trace id of the work in hand as 32 hex digits, "" when there is none."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def recording() -> bool:
    """True when the work in hand is being traced, so that attributes are worth computing."""
    return trace.get_current_span().is_recording()


class Telemetry:
    """Spans, counters and histograms of one service.

    `endpoint` is an OTLP/gRPC address ("http://host:4317"), empty for none; `exporter` replaces it in
    tests (spans then arrive at once); `ratio` applies to new traces.
    """

    def __init__(
        self, service: str, endpoint: str = "", *, ratio: float = 1.0, exporter: SpanExporter | None = None
    ) -> None:
        self.service = service
        self.ratio = ratio
        self.enabled = bool(endpoint or exporter)
        self._resource = Resource({"service.name": service, "service.namespace": "iop"})
        self._processor: Any = None
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {}
        self._http: Any = None
        if exporter is not None:
            self._processor = SimpleSpanProcessor(exporter)
        elif endpoint:
            from services.kit.otlp import Exporter

            self._processor = Exporter(endpoint, self._resource)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        root: bool = False,
        parent: Context | None = None,
        ratio: float | None = None,
    ) -> Iterator[Span]:
        """A span around a block, recorded when its parent is.

        The parent is the current span, or the one in `parent`. With `root=True` it begins a new trace,
        sampled at `ratio` (default: the service's). Without a parent and without `root` nothing is
        recorded. An exception marks the span as failed unless the caller is at fault.
        """
        span = self._start(name, attributes, kind, links, root, parent, ratio)
        if span is None:
            yield trace.INVALID_SPAN
            return
        mark = otel.attach(trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as problem:
            fail(span, problem)
            raise
        finally:
            otel.detach(mark)
            span.end()

    def sampled_root(
        self, name: str, ratio: float, attributes: Attributes | None = None, *, links: Sequence[Link] = ()
    ) -> Any:
        """`span` as a new trace of its own budget: pages and touches, linked to the run they belong to."""
        return self.span(name, attributes, links=links, root=True, ratio=ratio)

    def start_span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        root: bool = False,
        parent: Context | None = None,
    ) -> Span:
        """A span to be ended by hand, for the interceptors; not made current."""
        return self._start(name, attributes, kind, links, root, parent, None) or trace.INVALID_SPAN

    def event(
        self, name: str, attributes: Attributes | None = None, *, links: Sequence[Link] = (), failed: str = ""
    ) -> None:
        """One finished span, written whatever the sampling: what must always be seen, such as a failure."""
        if self.enabled:
            span = self._record(name, None, SpanKind.INTERNAL, attributes, links)
            if failed:
                span.set_status(Status(StatusCode.ERROR, failed))
            span.end()

    inject = staticmethod(inject)
    extract = staticmethod(extract)
    link = staticmethod(link)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """The Prometheus counter of that name, made at first use."""
        return self._metric(name, lambda: Counter(name, text, labels, registry=self.registry))

    def histogram(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
        """The Prometheus histogram (seconds) of that name, made at first use."""
        buckets = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
        return self._metric(
            name, lambda: Histogram(name, text, labels, registry=self.registry, buckets=buckets)
        )

    def serve_metrics(self, listen: str) -> None:
        """Serve /metrics at host:port from a thread of its own."""
        host, _, port = listen.rpartition(":")
        self._http = start_http_server(int(port), addr=host or "127.0.0.1", registry=self.registry)

    def close(self) -> None:
        """Flush what is pending (a few seconds at most) and stop."""
        if self._processor is not None:
            self._processor.force_flush(3000)
            self._processor.shutdown()
        if self._http is not None:
            self._http[0].shutdown()

    def _metric(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._metrics:
            self._metrics[name] = make()
        return self._metrics[name]

    def _start(
        self,
        name: str,
        attributes: Attributes | None,
        kind: SpanKind,
        links: Sequence[Link],
        root: bool,
        parent: Context | None,
        ratio: float | None,
    ) -> Span | None:
        if not self.enabled:
            return None
        if root:
            chance = self.ratio if ratio is None else ratio
            if chance < 1.0 and random.random() >= chance:
                return _unsampled()
            return self._record(name, None, kind, attributes, links)
        above = trace.get_current_span(parent).get_span_context()
        if not above.is_valid or not above.trace_flags.sampled:
            return NonRecordingSpan(above) if parent is not None and above.is_valid else None
        return self._record(name, above, kind, attributes, links)

    def _record(
        self,
        name: str,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes | None,
        links: Sequence[Link],
    ) -> Span:
        assert self._processor is not None
        return RecordedSpan(name, parent, kind, attributes, links, self._resource, self._processor)


def fail(span: Span, problem: BaseException) -> None:
    """Write an exception into its span; only faults of ours make the span a failure."""
    if not span.is_recording():
        return
    span.set_attribute("error.type", type(problem).__name__)
    if isinstance(problem, errors.Error):
        span.set_attribute("iop.error.reason", problem.reason)
    if isinstance(problem, Exception) and not isinstance(problem, _CALLERS_FAULT):
        span.record_exception(problem)
        span.set_status(Status(StatusCode.ERROR, str(problem)))


def _unsampled() -> Span:
    """A context that tells everything below not to record and not to begin a trace either."""
    return NonRecordingSpan(SpanContext(random.getrandbits(128) or 1, random.getrandbits(64) or 1, False))
