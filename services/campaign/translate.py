"""Between the contract's messages and our values."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from iop.campaign.v1 import activity_pb2, campaign_pb2
from iop.common.v1 import types_pb2

from services.campaign.domain.model import (
    ActivityPlan,
    CampaignPlan,
    Mode,
    Period,
    Priority,
    Product,
    Setting,
    Split,
    Suppression,
    Target,
    period_of,
)
from services.campaign.store.activities import Activity, CartItem
from services.campaign.store.campaigns import Campaign
from services.kit import errors, resource, telemetry

CAMPAIGN_FIELDS = frozenset(
    {
        "display_name", "theme", "goal", "region", "initiator", "cycle", "period", "need_dimensions",
        "lifecycle_stages", "brands", "target_description", "case_id", "marketing_type",
    }
)  # fmt: skip
ACTIVITY_FIELDS = frozenset(
    {
        "display_name", "code", "description", "mode", "target", "definition", "product", "control_percent",
        "splits", "time_to_live_seconds", "school",
    }
)  # fmt: skip


def timestamp(at: datetime | None) -> Timestamp | None:
    """A protobuf timestamp."""
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made


def reasons(counts: Mapping[str, int]) -> list[types_pb2.ReasonCount]:
    """Counts by reason, in order of the reasons."""
    return [types_pb2.ReasonCount(reason=reason, count=count) for reason, count in sorted(counts.items())]


def date_range(period: Period) -> types_pb2.DateRange:
    """A period on the wire."""
    return types_pb2.DateRange(start_date=period.start.isoformat(), end_date=period.end.isoformat())


def masked(current: Message, given: Message, mask: FieldMask, allowed: frozenset[str], path: str) -> Message:
    """`current` with the masked fields of `given`; an empty mask takes every field of `allowed`.

    Invalid when the mask names a field that nobody may set.
    """
    paths = [p for p in mask.paths if p not in ("name", "etag")] or sorted(allowed)
    bad = [p for p in paths if p.split(".")[0] not in allowed]
    known = FieldMask(paths=paths).IsValidForDescriptor(current.DESCRIPTOR)  # type: ignore[arg-type]
    if bad or not known:
        listed = ", ".join(bad or paths)
        raise errors.Invalid(
            f"update_mask names what cannot be changed: {listed}",
            fields=[("update_mask", f"{path} has no such field to change: {listed}")],
        )
    merged = type(current)()
    merged.CopyFrom(current)
    # Set fields are cleared first: MergeMessage leaves what the source has not set as it was.
    for p in paths:
        if "." not in p:
            merged.ClearField(p)
    FieldMask(paths=paths).MergeMessage(
        given, merged, replace_message_field=True, replace_repeated_field=True
    )
    return merged


# --- campaigns ---


def campaign_plan(given: Any) -> CampaignPlan:
    """The head of a campaign in a request."""
    return CampaignPlan(
        display_name=given.display_name,
        region=given.region,
        period=period_of(given.period.start_date, given.period.end_date, "campaign.period"),
        theme=given.theme,
        goal=given.goal,
        initiator=given.initiator,
        cycle=given.cycle,
        need_dimensions=tuple(given.need_dimensions),
        lifecycle_stages=tuple(given.lifecycle_stages),
        brands=tuple(given.brands),
        target_description=given.target_description,
        case_id=given.case_id,
        marketing_type=given.marketing_type,
    )


def campaign(found: Campaign) -> campaign_pb2.Campaign:
    """A campaign on the wire."""
    plan = found.plan
    launch = telemetry.parse(found.launch_trace)
    return campaign_pb2.Campaign(
        name=found.name,
        display_name=plan.display_name,
        theme=plan.theme,
        goal=plan.goal,
        region=plan.region,
        initiator=plan.initiator,
        cycle=plan.cycle,  # type: ignore[arg-type]
        period=date_range(plan.period),
        need_dimensions=plan.need_dimensions,
        lifecycle_stages=plan.lifecycle_stages,  # type: ignore[arg-type]
        brands=plan.brands,
        target_description=plan.target_description,
        case_id=plan.case_id,
        marketing_type=plan.marketing_type,
        state=int(found.state),  # type: ignore[arg-type]
        author=found.author,
        approver=found.approver,
        approval_comment=found.comment,
        content_digest=found.digest,
        create_time=timestamp(found.create_time),
        update_time=timestamp(found.update_time),
        launch_time=timestamp(found.launch_time),
        etag=resource.etag(found.version),
        trace_id=f"{launch.trace_id:032x}" if launch else "",
    )


# --- activities ---


def activity_plan(given: Any) -> ActivityPlan:
    """An activity in a request."""
    target = None
    kind = given.target.WhichOneof("source") if given.HasField("target") else None
    if kind is not None:
        value = getattr(given.target, kind)
        if not value:
            raise errors.Invalid(f"target.{kind} is empty", fields=[(f"activity.target.{kind}", "is empty")])
        target = Target(kind, "" if kind == "all_customers" else value)
        if kind != "all_customers":
            resource.parse(value, "audiences" if kind == "audience" else "lists", f"activity.target.{kind}")
    product = None
    if given.HasField("product"):
        p = given.product
        product = Product(p.code, p.display_name, p.price_fen, p.order_instruction)
    return ActivityPlan(
        display_name=given.display_name,
        code=given.code,
        mode=Mode(given.mode),
        description=given.description,
        target=target,
        definition=given.definition,
        product=product,
        control_percent=given.control_percent,
        splits=tuple(Split(s.group, s.percent, tuple(s.touchpoints)) for s in given.splits),
        time_to_live_seconds=given.time_to_live_seconds,
        school=given.school,
    )


def activity(found: Activity) -> activity_pb2.Activity:
    """An activity on the wire."""
    plan = found.plan
    made = activity_pb2.Activity(
        name=found.name,
        display_name=plan.display_name,
        code=plan.code,
        description=plan.description,
        mode=int(plan.mode),  # type: ignore[arg-type]
        definition=plan.definition,
        control_percent=plan.control_percent,
        splits=[
            activity_pb2.Split(group=s.group, percent=s.percent, touchpoints=s.touchpoints)  # type: ignore[arg-type]
            for s in plan.splits
        ],
        time_to_live_seconds=plan.time_to_live_seconds,
        activity_number=found.number,
        settings=[setting(item.setting) for item in found.settings],
        create_time=timestamp(found.create_time),
        update_time=timestamp(found.update_time),
        etag=resource.etag(found.version),
        school=plan.school,
        snapshot=found.snapshot,
    )
    if plan.target is not None:
        if plan.target.kind == "all_customers":
            made.target.all_customers = True
        else:
            setattr(made.target, plan.target.kind, plan.target.name)
    if plan.product is not None:
        p = plan.product
        made.product.CopyFrom(
            activity_pb2.Product(
                code=p.code,
                display_name=p.display_name,
                price_fen=p.price_fen,
                order_instruction=p.order_instruction,
            )
        )
    return made


# --- settings and carts ---


def setting_value(given: Any, path: str = "setting") -> Setting:
    """A touchpoint setting in a request; an unspecified priority is medium."""
    suppression = None
    if given.HasField("suppression"):
        s = given.suppression
        suppression = Suppression(s.keep_block_list, s.keep_red_list, s.keep_sensitive_list, s.reason)
    return Setting(
        touchpoint=given.touchpoint,
        period=period_of(given.period.start_date, given.period.end_date, f"{path}.period"),
        periodic_update=given.periodic_update,
        suppression=suppression,
        priority=Priority(given.priority or Priority.MEDIUM),
        marketing_words=given.marketing_words,
        fields=dict(given.fields),
        sms_contract_only=given.sms_contract_only,
    )


def setting(value: Setting) -> activity_pb2.TouchpointSetting:
    """A setting on the wire."""
    made = activity_pb2.TouchpointSetting(
        touchpoint=value.touchpoint,  # type: ignore[arg-type]
        period=date_range(value.period),
        periodic_update=value.periodic_update,
        priority=int(value.priority),  # type: ignore[arg-type]
        marketing_words=value.marketing_words,
        fields=value.fields,
        sms_contract_only=value.sms_contract_only,
    )
    if value.suppression is not None:
        made.suppression.CopyFrom(
            types_pb2.SuppressionChoice(
                keep_block_list=value.suppression.keep_block_list,
                keep_red_list=value.suppression.keep_red_list,
                keep_sensitive_list=value.suppression.keep_sensitive_list,
                reason=value.suppression.reason,
            )
        )
    return made


def cart_item(item: CartItem) -> activity_pb2.CartItem:
    """A cart item on the wire."""
    return activity_pb2.CartItem(
        item_id=item.id,
        activity=item.activity,
        setting=setting(item.setting),
        create_time=timestamp(item.create_time),
        owner=item.owner,
    )
