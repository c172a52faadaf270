"""Decisions for pull touchpoints: ask when the customer is here, tell what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from iop.adapter.v1 import decision_pb2

from iop_adapter.connection import Connection, Endpoint
from iop_adapter.model import Touchpoint


class FeedbackKind(Enum):
    """What the customer did with an offer."""

    SHOWN = decision_pb2.FEEDBACK_KIND_SHOWN
    ACCEPTED = decision_pb2.FEEDBACK_KIND_ACCEPTED
    DECLINED = decision_pb2.FEEDBACK_KIND_DECLINED
    CLICKED = decision_pb2.FEEDBACK_KIND_CLICKED


@dataclass(frozen=True, slots=True)
class Offer:
    """What to say or show, best first; feedback names its `touch_id`."""

    touch_id: str
    activity_code: str
    activity_display_name: str
    text: str
    fields: Mapping[str, str]
    product_code: str


class Decisions:
    """A client of the decision service; use as an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._connection = Connection(endpoint)

    async def __aenter__(self) -> Decisions:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def decide(
        self,
        touchpoint: Touchpoint,
        phone: str,
        *,
        place: str = "",
        max_offers: int = 1,
        timeout: float = 2.0,
    ) -> list[Offer]:
        """The best offers for the customer with this number (11 digits); empty when there is none."""
        request = decision_pb2.DecideRequest(
            touchpoint=touchpoint.value, phone=int(phone), max_offers=max_offers, place=place
        )
        answer = await self._connection.persist(
            lambda: self._connection.decision.Decide(
                request, metadata=self._connection.metadata(), timeout=timeout
            )
        )
        return [
            Offer(
                o.touch_id, o.activity_code, o.activity_display_name, o.text, dict(o.fields), o.product_code
            )
            for o in answer.offers
        ]

    async def feedback(self, feedback: Sequence[tuple[str, FeedbackKind]]) -> int:
        """Tells what happened to offers, by touch id; returns how many pieces were new."""
        request = decision_pb2.ReportFeedbackRequest(
            feedback=[decision_pb2.Feedback(touch_id=t, kind=k.value) for t, k in feedback]
        )
        answer = await self._connection.persist(
            lambda: self._connection.decision.ReportFeedback(
                request, metadata=self._connection.metadata(), timeout=10
            )
        )
        return int(answer.applied)
