"""The tag catalogue of the demonstration: about ninety tags in the three classes (AUD-01, AUD-04).

A number is stored as an integer of 10^-decimals units, so that comparisons at a bound are exact;
an enumeration as the index of its code, -1 when missing; a set as a bit mask over its codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from demo import region, vocabulary
from demo.campuses import campuses, schools

BASIC, BEHAVIOUR, SCENARIO = "basic", "behaviour", "scenario"
NUMBER, ENUMERATION, FLAG, DATE, SET, TEXT = "number", "enumeration", "flag", "date", "set", "text"
DAY, MONTH = "day", "month"
Values = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tag:
    """An entry of the catalogue. `values` are (code, Chinese label) pairs of an enumeration or set."""

    code: str
    name: str
    name_en: str
    tag_class: str
    category: str
    type: str
    unit: str = ""
    frequency: str = MONTH
    decimals: int = 0
    description: str = ""
    values: Values = field(default=(), repr=False)
    lineage: tuple[str, ...] = ()

    def index_of(self, code: str) -> int:
        """Index of a value's code; KeyError when the tag has no such value."""
        for index, (known, _) in enumerate(self.values):
            if known == code:
                return index
        raise KeyError(f"{self.code} has no value {code!r}")


LEVELS: Values = (("low", "低"), ("medium", "中"), ("high", "高"))
AGE_BANDS: Values = (
    ("under_18", "18岁以下"),
    ("18_24", "18-24岁"),
    ("25_34", "25-34岁"),
    ("35_44", "35-44岁"),
    ("45_59", "45-59岁"),
    ("60_up", "60岁及以上"),
)
STATUSES: Values = (("active", "正常"), ("suspended", "停机"), ("pre_cancelled", "预销号"))
PAYMENTS: Values = (("cash", "营业厅缴费"), ("card", "充值卡"), ("bank", "银行代扣"), ("online", "网上支付"))
CONTRACTS: Values = (("none", "无合约"), ("one_year", "12个月合约"), ("two_year", "24个月合约"))
BANDWIDTHS: Values = (("20m", "20M"), ("50m", "50M"), ("100m", "100M"))
CAMPUS_ROLES: Values = (("student", "学生"), ("staff", "教职工"))
# The six preference dimensions of the campus campaigns (AUD-32).
PREFERENCES: dict[str, tuple[str, str, Values]] = {
    "tariff": (
        "资费偏好",
        "Tariff preference",
        (("price", "价格敏感"), ("traffic", "流量型"), ("voice", "语音型")),
    ),
    "channel": (
        "渠道偏好",
        "Channel preference",
        (("store", "营业厅"), ("sms", "短信"), ("online", "电子渠道")),
    ),
    "business": (
        "业务偏好",
        "Business preference",
        (("video", "视频"), ("music_game", "音乐游戏"), ("basic", "基础通信")),
    ),
    "promotion": (
        "促销活动偏好",
        "Promotion preference",
        (("prepay", "预存优惠"), ("gift", "礼品"), ("traffic", "赠送流量")),
    ),
    "terminal": (
        "终端偏好",
        "Terminal preference",
        (("flagship", "旗舰机"), ("value", "性价比机"), ("feature", "功能机")),
    ),
    "service": (
        "服务偏好",
        "Service preference",
        (("self", "自助服务"), ("hotline", "热线服务"), ("counter", "柜台服务")),
    ),
}
# The scenarios of the tag library (AUD-26).
SCENARIOS: Values = (
    ("over_plan", "超套营销"),
    ("base_warning", "存量预警"),
    ("saturation", "饱和度经营"),
    ("preference", "用户偏好"),
    ("hot_content", "热点内容运营"),
    ("bare_broadband", "裸宽"),
    ("contract_expiry", "合约到期提醒"),
    ("college", "高校营销"),
    ("secondary_card", "万能副卡营销"),
    ("set_top_box", "魔百盒营销"),
)
# Where a subscriber's salutation comes from: a surname and a form of address.
SALUTATIONS = tuple(surname + form for form in ("先生", "女士") for surname in vocabulary.SURNAMES)

# code, names, category, type, and what differs from the defaults.
_Row = tuple[str, str, str, str, str, dict[str, object]]


def _basic() -> list[_Row]:
    land = region.load()
    terminals = tuple(
        (f"{item.brand} {item.model}", f"{item.brand} {item.model}") for item in vocabulary.TERMINALS
    )
    day: dict[str, object] = {"frequency": DAY}
    return [
        ("gender", "性别", "Gender", "身份", ENUMERATION, {"values": (("male", "男"), ("female", "女"))}),
        (
            "age",
            "年龄",
            "Age",
            "身份",
            NUMBER,
            {"unit": "year", "description": "Full years on the data date."},
        ),
        ("age_band", "年龄段", "Age band", "身份", ENUMERATION, {"values": AGE_BANDS, "lineage": ("age",)}),
        (
            "is_minor",
            "未成年人",
            "Minor",
            "身份",
            FLAG,
            {"description": "Age below 18.", "lineage": ("age",)},
        ),
        (
            "salutation",
            "称呼",
            "Salutation",
            "身份",
            TEXT,
            {"description": "Surname and form of address, for texts."},
        ),
        ("real_name", "实名登记", "Registered by name", "身份", FLAG, {}),
        (
            "home_city",
            "归属地市",
            "Home league or city",
            "归属",
            ENUMERATION,
            {"values": tuple((str(item.adcode), item.name) for item in land.leagues)},
        ),
        (
            "home_county",
            "归属旗县",
            "Home county or banner",
            "归属",
            ENUMERATION,
            {"values": tuple((str(item.adcode), item.name) for item in land.counties)},
        ),
        ("is_urban", "城区用户", "Lives in a town", "归属", FLAG, {}),
        ("brand", "品牌", "Brand", "套餐", ENUMERATION, {**day, "values": vocabulary.BRANDS}),
        (
            "plan",
            "主套餐",
            "Main plan",
            "套餐",
            ENUMERATION,
            {**day, "values": tuple((plan.code, plan.name) for plan in vocabulary.PLANS)},
        ),
        ("plan_fee", "套餐月费", "Plan fee", "套餐", NUMBER, {**day, "unit": "yuan", "lineage": ("plan",)}),
        ("campus_plan", "校园套餐用户", "On a campus plan", "套餐", FLAG, {**day, "lineage": ("plan",)}),
        ("customer_status", "客户状态", "Status", "状态", ENUMERATION, {**day, "values": STATUSES}),
        ("join_date", "入网日期", "Joined on", "状态", DATE, {}),
        ("tenure_months", "在网时长", "Tenure", "状态", NUMBER, {"unit": "month"}),
        ("payment_method", "缴费方式", "Payment method", "状态", ENUMERATION, {"values": PAYMENTS}),
        ("contract", "合约类型", "Contract", "合约", ENUMERATION, {"values": CONTRACTS}),
        (
            "contract_expiry",
            "合约到期日",
            "Contract expires on",
            "合约",
            DATE,
            {"description": "Missing without a contract."},
        ),
        ("broadband", "家庭宽带用户", "Home broadband", "宽带", FLAG, {**day}),
        ("broadband_bandwidth", "宽带带宽", "Bandwidth", "宽带", ENUMERATION, {"values": BANDWIDTHS}),
        ("set_top_box", "魔百盒用户", "Set-top box", "宽带", FLAG, {}),
        ("secondary_cards", "副卡数", "Secondary cards", "家庭", NUMBER, {"unit": "card"}),
        (
            "sms_contract",
            "短信签约用户",
            "SMS contract product",
            "订购",
            FLAG,
            {**day, "description": "Ordered the product 短信签约 (AUD-34)."},
        ),
        (
            "terminal_brand",
            "终端品牌",
            "Terminal brand",
            "终端",
            ENUMERATION,
            {**day, "values": tuple((name, name) for name in vocabulary.TERMINAL_BRANDS)},
        ),
        ("terminal_model", "终端型号", "Terminal model", "终端", ENUMERATION, {**day, "values": terminals}),
        ("terminal_4g", "4G终端", "4G terminal", "终端", FLAG, {**day, "lineage": ("terminal_model",)}),
        (
            "terminal_price",
            "终端价格",
            "Terminal price",
            "终端",
            NUMBER,
            {"unit": "yuan", "lineage": ("terminal_model",)},
        ),
        ("terminal_months", "终端使用时长", "Months on this terminal", "终端", NUMBER, {"unit": "month"}),
        ("sim_4g", "4G卡", "4G card", "终端", FLAG, {**day}),
        (
            "integrated_4g",
            "4G一体化客户",
            "4G integrated customer",
            "终端",
            FLAG,
            {
                **day,
                "description": "4G terminal, 4G card and 4G plan together (AUD-07).",
                "lineage": ("terminal_4g", "sim_4g", "plan"),
            },
        ),
        ("data_plus_follower", "流量+关注用户", "Follows Data+", "触点", FLAG, {**day}),
        ("wechat_hall_follower", "微厅关注用户", "Follows the WeChat hall", "触点", FLAG, {**day}),
        ("app_hall_user", "手厅用户", "Uses the app hall", "触点", FLAG, {**day}),
        ("marketing_consent", "同意营销", "Consents to marketing", "授权", FLAG, {**day}),
        ("location_consent", "同意使用位置", "Consents to the use of location", "授权", FLAG, {**day}),
        ("campus_role", "校园身份", "Role on campus", "校园", ENUMERATION, {"values": CAMPUS_ROLES}),
        (
            "school",
            "所在学校",
            "School",
            "校园",
            ENUMERATION,
            {"values": tuple((item.code, item.name) for item in schools())},
        ),
        (
            "campus",
            "所在校区",
            "Campus",
            "校园",
            ENUMERATION,
            {"values": tuple((str(item.code), item.name) for item in campuses())},
        ),
        ("enrolment_year", "入学年份", "Enrolment year", "校园", NUMBER, {"unit": "year"}),
        (
            "freshman",
            "新生",
            "Freshman",
            "校园",
            FLAG,
            {"description": "Student in the first year of study.", "lineage": ("enrolment_year",)},
        ),
        ("faculty", "院系", "Faculty", "校园", ENUMERATION, {"values": vocabulary.FACULTIES}),
        ("class_number", "班级", "Class", "校园", NUMBER, {}),
        ("degree", "学历", "Degree", "校园", ENUMERATION, {"values": vocabulary.DEGREES}),
        ("campus_v_net", "校园V网成员", "Member of a campus V-net", "校园", FLAG, {}),
    ]


def _behaviour() -> list[_Row]:
    def yuan(**more: object) -> dict[str, object]:
        return {"unit": "yuan", "decimals": 2, **more}

    def megabytes(**more: object) -> dict[str, object]:
        return {"unit": "MB", "decimals": 2, **more}

    def minutes(**more: object) -> dict[str, object]:
        return {"unit": "minute", "decimals": 2, **more}

    share: dict[str, object] = {"unit": "%", "decimals": 2}
    apps = tuple((app.name, app.name) for app in vocabulary.APPS)
    rows: list[_Row] = [
        (
            "monthly_spend",
            "月消费",
            "Monthly spend",
            "消费",
            NUMBER,
            yuan(description="All fees of the month. Drawn from wa_churn by quantile."),
        ),
        ("spend_3m_average", "近三月平均消费", "Average spend of three months", "消费", NUMBER, yuan()),
        (
            "spend_change_3m",
            "近三月消费变化",
            "Change of spend against three months ago",
            "消费",
            NUMBER,
            share,
        ),
        ("voice_fee", "语音费", "Voice fee", "消费", NUMBER, yuan(lineage=("monthly_spend",))),
        ("traffic_fee", "流量费", "Data fee", "消费", NUMBER, yuan(lineage=("monthly_spend",))),
        (
            "value_added_fee",
            "增值业务费",
            "Value-added fee",
            "消费",
            NUMBER,
            yuan(lineage=("monthly_spend",)),
        ),
        ("balance", "账户余额", "Balance", "消费", NUMBER, yuan(frequency=DAY)),
        ("last_recharge", "最近充值日期", "Last recharge on", "消费", DATE, {"frequency": DAY}),
        ("arrears_6m", "近半年欠费次数", "Times in arrears in six months", "消费", NUMBER, {}),
        (
            "monthly_traffic",
            "月使用流量",
            "Monthly traffic",
            "流量",
            NUMBER,
            megabytes(description="Invented conditional on spend and age: see demo/behaviour.py."),
        ),
        (
            "plan_traffic",
            "套餐内流量",
            "Traffic included in the plan",
            "流量",
            NUMBER,
            megabytes(lineage=("plan",)),
        ),
        (
            "traffic_saturation",
            "流量饱和度",
            "Traffic saturation",
            "流量",
            NUMBER,
            {
                **share,
                "description": "monthly_traffic / plan_traffic, at most 999 %; missing without an allowance.",
                "lineage": ("monthly_traffic", "plan_traffic"),
            },
        ),
        (
            "out_of_plan_traffic",
            "套餐外流量",
            "Traffic beyond the plan",
            "流量",
            NUMBER,
            megabytes(lineage=("monthly_traffic", "plan_traffic")),
        ),
        ("daily_traffic", "日使用流量", "Traffic of the day", "流量", NUMBER, megabytes(frequency=DAY)),
        (
            "video_traffic",
            "视频流量",
            "Video traffic",
            "流量",
            NUMBER,
            megabytes(lineage=("monthly_traffic", "apps")),
        ),
        (
            "outgoing_minutes",
            "月主叫通话时长",
            "Monthly outgoing minutes",
            "语音",
            NUMBER,
            minutes(description="Drawn from mlc_churn by quantile."),
        ),
        ("incoming_minutes", "月被叫通话时长", "Monthly incoming minutes", "语音", NUMBER, minutes()),
        (
            "night_minutes",
            "夜间通话时长",
            "Night minutes",
            "语音",
            NUMBER,
            minutes(lineage=("outgoing_minutes",)),
        ),
        ("international_minutes", "国际通话时长", "International minutes", "语音", NUMBER, minutes()),
        ("roaming_days", "漫游天数", "Days of roaming outside the province", "语音", NUMBER, {"unit": "day"}),
        ("sms_sent", "短信发送条数", "Messages sent", "语音", NUMBER, {}),
        ("calling_circle", "交往圈规模", "Size of the calling circle", "交往圈", NUMBER, {"unit": "person"}),
        ("competitor_share", "异网通话占比", "Share of calls with other operators", "交往圈", NUMBER, share),
        (
            "silent_days",
            "静默天数",
            "Days without traffic or calls",
            "语音",
            NUMBER,
            {"unit": "day", "frequency": DAY},
        ),
        ("apps", "使用的APP", "Apps used in the month", "互联网", SET, {"values": apps}),
        (
            "top_app",
            "最常用APP",
            "Most used app",
            "互联网",
            ENUMERATION,
            {"values": apps, "lineage": ("apps",)},
        ),
        ("video_app_user", "视频APP用户", "Uses video apps", "互联网", FLAG, {"lineage": ("apps",)}),
        (
            "sites",
            "访问的网站",
            "Sites visited in the month",
            "互联网",
            SET,
            {"values": tuple((name, name) for name in vocabulary.SITE_NAMES)},
        ),
        (
            "user_12580",
            "12580用户",
            "Used 12580",
            "服务",
            FLAG,
            {"description": "Called 12580 or used its services within six months (CMP-40)."},
        ),
        ("violation_queries", "违章查询次数", "Traffic-violation queries", "服务", NUMBER, {}),
        (
            "hotline_calls",
            "10086呼叫次数",
            "Calls to 10086",
            "服务",
            NUMBER,
            {"description": "Drawn from mlc_churn."},
        ),
        ("store_visits_3m", "近三月到厅次数", "Store visits in three months", "服务", NUMBER, {}),
        ("vacation_roaming", "假期漫游", "Roamed in the vacation", "校园", FLAG, {}),
        (
            "campus_call_share",
            "校园通话占比",
            "Share of calls on campus cells",
            "校园",
            NUMBER,
            {**share, "description": "Weekday calls on the school's cells / all weekday calls."},
        ),
    ]
    for key, (name, name_en, values) in PREFERENCES.items():
        rows.append((f"{key}_preference", name, name_en, "偏好", ENUMERATION, {"values": values}))
    return rows


def _scenario() -> list[_Row]:
    from demo import models

    rows: list[_Row] = [
        (
            model.code,
            model.name,
            model.name_en,
            "模型",
            NUMBER,
            {
                "unit": "point",
                "description": f"{model.formula} ({model.requirement})",
                "lineage": model.lineage,
            },
        )
        for model in models.MODELS
    ]
    rows += [
        (
            "churn_level",
            "流失预警等级",
            "Churn warning level",
            "模型",
            ENUMERATION,
            {
                "values": LEVELS,
                "description": "churn_score: low under 35, high from 60.",
                "lineage": ("churn_score",),
            },
        ),
        (
            "scenarios",
            "适用运营场景",
            "Scenarios that apply",
            "场景",
            SET,
            {"values": SCENARIOS, "description": models.SCENARIO_RULES, "lineage": models.SCENARIO_LINEAGE},
        ),
    ]
    return rows


@cache
def catalogue() -> tuple[Tag, ...]:
    """All tags, basic first. Values of the tags are generated unless the description says otherwise."""
    tags = []
    for tag_class, rows in ((BASIC, _basic()), (BEHAVIOUR, _behaviour()), (SCENARIO, _scenario())):
        for code, name, name_en, category, kind, more in rows:
            tags.append(Tag(code, name, name_en, tag_class, category, kind, **more))  # type: ignore[arg-type]
    return tuple(tags)


@cache
def by_code() -> dict[str, Tag]:
    """The catalogue by code."""
    return {tag.code: tag for tag in catalogue()}
