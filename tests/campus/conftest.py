"""The campus service between small real servers of the audience and event contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest_asyncio
from iop.audience.v1 import directory_pb2, directory_pb2_grpc, list_pb2, list_pb2_grpc
from iop.campus.v1 import school_pb2, school_pb2_grpc
from iop.common.v1 import runtime_pb2, runtime_pb2_grpc, types_pb2
from iop.event.v1 import cell_pb2, cell_pb2_grpc

from services.kit import envelope, errors, rpc
from services.kit.actor import Actor
from services.kit.bus import Bus
from services.kit.clock import ClockFile

CODE = "4115010126"
NAME = f"schools/{CODE}"
MAIN, SOUTH = 411501012601, 411501012602


def user(name: str, role: str, *regions: int, campuses: tuple[str, ...] = ()) -> Actor:
    """A signed-in person."""
    return Actor(f"user:{name}", name, frozenset({role}), regions or (150000,), campuses)


MANAGER = user("li", "campus_manager", 150100)
OTHER_MANAGER = user("wu", "campus_manager", 150100)
AUDITOR = user("wang", "channel_auditor", 150000)
CLERK = user("zhao", "clerk", 150000)


class Audience(directory_pb2_grpc.DirectoryServiceServicer, list_pb2_grpc.ListServiceServicer):
    """Knows every even number: id 9000000000 + number, ordinals by first sight."""

    def __init__(self) -> None:
        self.ordinals: dict[int, int] = {}
        self.lists: dict[str, set[int]] = {}
        self.callers: set[str] = set()
        self.pages: list[int] = []

    async def GetDirectory(self, request: Any, context: Any) -> Any:
        return directory_pb2.Directory(count=len(self.ordinals), directory_version=7)

    async def LookUpSubscribers(self, request: Any, context: Any) -> Any:
        self.callers.add(rpc.actor().subject)
        self.pages.append(len(request.phones))
        answer = directory_pb2.LookUpSubscribersResponse()
        for i, phone in enumerate(request.phones):
            if phone % 2:
                answer.missing.append(i)
                continue
            ordinal = self.ordinals.setdefault(phone, len(self.ordinals))
            answer.subscribers.add(
                subscriber_id=9_000_000_000 + phone, ordinal=ordinal, phone="138****0000", county=150102
            )
        return answer

    async def CreateCustomerList(self, request: Any, context: Any) -> Any:
        if request.list_id in self.lists:
            raise errors.Exists("it is there already")
        self.lists[request.list_id] = set()
        return list_pb2.CustomerList(name=f"lists/{request.list_id}")

    async def ImportCustomers(self, request: Any, context: Any) -> Any:
        members = self.lists[request.name.removeprefix("lists/")]
        before = len(members)
        members |= set(request.subscriber_ids)
        return list_pb2.ImportCustomersResponse(added=len(members) - before, size=len(members))


class Cells(cell_pb2_grpc.CellServiceServicer):
    """Two cells for each outline, one of them shared by all."""

    def __init__(self) -> None:
        self.callers: set[str] = set()

    async def FindCells(self, request: Any, context: Any) -> Any:
        self.callers.add(rpc.actor().subject)
        answer = cell_pb2.FindCellsResponse()
        for i, _ in enumerate(request.polygons):
            for cell in (100 + i, 99):
                answer.cells.add(tac=5, cell_id=cell, key=5 << 32 | cell)
        return answer


@dataclass
class World:
    """The campus service and its neighbours."""

    campus: Any
    audience: Audience
    cells: Cells
    nats_url: str
    bus: Bus
    make_stub: Callable[..., Any]
    clock_path: Path
    runtime: Any
    numbers: dict[str, int] = field(default_factory=dict)

    def as_user(self, actor: Actor) -> Any:
        """The service as `actor` calls it."""
        return self.make_stub(self.campus, school_pb2_grpc.SchoolServiceStub, actor)

    async def approved(self, code: str = CODE, **fields: Any) -> Any:
        """A school entered by MANAGER and approved by AUDITOR."""
        await self.as_user(MANAGER).CreateSchool(
            school_pb2.CreateSchoolRequest(school=school(code, **fields), school_id=code)
        )
        return await self.as_user(AUDITOR).ReviewSchool(
            school_pb2.ReviewSchoolRequest(name=f"schools/{code}", approve=True)
        )

    async def rest(self) -> None:
        """Wait until the service has nothing in hand."""
        for _ in range(200):
            status = await self.runtime.GetStatus(runtime_pb2.GetStatusRequest())
            if status.idle:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not at rest: {status}")


def school(code: str = CODE, **fields: Any) -> Any:
    """A university with two sites in Hohhot."""
    outline = types_pb2.Polygon(
        points=[
            types_pb2.Point(longitude=111.6 + dx, latitude=40.8 + dy)
            for dx, dy in ((0, 0), (0.1, 0), (0, 0.1))
        ]
    )
    values = {
        "display_name": "内蒙古大学",
        "type": school_pb2.SCHOOL_TYPE_UNDERGRADUATE,
        "nature": "public",
        "authority": "内蒙古自治区",
        "city": 150100,
        "county": 150105,
        "student_count": 34000,
        "campuses": [
            school_pb2.Campus(code=int(f"{code}01"), display_name="主校区", county=150105, outline=outline),
            school_pb2.Campus(code=int(f"{code}02"), display_name="南校区", outline=outline),
        ],
        "key_persons": [school_pb2.KeyPerson(display_name="王校长", phone="13812343500", duty="校长")],
    }
    return school_pb2.School(**{**values, **fields})


def student(phone: str, name: str = "张三", campus: int = MAIN, year: int = 2019, **fields: Any) -> Any:
    """A row of an import."""
    return school_pb2.Student(
        **{
            "campus": campus,
            "enrolment_year": year,
            "faculty": "数学科学学院",
            "class_name": "1班",
            "display_name": name,
            "gender": "female",
            "phone": phone,
            "degree": "bachelor",
            **fields,
        }
    )


@pytest_asyncio.fixture
async def world(
    make_service: Callable[..., Awaitable[Any]],
    bare_service: Callable[..., Any],
    stub: Callable[..., Any],
    nats_url: str,
    tmp_path: Path,
) -> World:
    """The campus service at noon of 2020-08-10."""
    audience, cells = Audience(), Cells()
    neighbours = []
    for name, adders, servicer in (
        (
            "audience",
            (
                directory_pb2_grpc.add_DirectoryServiceServicer_to_server,
                list_pb2_grpc.add_ListServiceServicer_to_server,
            ),
            audience,
        ),
        ("event", (cell_pb2_grpc.add_CellServiceServicer_to_server,), cells),
    ):
        neighbour = bare_service(name, nats_url=nats_url)
        server = rpc.Server(neighbour)
        for add in adders:
            server.add(add, servicer)
        await server.start()
        neighbour.on_stop("rpc", server.stop)
        neighbours.append(neighbour)
    path = tmp_path / "clock"
    ClockFile.write(path, datetime(2020, 8, 10, 4, tzinfo=UTC))
    campus = await make_service("campus", peers=neighbours, clock=str(path))
    return World(
        campus=campus,
        audience=audience,
        cells=cells,
        nats_url=nats_url,
        bus=await Bus.connect(neighbours[0]),
        make_stub=stub,
        clock_path=path,
        runtime=stub(campus, runtime_pb2_grpc.RuntimeServiceStub),
    )


async def announced(world: World, kind: type, count: int) -> list[Any]:
    """The first `count` messages of a type that the service announced."""
    await world.rest()
    subscription = await world.bus.js.subscribe(envelope.subject_of(kind), ordered_consumer=True)
    found = []
    for _ in range(count):
        found.append(kind.FromString((await subscription.next_msg(timeout=5)).data))
    await subscription.unsubscribe()
    return found
