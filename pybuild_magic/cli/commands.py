"""The table of commands, their help, and the completion of what is typed: all from the tables of flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from ..errors import UsageError, nearest
from ..notebook.operands import Syntax
from ..request.flags import Flag, Kind, flag_lines
from ..request.table import OPTIONS
from . import spoken


class Command(msgspec.Struct, frozen=True):
    """A command: how it is called, what it does, and by which flags."""

    usage: str
    doc: str
    run: Callable[[Sequence[str]], int]
    syntax: Syntax


def _answer(name: str, words: Sequence[str]) -> int:
    """A command of `%build`, whose answer is printed."""
    from ..notebook.commands import COMMANDS

    if text := spoken(repr(COMMANDS[name](words))):
        print(text)
    return 0


def _build(words: Sequence[str]) -> int:
    from .build import build

    return build(words)


def _bake(words: Sequence[str]) -> int:
    from .build import bake

    return bake(words)


def _run(words: Sequence[str]) -> int:
    from .run import run

    return run(words)


def _exec(words: Sequence[str]) -> int:
    from .run import enter

    return enter(words)


def _logs(words: Sequence[str]) -> int:
    from ..notebook.background_commands import logs

    logs(words)
    return 0


def _volume(words: Sequence[str]) -> int:
    """`docker volume`'s words for what `%build volumes` does, and `create`."""
    from ..run.named import create_volume

    if words[:1] == ["create"] and len(words) == 2:
        create_volume(words[1])
        print(words[1])
        return 0
    if words and words[0] not in ("ls", "rm", "prune"):
        raise UsageError(f"pybuild volume takes no {words[0]}.", hint="It takes ls, create NAME, rm NAME... and prune.")
    return _answer("volumes", words)


def _repository(words: Sequence[str]) -> int:
    from .repository import repository

    return repository(words)


def _convert(words: Sequence[str]) -> int:
    from .convert import convert

    return convert(words)


def _environment(words: Sequence[str]) -> int:
    from .environment import environment

    return environment(words)


def _test(words: Sequence[str]) -> int:
    from .environment import test

    return test(words)


def _completion(words: Sequence[str]) -> int:
    from .completion import script

    print(script(words[0] if words else ""), end="")
    return 0


def _complete(words: Sequence[str]) -> int:
    from .completion import candidates

    print("\n".join(candidates(list(words))))
    return 0


def _shared(name: str, usage: str = "") -> Command:
    from ..notebook.commands import COMMANDS, about
    from ..notebook.operands import SYNTAX, Syntax

    return Command(usage, about(COMMANDS[name]), partial(_answer, name), SYNTAX.get(name, Syntax()))


def table() -> dict[str, Command]:
    """The commands by name, in the order of the help."""
    from ..notebook.operands import SYNTAX, Syntax
    from .convert import FLAGS as CONVERT_FLAGS

    bake = tuple(flag for flag in SYNTAX["bake"].flags if flag.name != "progress")
    volumes = {name: Syntax(("volume",) if name == "rm" else ()) for name in ("ls", "create", "rm", "prune")}
    shells = {name: Syntax() for name in ("bash", "zsh", "fish")}
    return {
        "build": Command(
            "[FLAGS] PATH|URL|-",
            "Build a Dockerfile, as docker buildx build does",
            _build,
            Syntax(("folder",), _build_flags()),
        ),
        "bake": Command(
            "[FLAGS] [TARGET...]",
            "Build what Bake files describe, as docker buildx bake does",
            _bake,
            Syntax(("target",), bake),
        ),
        "imagetools": _shared("imagetools", "create|inspect ..."),
        "lock": Command(
            "[FLAGS] PATH",
            "Write what the sources of a Dockerfile are now, for build --locked",
            partial(_answer, "lock"),
            Syntax(("folder",), _build_flags()),
        ),
        "run": Command(
            "[FLAGS] REF [COMMAND...]", "Run a process on an image, as docker run does", _run, SYNTAX["run"]
        ),
        "exec": Command("[FLAGS] NAME COMMAND...", "Run another process beside a run", _exec, SYNTAX["exec"]),
        "ps": _shared("ps", "[-a] [-q]"),
        "logs": Command("[FLAGS] NAME", "Print what a run in the background has written", _logs, SYNTAX["logs"]),
        "stop": _shared("stop", "[-t SECONDS] [-s SIGNAL] NAME..."),
        "volume": Command("ls | create NAME | rm NAME... | prune", "Named volumes", _volume, Syntax(words=volumes)),
        "kernel": _shared("kernel", "[FLAGS] REF | --remove NAME"),
        "kernels": _shared("kernels"),
        "repo": Command("[FLAGS] PATH|URL", "Print the Dockerfile of a repository", _repository, SYNTAX["repo"]),
        "env": Command(
            "[FLAGS] [NAME]",
            "Freeze this Python's environment as a Dockerfile, which goes to standard output, or to --write DIR",
            _environment,
            SYNTAX["env"],
        ),
        "test": Command(
            "[FLAGS] NB.ipynb... --in REF",
            "Run notebooks on an image's own kernel, and compare what they show with what they showed",
            _test,
            SYNTAX["test"],
        ),
        "images": _shared("images"),
        "inspect": _shared("inspect", "REF"),
        "diff": _shared("diff", "[--platform OS/ARCH] REF REF"),
        "share": _shared("share", "[--platform OS/ARCH] REF"),
        "slim": _shared("slim", "[--platform OS/ARCH] REF"),
        "sbom": _shared("sbom", "[FLAGS] REF"),
        "history": _shared("history", "[REF]"),
        "rm": _shared("rm", "REF..."),
        "load": _shared("load", "FILE|DIR [-t NAME]"),
        "save": _shared("save", "REF... FILE|DIR"),
        "convert": Command(
            "[FLAGS] SOURCE DEST", "Copy an image between places", _convert, Syntax(("image", "file"), CONVERT_FLAGS)
        ),
        "du": _shared("du"),
        "prune": _shared("prune", "[-a] [--until 24h] [--keep-storage 1g] [--filter KEY=VALUE]"),
        "gc": _shared("gc", "[--dry-run] [--keep-storage 5g]"),
        "fsck": _shared("fsck", "[--repair]"),
        "doctor": _shared("doctor"),
        "builders": _shared("builders"),
        "use": Command("[NAME]", "Use a builder from now on", _use, SYNTAX["use"]),
        "completion": Command(
            "bash|zsh|fish", "Print a script that completes what is typed", _completion, Syntax(words=shells)
        ),
    }


def _use(words: Sequence[str]) -> int:
    """A process ends with its command, so the choice is the environment's."""
    from .. import builders

    if len(words) > 1:
        raise UsageError("pybuild use takes one builder.", hint="pybuild builders lists them.")
    builder = builders.choose(words[0] if words else "")
    print(f"export BUILDX_BUILDER={builder.name}")
    return 0


def _build_flags() -> tuple[Flag, ...]:
    return tuple(flag for flag in OPTIONS if flag.name not in ("background", "into", "view"))


def find(words: Sequence[str]) -> Callable[[], int]:
    """Return the function of a command line. Raises UsageError for an unknown command."""
    name, rest = (words[0], words[1:]) if words else ("--help", ())
    if name == "__complete":
        return partial(_complete, rest)
    if name in ("--version", "version"):
        return _version
    commands = table()
    if name in ("--help", "-h", "help"):
        return partial(_help, commands)
    command = commands.get(name)
    if command is None:
        near = nearest(name, list(commands))
        raise UsageError(
            f"pybuild has no command {name!r}.", hint=f"Did you mean {near}?" if near else "pybuild --help lists them."
        )
    if _wants_help(command, rest):
        return partial(_help_on, name, command)
    return partial(command.run, rest)


def _wants_help(command: Command, words: Sequence[str]) -> bool:
    """Whether help is asked for, before a command of the user's own begins."""
    valued = {f"--{f.name}" for f in command.syntax.flags if f.kind is not Kind.BOOL}
    valued |= {f"-{f.short}" for f in command.syntax.flags if f.kind is not Kind.BOOL and f.short}
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--help":
            return True
        elif not word.startswith("-"):
            if word not in command.syntax.words:
                return False
        else:
            skip = word in valued
    return False


def _version() -> int:
    from importlib.metadata import version

    print(f"pybuild {version('pybuild_magic')}")
    return 0


def _help(commands: dict[str, Command]) -> int:
    lines = ["pybuild COMMAND", "", "Builds Dockerfiles, and runs, copies and looks into what was built.", ""]
    lines += [f"  {name:<12}{spoken(command.doc)}" for name, command in commands.items()]
    lines += ["", "pybuild COMMAND --help tells more."]
    print("\n".join(lines))
    return 0


def _help_on(name: str, command: Command) -> int:
    lines = [f"pybuild {name} {command.usage}".rstrip(), "", spoken(command.doc)]
    parts = {"Flags": command.syntax} | {f"Flags of {word}": own for word, own in command.syntax.words.items()}
    for title, syntax in parts.items():
        if syntax.flags:
            lines += ["", title, *flag_lines(syntax.flags)]
    print("\n".join(lines))
    return 0
