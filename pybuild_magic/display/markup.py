"""HTML from untrusted text: every string is escaped here, and there is no other way to make HTML."""

from __future__ import annotations

import html
import re


class Markup(str):
    """A piece of finished HTML. Only `tag` and `join` make it; all other strings are text."""

    __slots__ = ()


Child = str | Markup | None

_EMPTY = frozenset(("br", "hr", "img", "input"))

_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, lone surrogates, and characters that change the direction of surrounding text."""
_MEANS_SOMETHING = re.compile("[&<>\"'" + _UNSHOWABLE.pattern[1:])


def text(value: str) -> Markup:
    """Return `value` as text: HTML's special characters are escaped, misleading ones replaced."""
    if isinstance(value, Markup):
        return value
    if not _MEANS_SOMETHING.search(value):
        return Markup(value)
    return Markup(html.escape(_UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", value)))


def join(*children: Child, separator: str = "") -> Markup:
    """Concatenate the children; None is skipped."""
    return Markup(str(text(separator)).join(text(child) for child in children if child is not None))


class _Tags:
    """Makes elements: `tag.td("x", cls="num", title="y")` is `<td class="num" title="y">x</td>`; attributes are escaped
    too.
    """

    def __getattr__(self, name: str) -> _Tag:
        named = self.__dict__[name] = _Tag(name)
        return named


class _Tag:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *children: Child, **attributes: str | bool | None) -> Markup:
        opening = self._name
        for key, value in attributes.items():
            if value is True:
                opening += f" {_attribute(key)}"
            elif value is not None and value is not False:
                opening += f' {_attribute(key)}="{text(str(value))}"'
        if self._name in _EMPTY:
            return Markup(f"<{opening}>")
        inside = "".join([text(child) for child in children if child is not None])
        return Markup(f"<{opening}>{inside}</{self._name}>")


def _attribute(key: str) -> str:
    return "class" if key == "cls" else key.replace("_", "-")


tag = _Tags()
