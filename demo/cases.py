"""The eight cases: what planners fill in. Words follow the case library; prices and codes are typical."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from demo import places
from demo.conditions import Json, all_of, compare, member_of, polygon, rule

CAMPUS_SCHOOL = "4115010126"
ACTIVE_PUSH, EVENT = "active_push", "event_triggered"


@dataclass(frozen=True)
class Setting:
    """One touchpoint of an activity."""

    touchpoint: str
    words: str
    fields: dict[str, str] = field(default_factory=dict)
    priority: str = "medium"


@dataclass(frozen=True)
class Case:
    """A case as one campaign with one activity. `condition` and `regions` make the audience."""

    case: str
    code: str  # goes with every touch
    name: str
    author: str  # account that plans it
    theme: str
    goal: str
    mode: str
    region: int
    initiator: str
    condition: Json
    audience_name: str
    product: tuple[str, str, int]  # code, name, price in fen
    settings: tuple[Setting, ...]
    marketing_type: str
    regions: tuple[int, ...] = ()
    control_percent: float = 10.0
    event: Json | None = None  # expression; CAM-32's is made of the cells that campus gives
    event_name: str = ""
    event_words: str = ""
    instruction: str = ""
    time_to_live_s: int = 1800
    period: tuple[str, str] = ("2020-09-16", "2020-09-30")
    school: str = ""
    brands: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    cycle: str = "CYCLE_ONE_OFF"

    @property
    def id(self) -> str:
        """`cmp-21`: id of its campaign, audience and definition."""
        return self.case.lower()

    @property
    def activity_id(self) -> str:
        """`fx38`."""
        return self.code.lower()

    @property
    def activity(self) -> str:
        """Resource name of the activity."""
        return f"campaigns/{self.id}/activities/{self.activity_id}"


_TD = "退订回复TD【中国移动】"
_PORTAL = "https://nm.10086.cn"


def _areas(*kinds: str) -> list[Json]:
    return [polygon(place.ring) for place in places.of_kind(*kinds, city=150100)]


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in the order in which they are planned and launched."""
    village = places.of_kind(places.VILLAGE)[0]
    return (
        Case(
            case="CMP-22", code="TXSP22", name="腾讯视频定向流量包推荐", author="planner",
            theme="产品、套餐推荐", goal="向腾讯视频用户推荐定向流量包，提升流量收入", mode=EVENT,
            region=150000, initiator="省公司市场部",
            condition=compare("apps", "contains", "腾讯视频"), audience_name="腾讯视频APP用户",
            product=("101040071022", "腾讯视频定向流量包", 1800),
            settings=(
                Setting(
                    "data_plus", "追剧不心疼流量：腾讯视频定向流量包，18元30G，立即办理。",
                    {"title": "腾讯视频定向流量包", "image": f"{_PORTAL}/img/txsp.png",
                     "url": f"{_PORTAL}/h5/txsp", "explanation": "定向流量仅限腾讯视频APP内使用，当月有效。"},
                ),
                Setting(
                    "toolbar", "您正在看视频？腾讯视频定向流量包18元30G，点击办理。",
                    {"title": "腾讯视频定向流量包", "image": f"{_PORTAL}/img/txsp-bar.png",
                     "url": f"{_PORTAL}/h5/txsp"},
                ),
            ),
            marketing_type="traffic", time_to_live_s=4 * 3600,
            event=rule("app_use", compare("app", "contains", "腾讯视频")),
            event_name="使用腾讯视频", event_words="使用APP包含腾讯视频", cycle="CYCLE_CONTINUOUS",
            stages=("LIFECYCLE_STAGE_GROWTH",),
        ),
        Case(
            case="CMP-41", code="HJ4G41", name="终端换机营销活动", author="planner",
            theme="终端换机", goal="经过营业厅的老旧终端客户换4G+手机", mode=EVENT,
            region=150100, initiator="呼和浩特分公司", regions=(150100,),
            condition=all_of(
                compare("terminal_months", "ge", 18), compare("campus_role", "not_in", "student")
            ),
            audience_name="呼和浩特终端使用满18个月客户（非学生）",
            product=("101020016041", "4G+手机预存购机", 0),
            settings=(
                Setting(
                    "event_sms",
                    "呼和浩特移动4G+手机预存话费购机：OPPO R9s、vivo X9、华为荣耀8任您选，预存款首次到账40%，"
                    "其余按上月消费的30%逐月返还。仅限本人办理，转发无效。详询10086或“沟通100”营业厅。" + _TD,
                    priority="high",
                ),
            ),
            marketing_type="terminal", time_to_live_s=3600,
            event=rule("location", areas=_areas(places.STORE)),
            event_name="经过呼和浩特指定营业厅", event_words="圈定12家沟通100营业厅",
            stages=("LIFECYCLE_STAGE_MATURITY",),
        ),
        Case(
            case="CMP-42", code="LLKC42", name="呼和浩特分公司医院、车站、商圈流量激发", author="planner",
            theme="流量激发", goal="人流密集处的流量快餐包", mode=EVENT,
            region=150100, initiator="呼和浩特分公司", regions=(150100,),
            condition=compare("traffic_saturation", "ge", 80), audience_name="呼和浩特流量饱和度80%以上客户",
            product=("101040071042", "流量快餐包", 300), control_percent=5.0,
            settings=(
                Setting(
                    "data_plus", "流量快餐包，任性不分时间地点",
                    {"title": "流量快餐包", "image": f"{_PORTAL}/img/llkc.png", "url": f"{_PORTAL}/h5/llkc"},
                ),
            ),
            marketing_type="traffic", time_to_live_s=3600,
            event=rule("location", areas=_areas(places.HOSPITAL, places.STATION, places.DISTRICT)),
            event_name="到达呼和浩特医院、车站、商圈", event_words="圈定医院、车站、商圈16处",
            stages=("LIFECYCLE_STAGE_GROWTH",),
        ),
        Case(
            case="CMP-43", code="WHKD43", name="乌海分公司圈定基站营销宽带", author="wuhai",
            theme="宽带发展", goal="光纤新覆盖平房区的宽带装机", mode=EVENT,
            region=150300, initiator="乌海分公司", regions=(150300,),
            condition=all_of(
                compare("broadband", "eq", False), compare("campus_role", "not_in", "student")
            ),
            audience_name="乌海无宽带客户（非学生）",
            product=("101030000043", "家庭宽带消费48元免费装", 4800),
            settings=(
                Setting(
                    "event_sms",
                    "光纤宽带已覆盖海南区头道坎村平房区！单人消费48元，宽带免费用。"
                    "办理热线：18847363500、13847328082。" + _TD,
                    priority="high",
                ),
            ),
            marketing_type="broadband", time_to_live_s=7200,
            event=rule("location", areas=[polygon(village.ring)]),
            event_name="身处头道坎村平房区", event_words="圈定海南区头道坎村平房区基站",
            stages=("LIFECYCLE_STAGE_ACQUISITION",),
        ),
        Case(
            case="CMP-44", code="AQY30", name="爱奇艺联合营销流量包自动营销", author="planner",
            theme="产品、套餐推荐", goal="视频用户的联合流量包", mode=EVENT,
            region=150000, initiator="省公司数据业务部",
            condition=all_of(
                compare("business_preference", "eq", "video"), compare("traffic_saturation", "ge", 100)
            ),
            audience_name="偏好视频且流量用尽的客户",
            product=("101040071030", "爱奇艺联合流量包", 3000), instruction="KTAQY30",
            settings=(
                Setting(
                    "event_sms",
                    "30元享4G省内流量（18:00-06:00可用，30天有效）加爱奇艺黄金VIP会员，"
                    "回复KTAQY30立即办理。" + _TD,
                ),
            ),
            marketing_type="traffic", time_to_live_s=3600,
            event=rule("app_use", compare("app", "contains", "爱奇艺", "优酷")),
            event_name="使用爱奇艺或优酷", event_words="使用APP包含爱奇艺或优酷", cycle="CYCLE_CONTINUOUS",
            stages=("LIFECYCLE_STAGE_GROWTH",),
        ),
        Case(
            case="CAM-32", code="XYFX32", name="2020年内蒙古大学校园返校促销活动", author="campus",
            theme="提高客户忠诚度", goal="保有内蒙古大学校园市场份额", mode=EVENT,
            region=150100, initiator="呼和浩特分公司市场部", regions=(),
            condition=all_of(
                member_of(f"lists/students-{CAMPUS_SCHOOL}"), compare("enrolment_year", "lt", 2020)
            ),
            audience_name="内蒙古大学2020年以前入学的新生累计用户",
            product=("101040018032", "动感地带校园套餐18元档", 1800),
            settings=(
                Setting(
                    "event_sms",
                    "欢迎返校！{salutation}，动感地带校园套餐18元档返校季送500MB，"
                    "校内营业厅或10086办理。" + _TD,
                    priority="high",
                ),
            ),
            marketing_type="campus", time_to_live_s=7200, event_name="在内蒙古大学校区停留一小时",
            event_words="校区小区停留3600秒", school=CAMPUS_SCHOOL, brands=("m_zone",),
            period=("2020-08-20", "2020-09-20"), cycle="CYCLE_PER_VACATION",
            stages=("LIFECYCLE_STAGE_MATURITY",),
        ),
        Case(
            case="CMP-21", code="FX38", name="飞享套餐38元档推荐", author="planner",
            theme="产品、套餐推荐", goal="消费28至38元客户升档飞享38元", mode=ACTIVE_PUSH,
            region=150000, initiator="省公司市场部",
            condition=all_of(
                compare("monthly_spend", "between", 28, 38, lower_open=True, upper_open=True),
                compare("monthly_traffic", "between", 200, 300),
                compare("outgoing_minutes", "between", 50, 70),
            ),
            audience_name="飞享套餐38元档目标客户",
            product=("101040040146", "飞享套餐38元档", 3800), instruction="KTFX38",
            settings=(
                Setting(
                    "sms",
                    "尊敬的{salutation}：飞享套餐38元档，含300MB流量、70分钟通话，更适合您。"
                    "回复KTFX38办理，或到就近营业厅。" + _TD,
                    priority="high",
                ),
                Setting("store_counter", "客户适合飞享套餐38元档（300MB、70分钟），请推荐。"),
            ),
            marketing_type="plan", brands=(), stages=("LIFECYCLE_STAGE_GROWTH",),
        ),
        Case(
            case="CMP-40", code="CY12580", name="12580车友助理营销", author="planner",
            theme="业务推荐", goal="违章查询客户订购车友助理", mode=ACTIVE_PUSH,
            region=150000, initiator="省公司市场部",
            condition=all_of(compare("user_12580", "eq", True), compare("violation_queries", "ge", 3)),
            audience_name="使用12580查询违章3次以上客户",
            product=("101012580040", "12580车友助理", 1000), control_percent=5.0,
            settings=(
                Setting(
                    "sms",
                    "12580车友助理：10元/月，每月免费洗车一次，超500家洗车商户。首次订购且次月未退订赠10元电子券。"
                    "关注并绑定微信“中国移动10086”，点“我要办理-12580服务”。详询12580。" + _TD,
                ),
            ),
            marketing_type="value_added", stages=("LIFECYCLE_STAGE_MATURITY",),
        ),
    )  # fmt: skip


def by_case(case: str) -> Case:
    """One case by its requirement ID."""
    return next(item for item in cases() if item.case == case)
