"""The summary report: distributions of a selection beside the whole base, and its counties (AUD-11)."""

from collections.abc import Sequence

import numpy as np
from iop.audience.v1 import audience_pb2

from services.audience import convert, research
from services.audience.domain.catalogue import Tag, TagType
from services.audience.domain.region import BASE
from services.audience.domain.report import band_labels, scaled_bounds, tags_of_report
from services.audience.domain.selection import date_for
from services.audience.engine import execute, report
from services.audience.engine.bitmap import Mask
from services.audience.engine.columns import Column
from services.audience.memory import Memory
from services.kit import errors

_SHOWN = 30  # values of an enumeration, the commonest first
_MISSING, _OTHERS = "无", "其他"


class Reporter:
    """Makes summaries; keeps what the whole base looks like, since every report is compared with it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bands = report.Bands()
        self._base: dict[tuple[object, ...], tuple[list[int], int]] = {}

    def tags(self, asked: Sequence[str]) -> dict[str, list[Tag]]:
        """Tags of the report by block; Invalid TAG_UNKNOWN, or a tag that has no distribution."""
        catalogue = self._memory.catalogue
        problems = []
        for position, code in enumerate(asked):
            tag = catalogue.tag(code)
            if tag is None:
                problems.append((f"tags[{position}]", "no such tag"))
            elif tag.type in (TagType.TEXT, TagType.DATE):
                problems.append((f"tags[{position}]", "a text or date has no distribution"))
        if problems:
            raise errors.Invalid("a tag cannot be reported", reason="TAG_UNKNOWN", fields=problems)
        return tags_of_report({code: stored.tag for code, stored in catalogue.tags.items()}, asked)

    def summarise(
        self,
        prepared: research.Prepared,
        outcome: research.Outcome,
        blocks: dict[str, list[Tag]],
        base: execute.Step,
        base_key: object,
        asked: bool,
    ) -> audience_pb2.AudienceSummary:
        """The report of an outcome; `base` are the subscribers it is compared with. Blocking.

        A standard tag without values is left out; one that was asked for is an error.
        """
        answer = audience_pb2.AudienceSummary(count=count_message(prepared, outcome))
        base_mask: list[Mask] = []

        def base_of() -> Mask:
            if not base_mask:
                base_mask.append(execute.select(base, prepared.count))
            return base_mask[0]

        for block, tags in blocks.items():
            shown: list[tuple[Tag, Column]] = []
            for tag in tags:
                dates = prepared.catalogue.dates(tag.code)
                if not dates and not asked:
                    continue
                day = date_for(tag, dates, None)
                shown.append((tag, self._memory.column(tag, day, prepared.catalogue)))
            attributes = [self._attribute(tag, column) for tag, column in shown]
            plain = [part for part in attributes if part is not None]
            counted = iter(report.count([part[0] for part in plain], outcome.mask))
            message = answer.blocks.add(block=block)
            for (tag, column), attribute in zip(shown, attributes, strict=True):
                if attribute is None:
                    counts = report.count_set(column, len(tag.values), outcome.mask).tolist()
                    labels = [tag.label(i) for i in range(len(tag.values))]
                else:
                    counts, labels = next(counted).tolist(), attribute[1]
                # The column itself stands in the key: while it is kept, its identity is its own.
                key = (column, base_key, prepared.count)
                known = self._base.get(key)
                if known is None:
                    mask = base_of()
                    if attribute is None:
                        found = report.count_set(column, len(tag.values), mask).tolist()
                    else:
                        found = report.count([attribute[0]], mask)[0].tolist()
                    known = (found, int(np.count_nonzero(mask)))
                    if len(self._base) >= 512:
                        self._base.clear()
                    self._base[key] = known
                ordered = tag.type in (TagType.ENUMERATION, TagType.SET)
                item = message.distributions.add(tag=tag.code, display_name=tag.name)
                if tag.type == TagType.NUMBER:
                    item.mean = report.mean(column, outcome.mask) / 10**tag.decimals
                _fill(item, labels, counts, outcome.count, *known, ordered)
        homes = np.bincount(prepared.counties[outcome.mask], minlength=1)
        for code in np.flatnonzero(homes).tolist():
            answer.regions.add(region=BASE + code, count=int(homes[code]))
        return answer

    def _attribute(self, tag: Tag, column: Column) -> tuple[report.Attribute, list[str]] | None:
        """The attribute of a tag and the labels of its codes; None for a set, which has several values."""
        if tag.type == TagType.SET:
            return None
        if tag.type == TagType.NUMBER:
            bounds = scaled_bounds(tag) or report.quantile_bounds(column)
            return self._bands.number(column, bounds), [*band_labels(tag, bounds), _MISSING]
        if tag.type == TagType.FLAG:
            return self._bands.enumeration(column, 2), ["否", "是", _MISSING]
        labels = [tag.label(i) for i in range(len(tag.values))]
        return self._bands.enumeration(column, len(tag.values)), [*labels, _MISSING]


def count_message(
    prepared: research.Prepared, outcome: research.Outcome
) -> audience_pb2.CountAudienceResponse:
    """Size and funnel of an outcome."""
    return audience_pb2.CountAudienceResponse(
        scope=outcome.scope,
        matched=outcome.matched,
        excluded=convert.reason_counts(outcome.excluded),
        count=outcome.count,
        data_date=prepared.data_date.isoformat() if prepared.data_date else "",
    )


def _fill(
    item: audience_pb2.Distribution,
    labels: list[str],
    counts: list[int],
    total: int,
    base: list[int],
    base_total: int,
    by_size: bool,
) -> None:
    """Buckets with their index: share of the selection over share of the base, times 100."""
    order = [i for i in range(len(labels)) if counts[i] or base[i]]
    if by_size:
        order.sort(key=lambda i: (labels[i] == _MISSING, -counts[i]))
    rest = order[_SHOWN:] if len(order) > _SHOWN + 1 else []

    def add(label: str, count: int, base_count: int) -> None:
        index = count * base_total / (total * base_count) * 100 if total and base_count else 0.0
        item.buckets.add(label=label, count=count, index=index)

    for i in order[: len(order) - len(rest)]:
        add(labels[i], counts[i], base[i])
    if rest:
        add(_OTHERS, sum(counts[i] for i in rest), sum(base[i] for i in rest))
