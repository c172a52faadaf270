"""What this service asks of the others, always in its own name."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from iop.audience.v1 import audience_pb2, audience_pb2_grpc, directory_pb2, directory_pb2_grpc
from iop.common.v1 import types_pb2
from iop.event.v1 import definition_pb2, definition_pb2_grpc
from iop.touchpoint.v1 import ledger_pb2, ledger_pb2_grpc, touchpoint_pb2, touchpoint_pb2_grpc

from services.campaign.domain.completeness import FieldRule, TouchpointRules
from services.campaign.domain.model import Setting, Target
from services.kit import errors, rpc
from services.kit.actor import of_service
from services.kit.app import Service

_CATALOGUE_S = 30.0
_INTAKES_AT_ONCE = 1000


@dataclass(frozen=True)
class Intake:
    """Touches that a touchpoint has taken in, and how many it wants beyond."""

    received: int
    room: int


class Neighbours:
    """Stubs of audience, event and touchpoint."""

    def __init__(self, service: Service) -> None:
        self._self = of_service(service.name)
        audience = rpc.channel(service, "audience")
        touchpoint = rpc.channel(service, "touchpoint")
        self._audience = audience_pb2_grpc.AudienceServiceStub(audience)
        self._directory = directory_pb2_grpc.DirectoryServiceStub(audience)
        self._definitions = definition_pb2_grpc.DefinitionServiceStub(rpc.channel(service, "event"))
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(touchpoint)
        self._touchpoints = touchpoint_pb2_grpc.TouchpointServiceStub(touchpoint)
        self._catalogue: dict[int, TouchpointRules] = {}
        self._catalogue_until = 0.0

    async def snapshot(self, target: Target, scope: Sequence[int], setting: Setting, request_id: str) -> Any:
        """Freeze a target as one touchpoint setting wants it; the iop.audience.v1.Snapshot.

        The same request id gives the same snapshot. errors.Error when its numbers do not add up.
        """
        request = audience_pb2.CreateSnapshotRequest(
            regions=scope, sms_contract_only=setting.sms_contract_only, request_id=request_id
        )
        if target.kind == "audience":
            request.audience = target.name
        elif target.kind == "customer_list":
            request.customer_list = target.name
        else:
            request.all_customers = True
        if setting.suppression is not None:
            request.suppression.CopyFrom(
                types_pb2.SuppressionChoice(
                    keep_block_list=setting.suppression.keep_block_list,
                    keep_red_list=setting.suppression.keep_red_list,
                    keep_sensitive_list=setting.suppression.keep_sensitive_list,
                    reason=setting.suppression.reason,
                )
            )
        with rpc.acting(self._self):
            made = await self._audience.CreateSnapshot(request)
        out = sum(row.count for row in made.excluded)
        if made.matched != made.bitmap.cardinality + out:
            raise errors.Error(
                f"{made.name}: {made.matched} matched, but {made.bitmap.cardinality} kept and {out} excluded"
            )
        return made

    async def ordinal_of(self, phone: int) -> int | None:
        """Ordinal of the subscriber with this number, None when nobody has it."""
        with rpc.acting(self._self):
            found = await self._directory.LookUpSubscribers(
                directory_pb2.LookUpSubscribersRequest(phones=[phone])
            )
        return found.subscribers[0].ordinal if found.subscribers else None

    async def definition_number(self, name: str) -> int:
        """Compact number of an event definition; errors.NotFound."""
        with rpc.acting(self._self):
            found = await self._definitions.GetDefinition(definition_pb2.GetDefinitionRequest(name=name))
        return int(found.definition_number)

    async def intake(self, numbers: Iterable[int]) -> dict[tuple[int, int], Intake]:
        """{(activity number, touchpoint): intake} of the activities that touchpoint knows."""
        wanted = sorted(set(numbers))
        found: dict[tuple[int, int], Intake] = {}
        with rpc.acting(self._self):
            for start in range(0, len(wanted), _INTAKES_AT_ONCE):
                part = wanted[start : start + _INTAKES_AT_ONCE]
                response = await self._ledger.GetIntake(ledger_pb2.GetIntakeRequest(activity_numbers=part))
                for row in response.intakes:
                    found[row.activity_number, row.touchpoint] = Intake(row.received, row.room)
        return found

    async def catalogue(self) -> dict[int, TouchpointRules]:
        """Rules of every touchpoint, at most half a minute old."""
        if time.monotonic() >= self._catalogue_until:
            with rpc.acting(self._self):
                response = await self._touchpoints.ListTouchpoints(touchpoint_pb2.ListTouchpointsRequest())
            self._catalogue = {info.touchpoint: _rules(info) for info in response.touchpoints}
            self._catalogue_until = time.monotonic() + _CATALOGUE_S
        return self._catalogue


def _rules(info: Any) -> TouchpointRules:
    return TouchpointRules(
        touchpoint=info.touchpoint,
        modes=frozenset(info.modes),
        fields=tuple(FieldRule(f.key, f.type, f.required, f.max_length) for f in info.fields),
        periodic_update=info.periodic_update,
        suppression=info.suppression,
        sms_contract=info.sms_contract,
    )
