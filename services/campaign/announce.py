"""What this service puts on the bus, written to the outbox in the transaction of the change."""

from datetime import date
from typing import Any

import numpy as np
from iop.campaign.v1 import events_pb2
from iop.common.v1 import types_pb2
from iop.touchpoint.v1 import events_pb2 as touchpoint_events_pb2
from numpy.typing import NDArray

from services.campaign import translate
from services.campaign.domain.model import ActivityPlan, Setting
from services.campaign.domain.states import ActivityState
from services.campaign.store.activities import Activity, Bitmap
from services.campaign.store.campaigns import Campaign
from services.kit import outbox
from services.kit.bus import Stream
from services.kit.db import Connection

STREAM = Stream("IOP_CAMPAIGN", ("iop.campaign.v1.>",))


def launched(
    tx: Connection,
    campaign: Campaign,
    activity: Activity,
    matched: int,
    excluded: dict[str, int],
    trace_budget: int,
) -> None:
    """An activity started; `activity` is as it stands after its launch."""
    message = events_pb2.ActivityLaunched(
        activity=translate.activity(activity),
        campaign_display_name=campaign.plan.display_name,
        region=campaign.plan.region,
        marketing_type=campaign.plan.marketing_type,
        case_id=campaign.plan.case_id,
        matched=matched,
        excluded=translate.reasons(excluded),
        trace_budget=trace_budget,
        traceparent=activity.launch_trace,
    )
    if campaign.launch_time is not None:
        message.launch_time.FromDatetime(campaign.launch_time)
    everyone = activity.plan.target is not None and activity.plan.target.kind == "all_customers"
    if activity.target is not None and not everyone:
        message.target.CopyFrom(bitmap_ref(activity.target))
    if activity.control is not None:
        message.control.CopyFrom(bitmap_ref(activity.control))
    _add(tx, message, activity.number, activity.name)


def state_changed(tx: Connection, activity: Activity, state: ActivityState, version: int) -> None:
    """An activity was paused, resumed, completed or terminated."""
    message = events_pb2.ActivityStateChanged(
        activity_number=activity.number,
        activity=activity.name,
        state=int(state),  # type: ignore[arg-type]
        version=version,
    )
    _add(tx, message, activity.number, activity.name)


def population_bound(
    tx: Connection,
    activity: Activity,
    definition_number: int,
    version: int,
    bitmap: Bitmap,
    first: date,
    last: date,
) -> None:
    """Who may match an activity's definition, and from when to when."""
    message = events_pb2.PopulationChanged(
        activity_number=activity.number,
        definition_number=definition_number,
        version=version,
        bitmap=bitmap_ref(bitmap),
        start_date=first.isoformat(),
        end_date=last.isoformat(),
    )
    _add(tx, message, activity.number, activity.name)


def population_unbound(tx: Connection, activity: Activity, definition_number: int, version: int) -> None:
    """The activity no longer listens."""
    message = events_pb2.PopulationChanged(
        activity_number=activity.number, definition_number=definition_number, version=version, unbound=True
    )
    _add(tx, message, activity.number, activity.name)


def push_page(
    tx: Connection,
    *,
    page_id: str,
    activity: Activity,
    setting: Setting,
    day: int,
    wave: int,
    group: str,
    ordinals: NDArray[np.uint32],
    partition: int,
) -> dict[str, Any]:
    """Outbox row of a page of a push, for outbox.add_all."""
    message = touchpoint_events_pb2.TouchRequested(
        page_id=page_id,
        activity_number=activity.number,
        touchpoint=setting.touchpoint,  # type: ignore[arg-type]
        planned_day=day,
        occurrence=wave,
        ordinals=ordinals.astype("<u4").tobytes(),
        group=group,
    )
    return _page_row(tx, message, activity, setting, partition)


def match_page(
    tx: Connection,
    *,
    page_id: str,
    activity: Activity,
    setting: Setting,
    day: int,
    period: int,
    group: str,
    ordinals: NDArray[np.uint32],
    occurred_at: NDArray[np.int64],
    partition: int,
) -> dict[str, Any]:
    """Outbox row of a page of matches, for outbox.add_all."""
    message = touchpoint_events_pb2.TouchRequested(
        page_id=page_id,
        activity_number=activity.number,
        touchpoint=setting.touchpoint,  # type: ignore[arg-type]
        planned_day=day,
        occurrence=period,
        ordinals=ordinals.astype("<u4").tobytes(),
        occurred_at=occurred_at.astype("<i8").tobytes(),
        time_to_live_seconds=time_to_live(activity.plan),
        group=group,
    )
    return _page_row(tx, message, activity, setting, partition)


def time_to_live(plan: ActivityPlan) -> int:
    """Seconds after which a touch that was not sent expires; half an hour unless the activity says."""
    return plan.time_to_live_seconds or 1800


def bitmap_ref(bitmap: Bitmap) -> types_pb2.BitmapRef:
    """A bitmap as the contract names it."""
    return types_pb2.BitmapRef(
        object=bitmap.object,
        digest=bitmap.digest,
        cardinality=bitmap.cardinality,
        directory_version=bitmap.directory_version,
    )


def _page_row(
    tx: Connection, message: Any, activity: Activity, setting: Setting, partition: int
) -> dict[str, Any]:
    return outbox.row(
        tx,
        message,
        partition=partition,
        lane=setting.priority.lane,
        message_id=message.page_id,
        subject_ref=activity.name,
    )


def _add(tx: Connection, message: Any, number: int, name: str) -> None:
    # One key per activity: its announcements arrive in the order in which they were made.
    outbox.add(tx, message, key=str(number), subject_ref=name)
