"""Suppression lists as bits of one byte a subscriber, in the order in which they give the reason."""

from services.touchpoint.domain import reasons

# iop.audience.v1.SuppressionList -> bit
BLOCK, RED, SENSITIVE, OPT_OUT, NO_CONSENT, MINOR, NO_LOCATION_CONSENT = 1, 2, 4, 8, 16, 32, 64
BIT_OF_LIST = {
    1: BLOCK,
    2: RED,
    3: SENSITIVE,
    4: OPT_OUT,
    5: NO_CONSENT,
    6: MINOR,
    7: NO_LOCATION_CONSENT,
}

# Legal grounds first: they are what a complaint asks for.
PRECEDENCE: tuple[tuple[int, str], ...] = (
    (OPT_OUT, reasons.OPT_OUT),
    (NO_CONSENT, reasons.NO_CONSENT),
    (MINOR, reasons.MINOR),
    (BLOCK, reasons.BLOCK),
    (RED, reasons.RED),
    (SENSITIVE, reasons.SENSITIVE),
    (NO_LOCATION_CONSENT, reasons.NO_LOCATION_CONSENT),
)

# Never switchable.
ALWAYS = OPT_OUT | NO_CONSENT | MINOR


def mask(*, keep_block: bool, keep_red: bool, keep_sensitive: bool, location: bool) -> int:
    """The lists that apply to a setting (TCH-17); `location` for event touches."""
    bits = ALWAYS
    if not keep_block:
        bits |= BLOCK
    if not keep_red:
        bits |= RED
    if not keep_sensitive:
        bits |= SENSITIVE
    if location:
        bits |= NO_LOCATION_CONSENT
    return bits


def reason_of(flags: int) -> str:
    """The reason of the first list among the flags, "" for none."""
    for bit, reason in PRECEDENCE:
        if flags & bit:
            return reason
    return ""
