"""The standard report on a selection: the tags of each block and the bounds of their bands (AUD-11)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from services.audience.domain.catalogue import Tag, TagClass, TagType, number_text

BASIC, PREFERENCE, BUSINESS = "basic", "preference", "business"
BLOCKS = (BASIC, PREFERENCE, BUSINESS)  # 基础属性, 偏好属性, 业务属性

# Tags of the report by block, in order; those that the catalogue lacks are left out.
STANDARD: Mapping[str, tuple[str, ...]] = {
    BASIC: (
        "gender", "age", "home_city", "brand", "customer_status", "tenure_months", "terminal_brand",
        "campus_role",
    ),
    PREFERENCE: (
        "tariff_preference", "channel_preference", "business_preference", "promotion_preference",
        "terminal_preference", "service_preference", "apps", "top_app",
    ),
    BUSINESS: (
        "monthly_spend", "monthly_traffic", "outgoing_minutes", "traffic_saturation", "integrated_4g",
        "broadband", "sms_contract", "churn_level",
    ),
}  # fmt: skip
# Lower bounds of the bands of a number, from the second band on, in its unit.
BOUNDS: Mapping[str, tuple[int, ...]] = {
    "age": (18, 25, 35, 45, 60),
    "tenure_months": (6, 12, 24, 36, 60, 120),
    "monthly_spend": (18, 28, 38, 58, 88, 128, 188),
    "monthly_traffic": (100, 200, 300, 500, 1000, 2000, 5000),
    "outgoing_minutes": (20, 50, 70, 100, 200, 500),
    "traffic_saturation": (20, 40, 60, 80, 100),
}
_AT_MOST = 8  # tags of a block when the standard ones are not there
_SHOWABLE = {TagType.NUMBER, TagType.ENUMERATION, TagType.FLAG, TagType.SET}


def block_of(tag: Tag) -> str:
    """The block of a tag that is not a standard one: preferences by category, the rest by class."""
    for block, codes in STANDARD.items():
        if tag.code in codes:
            return block
    if "偏好" in tag.category or "preference" in tag.code or tag.type == TagType.SET:
        return PREFERENCE
    return BASIC if tag.tag_class == TagClass.BASIC else BUSINESS


def tags_of_report(catalogue: Mapping[str, Tag], asked: Sequence[str]) -> dict[str, list[Tag]]:
    """Tags by block: those asked for, else the standard ones, else the first of each block."""
    blocks: dict[str, list[Tag]] = {block: [] for block in BLOCKS}
    if asked:
        for code in dict.fromkeys(asked):
            blocks[block_of(catalogue[code])].append(catalogue[code])
        return blocks
    for block in BLOCKS:
        blocks[block] = [catalogue[code] for code in STANDARD[block] if code in catalogue]
        if not blocks[block]:
            fitting = (t for t in catalogue.values() if t.type in _SHOWABLE and block_of(t) == block)
            blocks[block] = _first(fitting, _AT_MOST)
    return blocks


def _first(tags: Iterable[Tag], count: int) -> list[Tag]:
    return sorted(tags, key=lambda tag: tag.code)[:count]


def scaled_bounds(tag: Tag) -> tuple[int, ...] | None:
    """Stored bounds of a number's standard bands; None when it has none."""
    bounds = BOUNDS.get(tag.code)
    return tuple(bound * 10**tag.decimals for bound in bounds) if bounds else None


def band_labels(tag: Tag, bounds: Sequence[int]) -> list[str]:
    """Labels of the bands: `<18`, `[18, 28)`, `≥188`."""
    texts = [number_text(bound, tag.decimals) for bound in bounds]
    if not texts:
        return ["全部"]
    inner = [f"[{low}, {high})" for low, high in pairwise(texts)]
    return [f"<{texts[0]}", *inner, f"≥{texts[-1]}"]
