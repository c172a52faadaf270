"""Sampled touches as traces of their own, linked to their page and to the launch, under a budget a day."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.trace import Span

from services.kit import attributes
from services.kit.telemetry import Telemetry
from services.touchpoint.domain import catalogue
from services.touchpoint.domain.activity import Activity
from services.touchpoint.domain.states import Outcome


@dataclass
class Begun:
    """The root span of a sampled touch; ends once the touch is committed."""

    span: Span
    traceparent: str


class Tracing:
    """Decides which touches are traced, and writes their spans."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._used: Counter[tuple[int, int, bool]] = Counter()  # activity, planned day, failures
        self.slices: set[int] = set()  # slices with a traced touch

    def restore(self, used: Mapping[tuple[int, int, bool], int], slices: Iterable[int]) -> None:
        """Take up the budgets and traced slices of an earlier run."""
        self._used = Counter(used)
        self.slices = set(slices)

    def left(self, activity: Activity, day: int, *, failed: bool = False) -> int:
        """Touches that may still be traced for an activity on a day; failures have a budget of their own."""
        if not self._telemetry.enabled:
            return 0
        return max(0, activity.trace_budget - self._used[activity.number, day, failed])

    def begin(
        self, activity: Activity, day: int, touchpoint: int, touch_id: str, page: str, *, failed: str = ""
    ) -> Begun | None:
        """Begin the trace of a touch, linked to its page and to the launch; None when it is not recorded."""
        links = [
            *self._telemetry.link({"traceparent": page}),
            *self._telemetry.link({"traceparent": activity.traceparent}),
        ]
        span = self._telemetry.start_span(
            "touch",
            {
                attributes.TOUCH_ID: touch_id,
                attributes.ACTIVITY_NUMBER: activity.number,
                attributes.TOUCHPOINT: catalogue.BY_NUMBER[touchpoint].name,
                **({attributes.TOUCH_OUTCOME: failed} if failed else {}),
            },
            links=links,
            root=True,
        )
        if not span.is_recording():
            return None
        self._used[activity.number, day, bool(failed)] += 1
        context = span.get_span_context()
        return Begun(span, f"00-{context.trace_id:032x}-{context.span_id:016x}-01")

    def step(self, name: str, traceparent: str, values: Mapping[str, str | int] | None = None) -> None:
        """One finished step of a traced touch."""
        parent = self._telemetry.extract({"traceparent": traceparent})
        self._telemetry.start_span(name, dict(values or {}), parent=parent).end()

    def settled(self, traceparent: str, outcome: int, code: str) -> None:
        """A traced touch came to rest."""
        values = {attributes.TOUCH_OUTCOME: Outcome(outcome).name.lower()}
        if code:
            values[attributes.TOUCH_REASON] = code
        self.step("touch settled", traceparent, values)
