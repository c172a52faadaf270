"""What must be filled in (CMP-19), and which settings fit which touchpoint (TCH-13 to TCH-71)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.campaign.domain import reasons
from services.campaign.domain.model import (
    ActivityPlan,
    CampaignPlan,
    Mode,
    Setting,
    touchpoint_word,
)
from services.kit import errors

Problem = tuple[str, str]  # path of a field, what is wrong with it

_SOURCES = {
    Mode.EVENT_TRIGGERED: ("audience", "customer_list", "all_customers"),  # CMP-08
    Mode.ACTIVE_PUSH: ("audience", "customer_list"),  # CMP-12, CMP-17
    Mode.EXTERNAL_IMPORT: ("customer_list",),  # CMP-15
}


@dataclass(frozen=True)
class FieldRule:
    """One field of a touchpoint's schema."""

    key: str
    kind: str = "text"  # text, long_text, image, url, choice
    required: bool = False
    max_length: int = 0  # 0: any


@dataclass(frozen=True)
class TouchpointRules:
    """What a touchpoint takes, from the touchpoint service."""

    touchpoint: int
    modes: frozenset[str]
    fields: tuple[FieldRule, ...] = ()
    periodic_update: bool = False
    suppression: bool = False
    sms_contract: bool = False


def check_activity(plan: ActivityPlan) -> None:
    """Invalid for contents that could never become right by adding to them."""
    problems: list[Problem] = []
    names = [split.group for split in plan.splits]
    if len(set(names)) != len(names):
        problems.append(("activity.splits", "two groups have the same name"))
    # A hundredth of a per mille is left to rounding in thirds and sevenths.
    if sum(split.percent for split in plan.splits) > 100.00001:
        problems.append(("activity.splits", "the groups take more than 100 percent"))
    if problems:
        raise errors.Invalid("; ".join(text for _, text in problems), fields=problems)


def missing(plan: ActivityPlan, path: str = "activity") -> list[Problem]:
    """What the activity still lacks before touchpoints or approval (CMP-19)."""
    problems: list[Problem] = []
    if plan.target is None:
        problems.append((f"{path}.target", "choose whom the activity is for"))
    elif plan.target.kind not in _SOURCES[plan.mode]:
        fitting = " or ".join(_SOURCES[plan.mode])
        problems.append((f"{path}.target.{plan.target.kind}", f"{plan.mode.word} takes {fitting}"))
    if plan.product is None:
        problems.append((f"{path}.product", "choose what is offered, so that orders can be evaluated"))
    if plan.by_event and not plan.definition:
        problems.append((f"{path}.definition", "choose the event that triggers it"))
    if not plan.by_event and plan.definition:
        problems.append((f"{path}.definition", f"{plan.mode.word} has no event"))
    return problems


def require_complete(problems: Iterable[Problem]) -> None:
    """Precondition, reason ACTIVITY_INCOMPLETE, that names everything that is missing."""
    found = list(problems)
    if found:
        raise errors.Precondition(
            "not complete yet: " + "; ".join(f"{path}: {text}" for path, text in found),
            reason=reasons.ACTIVITY_INCOMPLETE,
            fields=found,
        )


def check_setting(
    setting: Setting,
    activity: ActivityPlan,
    campaign: CampaignPlan,
    catalogue: Mapping[int, TouchpointRules],
    path: str = "setting",
) -> None:
    """Whether a setting fits its activity, campaign and touchpoint.

    Precondition TOUCHPOINT_UNFIT when the touchpoint does not serve the mode, Invalid SETTING_INVALID
    naming each field at fault.
    """
    word = touchpoint_word(setting.touchpoint)
    rules = catalogue.get(setting.touchpoint)
    if rules is None or activity.mode.word not in rules.modes:
        raise errors.Precondition(
            f"{word} does not serve {activity.mode.word} activities",
            reason=reasons.TOUCHPOINT_UNFIT,
            fields=[(f"{path}.touchpoint", f"does not serve {activity.mode.word}")],
            metadata={"touchpoint": word, "mode": activity.mode.word},
        )
    problems: list[Problem] = []
    if not setting.period.within(campaign.period):
        problems.append((f"{path}.period", "reaches beyond the campaign's period"))
    if setting.periodic_update and not rules.periodic_update:
        problems.append((f"{path}.periodic_update", f"{word} has no periodic update"))
    if setting.sms_contract_only and not rules.sms_contract:
        problems.append((f"{path}.sms_contract_only", f"{word} has no SMS contract option"))
    if setting.suppression is not None and setting.suppression.keeps_any:
        if not rules.suppression:
            problems.append((f"{path}.suppression", f"{word} has no special-number filter"))
        elif not setting.suppression.reason.strip():
            problems.append((f"{path}.suppression.reason", "say why a list is kept in"))
    problems += _fields(setting, rules, path)
    if problems:
        raise errors.Invalid(
            "; ".join(f"{where}: {what}" for where, what in problems),
            reason=reasons.SETTING_INVALID,
            fields=problems,
        )


def _fields(setting: Setting, rules: TouchpointRules, path: str) -> list[Problem]:
    problems: list[Problem] = []
    given = dict(setting.fields)
    if setting.marketing_words:
        given["marketing_words"] = setting.marketing_words
    known = {rule.key: rule for rule in rules.fields}
    for key in sorted(given.keys() - known.keys()):
        problems.append((_at(path, key), f"{touchpoint_word(setting.touchpoint)} has no such field"))
    for rule in rules.fields:
        value = given.get(rule.key, "")
        if not value.strip():
            if rule.required:
                problems.append((_at(path, rule.key), "must be filled in"))
            continue
        if rule.max_length and len(value) > rule.max_length:
            problems.append(
                (_at(path, rule.key), f"has {len(value)} characters, at most {rule.max_length} fit")
            )
        if rule.kind == "url" and not value.startswith(("http://", "https://")):
            problems.append((_at(path, rule.key), "must begin with http:// or https://"))
    return problems


def _at(path: str, key: str) -> str:
    return f"{path}.marketing_words" if key == "marketing_words" else f'{path}.fields["{key}"]'
