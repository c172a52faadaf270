"""What is selected: a condition over regions at a date, less the suppression lists."""

from dataclasses import dataclass, field
from datetime import date

from services.audience.domain.catalogue import Frequency, Tag
from services.audience.domain.condition import EVERYBODY, Comparison, Constant, Node, Operator
from services.audience.domain.suppression import Choice
from services.kit import errors

# Flag of the customers who ordered the product 短信签约 (AUD-34, TCH-54).
SMS_CONTRACT_TAG = "sms_contract"
SMS_CONTRACT = Comparison(SMS_CONTRACT_TAG, Operator.EQ, (Constant("flag", True),))


@dataclass(frozen=True)
class Selection:
    """`regions` are adcodes, none for everywhere; `data_date` None takes each tag's newest values."""

    condition: Node = EVERYBODY
    regions: tuple[int, ...] = ()
    data_date: date | None = None
    suppression: Choice = field(default_factory=Choice)


def date_for(tag: Tag, loaded: tuple[date, ...], asked: date | None) -> date:
    """The date whose values answer for `asked` (AUD-04, AUD-05); Precondition DATA_DATE_MISSING if none.

    `loaded` are the dates with values, newest first. A day's tag is read at the day itself, a month's at
    the newest month that had ended by then.
    """
    if loaded and asked is None:
        return loaded[0]
    if asked is not None:
        fitting = [
            day for day in loaded if day == asked or (tag.frequency == Frequency.MONTH and day <= asked)
        ]
        if fitting:
            return fitting[0]
    when = f"for {asked.isoformat()}" if asked else "at all"
    raise errors.Precondition(
        f"no values of {tag.code} are loaded {when}",
        reason="DATA_DATE_MISSING",
        metadata={"tag": tag.code, "data_date": asked.isoformat() if asked else ""},
    )
