"""The scenario models AUD-17 to AUD-26: scores of 0 to 100 points, formulas over other tags, no noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo import tags, vocabulary

Floats = NDArray[np.float64]
Get = Mapping[str, Floats]  # tag values in their unit, NaN where missing; flags as 0 and 1


@dataclass(frozen=True)
class Model:
    """A scenario model. `formula` is what `score` computes, clipped to 0..100 and rounded down."""

    code: str
    name: str
    name_en: str
    requirement: str
    formula: str
    lineage: tuple[str, ...]
    score: Callable[[Get], Floats]


def _when(condition: NDArray[np.bool_], points: float) -> Floats:
    return np.where(condition, points, 0.0)


def _churn(get: Get) -> Floats:
    return (
        _when(get["tenure_months"] < 12, 20)
        + _when(get["contract"] == 0, 15)
        + 8 * np.minimum(get["hotline_calls"], 4)
        + 10 * np.minimum(get["arrears_6m"], 2)
        + 0.5 * np.clip(-get["spend_change_3m"], 0, 40)
        + 0.2 * get["competitor_share"]
        - _when(get["broadband"] == 1, 10)
    )


def _broadband(get: Get) -> Floats:
    score = (
        40
        + np.minimum(get["monthly_spend"] / 4, 25)
        + _when(get["video_app_user"] == 1, 15)
        + _when(get["is_urban"] == 1, 10)
        + _when(get["tenure_months"] >= 24, 10)
    )
    return score * (get["broadband"] == 0) * (get["age"] >= 18)


def _up_tier(get: Get) -> Floats:
    return _when(get["plan_fee"] > 0, 100) * np.clip(
        get["monthly_spend"] / np.maximum(get["plan_fee"], 1) - 1, 0, 1
    )


def _cabin(get: Get) -> Floats:
    return (
        np.minimum(get["spend_3m_average"] / 2, 60)
        + _when(get["tenure_months"] >= 60, 20)
        + _when(get["terminal_price"] >= 2500, 20)
    ) * (get["brand"] != vocabulary.GOTONE)


def _fit(get: Get) -> Floats:
    """How well allowance and use agree: 100 when all of it is used and nothing is paid on top."""
    use = get["monthly_traffic"] / np.maximum(get["plan_traffic"], 1)
    extra = np.clip(get["monthly_spend"] / np.maximum(get["plan_fee"], 1) - 1, 0, 1)
    return 100 - 40 * np.clip(np.abs(np.log2(np.maximum(use, 0.05))), 0, 2) / 2 - 60 * extra


def _suppression(get: Get) -> Floats:
    quota = np.maximum(get["plan_traffic"], 1)
    near = np.clip((get["monthly_traffic"] / quota - 0.8) / 0.2, 0, 1) * (get["monthly_traffic"] <= quota)
    return near * (60 + _when(get["terminal_4g"] == 1, 20) + _when(get["video_app_user"] == 1, 20))


def _dual(get: Get) -> Floats:
    return get["dual_sim"] * (
        30 + np.minimum(get["silent_days"] * 5, 30) + 0.4 * np.minimum(get["competitor_share"], 100)
    )


def _unsaturated(get: Get) -> Floats:
    return np.where(np.isnan(get["traffic_saturation"]), 0, 100 - np.minimum(get["traffic_saturation"], 100))


def _migration(get: Get) -> Floats:
    return (1 - get["integrated_4g"]) * (
        30
        + _when(get["terminal_4g"] == 1, 30)
        + _when(get["sim_4g"] == 1, 20)
        + np.minimum(get["monthly_traffic"] / 25, 20)
    )


MODELS = (
    Model(
        "broadband_potential",
        "家宽潜在模型",
        "Home-broadband potential",
        "AUD-17",
        "40 + min(spend / 4, 25) + 15 video apps + 10 urban + 10 two years in network;"
        " 0 with broadband or under age",
        ("monthly_spend", "video_app_user", "is_urban", "tenure_months", "broadband", "age"),
        _broadband,
    ),
    Model(
        "churn_score",
        "流失预警模型",
        "Churn early warning",
        "AUD-18",
        "20 first year + 15 no contract + 8 x hotline calls (4 at most) + 10 x arrears (2 at most)"
        " + 0.5 x fall of spend in % (40 at most) + 0.2 x competitor share in % - 10 broadband",
        (
            "tenure_months",
            "contract",
            "hotline_calls",
            "arrears_6m",
            "spend_change_3m",
            "competitor_share",
            "broadband",
        ),
        _churn,
    ),
    Model(
        "up_tier_score",
        "消费升档模型",
        "Spend up-tier",
        "AUD-19",
        "100 x (spend / plan fee - 1), from 0 to 100",
        ("monthly_spend", "plan_fee"),
        _up_tier,
    ),
    Model(
        "cabin_upgrade_score",
        "消费升舱模型",
        "Spend cabin-upgrade",
        "AUD-20",
        "min(average spend / 2, 60) + 20 five years in network + 20 terminal from 2,500 yuan; 0 for GoTone",
        ("spend_3m_average", "tenure_months", "terminal_price", "brand"),
        _cabin,
    ),
    Model(
        "plan_fit_score",
        "套餐匹配度模型",
        "Plan fit",
        "AUD-21",
        "100 - 20 x |log2(traffic / allowance)| (2 at most) - 60 x (spend / plan fee - 1) (1 at most)",
        ("monthly_traffic", "plan_traffic", "monthly_spend", "plan_fee"),
        _fit,
    ),
    Model(
        "traffic_suppression_score",
        "流量抑制模型",
        "Traffic suppression",
        "AUD-22",
        "use of the allowance from 80 % (0) to 100 % (1), not beyond, x (60 + 20 4G + 20 video apps)",
        ("monthly_traffic", "plan_traffic", "terminal_4g", "video_app_user"),
        _suppression,
    ),
    Model(
        "dual_sim_score",
        "双卡槽识别模型",
        "Dual-SIM-slot identification",
        "AUD-23",
        "0 without a dual-slot terminal; else 30 + min(5 x silent days, 30) + 0.4 x competitor share in %",
        ("terminal_model", "silent_days", "competitor_share"),
        _dual,
    ),
    Model(
        "low_saturation_score",
        "流量低饱和模型",
        "Low traffic saturation",
        "AUD-24",
        "100 - traffic saturation in %, not below 0",
        ("traffic_saturation",),
        _unsaturated,
    ),
    Model(
        "migration_4g_score",
        "2/3G迁移4G模型",
        "2G/3G to 4G migration",
        "AUD-25",
        "0 for 4G integrated customers; else 30 + 30 4G terminal + 20 4G card + min(traffic / 25 MB, 20)",
        ("integrated_4g", "terminal_4g", "sim_4g", "monthly_traffic"),
        _migration,
    ),
)

SCENARIO_RULES = (
    "over_plan: traffic beyond the plan; base_warning: churn level high; saturation: under 30 %; "
    "preference: prefers online channels; hot_content: uses video apps; bare_broadband: broadband and spend "
    "under 30 yuan; contract_expiry: ends within 60 days; college: student; secondary_card: no secondary "
    "card and spend from 80 yuan; set_top_box: broadband without a box (AUD-26)"
)
SCENARIO_LINEAGE = (
    "out_of_plan_traffic", "churn_score", "traffic_saturation", "channel_preference", "video_app_user",
    "broadband", "monthly_spend", "contract_expiry", "campus_role", "secondary_cards", "set_top_box",
)  # fmt: skip


def scores(get: Get) -> dict[str, NDArray[np.int32]]:
    """Every model's score, whole points of 0 to 100."""
    return {model.code: np.floor(np.clip(model.score(get), 0, 100)).astype(np.int32) for model in MODELS}


def scenarios(get: Get, churn_level: NDArray[np.int32], as_of_days: int) -> NDArray[np.uint64]:
    """The set of scenarios that apply, as bits over `tags.SCENARIOS`."""
    left = get["contract_expiry"] - as_of_days
    flags = {
        "over_plan": get["out_of_plan_traffic"] > 0,
        "base_warning": churn_level == 2,
        "saturation": get["traffic_saturation"] < 30,
        "preference": get["channel_preference"] == 2,
        "hot_content": get["video_app_user"] == 1,
        "bare_broadband": (get["broadband"] == 1) & (get["monthly_spend"] < 30),
        "contract_expiry": (left >= 0) & (left <= 60),
        "college": get["campus_role"] == 0,
        "secondary_card": (get["secondary_cards"] == 0) & (get["monthly_spend"] >= 80),
        "set_top_box": (get["broadband"] == 1) & (get["set_top_box"] == 0),
    }
    mask = np.zeros(len(churn_level), dtype=np.uint64)
    for bit, (code, _) in enumerate(tags.SCENARIOS):
        mask |= flags[code].astype(np.uint64) << np.uint64(bit)
    return mask
