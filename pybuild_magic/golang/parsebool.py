"""Go's `strconv.ParseBool`, the syntax of flags, attributes, mounts and checks."""

from __future__ import annotations

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def parse_bool(text: str) -> bool | None:
    """Return the boolean that `text` spells; None if Go rejects it."""
    return _BOOLEANS.get(text)
