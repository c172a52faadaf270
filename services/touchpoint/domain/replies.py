"""What a customer's reply means (DOMAIN 3.5, TCH-79)."""

import re
import unicodedata

OPT_OUT, INSTRUCTION, TEXT, UNKNOWN_SENDER = "opt_out", "instruction", "text", "unknown_sender"

# Words that refuse, as customers of the operators are told to send them.
_REFUSALS = frozenset({"TD", "T", "R", "退订", "拒收", "TD退订", "退订TD"})
_INSTRUCTION = re.compile(r"[A-Z0-9]{2,20}")

ANSWER_OPT_OUT = "您已成功退订营销信息，我们将不再向您发送此类信息。"
ANSWER_INSTRUCTION = "您的{product}办理申请已受理，办理结果将以短信通知您。"


def normalise(text: str) -> str:
    """Full-width signs as half-width, upper case, without blanks around and punctuation behind."""
    return unicodedata.normalize("NFKC", text).strip().upper().rstrip("。.! ").strip()


def refuses(text: str) -> bool:
    """Whether a normalised text opts out."""
    return text in _REFUSALS


def may_instruct(text: str) -> bool:
    """Whether a normalised text has the form of an order instruction."""
    return _INSTRUCTION.fullmatch(text) is not None


def answer(kind: str, product: str = "") -> str:
    """What the customer is answered, "" for nothing."""
    if kind == OPT_OUT:
        return ANSWER_OPT_OUT
    if kind == INSTRUCTION:
        return ANSWER_INSTRUCTION.format(product=f"“{product}”" if product else "")
    return ""
