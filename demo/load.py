"""Loads the region through the platform's own APIs: bulk over gRPC, what people do over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import numpy as np
from iop.audience.v1 import (
    directory_pb2,
    directory_pb2_grpc,
    list_pb2,
    list_pb2_grpc,
    tag_pb2,
    tag_pb2_grpc,
)
from iop.campus.v1 import school_pb2, school_pb2_grpc
from iop.common.v1 import types_pb2
from iop.event.v1 import cell_pb2, cell_pb2_grpc

from demo import campuses, homes, places, region, stations, tags, vocabulary
from demo.cases import CAMPUS_SCHOOL
from demo.conditions import polygon
from demo.door import Door
from demo.platform import LOADER, Platform
from demo.world import LAST_MONTH, YESTERDAY, World

ROWS = 20_000  # of a chunk of subscribers or tag values
Step = Callable[[str, int, int], None]  # what, done, of how many

_CLASSES = {tags.BASIC: 1, tags.BEHAVIOUR: 2, tags.SCENARIO: 3}
_LISTS = {
    "block": list_pb2.SUPPRESSION_LIST_BLOCK,
    "red": list_pb2.SUPPRESSION_LIST_RED,
    "sensitive": list_pb2.SUPPRESSION_LIST_SENSITIVE,
    "opt_out": list_pb2.SUPPRESSION_LIST_OPT_OUT,
    "no_consent": list_pb2.SUPPRESSION_LIST_NO_CONSENT,
    "minor": list_pb2.SUPPRESSION_LIST_MINOR,
    "no_location_consent": list_pb2.SUPPRESSION_LIST_NO_LOCATION_CONSENT,
}
_REASONS = {
    "block": "投诉用户", "red": "重要客户", "opt_out": "历史退订", "no_consent": "未同意营销",
    "minor": "未成年人", "no_location_consent": "未同意使用位置",
}  # fmt: skip
_SCHOOL_TYPES = {"本科": "SCHOOL_TYPE_UNDERGRADUATE", "专科": "SCHOOL_TYPE_JUNIOR_COLLEGE"}
_NATURES = {"公办": "public", "民办": "private"}
_DEGREES = {"junior": "junior_college"}


class NotLoaded(Exception):
    """The platform refused part of the input."""


class Loader:
    """Brings a world into a platform."""

    def __init__(self, platform: Platform, world: World, door: Door, step: Step) -> None:
        self._platform, self._world, self._door, self._step = platform, world, door, step

    async def run(self) -> None:
        """Everything, in an order in which each part finds what it needs."""
        await asyncio.gather(self._people(), self._network())
        await self._schools()
        await self._students()

    async def _people(self) -> None:
        await self._directory()
        await self._catalogue()
        await self._values()
        await self._suppressions()

    async def _directory(self) -> None:
        async with self._platform.channel("audience", LOADER) as channel:
            stub: Any = directory_pb2_grpc.DirectoryServiceStub(channel)
            answer = await stub.LoadSubscribers(self._subscribers())
        if answer.refused_count or answer.added != self._world.count:
            raise NotLoaded(f"{answer.added} of {self._world.count} subscribers: {answer.refused[:3]}")

    async def _subscribers(self) -> AsyncIterator[Any]:
        people, total = self._world.people, self._world.count
        for start in range(0, total, ROWS):
            cut = slice(start, start + ROWS)
            yield directory_pb2.LoadSubscribersRequest(
                subscriber_ids=people.subscriber_id[cut].astype("<i8").tobytes(),
                phones=people.phone[cut].astype("<i8").tobytes(),
                counties=people.county[cut].astype("<i4").tobytes(),
            )
            self._step("subscribers", min(start + ROWS, total), total)

    async def _catalogue(self) -> None:
        async with self._platform.channel("audience", LOADER) as channel:
            stub: Any = tag_pb2_grpc.TagServiceStub(channel)
            await stub.BatchUpsertTags(
                tag_pb2.BatchUpsertTagsRequest(tags=[_tag(item) for item in tags.catalogue()])
            )

    async def _values(self) -> None:
        async with self._platform.channel("audience", LOADER) as channel:
            stub: Any = tag_pb2_grpc.TagServiceStub(channel)
            for frequency, when in ((tags.MONTH, LAST_MONTH), (tags.DAY, YESTERDAY)):
                mine = [tag for tag in tags.catalogue() if tag.frequency == frequency]
                answer = await stub.LoadTagValues(self._columns(mine, when.isoformat()))
                if answer.refused_count or answer.rows != self._world.count:
                    raise NotLoaded(f"{answer.rows} rows of tag values: {answer.refused[:3]}")

    async def _columns(self, mine: list[tags.Tag], when: str) -> AsyncIterator[Any]:
        total = self._world.count
        for chunk in self._world.chunks():
            columns = {tag.code: chunk.column(tag.code) for tag in mine}
            for start in range(0, len(chunk), ROWS):
                cut = slice(start, start + ROWS)
                yield tag_pb2.LoadTagValuesRequest(
                    data_date=when,
                    subscriber_ids=chunk.subscriber_id[cut].astype("<i8").tobytes(),
                    columns=[
                        tag_pb2.TagColumn(tag=tag.code, texts=columns[tag.code][cut].tolist())
                        if tag.type == tags.TEXT
                        else tag_pb2.TagColumn(tag=tag.code, data=columns[tag.code][cut].tobytes())
                        for tag in mine
                    ],
                )
                self._step(f"{len(mine)} tags of {when}", min(chunk.start + start + ROWS, total), total)
                await asyncio.sleep(0)

    async def _suppressions(self) -> None:
        async with self._platform.channel("audience", LOADER) as channel:
            stub: Any = list_pb2_grpc.ListServiceStub(channel)
            for chunk in self._world.chunks():
                for name, members in chunk.suppressed.items():
                    for reason, ids in _by_reason(name, chunk, members):
                        for start in range(0, len(ids), 100_000):
                            answer = await stub.ChangeSuppression(
                                list_pb2.ChangeSuppressionRequest(
                                    suppression_list=_LISTS[name],
                                    add=ids[start : start + 100_000],
                                    reason=reason,
                                    source="BOSS",
                                )
                            )
                            if answer.unknown:
                                raise NotLoaded(f"{len(answer.unknown)} unknown members of list {name}")
                self._step("lists and consent", chunk.start + len(chunk), self._world.count)

    async def _network(self) -> None:
        net = stations.network()
        async with self._platform.channel("event", LOADER) as channel:
            stub: Any = cell_pb2_grpc.CellServiceStub(channel)
            for start in range(0, net.cells, 10_000):
                chosen = range(start, min(start + 10_000, net.cells))
                answer = await stub.BatchUpsertCells(
                    cell_pb2.BatchUpsertCellsRequest(
                        cells=[
                            cell_pb2.Cell(
                                tac=int(net.tac[i]),
                                cell_id=int(net.cell_id[i]),
                                station=net.names[net.station[i]],
                                position=types_pb2.Point(longitude=net.lon[i], latitude=net.lat[i]),
                                county=int(net.county[i]),
                            )
                            for i in chosen
                        ]
                    )
                )
                if answer.refused or answer.written != len(chosen):
                    raise NotLoaded(f"{answer.written} of {len(chosen)} cells: {answer.refused[:3]}")
                self._step("cells", chosen.stop, net.cells)
            stores = places.of_kind(places.STORE)
            await stub.BatchUpsertOutlets(
                cell_pb2.BatchUpsertOutletsRequest(
                    outlets=[
                        cell_pb2.Outlet(
                            code=store.id,
                            display_name=store.name,
                            position=types_pb2.Point(longitude=store.centre[0], latitude=store.centre[1]),
                            range_metres=1500,
                            county=store.county,
                        )
                        for store in stores
                    ]
                )
            )
            self._step("outlets", len(stores), len(stores))

    async def _schools(self) -> None:
        """Entered by the campus manager, passed by the auditor (CAM-67)."""
        schools = campuses.schools()
        await self._door.sign_in("campus", "auditor")
        slots, done = asyncio.Semaphore(4), 0

        async def enter(school: campuses.School) -> None:
            nonlocal done
            async with slots:
                made = await self._door.post(
                    "campus",
                    "/campus/v1/schools",
                    _school(school),
                    school_id=school.code,
                    request_id=f"school-{school.code}",
                )
                await self._door.post(
                    "auditor",
                    f"/campus/v1/{made['name']}:review",
                    {
                        "approve": True,
                        "comment": "资料齐全",
                        "etag": made["etag"],
                        "request_id": f"review-{school.code}",
                    },
                )
                done += 1
                self._step("schools", done, len(schools))

        await asyncio.gather(*(enter(school) for school in schools))

    async def _students(self) -> None:
        name = f"schools/{CAMPUS_SCHOOL}"
        async with self._platform.channel("campus", LOADER) as channel:
            stub: Any = school_pb2_grpc.SchoolServiceStub(channel)
            students = list(students_of(self._world, CAMPUS_SCHOOL))
            for start in range(0, len(students), 10_000):
                answer = await stub.ImportStudents(
                    school_pb2.ImportStudentsRequest(
                        parent=name, students=students[start : start + 10_000], first_line=start + 1
                    )
                )
                if answer.refused:
                    raise NotLoaded(f"students: {answer.refused[:3]}")
        for verb in ("identifyStudents", "refreshCells"):
            await self._door.post("campus", f"/campus/v1/{name}:{verb}", {"request_id": verb})
        self._step("students", len(students), len(students))


def students_of(world: World, school: str) -> Iterable[Any]:
    """Students of a school as its registry would list them. Names are made of the salutation's surname."""
    sites = campuses.campuses()
    genders, degrees = ("male", "female"), [code for code, _ in vocabulary.DEGREES]
    for chunk in world.chunks():
        who, stored = chunk.identity, chunk.stored
        mine = np.array([site.school.code == school for site in sites])
        rows = np.flatnonzero((who.campus >= 0) & (who.campus_role == homes.STUDENT) & mine[who.campus])
        texts = chunk.texts["salutation"]
        for row in rows.tolist():
            degree = degrees[stored["degree"][row]] if stored["degree"][row] >= 0 else "bachelor"
            yield school_pb2.Student(
                campus=sites[who.campus[row]].code,
                enrolment_year=int(stored["enrolment_year"][row]),
                faculty=vocabulary.FACULTIES[stored["faculty"][row]][1],
                class_name=f"{int(stored['class_number'][row])}班",
                display_name=f"{texts[stored['salutation'][row]][0]}同学",
                gender=genders[stored["gender"][row]],
                phone=str(who.phone[row]),
                degree=_DEGREES.get(degree, degree),
            )


def _tag(tag: tags.Tag) -> Any:
    return tag_pb2.Tag(
        code=tag.code,
        display_name=tag.name,
        display_name_en=tag.name_en,
        tag_class=_CLASSES[tag.tag_class],  # type: ignore[arg-type]
        category=tag.category,
        type=f"TAG_TYPE_{tag.type.upper()}",
        unit=tag.unit,
        frequency=f"FREQUENCY_{tag.frequency.upper()}",
        description=tag.description,
        values=[tag_pb2.EnumValue(code=code, label=label) for code, label in tag.values],
        lineage=tag.lineage,
        decimals=tag.decimals,
    )


def _by_reason(name: str, chunk: Any, members: Any) -> Iterable[tuple[str, list[int]]]:
    if name != "sensitive":
        yield _REASONS[name], chunk.subscriber_id[members].tolist()
        return
    for index, reason in enumerate(vocabulary.SENSITIVE_REASONS):
        yield reason, chunk.subscriber_id[members & (chunk.sensitive_reason == index)].tolist()


def _school(school: campuses.School) -> dict[str, Any]:
    sites = [site for site in campuses.campuses() if site.school.code == school.code]
    centre = sites[0].centre
    return {
        "display_name": school.name,
        "type": _SCHOOL_TYPES[school.level],
        "nature": _NATURES[school.nature],
        "authority": school.authority,
        "city": school.city,
        "county": sites[0].county,
        "campus_card": True,
        "student_count": sum(site.students for site in sites),
        "enrolment_count": sum(site.freshmen for site in sites),
        "staff_count": sum(site.staff for site in sites),
        "address": f"{region.load().county(sites[0].county).name}{school.name}",
        "group_id": f"G{school.code}",
        "position": {"longitude": centre[0], "latitude": centre[1]},
        "campuses": [
            {
                "code": str(site.code),
                "display_name": site.name,
                "county": site.county,
                "outline": polygon(site.ring),
            }
            for site in sites
        ],
    }
