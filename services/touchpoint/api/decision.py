"""iop.adapter.v1.DecisionService."""

from typing import Any

from iop.adapter.v1 import decision_pb2, decision_pb2_grpc

from services.kit import errors, rpc
from services.touchpoint.api.common import ordinal_of, require_touchpoints
from services.touchpoint.domain import catalogue, reasons, template
from services.touchpoint.flow import offering
from services.touchpoint.flow.centre import Centre


class DecisionApi(decision_pb2_grpc.DecisionServiceServicer):
    """Offers for customers who are here now."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    async def Decide(self, request: Any, context: Any) -> Any:
        """The best offers for the customer at the touchpoint."""
        centre = self._centre
        require_touchpoints(rpc.actor(), [request.touchpoint])
        if request.touchpoint not in catalogue.PULL:
            raise errors.Precondition(
                "this touchpoint sends by itself and is not asked",
                reason=reasons.TOUCHPOINT_NOT_PULL,
                fields=[("touchpoint", "a pull touchpoint")],
            )
        ordinal = ordinal_of(centre, phone=request.phone, subscriber_id=request.subscriber_id)
        found = offering.decide(centre, request.touchpoint, ordinal, request.max_offers or 1)
        texts = await self._texts(request.touchpoint, ordinal, found)
        answer = decision_pb2.DecideResponse()
        now = centre.now()
        for one, text in zip(found, texts, strict=True):
            if text is None:
                continue
            setting = one.activity.settings[request.touchpoint]
            offer = answer.offers.add(
                touch_id=one.touch_id,
                activity_code=one.activity.code,
                activity_display_name=one.activity.display_name,
                text=text,
                fields=setting.fields,
                product_code=one.activity.product_code,
            )
            offer.expire_time.FromMicroseconds(now.at_minute(24 * 60, (setting.end - now.day).days))
        return answer

    async def _texts(self, touchpoint: int, ordinal: int, found: list[offering.Found]) -> list[str | None]:
        """The words of each offer with the customer's values; None where they cannot be filled in."""
        made: list[str | None] = []
        for one in found:
            setting = one.activity.settings[touchpoint]
            text: str | None = setting.words
            if setting.variables:
                try:
                    columns = await self._centre.copies.variables_of(ordinal, setting.variables)
                    text = template.render(setting.words, columns)
                except (errors.Invalid, errors.NotFound) as problem:
                    self._centre.service.log.error(
                        "the words of %s cannot be filled in: %s", one.activity.name, problem
                    )
                    text = None
            made.append(text)
        return made

    async def ReportFeedback(self, request: Any, context: Any) -> Any:
        """What customers did with offers."""
        actor = rpc.actor()
        result = await self._centre.whole(
            offering.feedback(self._centre, list(request.feedback), lambda t: require_touchpoints(actor, [t]))
        )
        return decision_pb2.ReportFeedbackResponse(
            applied=result.applied, ignored=result.ignored, unknown=result.unknown
        )
