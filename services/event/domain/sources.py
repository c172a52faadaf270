"""The sources with their attributes and operators, as data (EVT-03, EVT-06, EVT-11, EVT-15 to EVT-33)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.event.domain import regions, sites
from services.event.domain.model import Operator, Source, Value

_SET = (Operator.EQ, Operator.NE, Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.IN, Operator.NOT_IN)
_PRESENCE = (Operator.EXISTS, Operator.NOT_EXISTS)
_ORDER = (Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.BETWEEN)

CELL_LIMIT = 1 << 56  # 24 bits of tracking area, 32 bits of cell


@dataclass(frozen=True)
class Attribute:
    """What a rule may compare. `column` is the column of signals that holds it."""

    name: str
    display_name: str
    type: str  # "number", "enumeration", "text" or "cell", as the contract tells it
    operators: tuple[Operator, ...]
    column: str
    level: str = ""  # of a place: province, city, county
    choices: tuple[tuple[str, str], ...] = ()  # (value, Chinese name)
    codes: Mapping[str, int] | None = None  # of an enumeration: value -> code in the column


def _place(name: str, display_name: str, column: str, level: str) -> Attribute:
    known = {"province": regions.PROVINCES, "city": regions.CITIES, "county": regions.COUNTIES}[level]
    choices = tuple((str(code), text) for code, text in known.items())
    return Attribute(name, display_name, "enumeration", _SET + _PRESENCE, column, level, choices)


def _enumeration(
    name: str, display_name: str, column: str, values: tuple[tuple[str, int, str], ...]
) -> Attribute:
    codes = {key: code for word, code, text in values for key in (word, text, str(code))}
    choices = tuple((word, text) for word, _, text in values)
    return Attribute(name, display_name, "enumeration", _SET + _PRESENCE, column, "", choices, codes)


ATTRIBUTES: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute("tac_cell", "当前TAC-小区标识", "cell", _SET + _PRESENCE, "tac_cells"),
        Attribute("source_tac_cell", "来源TAC-小区标识", "cell", _SET + _PRESENCE, "source_tac_cells"),
        _place("current_county", "所在区县", "counties", "county"),
        _place("current_city", "所在地市", "counties", "city"),
        _place("home_city", "归属地市", "home_cities", "city"),
        _place("home_province", "归属省", "home_cities", "province"),
        _enumeration(
            "roaming_type",
            "用户漫游类型",
            "roaming_types",
            (
                ("local", 1, "本地"),
                ("province", 2, "省内漫游"),
                ("domestic", 3, "省际漫游"),
                ("international", 4, "国际漫游"),
            ),
        ),
        Attribute("hour", "业务发生时间(小时)", "number", _SET + _ORDER, "occurred_at"),
        _enumeration("power_state", "开关机", "power_states", (("on", 1, "开机"), ("off", 2, "关机"))),
        _enumeration("terminal_changed", "换机", "imeis", (("yes", 1, "是"),)),
        Attribute("brand", "终端品牌", "text", _SET + _PRESENCE, "brand_indexes"),
        Attribute("keyword", "关键字搜索", "text", _SET + _PRESENCE, "text_indexes"),
        Attribute("host", "访问域名", "text", _SET + _PRESENCE, "text_indexes"),
        Attribute(
            "site",
            "访问特定网站",
            "enumeration",
            _SET,
            "text_indexes",
            choices=tuple((name, name) for name in sites.SITES),
        ),
        Attribute("app", "使用APP", "text", _SET + _PRESENCE, "text_indexes"),
        Attribute("outlet", "渠道常驻人口", "cell", _SET, "tac_cells"),
    )
}

_PLACES = ("current_county", "current_city", "home_city", "home_province")
_CELLS = ("tac_cell", "source_tac_cell")


@dataclass(frozen=True)
class SourceInfo:
    """A source: its Chinese name, whether it is real-time, what its rules compare."""

    source: Source
    display_name: str
    realtime: bool
    attributes: tuple[str, ...]
    tip: str = ""


SOURCES: dict[Source, SourceInfo] = {
    info.source: info
    for info in (
        SourceInfo(Source.LOCATION, "位置", True, (*_CELLS, *_PLACES, "roaming_type", "hour")),
        SourceInfo(
            Source.POWER_SWITCH,
            "开关机",
            True,
            ("power_state", *_CELLS, *_PLACES, "roaming_type", "hour"),
            "用户短时间内频繁的产生开关机信令，表明用户所处区域的无线信号较弱。",
        ),
        SourceInfo(
            Source.TERMINAL_CHANGE,
            "换机",
            True,
            ("terminal_changed", "brand", *_CELLS, *_PLACES, "roaming_type", "hour"),
            "换机指终端的 IMEI 与上一次记录的不同；首次出现的 IMEI 只做记录。",
        ),
        SourceInfo(Source.KEYWORD_SEARCH, "关键词搜索", False, ("keyword", *_PLACES, "hour")),
        SourceInfo(Source.SITE_VISIT, "访问特定网站", False, ("site", "host", *_PLACES, "hour")),
        SourceInfo(Source.APP_USE, "使用APP", False, ("app", *_PLACES, "hour")),
        SourceInfo(
            Source.RESIDENT_POPULATION,
            "渠道常驻人口",
            False,
            ("outlet", "home_city", "home_province", "hour"),
        ),
    )
}  # fmt: skip

# Sources whose signals a rule sees: residents of an outlet are found by where subscribers are.
SEEN_BY: dict[Source, tuple[Source, ...]] = {
    source: (source, Source.LOCATION) if source is Source.RESIDENT_POPULATION else (source,)
    for source in Source
}


def normal_text(text: str) -> str:
    """The form in which texts are compared: case does not matter."""
    return text.casefold()


def normal_value(attribute: Attribute, value: Value) -> int | str:
    """The constant as the matcher compares it; ValueError says what is wrong with it."""
    if attribute.type == "text":
        return _text(value)
    if attribute.name in ("site", "outlet"):
        text = _text(value, fold=False)
        if attribute.name == "site" and sites.hosts_of(text) is None:
            raise ValueError(f"no site {text!r} is known; there are: {', '.join(sites.SITES)}")
        return text
    if attribute.level:
        return _place_code(attribute, value)
    if attribute.codes is not None:
        return _code(attribute, value)
    number = _number(value)
    if attribute.type == "cell" and not 0 < number < CELL_LIMIT:
        raise ValueError("a cell is tac << 32 | cell_id, above 0 and below 2^56")
    return number


def _text(value: Value, *, fold: bool = True) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty is needed")
    return normal_text(value.strip()) if fold else value.strip()


def _place_code(attribute: Attribute, value: Value) -> int:
    code = regions.code_of(attribute.level, value if isinstance(value, str) else str(_number(value)))
    if code is None:
        raise ValueError(f"{value!r} is no {attribute.level}: give its GB/T 2260 code or its name")
    return code


def _code(attribute: Attribute, value: Value) -> int:
    assert attribute.codes is not None
    key = "yes" if value is True else value.strip() if isinstance(value, str) else str(_number(value))
    if key not in attribute.codes:
        known = ", ".join(word for word, _ in attribute.choices)
        raise ValueError(f"{value!r} is not one of {known}")
    return attribute.codes[key]


def _number(value: Value) -> int:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a flag")
    try:
        number = float(value) if isinstance(value, float) else int(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if number != int(number):
        raise ValueError(f"{value!r} is not a whole number")
    return int(number)
