"""iop.adapter.v1.AdapterService."""

import time
from typing import Any

from iop.adapter.v1 import adapter_pb2, adapter_pb2_grpc

from services.kit import errors, rpc
from services.touchpoint.api.common import require_touchpoints
from services.touchpoint.domain import catalogue, reasons
from services.touchpoint.engine.leases import Session
from services.touchpoint.flow import lease, receipts, replies
from services.touchpoint.flow.centre import Centre


class AdapterApi(adapter_pb2_grpc.AdapterServiceServicer):
    """Work for push touchpoints."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    async def OpenSession(self, request: Any, context: Any) -> Any:
        """A session for an adapter; its earlier one ends."""
        require_touchpoints(rpc.actor(), request.touchpoints)
        unknown = [t for t in request.touchpoints if t not in catalogue.BY_NUMBER]
        if unknown:
            raise errors.Invalid("no such touchpoint", fields=[("touchpoints", f"{unknown[0]} is none")])
        session = self._centre.sessions.open(
            request.adapter,
            request.touchpoints,
            request.idempotency == adapter_pb2.IDEMPOTENCY_IDEMPOTENT,
            request.receipts,
            request.max_batch,
            request.rate,
            time.monotonic(),
        )
        self._centre.wake()
        return adapter_pb2.OpenSessionResponse(
            session=session.id, lease_seconds=self._centre.limits.lease_seconds
        )

    async def LeaseTouches(self, request: Any, context: Any) -> Any:
        """Touches to send now."""
        session = self._session(request.session)
        wait = request.wait_milliseconds / 1000
        left = rpc.remaining()
        if left is not None:
            wait = min(wait, max(0.0, left - 0.2))
        return await lease.lease(self._centre, session, request.max_touches, wait)

    async def ExtendLeases(self, request: Any, context: Any) -> Any:
        """Keep leases; which touches must not be sent any more."""
        self._session(request.session)
        recalled, lost = lease.extend(self._centre, list(request.leases))
        return adapter_pb2.ExtendLeasesResponse(recalled=recalled, lost=lost)

    async def ReportReceipts(self, request: Any, context: Any) -> Any:
        """What became of touches."""
        session = self._session(request.session)
        for i, item in enumerate(request.receipts):
            if not item.touch_id and not item.provider_message_id:
                raise errors.Invalid(
                    "a receipt names its touch",
                    fields=[(f"receipts[{i}].touch_id", "touch_id or provider_message_id is needed")],
                )
        found = await self._centre.whole(receipts.report(self._centre, session, list(request.receipts)))
        return adapter_pb2.ReportReceiptsResponse(
            applied=found.applied, ignored=found.ignored, unknown=found.unknown
        )

    async def ReportReplies(self, request: Any, context: Any) -> Any:
        """What customers wrote back."""
        self._session(request.session)
        self._centre.copies.require()
        taken = await self._centre.whole(replies.take(self._centre, list(request.replies)))
        return adapter_pb2.ReportRepliesResponse(
            results=[
                adapter_pb2.ReplyResult(reply_id=item.reply_id, kind=item.kind, answer=item.answer)
                for item in taken
            ]
        )

    def _session(self, name: str) -> Session:
        found = self._centre.sessions.get(name, time.monotonic())
        if found is None:
            raise errors.Precondition("the session has ended: open a new one", reason=reasons.SESSION_UNKNOWN)
        require_touchpoints(rpc.actor(), found.touchpoints)
        return found
