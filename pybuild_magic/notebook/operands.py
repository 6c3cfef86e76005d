"""Completion on the line of a command, in a cell and in a shell, from the row that describes the command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from ..editor.completion import SIGNALS
from ..editor.images import image_names
from ..editor.line import PLATFORMS, builder_names, files_here
from ..editor.offer import NOTHING, Offer, offer
from ..errors import FAILED, BuildError
from ..request.flags import Flag, Kind, by_word, taken
from ..request.table import OPTIONS
from ..run.values import PULLS
from .command import Syntax
from .commands import COMMANDS

_VALUES: dict[str, tuple[str, ...]] = {
    "attach": ("stream",),
    "base": ("image",),
    "builder": ("builder",),
    "cap-add": ("capability",),
    "cap-drop": ("capability",),
    "cidfile": ("file",),
    "commit": ("image",),
    "context": ("folder",),
    "env-file": ("file",),
    "file": ("file",),
    "gpus": ("gpu",),
    "in": ("image",),
    "junit": ("file",),
    "label-file": ("file",),
    "net": ("network",),
    "network": ("network",),
    "notebook": ("file",),
    "output": ("file",),
    "platform": ("platform",),
    "pull": ("pull",),
    "sanitize-with": ("file",),
    "signal": ("signal",),
    "stop-signal": ("signal",),
    "tag": ("image",),
    "volume": ("volume", "file"),
    "write": ("folder",),
}
"""The kinds of names that flags take as values, in all commands alike."""

Names = Iterable[tuple[str, str, str]]
"""(name, kind, description) of each."""


def complete_command(words: Sequence[str], word: str) -> Offer | None:
    """Return completions for `word` after `words` of a `%build` line; None when the line is that of a build."""
    command = COMMANDS.get(words[0])
    return None if command is None or command.flags == OPTIONS else complete_words(words, word, command)


def complete_words(words: Sequence[str], word: str, syntax: Syntax, text: str | None = None) -> Offer:
    """Return completions for `word` after `words`, the first of which is a command with this syntax.

    `text` is the Bake file in the cell.
    """
    syntax, rest = _own(syntax, words[1:])
    flag, used, arguments = _sorted(rest, syntax.flags)
    if flag is not None:
        return _value(flag, word)
    if syntax.with_command and arguments:
        return NOTHING
    if word.startswith("-"):
        name, equals, value = word.partition("=")
        known = next((flag for flag in syntax.flags if f"--{flag.name}" == name), None)
        if equals:
            return _value(known, value) if known else NOTHING
        return offer(word, [(f"--{flag.name}", "flag", flag.doc) for flag in taken(syntax.flags)])
    kinds = ("kernel",) if words[0] == "kernel" and "remove" in used else syntax.names
    own = [(name, "command", "") for name in syntax.words] if not arguments else []
    return _offered(word, kinds, own, text)


def flags_after(words: Sequence[str]) -> Sequence[Flag]:
    """Return the flags that may follow the first words of a `%build` line: its command's, or else those of a build."""
    command = COMMANDS.get(words[0]) if words else None
    if command is None:
        return OPTIONS
    syntax, rest = _own(command, words[1:])
    is_over = syntax.with_command and _sorted(rest, syntax.flags)[2]
    return () if is_over else syntax.flags


def _own(syntax: Syntax, words: Sequence[str]) -> tuple[Syntax, Sequence[str]]:
    """Return the syntax of the subcommand that the words begin with, if any, and the words after it."""
    while words and words[0] in syntax.words:
        syntax, words = syntax.words[words[0]], words[1:]
    return syntax, words


def _sorted(words: Sequence[str], flags: Sequence[Flag]) -> tuple[Flag | None, set[str], list[str]]:
    """Return the flag whose value comes next, the names of the given flags, and the arguments."""
    by_name = by_word(flags)
    pending, used, arguments = None, set[str](), list[str]()
    for word in words:
        if pending is not None:
            pending = None
            continue
        name, equals, _ = word.partition("=")
        if name[:1] == "-" and name[1:2] != "-":
            name = f"-{name[-1]}"  # of several letters, only the last can take a value
        flag = by_name.get(name)
        if flag is not None:
            used.add(flag.name)
            pending = None if equals or flag.kind is Kind.BOOL else flag
        elif not word.startswith("-"):
            arguments.append(word)
    return pending, used, arguments


def _value(flag: Flag, word: str) -> Offer:
    if flag.choices:
        return offer(word, [(choice, "value", "") for choice in flag.choices])
    if flag.kind is Kind.BOOL:
        return offer(word, [("true", "value", ""), ("false", "value", "")])
    return _offered(word, _VALUES.get(flag.name, ()))


def _offered(word: str, kinds: Sequence[str], own: Names = (), text: str | None = None) -> Offer:
    names = list(own)
    for kind in kinds:
        if kind == "target":
            names += _targets(text)
        elif kind in _NAMES:
            with suppress(BuildError, OSError):
                names += [(name, kind, "") for name in _NAMES[kind]()]
    offered = offer(word, names)
    if "file" not in kinds and "folder" not in kinds:
        return offered
    files = files_here(word, folders="file" not in kinds)
    # A path is completed after its last slash, and a word with such a folder is not a name of another kind.
    return files if files.fragment != word else Offer(word, offered.items + files.items)


def _runs(*, ended: bool) -> list[str]:
    from ..run.background import list_runs

    return [record.info.name for record in list_runs(ended=ended)]


def _stopped() -> list[str]:
    from ..builders import embedded_builder
    from ..store.stopped import SHORT

    return [run.id[:SHORT] for run in embedded_builder().store.stopped.list()]


def _volumes() -> list[str]:
    from ..run.named import list_volumes

    return [volume.name for volume in list_volumes()]


def _capabilities() -> list[str]:
    from ..builders.embedded.sandbox.helper.security import ALL_CAPABILITIES  # Linux's alone

    return ["ALL", *(name.removeprefix("CAP_") for name in ALL_CAPABILITIES)]


def _kernels() -> list[str]:
    from ..kernels.spec import installed

    return [kernel.name for kernel in installed()]


def _targets(text: str | None) -> Names:
    from ..api.bake import Source, plan

    with suppress(BuildError, OSError):
        for name, about, is_group in plan(["*"], Source(text=text)).listing:
            if name != "default":
                yield name, "group" if is_group else "target", about


_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "image": image_names,
    "failed": lambda: (FAILED,),
    "run": lambda: _runs(ended=True),
    "running": lambda: _runs(ended=False),
    "stopped": _stopped,
    "volume": _volumes,
    "kernel": _kernels,
    "builder": builder_names,
    "network": lambda: ("host", "none"),
    "pull": lambda: PULLS,
    "stream": lambda: ("stdout", "stderr"),
    "capability": _capabilities,
    "signal": lambda: SIGNALS,
    "gpu": lambda: ("all",),
    "platform": lambda: PLATFORMS,
}
"""Functions that return the present names of each kind."""
