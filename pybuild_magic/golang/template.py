"""Go's text templates, as `--format` of Docker's commands takes them.

Text, fields, variables, pipelines, parentheses, comments, `if`, `with`, `range` with `else`, `break` and `continue`,
and the functions of `template_functions`. There are no templates within templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from ..errors import UsageError
from .template_functions import Method, functions, is_true, shown

__all__ = ["Method", "execute"]

_ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.DOTALL)
_WORD = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<sign>:=|[|(),=])|(?P<path>(?:\.\w*)+)"""
    r"""|(?P<variable>\$\w*)|(?P<word>[^\s|(),=."`$]+))"""
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_HINT = "Use {{json .}} and a program that reads JSON, such as jq."
_BLOCKS = ("if", "with", "range")
_CONSTANTS = {"true": True, "false": False, "nil": None}
_NO_ZERO: Mapping[str, Any] = {}


class _Expression(msgspec.Struct, frozen=True):
    """A pipeline, and the variables that it sets."""

    text: str
    words: tuple[re.Match[str], ...]
    names: tuple[str, ...] = ()
    declares: bool = False


class _Block(msgspec.Struct, frozen=True):
    """`if`, `with` or `range`; "" is a pipeline to be printed, and `break` and `continue` have none."""

    kind: str
    expression: _Expression
    body: tuple[str | _Block, ...] = ()
    otherwise: tuple[str | _Block, ...] = ()


class _Break(Exception):  # noqa: N818 - it is no error
    """The end of a loop."""


class _Continue(Exception):  # noqa: N818 - it is no error
    """The end of one turn of a loop."""


def execute(template: str, data: Mapping[str, Any], *, indent: bool = True, zero: Mapping[str, Any] = _NO_ZERO) -> str:
    """Return the template's text with its actions replaced by values of `data`; a member may be a function of nothing.

    Members are found by the names of the JSON document or of the Go type: `.Image.Config.Env` is `config` and `Env`.
    `zero` has the values of members that a document leaves out, by their names in lower case. Unless `indent`, `json`
    writes a single line.

    Raises UsageError for a template that is malformed or has more than the above, and for members that do not exist.
    """
    try:
        body = _Parser(template).parse()
        return "".join(_Run(data, indent=indent, zero=zero).all(body))
    except RecursionError:
        raise UsageError("The template is nested too deeply.", hint=_HINT) from None


class _Parser:
    """Reads a template: its text and its actions, one after the other."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._parts: list[str | _Expression] = []
        self._loops = 0

    def parse(self) -> tuple[str | _Block, ...]:
        end, trims = 0, False
        for match in _ACTION.finditer(self._template):
            self._add_text(self._template[end : match.start()], before=trims, after=bool(match[1]))
            if not _COMMENT.fullmatch(match[2].strip()):
                self._parts.append(_expression(match[2]))
            end, trims = match.end(), bool(match[3])
        rest = self._template[end:]
        if "{{" in rest:
            raise UsageError(
                f"The template {self._template!r} has an action that does not end.", hint="An action ends with }}."
            )
        self._add_text(rest, before=trims, after=False)
        body, last = self._body()
        if last is not None:
            raise _error(last, last.text.strip())
        return body

    def _add_text(self, text: str, *, before: bool, after: bool) -> None:
        text = text.lstrip() if before else text
        self._parts.append(text.rstrip() if after else text)

    def _body(self) -> tuple[tuple[str | _Block, ...], _Expression | None]:
        """Return what comes before the next `else` or `end`, and that."""
        found: list[str | _Block] = []
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, str):
                found.append(part)
                continue
            kind = _keyword(part)
            if kind in ("else", "end"):
                return tuple(found), part
            if kind in ("break", "continue"):
                if not self._loops or len(part.words) > 1:
                    raise _error(part, part.text.strip())
                found.append(_Block(kind, part))
            else:
                found.append(self._block(kind, _rest(part)) if kind in _BLOCKS else _Block("", part))
        return tuple(found), None

    def _block(self, kind: str, expression: _Expression) -> _Block:
        self._loops += kind == "range"
        body, last = self._body()
        self._loops -= kind == "range"
        otherwise: tuple[str | _Block, ...] = ()
        if last is not None and _keyword(last) == "else":
            after = _rest(last)
            if after.words and _keyword(after) in ("if", "with"):
                otherwise = (self._block(_keyword(after), _rest(after)),)
                return _Block(kind, expression, body, otherwise)
            if after.words:
                raise _error(last, last.text.strip())
            otherwise, last = self._body()
        if last is None:
            raise UsageError(
                f"The template {self._template!r} has {{{{{kind}}}}} without an end.", hint="It ends with {{end}}."
            )
        if _keyword(last) != "end" or len(last.words) > 1:
            raise _error(last, last.text.strip())
        return _Block(kind, expression, body, otherwise)


def _expression(text: str) -> _Expression:
    words: list[re.Match[str]] = []
    end = 0
    while text[end:].strip():
        match = _WORD.match(text, end)
        if match is None:
            raise _error(_Expression(text, ()), text[end:].strip())
        words.append(match)
        end = match.end()
    return _with_names(_Expression(text, tuple(words)))


def _with_names(expression: _Expression) -> _Expression:
    """Return an expression without the variables before `:=` and `=`, which become its names."""
    words = expression.words
    for count in (1, 3):
        if len(words) > count and words[count]["sign"] in (":=", "="):
            names = tuple(word["variable"] or "" for word in words[:count:2])
            if not all(names) or (count == 3 and words[1]["sign"] != ","):
                break
            return _Expression(expression.text, words[count + 1 :], names, words[count]["sign"] == ":=")
    return expression


def _keyword(expression: _Expression) -> str:
    return (expression.words[0]["word"] or "") if expression.words and not expression.names else ""


def _rest(expression: _Expression) -> _Expression:
    return _with_names(_Expression(expression.text, expression.words[1:]))


def _error(expression: _Expression, part: str) -> UsageError:
    return UsageError(f"{{{{{expression.text}}}}}: {part} is not something that a template can have here.", hint=_HINT)


class _Run:
    """One execution: its functions, and the variables of the blocks that are open."""

    def __init__(self, data: Mapping[str, Any], *, indent: bool, zero: Mapping[str, Any]) -> None:
        self.functions = functions(indent=indent)
        self.zero = zero
        self.dot: Any = data
        self.scopes: list[dict[str, Any]] = [{"$": data}]

    def all(self, body: Sequence[str | _Block]) -> list[str]:
        """Return the text of a body."""
        parts: list[str] = []
        self._write(body, parts)
        return parts

    def _write(self, body: Sequence[str | _Block], parts: list[str]) -> None:
        for item in body:
            if isinstance(item, str):
                parts.append(item)
            elif item.kind in ("break", "continue"):
                raise _Break if item.kind == "break" else _Continue
            elif item.kind:
                self.scopes.append({})
                self._write_block(item, parts)
                self.scopes.pop()
            else:
                value = self._value(item.expression)
                if not item.expression.names:
                    parts.append(shown(value, f"{{{{{item.expression.text}}}}}"))

    def _write_block(self, block: _Block, parts: list[str]) -> None:
        dot = self.dot
        if block.kind == "range":
            self._write_loop(block, parts)
        else:
            value = self._value(block.expression)
            if block.kind == "with" and is_true(value):
                self.dot = value
            self._write(block.body if is_true(value) else block.otherwise, parts)
        self.dot = dot

    def _write_loop(self, block: _Block, parts: list[str]) -> None:
        names = block.expression.names
        value = self._value(_Expression(block.expression.text, block.expression.words))
        pairs: list[tuple[Any, Any]] = []
        if isinstance(value, Mapping):
            members = cast("Mapping[str, Any]", value)
            pairs = [(key, members[key]) for key in sorted(members)]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            pairs = list(enumerate(cast("Sequence[Any]", value)))
        elif value is not None:
            raise UsageError(
                f"{{{{{block.expression.text}}}}}: it ranges over a list or a mapping, not over {value!r}."
            )
        depth, dot = len(self.scopes), self.dot
        for pair in pairs:
            self.dot = pair[1]
            self.scopes.append(dict(zip(names, pair[-len(names) :], strict=True)) if names else {})
            try:
                self._write(block.body, parts)
            except _Continue:
                continue
            except _Break:
                break
            finally:
                del self.scopes[depth:]
                self.dot = dot
        if not pairs:
            self._write(block.otherwise, parts)

    def _value(self, expression: _Expression) -> Any:
        value = _Evaluation(expression, self).value()
        if len(expression.names) > 1:
            raise _error(expression, ",")
        for name in expression.names:
            scopes = self.scopes[-1:] if expression.declares else [s for s in self.scopes[::-1] if name in s]
            if not scopes:
                raise _undefined(expression, name)
            scopes[0][name] = value
        return value

    def variable(self, expression: _Expression, name: str) -> Any:
        """Return the value of a variable."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise _undefined(expression, name)


def _undefined(expression: _Expression, name: str) -> UsageError:
    return UsageError(
        f"{{{{{expression.text}}}}}: there is no variable {name}.", hint=f"It is set with {{{{{name} := …}}}}."
    )


class _Evaluation:
    """The words of one expression, read from left to right."""

    def __init__(self, expression: _Expression, run: _Run) -> None:
        self._expression = expression
        self._run = run
        self._words = list(expression.words)
        self._skips = 0
        """Whether values do not count, behind what `and` and `or` have decided."""

    def value(self) -> Any:
        found = self._pipeline()
        if self._words:
            raise self._error(self._words[0][0].strip())
        return found

    def _pipeline(self) -> Any:
        found = self._command([])
        while self._words and self._words[0]["sign"] == "|":
            self._words.pop(0)
            found = self._command([found])
        return found

    def _command(self, last: list[Any]) -> Any:
        function: Callable[[list[Any]], Any] | None = None
        name = (self._words[0]["word"] or "") if self._words else ""
        if name in self._run.functions:
            self._words.pop(0)
            function = self._run.functions[name]
        elif name and name not in _CONSTANTS and name.isidentifier():
            known = ", ".join(self._run.functions)
            raise UsageError(
                f"{{{{{self._expression.text}}}}}: {name} is not something that a template can have here.",
                hint=f"The functions are {known}; the blocks if, with and range.",
            )
        skips = self._skips
        operands: list[Any] = []
        while self._words and self._words[0]["sign"] not in ("|", ")"):
            operands.append(self._operand())
            self._skips += name in ("and", "or") and is_true(operands[-1]) == (name == "or")
        operands += last
        self._skips = skips
        if function is not None and operands:
            return None if skips else function(operands)
        if skips:
            return None
        if len(operands) == 2 and isinstance(operands[0], Method) and isinstance(operands[1], str):
            return operands[0].call(operands[1])
        if len(operands) != 1 or isinstance(operands[0], Method):
            raise self._error(self._expression.text.strip())
        return operands[0]

    def _operand(self) -> Any:
        word = self._words.pop(0)
        if text := word["text"]:
            try:
                return text[1:-1] if text[0] == "`" else json.loads(text)
            except ValueError:
                raise self._error(text) from None
        if word["sign"] == "(":
            found = self._pipeline()
            if not self._words or self._words.pop(0)["sign"] != ")":
                raise self._error("(")
            return self._members(found)
        if word["variable"]:
            return self._members(self._run.variable(self._expression, word["variable"]))
        if word["path"]:
            return self._member(self._run.dot, word["path"])
        text = word["word"] or ""
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        raise self._error(word[0].strip())

    def _members(self, value: Any) -> Any:
        """Return the members of a value that follow it directly: `(index .Image "linux/amd64").Config`."""
        follows = self._words and self._words[0]["path"] and self._words[0].start() == self._words[0].start("path")
        return self._member(value, self._words.pop(0)["path"]) if follows else value

    def _member(self, value: Any, path: str) -> Any:
        return None if self._skips else _member(value, path, self._run.zero)

    def _error(self, part: str) -> UsageError:
        return _error(self._expression, part)


def _member(value: Any, path: str, zero: Mapping[str, Any]) -> Any:
    seen = ""
    for name in filter(None, path.split(".")):
        members: Mapping[str, Any] = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
        found = name if name in members else next((key for key in members if _go(key) == _go(name)), None)
        if found is None and isinstance(value, Mapping) and _go(name) in zero:
            value = zero[_go(name)]
        elif found is None:
            known = f"It has {', '.join(members)}." if 0 < len(members) < 30 else ""
            raise UsageError(f"There is no {name} in {seen or 'the document'}.", hint=known)
        else:
            value = _called(members[found])
        seen += f".{name}"
    return _called(value)


def _go(name: str) -> str:
    """Return a name as a document and its Go type both have it: `diff_ids` and `DiffIDs`."""
    return re.sub(r"[_.]", "", name).lower()


def _called(value: Any) -> Any:
    return value() if callable(value) else value
