"""Completions for the line of `%%build` and `%build`: flags, their values, commands and directories."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from .. import exporters
from ..errors import BuildError
from ..exporters.attributes import Attribute
from ..portable import user_path
from ..request.flags import Kind, by_word
from ..request.outputs import EXPORTERS
from ..request.table import OPTIONS, Option
from ..session import DirSource
from .cell import BuildCell
from .draft import Statement
from .images import image_names
from .offer import NOTHING, Offer, fields, offer, paths
from .scope import build_args, secret_ids, stage_names

_BY_WORD = by_word(OPTIONS)
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/riscv64", "linux/ppc64le", "linux/s390x", "local")
_FILES = frozenset({"file", "iidfile", "metadata-file"})
Operands = Callable[[Sequence[str], str], Offer | None]
"""Returns the candidates for an operand, given a command and the operands before; None on the line of a build."""


def complete_line(
    cell: BuildCell,
    draft: Sequence[Statement],
    names: Mapping[str, object],
    commands: Mapping[str, str],
    operands: Operands | None,
) -> Offer:
    """Return completions for the line of `cell`, which ends at the cursor; `draft` is its whole Dockerfile.

    `commands` are those of `%build`, and `operands` tells what their lines take.
    """
    line = cell.line
    may_be_command = cell.may_be_command
    words = line.split()
    word = words.pop() if words and not line[-1:].isspace() else ""
    if words and words[0] in commands:
        if operands and may_be_command and (candidates := operands(words, word)):
            return candidates
        if words[0] == "lock":
            words, may_be_command = words[1:], False
    before = _BY_WORD.get(words[-1]) if words else None
    if before is not None and before.kind is not Kind.BOOL:
        return _value(before, word, draft)
    if word.startswith("-"):
        name, equals, value = word.partition("=")
        flag = _BY_WORD.get(name)
        if equals and flag:
            return _value(flag, value, draft)
        return offer(word, [(f"--{flag.name}", "flag", flag.doc) for flag in OPTIONS])
    if word.startswith("$"):
        dicts = [(f"${name}", "context", "Files by path") for name, value in names.items() if isinstance(value, dict)]
        return offer(word, [row for row in dicts if not row[0].startswith("$_")])
    paths_here = files_here(word, folders=True)
    if may_be_command and not words:
        known = [(name, "command", doc) for name, doc in commands.items()]
        return Offer(word, offer(word, known).items + (paths_here.items if paths_here.fragment == word else ()))
    return paths_here


def _value(flag: Option, value: str, draft: Sequence[Statement]) -> Offer:
    if flag.choices:
        return offer(value, [(choice, "value", "") for choice in flag.choices])
    if flag.name in _FILES:
        return files_here(value)
    match flag.name:
        case "output":
            return _output(value)
        case "call":
            return offer(value, [(name, "value", "") for name in ("check", "outline", "targets", "build")])
        case "target" | "no-cache-filter":
            return offer(value, [(name, "stage", "") for name in stage_names(draft)])
        case "build-arg":
            return offer(value, [(f"{name}=", "variable", "") for name in build_args(draft)])
        case "tag":
            return offer(value, [(name, "image", "") for name in image_names()])
        case "platform":
            return offer(value.rpartition(",")[2], [(name, "platform", "") for name in PLATFORMS])
        case "builder":
            return offer(value, [(name, "builder", "") for name in builder_names()])
        case "secret":
            return _secret(value, draft)
        case "progress" | "into":
            return NOTHING
        case "build-context":
            return files_here(value.partition("=")[2], folders=True) if "=" in value else NOTHING
        case _:
            return NOTHING


def _output(value: str) -> Offer:
    """Return `type=` and every attribute of that exporter, from its table."""
    *done, field = value.split(",")
    values = fields(done)
    key, equals, text = field.partition("=")
    kind = values.get("type", "")
    if not equals and not kind:
        return offer(
            field,
            [("type=", "attribute", "The exporter."), ("dest=", "attribute", "The file or directory to write to.")],
        )
    if key == "type" and equals:
        return offer(text, [(kind, "exporter", exporters.get(kind).name) for kind in EXPORTERS])
    if not equals:
        free = ((name, doc) for name, doc in attribute_docs(kind).items() if name not in values)
        return offer(key, [(f"{name}=", re.split("[,:]", doc)[0], doc) for name, doc in free])
    attribute = next((attribute for attribute in _attributes(kind) if attribute.name == key), None)
    if key == "dest":
        return files_here(text)
    if attribute is None:
        return NOTHING
    choices = ("true", "false") if attribute.kind == "bool" else attribute.choices
    return offer(text, [(choice, "value", "") for choice in choices])


def attribute_docs(kind: str) -> dict[str, str]:
    """Return each attribute of an exporter with its type, default and purpose; {} for an unknown exporter."""
    return {attribute.name: _about(attribute) for attribute in _attributes(kind) if attribute.kind != "annotation"}


def _attributes(kind: str) -> tuple[Attribute, ...]:
    return exporters.get(kind).attributes if kind in EXPORTERS else ()


def _about(attribute: Attribute) -> str:
    default = str(attribute.default).lower() if isinstance(attribute.default, bool) else attribute.default
    default_note = f", {default} when not given" if default not in (None, "", ()) else ""
    return f"{attribute.kind}{default_note}: {attribute.doc}"


def _secret(value: str, draft: Sequence[Statement]) -> Offer:
    *_, field = value.split(",")
    key, equals, text = field.partition("=")
    if not equals:
        return offer(field, [(f"{name}=", "option", "") for name in ("id", "src", "env", "type")])
    if key == "id":
        return offer(text, [(name, "secret", "") for name in secret_ids(draft)])
    return files_here(text) if key in ("src", "source") else NOTHING


def builder_names() -> list[str]:
    """Return the known builders, by the names that `--builder` takes."""
    from ..builders import EMBEDDED
    from ..builders.buildkit.discover import names

    try:
        return [EMBEDDED, *names()]
    except (BuildError, OSError):
        return [EMBEDDED]


def files_here(word: str, *, folders: bool = False) -> Offer:
    """Return files of the notebook's directory; `~` and absolute paths lead elsewhere."""
    root, rest = ("/", word.lstrip("/")) if word.startswith("/") else (".", word)
    if word.startswith("~"):
        root, rest = str(user_path("~")), word.removeprefix("~").lstrip("/")
    try:
        offer = paths(DirSource(root), rest)
    except BuildError:
        return NOTHING
    items = tuple(item for item in offer.items if not folders or item.kind == "folder")
    return Offer(offer.fragment, items)
