"""Go's text templates, as `--format` of Docker's commands takes them: the part that chooses values of a document.

Text, `{{.Field.Of.Field}}`, `{{json VALUE}}`, `{{index VALUE "key" 0}}`, parentheses, pipelines and comments; no
variables and no control structures, for which JSON and a program that reads it do better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from ..errors import UsageError
from .json import dumps

_ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.DOTALL)
_WORD = re.compile(r"""\s*(?:("(?:[^"\\]|\\.)*"|`[^`]*`)|([|()])|((?:\.\w*)+)|([^\s|()."`]+))""")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_HINT = "Use {{json .}} and a program that reads JSON, such as jq."


class Method(msgspec.Struct, frozen=True):
    """A member that is called with one text, as in `{{.Label "name"}}`; it is no part of the document."""

    call: Callable[[str], str]


def execute(template: str, data: Mapping[str, Any], *, indent: bool = True) -> str:
    """Return the template's text with its actions replaced by values of `data`; a member may be a function of nothing.

    Members are found by the names of the JSON document or of the Go type: `.Image.Config.Env` is `config` and `Env`.
    Unless `indent`, `json` writes a single line.
    Raises UsageError for a template that is malformed or has more than the above, and for members that do not exist.
    """
    parts: list[str] = []
    end, trims = 0, False
    for match in _ACTION.finditer(template):
        text = template[end : match.start()]
        text = text.lstrip() if trims else text
        parts.append(text.rstrip() if match[1] else text)
        if not _COMMENT.fullmatch(match[2].strip()):
            parts.append(_shown(_Action(match[2], data, indent=indent).value(), match[0]))
        end, trims = match.end(), bool(match[3])
    rest = template[end:]
    if "{{" in rest:
        raise UsageError(f"The template {template!r} has an action that does not end.", hint="An action ends with }}.")
    return "".join([*parts, rest.lstrip() if trims else rest])


class _Action:
    """The words of one action, read from left to right."""

    def __init__(self, text: str, data: Mapping[str, Any], *, indent: bool) -> None:
        self._text, self._data = text, data
        self._functions: dict[str | None, Callable[[list[Any]], Any]] = {
            "json": partial(_json, indent=indent),
            "index": _index,
        }
        self._words: list[re.Match[str]] = []
        end = 0
        while text[end:].strip():
            match = _WORD.match(text, end)
            if match is None:
                raise self._error(text[end:].strip())
            self._words.append(match)
            end = match.end()

    def value(self) -> Any:
        found = self._pipeline()
        if self._words:
            raise self._error(self._words[0][0].strip())
        return found

    def _pipeline(self) -> Any:
        found = self._command([])
        while self._words and self._words[0][2] == "|":
            self._words.pop(0)
            found = self._command([found])
        return found

    def _command(self, last: list[Any]) -> Any:
        function: Callable[[list[Any]], Any] | None = None
        if self._words and (name := self._words[0][4]) in self._functions:
            self._words.pop(0)
            function = self._functions[name]
        operands: list[Any] = []
        while self._words and self._words[0][2] not in ("|", ")"):
            operands.append(self._operand())
        operands += last
        if function is not None and operands:
            return function(operands)
        if len(operands) == 2 and isinstance(operands[0], Method) and isinstance(operands[1], str):
            return operands[0].call(operands[1])
        if len(operands) != 1 or isinstance(operands[0], Method):
            raise self._error(self._text.strip())
        return operands[0]

    def _operand(self) -> Any:
        word = self._words.pop(0)
        if word[1]:
            return word[1][1:-1] if word[1][0] == "`" else json.loads(word[1])
        if word[2] == "(":
            found = self._pipeline()
            if not self._words or self._words.pop(0)[2] != ")":
                raise self._error("(")
            path = self._words.pop(0)[3] if self._words and self._words[0][3] and self._adjoins() else ""
            return _member(found, path) if path else found
        if word[3]:
            return _member(self._data, word[3])
        if re.fullmatch(r"-?\d+", word[4] or ""):
            return int(word[4])
        raise self._error(word[0].strip())

    def _adjoins(self) -> bool:
        """Return whether the next word follows a parenthesis directly: `(index .Image "linux/amd64").Config`."""
        return self._words[0].start() == self._words[0].start(3)

    def _error(self, part: str) -> UsageError:
        return UsageError(f"{{{{{self._text}}}}}: {part} is not something that a template can have here.", hint=_HINT)


def _member(value: Any, path: str) -> Any:
    seen = ""
    for name in filter(None, path.split(".")):
        members: Mapping[str, Any] = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
        found = name if name in members else next((key for key in members if _go(key) == _go(name)), None)
        if found is None:
            known = f"It has {', '.join(members)}." if 0 < len(members) < 30 else ""
            raise UsageError(f"There is no {name} in {seen or 'the document'}.", hint=known)
        seen += f".{name}"
        value = _called(members[found])
    return _called(value)


def _go(name: str) -> str:
    """Return a name as a document and its Go type both have it: `diff_ids` and `DiffIDs`."""
    return re.sub(r"[_.]", "", name).lower()


def _is_method(value: Any) -> bool:
    return callable(value) or isinstance(value, Method)


def _called(value: Any) -> Any:
    return value() if callable(value) else value


def _json(operands: list[Any], *, indent: bool) -> str:
    if len(operands) != 1:
        raise UsageError(f"json takes one value, not {len(operands)}.", hint=_HINT)
    (value,) = operands
    if isinstance(value, Mapping):  # like a method of Go's, a function is no part of the document
        value = {key: item for key, item in cast("Mapping[str, Any]", value).items() if not _is_method(item)}
    return dumps(value, indent=indent).decode()


def _index(operands: list[Any]) -> Any:
    value, *keys = operands
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            known = (
                f"It has {', '.join(map(str, cast('Mapping[str, Any]', value)))}." if isinstance(value, Mapping) else ""
            )
            raise UsageError(f"index: there is no {key!r}.", hint=known) from None
    return value


def _shown(value: Any, action: str) -> str:
    """Return a value as Go prints it. Raises UsageError for one with members, which Go prints without their names."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence):
        return f"[{' '.join(_shown(item, action) for item in cast('Sequence[Any]', value))}]"
    raise UsageError(f"{action} has more than one value.", hint="Write {{json …}} to show them all.")
