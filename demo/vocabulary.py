"""Words that subscribers and signals use: apps, sites, keywords, terminals, plans, products, reasons.

Names are of real products; who uses them is generated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class App:
    """An app: the share of customers who use it in a month, and how much more youth does (1 = as all)."""

    name: str
    code: str
    share: float
    youth: float
    video: bool = False


APPS = (
    App("腾讯视频", "tencent_video", 0.24, 1.6, True),
    App("爱奇艺", "iqiyi", 0.22, 1.6, True),
    App("优酷", "youku", 0.13, 1.4, True),
    App("抖音", "douyin", 0.38, 1.4, True),
    App("快手", "kuaishou", 0.36, 1.1, True),
    App("哔哩哔哩", "bilibili", 0.08, 3.5, True),
    App("芒果TV", "mango_tv", 0.07, 1.8, True),
    App("微信", "wechat", 0.86, 1.1),
    App("QQ", "qq", 0.42, 1.9),
    App("微博", "weibo", 0.20, 2.0),
    App("淘宝", "taobao", 0.44, 1.4),
    App("京东", "jd", 0.22, 1.3),
    App("拼多多", "pinduoduo", 0.33, 0.9),
    App("支付宝", "alipay", 0.50, 1.3),
    App("百度地图", "baidu_map", 0.18, 1.0),
    App("高德地图", "amap", 0.24, 1.0),
    App("王者荣耀", "honor_of_kings", 0.16, 2.6),
    App("和平精英", "game_for_peace", 0.09, 2.6),
    App("网易云音乐", "netease_music", 0.10, 2.8),
    App("QQ音乐", "qq_music", 0.16, 2.0),
    App("今日头条", "toutiao", 0.25, 0.7),
    App("知乎", "zhihu", 0.06, 2.5),
    App("美团", "meituan", 0.23, 1.9),
    App("饿了么", "eleme", 0.10, 2.2),
    App("滴滴出行", "didi", 0.12, 1.5),
    App("携程旅行", "ctrip", 0.07, 1.1),
)
TENCENT_VIDEO, IQIYI, YOUKU = 0, 1, 2
WECHAT = 7
VIDEO_MASK = sum(1 << index for index, app in enumerate(APPS) if app.video)

# Host and the name a planner knows it by; probes see hosts only (EVT-18).
SITES = (
    ("www.baidu.com", "百度"),
    ("m.sohu.com", "搜狐"),
    ("www.sina.com.cn", "新浪"),
    ("www.163.com", "网易"),
    ("www.ifeng.com", "凤凰网"),
    ("m.taobao.com", "淘宝网"),
    ("www.jd.com", "京东商城"),
    ("www.10010.com", "联通官网"),
    ("iservice.10010.com", "联通官网"),
    ("www.189.cn", "电信官网"),
    ("nm.189.cn", "电信官网"),
    ("www.10086.cn", "移动官网"),
    ("www.nmgnews.com.cn", "内蒙古新闻网"),
    ("www.12306.cn", "铁路12306"),
    ("www.58.com", "58同城"),
    ("www.autohome.com.cn", "汽车之家"),
    ("www.zol.com.cn", "中关村在线"),
    ("www.chsi.com.cn", "学信网"),
)
SITE_WEIGHTS = (18, 6, 6, 6, 4, 9, 6, 2.2, 1.0, 1.8, 0.8, 3, 5, 6, 5, 4, 3, 2.5)
SITE_NAMES = tuple(dict.fromkeys(name for _, name in SITES))
SITE_NAME_INDEX = tuple(SITE_NAMES.index(name) for _, name in SITES)

KEYWORDS = (
    "三星note7",
    "三星note7 爆炸",
    "OPPO R9s 价格",
    "vivo X9 报价",
    "华为荣耀8",
    "4G套餐资费",
    "流量不够用怎么办",
    "流量快餐包",
    "宽带办理",
    "移动宽带多少钱",
    "联通宽带",
    "携号转网 流程",
    "如何销号",
    "违章查询",
    "洗车优惠",
    "火车票",
    "天气预报",
    "呼和浩特 天气",
    "电影 下载",
    "欢乐颂",
    "王者荣耀 攻略",
    "考研 报名",
    "大学生 兼职",
    "草原 旅游",
    "牛肉价格",
    "手机 充值",
)
KEYWORD_WEIGHTS = (2.5, 1, 3, 3, 3, 3, 2, 2, 4, 3, 1.5, 1.5, 0.8, 5, 2, 9, 12, 6, 8, 7, 8, 2.5, 2.5, 3, 2, 5)


@dataclass(frozen=True)
class Terminal:
    """A phone model with its type allocation code (first 8 digits of the IMEI; generated) and share."""

    brand: str
    model: str
    tac: int
    is_4g: bool
    dual_sim: bool
    price_yuan: int
    share: float


TERMINALS = (
    Terminal("OPPO", "R9s", 86400103, True, True, 2799, 7),
    Terminal("OPPO", "A57", 86400104, True, True, 1599, 8),
    Terminal("OPPO", "A37", 86400105, True, True, 1199, 6),
    Terminal("vivo", "X9", 86510201, True, True, 2798, 7),
    Terminal("vivo", "Y66", 86510202, True, True, 1498, 8),
    Terminal("vivo", "Y51", 86510203, True, True, 1098, 4),
    Terminal("华为", "荣耀8", 86620301, True, True, 1999, 6),
    Terminal("华为", "P9", 86620302, True, True, 3188, 4),
    Terminal("华为", "Mate 9", 86620303, True, True, 3999, 3),
    Terminal("华为", "畅享6", 86620304, True, True, 1299, 5),
    Terminal("小米", "红米Note 4", 86730401, True, True, 1199, 6),
    Terminal("小米", "小米5", 86730402, True, True, 1999, 3),
    Terminal("小米", "红米4A", 86730403, True, True, 599, 4),
    Terminal("苹果", "iPhone 6s", 35840501, True, False, 4888, 6),
    Terminal("苹果", "iPhone 7", 35840502, True, False, 5388, 4),
    Terminal("苹果", "iPhone 5", 35840503, False, False, 1800, 2),
    Terminal("三星", "Galaxy S7", 35950601, True, False, 4888, 1.5),
    Terminal("三星", "Galaxy Note 4", 35950602, True, False, 2999, 1),
    Terminal("三星", "GT-I9300", 35950603, False, False, 899, 1.5),
    Terminal("中国移动", "A1", 86060701, True, True, 499, 3),
    Terminal("中兴", "U879", 86170801, False, False, 399, 2),
    Terminal("酷派", "8079", 86280901, False, True, 399, 2),
    Terminal("联想", "A356", 86391001, False, True, 349, 2),
    Terminal("诺基亚", "1050", 35351101, False, False, 159, 4),
)
TERMINAL_BRANDS = tuple(dict.fromkeys(terminal.brand for terminal in TERMINALS))
TERMINAL_BRAND_INDEX = np.array(
    [TERMINAL_BRANDS.index(terminal.brand) for terminal in TERMINALS], dtype=np.int32
)
TERMINAL_SHARES = np.array([terminal.share for terminal in TERMINALS])
TERMINAL_SHARES = TERMINAL_SHARES / TERMINAL_SHARES.sum()

BRANDS = (("gotone", "全球通"), ("easyown", "神州行"), ("m_zone", "动感地带"))
GOTONE, EASYOWN, M_ZONE = range(3)


@dataclass(frozen=True)
class Plan:
    """A tariff plan: fee in yuan, traffic in MB and outgoing minutes included."""

    code: str
    name: str
    fee_yuan: int
    traffic_mb: int
    minutes: int
    is_4g: bool


# Ladder of general plans by fee, then the campus plans. Quotas are generated.
PLANS = (
    Plan("easy_8", "神州行标准卡8元档", 8, 0, 0, False),
    Plan("feixiang_18", "飞享套餐18元档", 18, 100, 40, True),
    Plan("feixiang_28", "飞享套餐28元档", 28, 200, 50, True),
    Plan("feixiang_38", "飞享套餐38元档", 38, 300, 70, True),
    Plan("feixiang_58", "飞享套餐58元档", 58, 500, 150, True),
    Plan("feixiang_88", "飞享套餐88元档", 88, 700, 220, True),
    Plan("feixiang_138", "飞享套餐138元档", 138, 1000, 500, True),
    Plan("gotone_188", "全球通188元档", 188, 2000, 700, True),
    Plan("gotone_288", "全球通288元档", 288, 4000, 1000, True),
    Plan("campus_18", "动感地带校园套餐18元档", 18, 500, 30, True),
    Plan("campus_28", "动感地带校园套餐28元档", 28, 1000, 60, True),
    Plan("campus_38", "动感地带校园套餐38元档", 38, 2000, 100, True),
)
CAMPUS_PLANS = tuple(index for index, plan in enumerate(PLANS) if plan.code.startswith("campus"))
LADDER = tuple(index for index in range(len(PLANS)) if index not in CAMPUS_PLANS)

SURNAMES = tuple("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕包白云乌")
FACULTIES = (
    ("computer", "计算机学院"),
    ("economics", "经济管理学院"),
    ("law", "法学院"),
    ("literature", "文学与新闻学院"),
    ("mongolian", "蒙古学学院"),
    ("mathematics", "数学科学学院"),
    ("life", "生命科学学院"),
    ("engineering", "交通与土木工程学院"),
    ("arts", "艺术学院"),
    ("education", "教育学院"),
    ("medicine", "医学与护理学院"),
    ("foreign", "外国语学院"),
)
DEGREES = (("junior", "大专"), ("bachelor", "本科"), ("master", "硕士"), ("doctor", "博士"))
SENSITIVE_REASONS = ("多次投诉", "媒体从业人员", "行业监管人员", "省市重要客户", "工信部申诉客户")
