"""The twelve touchpoints with the fields that each asks for (TCH-01 to TCH-12, TCH-13 to TCH-71)."""

from dataclasses import dataclass

SMS, EVENT_SMS, DATA_PLUS, TOOLBAR, APP_HALL, WECHAT_HALL = 1, 2, 3, 4, 5, 6
IVR, STORE_COUNTER, KIOSK, WEB_HALL, COMP, SMS_HALL = 7, 8, 9, 10, 11, 12

EVENT_TRIGGERED, ACTIVE_PUSH, EXTERNAL_IMPORT = "event_triggered", "active_push", "external_import"
_ANY = (EVENT_TRIGGERED, ACTIVE_PUSH, EXTERNAL_IMPORT)
_LISTED = (ACTIVE_PUSH, EXTERNAL_IMPORT)


@dataclass(frozen=True)
class Field:
    """One field of a setting. `type` is text, long_text, image, url or choice; `max_length` in characters."""

    key: str
    label: str
    type: str = "text"
    required: bool = False
    max_length: int = 0


@dataclass(frozen=True)
class Touchpoint:
    """One touchpoint. `follower_tag` names the tag that tells whom it reaches (TCH-80)."""

    number: int
    name: str  # as in HTTP and reports
    display_name: str
    push: bool
    fields: tuple[Field, ...]
    modes: tuple[str, ...] = _ANY
    sender: str = ""
    periodic_update: bool = False
    suppression: bool = True
    sms_contract: bool = False
    follower_tag: str = ""


_DESCRIPTION = Field("activity_description", "营销活动描述", "long_text", max_length=500)
_OVERALL = Field("channel_description", "渠道活动整体描述", "long_text", max_length=500)
_WORDS = Field("marketing_words", "营销用语", "long_text", required=True, max_length=2000)
_TEXT_FORM = (_DESCRIPTION, _WORDS)
_TITLE = Field("title", "标题", required=True, max_length=60)
_IMAGE = Field("image", "图片", "image", max_length=500)
_URL = Field("url", "跳转链接", "url", max_length=500)

# Data+ and the halls inside WeChat and the app share one page editor (TCH-32 to TCH-43).
_PAGE_FORM = (
    Field("title", "页面标题", required=True, max_length=60),
    Field("background", "页面背景样式", "choice", max_length=40),
    Field("title_image", "标题图片", "image", max_length=500),
    Field("content_type", "内容形式", "choice", max_length=10),
    _IMAGE,
    _URL,
    Field("explanation", "活动说明", "long_text", max_length=1000),
    _WORDS,
    _OVERALL,
)

CATALOGUE: tuple[Touchpoint, ...] = (
    Touchpoint(SMS, "sms", "短信", True, _TEXT_FORM, _LISTED, sender="10086", sms_contract=True),
    Touchpoint(
        EVENT_SMS, "event_sms", "事件短信", True, _TEXT_FORM, (EVENT_TRIGGERED,),
        sender="10086", periodic_update=True, sms_contract=True,
    ),
    Touchpoint(
        DATA_PLUS, "data_plus", "流量+", True, _PAGE_FORM,
        periodic_update=True, follower_tag="data_plus_follower",
    ),
    Touchpoint(TOOLBAR, "toolbar", "Toolbar", False, (_TITLE, _IMAGE, _URL, _WORDS), periodic_update=True),
    Touchpoint(APP_HALL, "app_hall", "手厅", False, _PAGE_FORM, periodic_update=True),
    Touchpoint(
        WECHAT_HALL, "wechat_hall", "微厅", True, _PAGE_FORM,
        periodic_update=True, follower_tag="wechat_hall_follower",
    ),
    Touchpoint(
        IVR, "ivr", "IVR", False,
        (Field("corpus_id", "语料ID", required=True, max_length=40), _WORDS, _OVERALL),
        sender="10086", periodic_update=True,
    ),
    Touchpoint(STORE_COUNTER, "store_counter", "营业前台", False, _TEXT_FORM, periodic_update=True),
    Touchpoint(KIOSK, "kiosk", "自助终端", False, _TEXT_FORM, periodic_update=True),
    Touchpoint(WEB_HALL, "web_hall", "网厅", False, _TEXT_FORM, periodic_update=True),
    Touchpoint(COMP, "comp", "COMP平台短信", True, _TEXT_FORM, _LISTED, sender="10658666"),
    Touchpoint(
        SMS_HALL, "sms_hall", "短厅", False,
        (_DESCRIPTION, Field("sms_hall_activity", "短厅活动", "choice", required=True, max_length=60)),
        _LISTED, suppression=False,
    ),
)  # fmt: skip

BY_NUMBER = {item.number: item for item in CATALOGUE}
PUSH = frozenset(item.number for item in CATALOGUE if item.push)
PULL = frozenset(item.number for item in CATALOGUE if not item.push)

# Touchpoints whose messages come from one number: a reply answers any of them.
GATEWAY_10086 = frozenset({SMS, EVENT_SMS, IVR})


def answers(touchpoint: int) -> frozenset[int]:
    """The touchpoints that a reply coming in by `touchpoint` may answer."""
    return GATEWAY_10086 if touchpoint in GATEWAY_10086 else frozenset({touchpoint})
