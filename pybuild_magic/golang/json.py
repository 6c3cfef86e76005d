"""JSON as Go's encoding/json writes it, so that digests equal those of BuildKit."""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import SourceError

_ESCAPED = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[{}\]]")
MAX_NESTING = 100
"""The deepest nesting of lists and objects; no known image has more than a tenth of it."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(value: Any, *, indent: bool = False) -> bytes:
    r"""Return the bytes of `json.Marshal(value)`, or with `indent` of `json.MarshalIndent(value, "", "  ")`.

    Dict keys keep their order: a caller that encodes a Go map sorts it. HTML's three special characters and the two
    line separators of JavaScript are escaped, an undecodable byte (a lone surrogate) becomes `\ufffd`.
    """
    text = json.dumps(
        value,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ": ") if indent else (",", ":"),
        indent=2 if indent else None,
    )
    # None of these characters occurs in JSON outside of strings.
    return _SURROGATE.sub(r"\\ufffd", text.translate(_ESCAPED)).encode()


def check_nesting(data: bytes, subject: str) -> None:
    """Raise SourceError for a document that is nested too deeply to be meaningful."""
    if data.count(b"[") + data.count(b"{") <= MAX_NESTING:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_NESTING:
            raise SourceError(f"{subject} is nested more than {MAX_NESTING} deep.")


def without_nulls(value: Any) -> Any:
    """Return `value` without null members of objects: Go reads null as the field's zero value."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [without_nulls(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def as_map(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` in the order in which Go writes a map: sorted by key."""
    return dict(sorted(value.items()))
