"""The words that may come next on the line of a command, in a cell and in a shell: one table of what each takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from ..editor.images import image_names
from ..editor.line import PLATFORMS, builder_names, files_here
from ..editor.offer import NOTHING, Offer, offer
from ..environments.options import FREEZE_FLAGS, TEST_FLAGS
from ..environments.repository.opening import FLAGS as REPOSITORY_FLAGS
from ..errors import FAILED, BuildError
from ..kernels.spec import NOT_OF_KERNELS
from ..request.flags import Flag, Kind
from ..run.options import EXEC_FLAGS
from ..run.options import FLAGS as RUN_FLAGS
from .background_commands import LOGS_FLAGS, PS_FLAGS, STOP_FLAGS
from .bake_command import FLAGS as BAKE_FLAGS
from .imagetools_command import CREATE_FLAGS, INSPECT_FLAGS
from .kernel_commands import KERNEL_FLAGS
from .sbom_command import FLAGS as SBOM_FLAGS


class Syntax(msgspec.Struct, frozen=True):
    """What the line of a command is made of: flags, and arguments that are names of certain kinds of things."""

    arguments: tuple[str, ...] = ()
    """Keys of `_NAMES`, or `file` or `folder`."""
    flags: tuple[Flag, ...] = ()
    with_command: bool = False
    """Whether what follows the first argument is a command of the user's own."""
    words: Mapping[str, Syntax] = {}
    """The commands that it has of its own."""


def _flag(name: str, doc: str, metavar: str = "", short: str = "") -> Flag:
    return Flag(name, Kind.ONE if metavar else Kind.BOOL, metavar, doc, short=short)


_PLATFORM = (_flag("platform", "Which platform of an image that has several", "OS/ARCH"),)
_IMAGE = ("image",)
_OWN = {flag.name for flag in KERNEL_FLAGS}
_KERNEL = (*KERNEL_FLAGS, *(flag for flag in RUN_FLAGS if flag.field not in NOT_OF_KERNELS and flag.name not in _OWN))

SYNTAX: dict[str, Syntax] = {
    "inspect": Syntax(_IMAGE),
    "rm": Syntax(_IMAGE),
    "prune": Syntax(
        flags=(
            _flag("all", "Remove all of it", short="a"),
            _flag("until", "What was not used for so long", "24h"),
            _flag("keep-storage", "Keep so much of it", "SIZE"),
            _flag("filter", "What fits this alone", "KEY=VALUE"),
        )
    ),
    "gc": Syntax(
        flags=(
            _flag("dry-run", "Show what would go, and remove nothing"),
            _flag("keep-storage", "How large the store may be", "SIZE"),
        )
    ),
    "fsck": Syntax(flags=(_flag("repair", "Drop what is damaged"),)),
    "load": Syntax(("file",), (_flag("tag", "Another name for the image", "NAME", "t"),)),
    "save": Syntax(("image", "file"), (_flag("output", "The file or directory", "PATH", "o"),)),
    "use": Syntax(("builder",)),
    "export": Syntax(("file",), (_flag("force", "Write over a file that is there", short="f"),)),
    "import": Syntax(("file",)),
    "ignore": Syntax(
        flags=(
            _flag("context", "The directory that is built in", "DIR"),
            _flag("file", "A Dockerfile with a .dockerignore of its own", "PATH", "f"),
        )
    ),
    "imagetools": Syntax(words={"create": Syntax(_IMAGE, CREATE_FLAGS), "inspect": Syntax(_IMAGE, INSPECT_FLAGS)}),
    "run": Syntax(("image", "failed", "file"), RUN_FLAGS, with_command=True),
    "ps": Syntax(flags=PS_FLAGS),
    "logs": Syntax(("run",), LOGS_FLAGS),
    "stop": Syntax(("running",), STOP_FLAGS),
    "exec": Syntax(("running", "failed"), EXEC_FLAGS, with_command=True),
    "volumes": Syntax(words={"ls": Syntax(), "prune": Syntax(), "rm": Syntax(("volume",))}),
    "kernel": Syntax(("image", "file"), _KERNEL),
    "repo": Syntax(("folder",), REPOSITORY_FLAGS),
    "slim": Syntax(_IMAGE, _PLATFORM),
    "share": Syntax(_IMAGE, _PLATFORM),
    "diff": Syntax(_IMAGE, _PLATFORM),
    "env": Syntax(_IMAGE, FREEZE_FLAGS),
    "test": Syntax(("file",), TEST_FLAGS),
    "sbom": Syntax(_IMAGE, SBOM_FLAGS),
    "bake": Syntax(("target",), BAKE_FLAGS),
}
"""By the names of the commands of `%build`, without those that take nothing, or what a build takes."""

_VALUES: dict[str, tuple[str, ...]] = {
    "base": _IMAGE,
    "builder": ("builder",),
    "commit": _IMAGE,
    "context": ("folder",),
    "env-file": ("file",),
    "file": ("file",),
    "in": _IMAGE,
    "junit": ("file",),
    "network": ("network",),
    "notebook": ("file",),
    "output": ("file",),
    "platform": ("platform",),
    "sanitize-with": ("file",),
    "tag": _IMAGE,
    "volume": ("volume", "file"),
    "write": ("folder",),
}
"""The kinds of names that flags take, whatever command they are of."""

Names = Iterable[tuple[str, str, str]]
"""Each with its kind, and a sentence about it."""


def complete_command(words: Sequence[str], word: str) -> Offer | None:
    """Return completions for `word` after `words` of a `%build` line; None where the first is not in the table."""
    return complete_words(words, word, SYNTAX[words[0]]) if words[0] in SYNTAX else None


def complete_words(words: Sequence[str], word: str, syntax: Syntax, text: str | None = None) -> Offer:
    """Return completions for `word`, which comes after `words`, the first of which is a command of that syntax.

    `text` is the Bake file of the cell.
    """
    rest = list(words[1:])
    while rest and rest[0] in syntax.words:
        syntax = syntax.words[rest.pop(0)]
    flag, given, arguments = _sorted(rest, syntax.flags)
    if flag is not None:
        return _value(flag, word)
    if syntax.with_command and arguments:
        return NOTHING
    if word.startswith("-"):
        name, equals, value = word.partition("=")
        known = next((each for each in syntax.flags if f"--{each.name}" == name), None)
        if equals:
            return _value(known, value) if known else NOTHING
        return offer(word, [(f"--{each.name}", "flag", each.doc) for each in syntax.flags])
    kinds = ("kernel",) if words[0] == "kernel" and "remove" in given else syntax.arguments
    own = [(name, "command", "") for name in syntax.words] if not arguments else []
    return _offered(word, kinds, own, text)


def _sorted(words: Sequence[str], flags: Sequence[Flag]) -> tuple[Flag | None, set[str], list[str]]:
    """Return the flag whose value comes next, the flags that are there, and the arguments."""
    by_name = {f"--{flag.name}": flag for flag in flags} | {f"-{flag.short}": flag for flag in flags if flag.short}
    pending, given, arguments = None, set[str](), list[str]()
    for word in words:
        if pending is not None:
            pending = None
            continue
        name, equals, _ = word.partition("=")
        if name[:1] == "-" and name[1:2] != "-":
            name = f"-{name[-1]}"  # of letters in a row, the last one may take a value
        flag = by_name.get(name)
        if flag is not None:
            given.add(flag.name)
            pending = None if equals or flag.kind is Kind.BOOL else flag
        elif not word.startswith("-"):
            arguments.append(word)
    return pending, given, arguments


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
    found = offer(word, names)
    if "file" not in kinds and "folder" not in kinds:
        return found
    files = files_here(word, folders="file" not in kinds)
    # A file in a folder is completed after its last slash, and what has such a folder is no name.
    return files if files.fragment != word else Offer(word, found.items + files.items)


def _runs(*, ended: bool) -> list[str]:
    from ..run.background import list_runs

    return [record.info.name for record in list_runs(ended=ended)]


def _volumes() -> list[str]:
    from ..run.named import list_volumes

    return [volume.name for volume in list_volumes()]


def _kernels() -> list[str]:
    from ..kernels.spec import installed

    return [kernel.name for kernel in installed()]


def _targets(text: str | None) -> Names:
    from ..api.bake import plan

    with suppress(BuildError, OSError):
        found = plan(["*"], text=text)
        yield from ((name, "target", str(target.get("description", ""))) for name, target in found.targets.items())
        yield from ((name, "group", ", ".join(names)) for name, names in found.groups.items() if name != "default")


_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "image": image_names,
    "failed": lambda: (FAILED,),
    "run": lambda: _runs(ended=True),
    "running": lambda: _runs(ended=False),
    "volume": _volumes,
    "kernel": _kernels,
    "builder": builder_names,
    "network": lambda: ("host", "none"),
    "platform": lambda: PLATFORMS,
}
"""The names of each kind that there are now."""
