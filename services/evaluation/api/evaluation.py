"""The indicator pool, chosen indicators, funnels and reports."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from iop.evaluation.v1 import report_pb2, report_pb2_grpc

from services.evaluation.api import funnels
from services.evaluation.domain import days, indicators, lift, regions
from services.evaluation.engine import report
from services.evaluation.engine.directory import Directory
from services.evaluation.store import activities, facts, orders
from services.kit import db, errors, page, requests, rpc
from services.kit.actor import Actor
from services.kit.app import Service

_KINDS = {
    report_pb2.REPORT_KIND_PROCESS: ("过程监控报表", "按日监控活动的触达、办理与订购"),
    report_pb2.REPORT_KIND_RESULT: ("结果评估报表", "按月评估活动的触达、办理与订购效果"),
}


class EvaluationApi(report_pb2_grpc.EvaluationServiceServicer):
    """The indicator pool, funnels and reports."""

    def __init__(self, service: Service, database: db.Database, directory: Directory) -> None:
        self._service = service
        self._db = database
        self._directory = directory

    async def ListIndicators(self, request: Any, context: Any) -> Any:
        """The unified pool (EVA-01)."""
        return report_pb2.ListIndicatorsResponse(indicators=[_indicator(one) for one in indicators.POOL])

    async def SetActivityIndicators(self, request: Any, context: Any) -> Any:
        """Choose the indicators of a launched activity of the caller's region (EVA-02 to EVA-05)."""
        indicators.chosen(request.indicators)
        actor = rpc.actor()

        def change(tx: db.Connection) -> Any:
            row = _launched(tx, request.activity_number, None)
            actor.require_region(row.region)
            activities.choose(tx, request.activity_number, request.indicators)
            return report_pb2.ActivityIndicators(
                activity_number=request.activity_number, indicators=request.indicators
            )

        return await self._db.transaction(
            lambda tx: requests.once(
                tx,
                "SetActivityIndicators",
                request.request_id,
                actor,
                report_pb2.ActivityIndicators,
                lambda: change(tx),
            )
        )

    async def ListEvaluatedActivities(self, request: Any, context: Any) -> Any:
        """Launched activities that concern the caller's regions, newest first (EVA-03)."""
        size = page.size(request.page_size)
        after = page.read(request.page_token, request)
        spans = spans_of(rpc.actor())
        rows = await self._db.read(lambda tx: activities.page(tx, request.query, spans, after, size + 1))
        response = report_pb2.ListEvaluatedActivitiesResponse(
            activities=[_activity(row) for row in rows[:size]]
        )
        if len(rows) > size:
            last = rows[size - 1]
            response.next_page_token = page.token([last.launched_at, last.activity_number], request)
        return response

    async def ListFunnels(self, request: Any, context: Any) -> Any:
        """Funnels by touchpoint and day, of the caller's regions (EVA-09)."""
        first, last = _range(request.start_date, request.end_date)
        spans = spans_of(rpc.actor())
        await self._know_directory()

        def read(tx: db.Connection) -> list[Any]:
            numbers = activities.visible(tx, request.activity_numbers, spans)
            return funnels.collect(tx, numbers, first, last, spans, self._directory.counties)

        return report_pb2.ListFunnelsResponse(funnels=await self._db.read(read))

    async def GetReport(self, request: Any, context: Any) -> Any:
        """A process or result report with rows of the caller's regions (EVA-11 to EVA-20)."""
        actor = rpc.actor()
        spans = spans_of(actor)
        monthly = request.kind == report_pb2.REPORT_KIND_RESULT
        level = regions.Level(request.level or report_pb2.REGION_LEVEL_PROVINCE)
        indicators.chosen(request.indicators)
        today = days.number(self._service.clock.today(self._service.runtime.timezone))
        await self._know_directory()

        def read(tx: db.Connection) -> Any:
            row = _launched(tx, request.activity_number, spans)
            columns = indicators.chosen(request.indicators or row.indicators or indicators.DEFAULT)
            first = days.parse(request.start_date, "start_date")
            last = days.parse(request.end_date, "end_date")
            launch_day = int(days.days_of(np.array([row.launched_at]), self._service.runtime.timezone)[0])
            covered = days.periods(
                launch_day if first is None else first,
                max(today, launch_day) if last is None else last,
                monthly,
            )
            return self._report(tx, row, columns, covered, level, actor, monthly)

        return await self._db.read(read)

    def _report(
        self,
        tx: db.Connection,
        row: Any,
        columns: Sequence[indicators.Indicator],
        covered: Sequence[days.Period],
        level: regions.Level,
        actor: Actor,
        monthly: bool,
    ) -> Any:
        number, last = row.activity_number, covered[-1].last
        spans = spans_of(actor)
        counties, numbered = self._directory.counties, self._directory.numbered
        target, control = activities.groups(tx, number)
        evidence = report.Evidence(
            target,
            control,
            facts.reached(tx, number, last),
            orders.attributed(tx, number, last),
            facts.responses(tx, number, covered[0].first, last),
        )
        grouping = report.Grouping(level, counties, activities.campuses(tx), spans, actor.campuses)
        values = report.table(evidence, grouping, numbered[: grouping.size], covered, columns)
        name, purpose = _KINDS[report_pb2.REPORT_KIND_RESULT if monthly else report_pb2.REPORT_KIND_PROCESS]
        shown = report_pb2.Report(
            display_name=f"{row.display_name}{name}",
            purpose=f"{purpose}：{row.description or row.campaign_display_name}",
            indicators=[_indicator(column) for column in columns],
        )
        # A region where nobody is meant or reached in the whole period is left out.
        alive = np.any(values, axis=(0, 2)).tolist()
        for i, period in enumerate(covered):
            for j, region in enumerate(grouping.regions):
                if alive[j]:
                    shown.rows.add(date=period.label, region=region, values=values[i, j].tolist())
        buyers = orders.buyers(tx, row.product_code, row.launched_at, last)
        groups = report.lift_groups(evidence, buyers, regions.within(counties[: grouping.size], spans))
        found = lift.newcombe(groups[1], groups[0], groups[3], groups[2])
        shown.lift.CopyFrom(
            report_pb2.Lift(
                target=groups[0],
                target_orders=groups[1],
                control=groups[2],
                control_orders=groups[3],
                lift=found.lift,
                lower=found.lower,
                upper=found.upper,
            )
        )
        return shown

    async def _know_directory(self) -> None:
        if not self._directory.version:
            await self._directory.refresh()


def spans_of(actor: Actor) -> list[tuple[int, int]] | None:
    """The county codes that the actor may see, None for all."""
    return None if actor.whole_province else regions.spans(actor.regions)


def _launched(tx: db.Connection, number: int, spans: Sequence[tuple[int, int]] | None) -> Any:
    """The activity; NotFound, ACTIVITY_NOT_LAUNCHED, when there is none that concerns the regions."""
    row = activities.get(tx, number)
    if row is None or not activities.visible(tx, [number], spans):
        raise errors.NotFound(
            f"activity {number} has not been launched",
            reason="ACTIVITY_NOT_LAUNCHED",
            metadata={"activity_number": str(number)},
        )
    return row


def _range(start: str, end: str) -> tuple[int, int]:
    first, last = days.parse(start, "start_date"), days.parse(end, "end_date")
    if first is not None and last is not None and last < first:
        raise errors.Invalid(
            "the period ends before it begins", fields=[("end_date", "must not lie before start_date")]
        )
    return (0 if first is None else first), (2**31 - 1 if last is None else last)


def _indicator(one: indicators.Indicator) -> Any:
    return report_pb2.Indicator(
        code=one.code,
        display_name=one.display_name,
        unit=one.unit,
        description=one.description,
        source=one.source,
    )


def _activity(row: Any) -> Any:
    shown = report_pb2.EvaluatedActivity(
        activity_number=row.activity_number,
        activity=row.name,
        display_name=row.display_name,
        campaign_display_name=row.campaign_display_name,
        case_id=row.case_id,
        region=row.region,
        indicators=row.indicators,
    )
    shown.launch_time.FromMicroseconds(row.launched_at)
    return shown
