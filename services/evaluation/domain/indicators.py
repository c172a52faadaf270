"""The unified pool of indicators (EVA-01): each is a count of the report or a ratio of two of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kit import errors


@dataclass(frozen=True)
class Indicator:
    """One measure. Units: `subscriber`, `touch`, `order`, `fen`, `ratio`. A ratio of nothing is 0."""

    code: str
    display_name: str
    unit: str
    description: str
    source: str
    ratio: tuple[str, str] | None = None  # codes of numerator and denominator


# Every indicator can be monitored by day and by month (EVA-17): "in the period" is that day or month,
# "cumulative" is from the launch to the end of the period, each customer once (EVA-20).
POOL: tuple[Indicator, ...] = (
    Indicator(
        "target",
        "目标客户数",
        "subscriber",
        "customers the activity is meant for, without the control group",
        "EVA-18",
    ),
    Indicator(
        "triggered", "触发客户数", "subscriber", "customers reached in the period, each once", "EVA-20"
    ),
    Indicator(
        "cumulative_triggered",
        "累计触发客户数",
        "subscriber",
        "customers reached from the launch to the end of the period, each once",
        "EVA-20",
    ),
    Indicator(
        "trigger_rate",
        "目标客户触发率",
        "ratio",
        "cumulative_triggered / target",
        "EVA-18",
        ("cumulative_triggered", "target"),
    ),
    Indicator("in_network", "在网客户数", "subscriber", "target customers who have a number today", "EVA-19"),
    Indicator(
        "in_network_rate", "在网率", "ratio", "in_network / target", "EVA-19", ("in_network", "target")
    ),
    Indicator("orders", "订购笔数", "order", "orders of the period attributed to the activity", "EVA-10"),
    Indicator("order_revenue", "订购金额", "fen", "value of the orders of the period", "EVA-10"),
    Indicator(
        "business_taken",
        "办理业务客户数",
        "subscriber",
        "customers with an order in the period, each once",
        "EVA-31",
    ),
    Indicator(
        "cumulative_business_taken",
        "累计办理业务客户数",
        "subscriber",
        "customers with an order from the launch to the end of the period, each once",
        "EVA-32",
    ),
    Indicator("clicks", "点击数", "touch", "touches clicked in the period", "EVA-09"),
    Indicator(
        "replies",
        "回复数",
        "touch",
        "replies of the period that answer the activity, opt-outs among them",
        "EVA-09",
    ),
    Indicator("opt_outs", "退订数", "touch", "opt-outs of the period in reply to the activity", "EVA-09"),
    Indicator("students", "学生客户数", "subscriber", "students identified on the campuses", "EVA-30"),
    Indicator(
        "students_triggered",
        "触发学生客户数",
        "subscriber",
        "students reached in the period, each once",
        "EVA-21",
    ),
    Indicator(
        "cumulative_students_triggered",
        "累计触发学生客户数",
        "subscriber",
        "students reached from the launch to the end of the period, each once",
        "EVA-22",
    ),
    Indicator(
        "student_trigger_rate",
        "学生客户触发率",
        "ratio",
        "cumulative_students_triggered / students",
        "EVA-23",
        ("cumulative_students_triggered", "students"),
    ),
    Indicator(
        "students_business_taken",
        "办理优惠业务学生客户数",
        "subscriber",
        "students with an order in the period, each once",
        "EVA-24",
    ),
    Indicator(
        "student_order_revenue",
        "学生办理优惠业务收入",
        "fen",
        "value of the students' orders of the period",
        "EVA-25",
    ),
    Indicator(
        "students_in_network",
        "学生客户在网数",
        "subscriber",
        "identified students who have a number today",
        "EVA-26",
    ),
    Indicator(
        "student_in_network_rate",
        "学生在网率",
        "ratio",
        "students_in_network / students",
        "EVA-35",
        ("students_in_network", "students"),
    ),
)

BY_CODE = {indicator.code: indicator for indicator in POOL}

# What a report shows when nothing was chosen for the activity.
DEFAULT = (
    "target", "triggered", "cumulative_triggered", "trigger_rate", "in_network_rate",
    "orders", "order_revenue", "business_taken", "cumulative_business_taken",
)  # fmt: skip


def chosen(codes: Sequence[str], field: str = "indicators") -> list[Indicator]:
    """The indicators of `codes` in their order; errors.Invalid INDICATOR_UNKNOWN names each bad one."""
    unknown = [
        (f"{field}[{i}]", f"the pool has no {code!r}") for i, code in enumerate(codes) if code not in BY_CODE
    ]
    if unknown:
        raise errors.Invalid("the pool holds no such indicator", reason="INDICATOR_UNKNOWN", fields=unknown)
    return [BY_CODE[code] for code in codes]
