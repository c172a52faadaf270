"""Lists that keep subscribers from being contacted, and the order in which they take them out."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from services.kit import errors


class SuppressionList(IntEnum):
    """The lists; the numbers are those of the contract."""

    BLOCK = 1
    RED = 2
    SENSITIVE = 3
    OPT_OUT = 4
    NO_CONSENT = 5
    MINOR = 6
    NO_LOCATION_CONSENT = 7


# The first list of this order that holds a subscriber is the reason given. Consent to the use of
# location is no matter of selection: the touchpoint asks for it when an event touch rests on location.
FUNNEL: tuple[tuple[SuppressionList, str], ...] = (
    (SuppressionList.OPT_OUT, "opt_out"),
    (SuppressionList.NO_CONSENT, "no_consent"),
    (SuppressionList.MINOR, "minor"),
    (SuppressionList.BLOCK, "block_list"),
    (SuppressionList.RED, "red_list"),
    (SuppressionList.SENSITIVE, "sensitive_list"),
)


@dataclass(frozen=True)
class Choice:
    """Special-number lists that a planner keeps in (AUD-10, AUD-31), and why."""

    keep_block_list: bool = False
    keep_red_list: bool = False
    keep_sensitive_list: bool = False
    reason: str = ""

    @property
    def keeps_any(self) -> bool:
        """Whether a list is kept in."""
        return self.keep_block_list or self.keep_red_list or self.keep_sensitive_list


def applied(choice: Choice) -> tuple[tuple[SuppressionList, str], ...]:
    """The lists to take out, in funnel order; opt-outs, missing consent and minors are always among them."""
    kept = {
        SuppressionList.BLOCK: choice.keep_block_list,
        SuppressionList.RED: choice.keep_red_list,
        SuppressionList.SENSITIVE: choice.keep_sensitive_list,
    }
    return tuple(pair for pair in FUNNEL if not kept.get(pair[0], False))


def check_choice(choice: Choice, roles: Collection[str], path: str) -> None:
    """A list is kept in only with a reason and by a role that may (SUPPRESSION_REASON_MISSING)."""
    if not choice.keeps_any:
        return
    if not choice.reason.strip():
        raise errors.Invalid(
            "a special-number list is kept in without a reason",
            reason="SUPPRESSION_REASON_MISSING",
            fields=[(f"{path}.reason", "say why the list is kept in")],
        )
    if not {"planner", "approver", "admin", "service"} & set(roles):
        raise errors.Denied(
            "only planners and approvers may keep a special-number list in",
            reason="SUPPRESSION_REASON_MISSING",
        )
