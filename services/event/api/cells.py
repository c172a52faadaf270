"""CellService: cells, outlets, and the cells where coverage seems weak."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from iop.common.v1 import types_pb2
from iop.event.v1 import cell_pb2, cell_pb2_grpc

from services.event import store
from services.event.api.definitions import Definitions
from services.event.copies import Catalogue
from services.event.domain import coverage, regions
from services.event.domain.areas import cells_inside
from services.event.domain.model import Area
from services.event.messages.log import PartitionLog
from services.kit import page, requests, rpc
from services.kit.db import Connection, Database

EPOCH = date(1970, 1, 1)


class CellApi(cell_pb2_grpc.CellServiceServicer):
    """The catalogue behind the map."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        definitions: Definitions,
        logs: Sequence[PartitionLog],
    ) -> None:
        self._db, self._catalogue = database, catalogue
        self._definitions, self._logs = definitions, logs

    async def BatchUpsertCells(  # type: ignore[override]
        self, request: cell_pb2.BatchUpsertCellsRequest, context: Any
    ) -> cell_pb2.BatchUpsertCellsResponse:
        """Create or replace cells; bad rows are reported one by one."""
        actor = rpc.actor()

        def write(tx: Connection) -> cell_pb2.BatchUpsertCellsResponse:
            def once() -> cell_pb2.BatchUpsertCellsResponse:
                response = cell_pb2.BatchUpsertCellsResponse()
                good: list[store.Cell] = []
                for index, cell in enumerate(request.cells):
                    fault = _fault(cell)
                    if fault is None:
                        good.append(_cell(cell))
                    else:
                        field, description = fault
                        response.refused.add(index=index, field=field, description=description)
                store.write_cells(tx, good)
                response.written = len(good)
                return response

            return requests.once(
                tx, "BatchUpsertCells", request.request_id, actor, cell_pb2.BatchUpsertCellsResponse, once
            )

        response = await self._db.transaction(write)
        await self._catalogue.refresh()
        return response

    async def ListCells(  # type: ignore[override]
        self, request: cell_pb2.ListCellsRequest, context: Any
    ) -> cell_pb2.ListCellsResponse:
        """Cells of a region, by key."""
        size = page.size(request.page_size)
        after = page.read(request.page_token, request)
        last = int(after[0]) if after else None
        rows = await self._db.read(lambda tx: store.list_cells(tx, request.region, last, size + 1))
        token = page.token([rows[size - 1].key], request) if len(rows) > size else ""
        cells = [
            _message(row.key, row.station, row.longitude, row.latitude, row.county) for row in rows[:size]
        ]
        return cell_pb2.ListCellsResponse(cells=cells, next_page_token=token)

    async def FindCells(  # type: ignore[override]
        self, request: cell_pb2.FindCellsRequest, context: Any
    ) -> cell_pb2.FindCellsResponse:
        """Cells whose station lies inside one of the outlines (EVT-30)."""
        await self._catalogue.refresh()
        areas = [
            Area(tuple((point.longitude, point.latitude) for point in polygon.points))
            for polygon in request.polygons
        ]
        now = self._catalogue.now
        keys = cells_inside(now.stations, areas)
        places = now.stations.keys.searchsorted(keys).tolist()
        return cell_pb2.FindCellsResponse(
            cells=[
                _message(
                    int(now.stations.keys[i]),
                    now.names[i],
                    float(now.stations.longitudes[i]),
                    float(now.stations.latitudes[i]),
                    int(now.counties[i]),
                )
                for i in places
            ]
        )

    async def ListWeakCells(  # type: ignore[override]
        self, request: cell_pb2.ListWeakCellsRequest, context: Any
    ) -> cell_pb2.ListWeakCellsResponse:
        """Cells where phones go off and on again and again (EVT-34)."""
        bursts = [item for log in self._logs for item in log.state.bursts.items()]
        days = [day for (day, _), _ in bursts]
        if request.date:
            day = (date.fromisoformat(request.date) - EPOCH).days
        else:
            day = max(days, default=0)
        counted = [(cell, count) for (at, cell), count in bursts if at == day]
        if request.region:
            end = store.region_end(request.region)
            counted = [
                item for item in counted if request.region <= self._catalogue.place_of(item[0])[1] <= end
            ]
        response = cell_pb2.ListWeakCellsResponse()
        if bursts or request.date:
            response.date = (EPOCH + timedelta(days=day)).isoformat()
        for key, count in coverage.weakest(counted, request.least_bursts, request.limit or 100):
            station, county = self._catalogue.place_of(key)
            response.cells.add(key=key, station=station, county=county, bursts=count)
        return response

    async def BatchUpsertOutlets(  # type: ignore[override]
        self, request: cell_pb2.BatchUpsertOutletsRequest, context: Any
    ) -> cell_pb2.BatchUpsertOutletsResponse:
        """Create or replace outlets; definitions that name them follow (EVT-22)."""
        actor = rpc.actor()
        await self._catalogue.refresh()

        def write(tx: Connection) -> cell_pb2.BatchUpsertOutletsResponse:
            def once() -> cell_pb2.BatchUpsertOutletsResponse:
                rows = [_outlet(outlet) for outlet in request.outlets]
                store.write_outlets(tx, rows)
                self._definitions.outlets_moved(tx, [row["code"] for row in rows])
                return cell_pb2.BatchUpsertOutletsResponse(written=len({row["code"] for row in rows}))

            return requests.once(
                tx,
                "BatchUpsertOutlets",
                request.request_id,
                actor,
                cell_pb2.BatchUpsertOutletsResponse,
                once,
            )

        response = await self._db.transaction(write)
        await self._catalogue.refresh()
        return response

    async def ListOutlets(  # type: ignore[override]
        self, request: cell_pb2.ListOutletsRequest, context: Any
    ) -> cell_pb2.ListOutletsResponse:
        """Outlets of a region, by code."""
        size = page.size(request.page_size)
        after = page.read(request.page_token, request)
        last = str(after[0]) if after else None
        rows = await self._db.read(lambda tx: store.list_outlets(tx, request.region, last, size + 1))
        token = page.token([rows[size - 1].code], request) if len(rows) > size else ""
        outlets = [
            cell_pb2.Outlet(
                code=row.code,
                display_name=row.display_name,
                position=types_pb2.Point(longitude=row.longitude, latitude=row.latitude),
                range_metres=row.range_metres,
                county=row.county,
            )
            for row in rows[:size]
        ]
        return cell_pb2.ListOutletsResponse(outlets=outlets, next_page_token=token)


def _fault(cell: cell_pb2.Cell) -> tuple[str, str] | None:
    """(field, what is wrong) of a cell that cannot be taken."""
    key = cell.tac << 32 | cell.cell_id
    if key == 0:
        return "cell_id", "a cell needs a tracking area or a cell identity above 0"
    if cell.key not in (0, key):
        return "key", f"is {cell.key}, but tac and cell_id make {key}"
    if regions.valid_code("county", cell.county) is None:
        return "county", f"{cell.county} is no GB/T 2260 code of a county"
    return None


def _cell(cell: cell_pb2.Cell) -> store.Cell:
    position = cell.position
    return store.Cell(
        cell.tac << 32 | cell.cell_id, cell.station, position.longitude, position.latitude, cell.county
    )


def _message(key: int, station: str, longitude: float, latitude: float, county: int) -> cell_pb2.Cell:
    return cell_pb2.Cell(
        tac=key >> 32,
        cell_id=key & 0xFFFFFFFF,
        station=station,
        position=types_pb2.Point(longitude=longitude, latitude=latitude),
        county=county,
        key=key,
    )


def _outlet(outlet: cell_pb2.Outlet) -> dict[str, Any]:
    return {
        "code": outlet.code,
        "display_name": outlet.display_name,
        "longitude": outlet.position.longitude,
        "latitude": outlet.position.latitude,
        "range_metres": outlet.range_metres,
        "county": outlet.county,
    }
