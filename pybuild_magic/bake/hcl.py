"""Bake files in HCL and in its JSON form, read into blocks whose attributes are expressions. Nothing is evaluated yet.

The grammar is python-hcl2's. Templates, `"a ${b}"`, are taken apart here, because heredocs and JSON strings have them
too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from ..errors import UsageError


class Expression(msgspec.Struct, frozen=True, eq=False):
    """An unevaluated expression: a tree of the grammar, or a JSON value, whose texts are templates."""

    tree: Any = None
    value: Any = None
    is_json: bool = False


class Block(msgspec.Struct, frozen=True, eq=False):
    """`kind "label" { … }`."""

    kind: str
    label: str
    attributes: Mapping[str, Expression]
    blocks: tuple[Block, ...] = ()


class Body(msgspec.Struct, frozen=True, eq=False):
    """A whole file."""

    attributes: Mapping[str, Expression]
    blocks: tuple[Block, ...]


_KINDS = ("group", "target", "variable", "function")


def parse(text: str, name: str) -> Body:
    """Read a file as JSON if its name or its text says so, else as HCL. Raises UsageError with the line."""
    if name.endswith(".json") or (not name.endswith(".hcl") and text.lstrip().startswith("{")):
        return _parse_json(text, name)
    return _body(_tree(text, name), name)


def _parse_json(text: str, name: str) -> Body:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{name}:{error.lineno}: not valid JSON: {error.msg}.") from None
    if not isinstance(document, dict):
        raise UsageError(f"{name} must hold an object of targets.")
    attributes: dict[str, Expression] = {}
    blocks: list[Block] = []
    for key, value in cast("dict[str, Any]", document).items():
        if key not in _KINDS:
            attributes[key] = Expression(value=value, is_json=True)
            continue
        for label, body in _labelled(value, key, name):
            bodies = cast("list[Any]", body if isinstance(body, list) else [body])
            blocks += [_json_block(key, label, body, name) for body in bodies]
    return Body(attributes, tuple(blocks))


def _labelled(value: Any, kind: str, name: str) -> Iterator[tuple[str, Any]]:
    for element in cast("list[Any]", value if isinstance(value, list) else [value]):
        if not isinstance(element, dict):
            raise UsageError(f"{name}: {kind} must be an object.")
        yield from cast("dict[str, Any]", element).items()


def _json_block(kind: str, label: str, body: Any, name: str) -> Block:
    if not isinstance(body, dict):
        raise UsageError(f"{name}: {kind}.{label} must be an object.")
    items = cast("dict[str, Any]", body)
    nested = cast("list[Any]", items.get("validation", []) if kind == "variable" else [])
    validations = tuple(_json_block("validation", "", rule, name) for rule in nested)
    return Block(
        kind,
        label,
        {key: Expression(value=value, is_json=True) for key, value in items.items() if key != "validation"},
        validations,
    )


def _tree(text: str, name: str) -> Any:
    import hcl2
    from lark.exceptions import LarkError

    try:
        return cast("Any", hcl2).parses_to_tree(text if text.endswith("\n") else text + "\n").children[0]
    except LarkError as error:
        line = max(getattr(error, "line", 0), 0)
        lines = text.split("\n")
        excerpt = f": {lines[line - 1].strip()[:80]}" if 0 < line <= len(lines) else ""
        raise UsageError(f"{name}{f':{line}' * bool(line)}: not valid HCL{excerpt}.") from None


def _body(tree: Any, name: str) -> Body:
    attributes: dict[str, Expression] = {}
    blocks: list[Block] = []
    for child in tree.children:
        kind = getattr(child, "data", "")
        if kind == "attribute":
            attributes[str(child.children[0].children[0])] = Expression(tree=child.children[2])
        elif kind == "block":
            blocks.append(_block(child, name))
    return Body(attributes, tuple(blocks))


def _block(tree: Any, name: str) -> Block:
    kind, *labels = [child for child in tree.children if getattr(child, "data", "") in ("identifier", "string")]
    inner = _body(next(child for child in tree.children if getattr(child, "data", "") == "body"), name)
    texts = ["".join(str(part.children[0]) for part in label.children if hasattr(part, "children"))
             if label.data == "string" else str(label.children[0]) for label in labels]  # fmt: skip
    keyword = str(kind.children[0])
    if keyword in _KINDS and len(texts) != 1:
        raise UsageError(f"{name}: a {keyword} has one name, not {len(texts)}.")
    return Block(keyword, texts[0] if texts else "", inner.attributes, inner.blocks)


def parse_expression(text: str) -> Any:
    """Parse one expression, such as the contents of `${…}`, into its tree. Raises UsageError."""
    return _tree(f"x = ({text})\n", "the expression").children[0].children[2]


_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def unescape(text: str) -> str:
    r"""Replace the escapes of a quoted text: `\n`, `\"`, `é`. Raises UsageError."""

    def character(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            return chr(int(code[1:], 16))
        if code not in _ESCAPED:
            raise UsageError(f"HCL has no escape \\{code}.")
        return _ESCAPED[code]

    return _ESCAPE.sub(character, text)


def template(text: str) -> list[str | Any]:
    """Take a template apart: texts, and the trees of `${…}` and `%{…}`. Raises UsageError."""
    parts: list[str | Any] = []
    literal, at = "", 0
    while at < len(text):
        if text.startswith(("$${", "%%{"), at):
            literal, at = literal + text[at + 1 : at + 3], at + 3
        elif text.startswith(("${", "%{"), at):
            end = _closing(text, at + 2)
            inner = text[at + 2 : end]
            # The `~` of `${~ … ~}` is handled here, because the grammar does not know it.
            literal = literal.rstrip() if inner.startswith("~") else literal
            parts += [literal] * bool(literal) + [_part(f"{text[at]}{{{inner.strip('~')}}}")]
            literal, at = "", end + 1
            while inner.endswith("~") and text[at : at + 1].isspace():
                at += 1
                if text[at - 1] == "\n":
                    break
        else:
            literal, at = literal + text[at], at + 1
            if literal.endswith("\n"):  # a text is of one line, as `~` and `<<-` count them
                parts.append(literal)
                literal = ""
    return [*parts, literal] if literal or not parts else parts


def _part(text: str) -> Any:
    """Return the tree of one `${…}` or `%{…}`, as a quoted text would have it."""
    tree = parse_expression(f'"{text}"')
    outermost = next(part for part in tree.iter_subtrees_topdown() if part.data == "string_part")
    return outermost.children[0]


def _closing(text: str, at: int) -> int:
    """Return the position of the brace that closes an interpolation; quoted texts inside may have braces."""
    depth, quoted = 1, False
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in "{}":
            depth += 1 if char == "{" else -1
            if not depth:
                return at
        at += 1
    raise UsageError(f"A ${{ is not closed: {text[:80]}")


def heredoc(text: str) -> tuple[str, bool]:
    """Return the text of a heredoc, and whether it is a `<<-`, whose lines lose their common indentation."""
    first, _, rest = text.partition("\n")
    lines = rest.rstrip("\n").split("\n")[:-1]
    return "".join(line + "\n" for line in lines), first.startswith("<<-")
