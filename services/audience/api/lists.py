"""ListService: customer lists from outside, suppression lists, consent."""

import re
from typing import Any

import numpy as np
from iop.audience.v1 import directory_pb2, list_pb2, list_pb2_grpc
from numpy.typing import NDArray

from services.audience import convert
from services.audience.domain.suppression import SuppressionList
from services.audience.engine import bitmap
from services.audience.engine.directory import UNKNOWN
from services.audience.memory import Memory
from services.audience.store import lists as list_rows
from services.audience.suppressing import change
from services.kit import db, errors, page, requests, resource, rpc
from services.kit.clock import Clock

_NUMBER = re.compile(r"(?:\+?86|0086)?(1\d{10})")
_LISTED = tuple(SuppressionList)


class ListApi(list_pb2_grpc.ListServiceServicer):
    """Sets of subscribers that came from outside (AUD-27, AUD-31)."""

    def __init__(self, memory: Memory, database: db.Database, clock: Clock) -> None:
        self._memory, self._db, self._clock = memory, database, clock

    async def CreateCustomerList(
        self, request: list_pb2.CreateCustomerListRequest, context: Any
    ) -> list_pb2.CustomerList:
        """An empty list."""
        actor, now = rpc.actor(), self._clock.now()
        values = {
            "id": request.list_id or resource.new_id(),
            "display_name": request.customer_list.display_name,
            "source": request.customer_list.source,
            "size": 0,
            "creator": actor.subject,
            "create_time": now,
            "update_time": now,
            "version": 1,
        }
        return await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "CreateCustomerList",
                request.request_id,
                actor,
                list_pb2.CustomerList,
                lambda: convert.customer_list(list_rows.insert_list(tx, values)),
            )
        )

    async def GetCustomerList(
        self, request: list_pb2.GetCustomerListRequest, context: Any
    ) -> list_pb2.CustomerList:
        """One list."""
        key = resource.parse(request.name, "lists")
        return convert.customer_list(await self._db.read(lambda tx: list_rows.customer_list(tx, key)))

    async def ListCustomerLists(
        self, request: list_pb2.ListCustomerListsRequest, context: Any
    ) -> list_pb2.ListCustomerListsResponse:
        """Newest first."""
        size, after = page.size(request.page_size), page.read(request.page_token, request)
        before = int(after[0]) if after else None
        rows = await self._db.read(lambda tx: list_rows.customer_lists(tx, before, size + 1))
        more = page.token([rows[size - 1].number], request) if len(rows) > size else ""
        return list_pb2.ListCustomerListsResponse(
            customer_lists=[convert.customer_list(row) for row in rows[:size]], next_page_token=more
        )

    async def ImportCustomers(
        self, request: list_pb2.ImportCustomersRequest, context: Any
    ) -> list_pb2.ImportCustomersResponse:
        """Good rows are kept, each bad one is reported by its line; repeating it changes nothing (AUD-27)."""
        key = resource.parse(request.name, "lists")
        if bool(request.phones) == bool(request.subscriber_ids):
            raise errors.Invalid(
                "rows are numbers or ids",
                fields=[("phones", "give either phones or subscriber_ids")],
            )
        actor, now = rpc.actor(), self._clock.now()
        ordinals, refused = self._find(request)
        members = np.unique(ordinals)

        def write(tx: db.Connection) -> list_pb2.ImportCustomersResponse:
            added, size = list_rows.add_list_members(tx, key, members, now)
            return list_pb2.ImportCustomersResponse(
                added=added, duplicates=len(ordinals) - added, refused=refused, size=size
            )

        return await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "ImportCustomers",
                request.request_id,
                actor,
                list_pb2.ImportCustomersResponse,
                lambda: write(tx),
            )
        )

    def _find(
        self, request: list_pb2.ImportCustomersRequest
    ) -> tuple[NDArray[np.int64], list[directory_pb2.RefusedRow]]:
        """Ordinals of the good rows, and the bad rows."""
        actor, directory = rpc.actor(), self._memory.directory
        field = "phone" if request.phones else "subscriber_id"
        reasons: dict[int, str] = {}
        if request.phones:
            numbers = [_NUMBER.fullmatch(re.sub(r"[\s-]", "", text)) for text in request.phones]
            keys = np.array([int(number[1]) if number else 0 for number in numbers], dtype=np.int64)
            reasons = {i: "is no mobile number" for i, number in enumerate(numbers) if number is None}
            ordinals = directory.find_phones(keys)
        else:
            ordinals = directory.find_ids(np.array(request.subscriber_ids, dtype=np.int64))
        for row in np.flatnonzero(ordinals == UNKNOWN).tolist():
            reasons.setdefault(row, "the directory does not know it")
        if not actor.whole_province:
            for row in np.flatnonzero(ordinals != UNKNOWN).tolist():
                county = int(directory.counties(slice(int(ordinals[row]), int(ordinals[row]) + 1))[0])
                if not actor.may_see_region(county):
                    reasons[row] = "lies outside your regions"
        first = request.first_line or 1
        refused = [
            directory_pb2.RefusedRow(row=first + row, field=field, description=reasons[row])
            for row in sorted(reasons)
        ]
        good = np.ones(len(ordinals), dtype=np.bool_)
        good[list(reasons)] = False
        return ordinals[good], refused

    async def ChangeSuppression(
        self, request: list_pb2.ChangeSuppressionRequest, context: Any
    ) -> list_pb2.ChangeSuppressionResponse:
        """Members enter and leave with their evidence; readers of the bus follow by version (AUD-31)."""
        actor, directory = rpc.actor(), self._memory.directory
        both = set(request.add) & set(request.remove)
        if both:
            raise errors.Invalid(
                "an id is both added and taken off",
                fields=[("remove", f"{next(iter(both))} is in add as well")],
            )
        given = np.array([*request.add, *request.remove], dtype=np.int64)
        ordinals = directory.find_ids(given)
        unknown = given[ordinals == UNKNOWN].tolist()
        add, remove = ordinals[: len(request.add)], ordinals[len(request.add) :]
        why = list_rows.Evidence(request.reason, request.source, actor.subject, self._clock.now())

        def write(tx: db.Connection) -> list_pb2.ChangeSuppressionResponse:
            delta = change(
                tx,
                SuppressionList(request.suppression_list),
                np.unique(add[add != UNKNOWN]),
                np.unique(remove[remove != UNKNOWN]),
                why,
            )
            return list_pb2.ChangeSuppressionResponse(
                added=len(delta.added) if delta else 0,
                removed=len(delta.removed) if delta else 0,
                unknown=unknown,
            )

        answer = await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "ChangeSuppression",
                request.request_id,
                actor,
                list_pb2.ChangeSuppressionResponse,
                lambda: write(tx),
            )
        )
        await self._memory.follow_suppression()
        return answer

    async def ListSuppressions(
        self, request: list_pb2.ListSuppressionsRequest, context: Any
    ) -> list_pb2.ListSuppressionsResponse:
        """Sizes, every list."""
        bitmaps = self._memory.suppression.bitmaps
        answer = list_pb2.ListSuppressionsResponse()
        for kind in _LISTED:
            answer.suppressions.add(suppression_list=int(kind), size=len(bitmaps[kind]))  # type: ignore[arg-type]
        return answer

    async def GetSuppressionBitmaps(
        self, request: list_pb2.GetSuppressionBitmapsRequest, context: Any
    ) -> list_pb2.SuppressionBitmaps:
        """All lists at one version."""
        suppression = self._memory.suppression
        answer = list_pb2.SuppressionBitmaps(version=suppression.version)
        for kind in _LISTED:
            data = bitmap.serialize(suppression.bitmaps[kind].copy())
            answer.bitmaps.add(suppression_list=int(kind), bitmap=data)  # type: ignore[arg-type]
        return answer
