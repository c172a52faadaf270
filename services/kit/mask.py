"""Masking of what a role may not see."""

import re

# A mainland mobile number standing alone in a text.
_MOBILE = re.compile(r"(?<![0-9A-Za-z])(1[3-9]\d)\d{4}(\d{4})(?![0-9A-Za-z])")


def phone(number: str) -> str:
    """`18812343500` as `188****3500`; anything shorter than seven digits becomes stars."""
    if len(number) < 7:
        return "*" * len(number)
    return f"{number[:-8]}****{number[-4:]}" if len(number) > 8 else f"****{number[-4:]}"


def text(value: str) -> str:
    """`value` with every mobile number in it masked: the safety net of the logs."""
    return _MOBILE.sub(r"\1****\2", value)
