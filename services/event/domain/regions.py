"""Names of places, GB/T 2260: provinces, and the leagues, cities, counties and banners of the region."""

from __future__ import annotations

PROVINCES = {
    110000: "北京市", 120000: "天津市", 130000: "河北省", 140000: "山西省", 150000: "内蒙古自治区",
    210000: "辽宁省", 220000: "吉林省", 230000: "黑龙江省", 310000: "上海市", 320000: "江苏省",
    330000: "浙江省", 340000: "安徽省", 350000: "福建省", 360000: "江西省", 370000: "山东省",
    410000: "河南省", 420000: "湖北省", 430000: "湖南省", 440000: "广东省", 450000: "广西壮族自治区",
    460000: "海南省", 500000: "重庆市", 510000: "四川省", 520000: "贵州省", 530000: "云南省",
    540000: "西藏自治区", 610000: "陕西省", 620000: "甘肃省", 630000: "青海省",
    640000: "宁夏回族自治区", 650000: "新疆维吾尔自治区", 710000: "台湾省", 810000: "香港特别行政区",
    820000: "澳门特别行政区",
}  # fmt: skip

CITIES = {
    150100: "呼和浩特市", 150200: "包头市", 150300: "乌海市", 150400: "赤峰市", 150500: "通辽市",
    150600: "鄂尔多斯市", 150700: "呼伦贝尔市", 150800: "巴彦淖尔市", 150900: "乌兰察布市",
    152200: "兴安盟", 152500: "锡林郭勒盟", 152900: "阿拉善盟",
}  # fmt: skip

COUNTIES = {
    150102: "新城区", 150103: "回民区", 150104: "玉泉区", 150105: "赛罕区", 150121: "土默特左旗",
    150122: "托克托县", 150123: "和林格尔县", 150124: "清水河县", 150125: "武川县", 150202: "东河区",
    150203: "昆都仑区", 150204: "青山区", 150205: "石拐区", 150206: "白云鄂博矿区", 150207: "九原区",
    150221: "土默特右旗", 150222: "固阳县", 150223: "达尔罕茂明安联合旗", 150302: "海勃湾区",
    150303: "海南区", 150304: "乌达区", 150402: "红山区", 150403: "元宝山区", 150404: "松山区",
    150421: "阿鲁科尔沁旗", 150422: "巴林左旗", 150423: "巴林右旗", 150424: "林西县",
    150425: "克什克腾旗", 150426: "翁牛特旗", 150428: "喀喇沁旗", 150429: "宁城县", 150430: "敖汉旗",
    150502: "科尔沁区", 150521: "科尔沁左翼中旗", 150522: "科尔沁左翼后旗", 150523: "开鲁县",
    150524: "库伦旗", 150525: "奈曼旗", 150526: "扎鲁特旗", 150581: "霍林郭勒市", 150602: "东胜区",
    150603: "康巴什区", 150621: "达拉特旗", 150622: "准格尔旗", 150623: "鄂托克前旗",
    150624: "鄂托克旗", 150625: "杭锦旗", 150626: "乌审旗", 150627: "伊金霍洛旗", 150702: "海拉尔区",
    150703: "扎赉诺尔区", 150721: "阿荣旗", 150722: "莫力达瓦达斡尔族自治旗", 150723: "鄂伦春自治旗",
    150724: "鄂温克族自治旗", 150725: "陈巴尔虎旗", 150726: "新巴尔虎左旗", 150727: "新巴尔虎右旗",
    150781: "满洲里市", 150782: "牙克石市", 150783: "扎兰屯市", 150784: "额尔古纳市", 150785: "根河市",
    150802: "临河区", 150821: "五原县", 150822: "磴口县", 150823: "乌拉特前旗", 150824: "乌拉特中旗",
    150825: "乌拉特后旗", 150826: "杭锦后旗", 150902: "集宁区", 150921: "卓资县", 150922: "化德县",
    150923: "商都县", 150924: "兴和县", 150925: "凉城县", 150926: "察哈尔右翼前旗",
    150927: "察哈尔右翼中旗", 150928: "察哈尔右翼后旗", 150929: "四子王旗", 150981: "丰镇市",
    152201: "乌兰浩特市", 152202: "阿尔山市", 152221: "科尔沁右翼前旗", 152222: "科尔沁右翼中旗",
    152223: "扎赉特旗", 152224: "突泉县", 152501: "二连浩特市", 152502: "锡林浩特市",
    152522: "阿巴嘎旗", 152523: "苏尼特左旗", 152524: "苏尼特右旗", 152525: "东乌珠穆沁旗",
    152526: "西乌珠穆沁旗", 152527: "太仆寺旗", 152528: "镶黄旗", 152529: "正镶白旗", 152530: "正蓝旗",
    152531: "多伦县", 152921: "阿拉善左旗", 152922: "阿拉善右旗", 152923: "额济纳旗",
}  # fmt: skip

_SUFFIXES = (
    "特别行政区",
    "壮族自治区",
    "回族自治区",
    "维吾尔自治区",
    "自治区",
    "省",
    "市",
    "盟",
    "区",
    "县",
    "旗",
)


def _short(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and len(name) - len(suffix) >= 2:
            return name[: -len(suffix)]
    return name


def _names(table: dict[int, str]) -> dict[str, int]:
    """Full names, and short ones where they mean one place only."""
    found: dict[str, int] = {}
    twice: set[str] = set()
    for code, name in table.items():
        short = _short(name)
        if short in found:
            twice.add(short)
        found[short] = code
    for short in twice:
        del found[short]
    found.update({name: code for code, name in table.items()})
    return found


_LEVELS = {
    "province": (_names(PROVINCES), 10000),
    "city": (_names(CITIES), 100),
    "county": (_names(COUNTIES), 1),
}


def code_of(level: str, text: str) -> int | None:
    """The adcode of a place by name or digits: ("city", "呼和浩特") -> 150100; None if there is none."""
    names, _ = _LEVELS[level]
    text = text.strip()
    if text.isascii() and text.isdigit():
        return valid_code(level, int(text))
    return names.get(text)


def valid_code(level: str, code: int) -> int | None:
    """`code` if it has the form of an adcode of that level."""
    _, step = _LEVELS[level]
    if not 110000 <= code <= 829999 or code % step:
        return None
    finer = {"city": 10000, "county": 100}.get(level)
    return None if finer is not None and code % finer == 0 else code


def name_of(code: int) -> str:
    """The name of a place, its adcode where the name is not known."""
    return PROVINCES.get(code) or CITIES.get(code) or COUNTIES.get(code) or str(code)
