"""Marketing words with `{tag_code}` in place of the customer's values (TCH-20)."""

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]{0,63})\}")


def variables(words: str) -> tuple[str, ...]:
    """The tag codes that the words use, in order of appearance, each once."""
    return tuple(dict.fromkeys(_VARIABLE.findall(words)))


def render(words: str, values: Mapping[str, str]) -> str:
    """The words with the values in place; a customer without a value gets nothing in its place."""
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), words)
