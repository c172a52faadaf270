"""Cells of a campus: found by the outlines of the school's sites (CAM-60)."""

from typing import Any

from google.protobuf import json_format
from iop.campus.v1 import school_pb2
from iop.common.v1 import types_pb2
from iop.event.v1 import cell_pb2

from services.campus.api import base
from services.campus.api.base import Base, found, in_force
from services.campus.store import students
from services.kit import db, errors, requests, rpc


class Cells(Base):
    """The methods on campus cells."""

    async def RefreshCampusCells(self, request: Any, context: Any) -> Any:
        """Find the cells inside the approved outlines and keep them as the school's own."""
        actor, code = rpc.actor(), base.school_id(request.name)
        _, content = await self.database.read(lambda tx: in_force(tx, code, actor))
        outlines = [
            json_format.ParseDict(campus["outline"], types_pb2.Polygon())
            for campus in content.get("campuses", [])
            if campus.get("outline")
        ]
        if not outlines:
            raise errors.Precondition(f"no campus of school {code} has an outline", metadata={"school": code})
        answer = await self.cells.FindCells(cell_pb2.FindCellsRequest(polygons=outlines))
        keys = sorted({cell.key for cell in answer.cells})

        def keep(tx: db.Connection) -> Any:
            found(tx, code, actor, lock=True)
            students.keep_cells(tx, code, keys, self.clock.now())
            self.note(tx, code, actor, "cells_refreshed", {"cells": len(keys)})
            return _cells(tx, code, request.name)

        return await self.database.transaction(
            lambda tx: requests.once(
                tx, "RefreshCampusCells", request.request_id, actor, school_pb2.CampusCells, lambda: keep(tx)
            )
        )

    async def GetCampusCells(self, request: Any, context: Any) -> Any:
        """Cells of a school in the caller's scope; none, and no time, before the first search."""
        actor, code = rpc.actor(), base.school_id(request.name)

        def read(tx: db.Connection) -> Any:
            found(tx, code, actor)
            return _cells(tx, code, request.name)

        return await self.database.read(read)


def _cells(tx: db.Connection, code: str, name: str) -> Any:
    row = students.cells(tx, code)
    if row is None:
        return school_pb2.CampusCells(school=name)
    answer = school_pb2.CampusCells(school=name, cells=row.cells)
    answer.update_time.FromDatetime(row.found_at)
    return answer
