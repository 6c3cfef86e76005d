"""The table of commands, their help, and the completion of words, all from the tables of flags."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from ..errors import UsageError, nearest
from ..notebook.command import Syntax
from ..request.flags import ParsedFlags
from .messages import reword


class Command(msgspec.Struct, frozen=True):
    """A command of `pybuild`: its function, and the words that it takes."""

    doc: str
    run: Callable[[Sequence[str]], int]
    syntax: Syntax


def _answer(name: str, words: Sequence[str]) -> int:
    """Return a command that prints the answer of a `%build` command."""
    from ..notebook.commands import COMMANDS

    answer = COMMANDS[name](words)
    if getattr(answer, "verbatim", False):
        shown = repr(answer) if sys.stdout.isatty() else "".join(text for _, text in answer.parts)
        print(shown, end="" if not sys.stdout.isatty() else "\n")
    elif text := reword(repr(answer)):
        print(text)
    return 0


def _run(words: Sequence[str]) -> int:
    from .run import run

    return run(words)


def _exec(words: Sequence[str]) -> int:
    from .run import enter

    return enter(words)


def _build(flags: ParsedFlags) -> int:
    from .build import build

    return build(flags)


def _bake(flags: ParsedFlags) -> int:
    from .build import bake

    return bake(flags)


def _logs(words: Sequence[str]) -> int:
    from ..notebook.background_commands import logs

    logs(words)
    return 0


def _create_volume(flags: ParsedFlags) -> int:
    from ..run.named import create_volume

    (name,) = flags.arguments
    create_volume(name)
    print(name)
    return 0


def _repository(flags: ParsedFlags) -> int:
    from .repository import repository

    return repository(flags)


def _convert(flags: ParsedFlags) -> int:
    from .convert import convert

    return convert(flags)


def _environment(flags: ParsedFlags) -> int:
    from .environment import environment

    return environment(flags)


def _test(flags: ParsedFlags) -> int:
    from .environment import test

    return test(flags)


def _use(flags: ParsedFlags) -> int:
    """Print a line for the shell, since a choice of this process would end with its command."""
    from .. import builders

    builder = builders.choose(flags.arguments[0] if flags.arguments else "")
    print(f"export BUILDX_BUILDER={builder.name}")
    return 0


def _completion(flags: ParsedFlags) -> int:
    from .completion import script

    print(script(flags.arguments[0]), end="")
    return 0


def _complete(words: Sequence[str]) -> int:
    from .completion import candidates

    print("\n".join(candidates(list(words), {name: command.syntax for name, command in table().items()})))
    return 0


def _shared(name: str) -> Command:
    from ..notebook.commands import COMMANDS

    return Command(COMMANDS[name].about, partial(_answer, name), COMMANDS[name])


def _own(name: str, doc: str, run: Callable[[ParsedFlags], int], syntax: Syntax | None = None) -> Command:
    """Return a command that works differently from its namesake of `%build`, whose words it takes by default."""
    from ..notebook.commands import COMMANDS

    line = syntax or COMMANDS[name]
    return Command(doc, lambda words: run(line.parse(words, f"pybuild {name}")), line)


def _volume() -> Command:
    """Do what `docker volume` does: take the words of `%build volumes`, and `create`."""
    from ..notebook.commands import COMMANDS

    create = Syntax(arguments="NAME", takes="one name")
    syntax = Syntax(words={"ls": Syntax(), "create": create, **COMMANDS["volumes"].words})

    def run(words: Sequence[str]) -> int:
        if words[:1] == ["create"]:
            return _create_volume(create.parse(words[1:], "pybuild volume create"))
        if words[:1] and words[0] not in syntax.words:
            syntax.parse(words, "pybuild volume")
        return _answer("volumes", words)

    return Command("Named volumes", run, syntax)


def table() -> dict[str, Command]:
    """Return the commands by name, in the order of the help."""
    from ..notebook.commands import COMMANDS
    from .build import BAKE, BUILD
    from .completion import SYNTAX as COMPLETION
    from .convert import SYNTAX as CONVERT

    return {
        "build": _own("build", "Build a Dockerfile, as docker buildx build does", _build, BUILD),
        "bake": _own("bake", "Build what Bake files describe, as docker buildx bake does", _bake, BAKE),
        "imagetools": _shared("imagetools"),
        "lock": _shared("lock"),
        "run": Command(COMMANDS["run"].about, _run, COMMANDS["run"]),
        "exec": Command("Run another process in a background run", _exec, COMMANDS["exec"]),
        "ps": _shared("ps"),
        "logs": Command("Print the output of a background run", _logs, COMMANDS["logs"]),
        "stop": _shared("stop"),
        "commit": _shared("commit"),
        "volume": _volume(),
        "kernel": _shared("kernel"),
        "kernels": _shared("kernels"),
        "repo": _own("repo", "Print the Dockerfile of a repository", _repository),
        "env": _own(
            "env",
            "Freeze this Python's environment as a Dockerfile, which goes to standard output, or to --write DIR",
            _environment,
        ),
        "test": _own(
            "test",
            "Run notebooks on an image's own kernel, and compare their outputs with the stored ones",
            _test,
        ),
        "images": _shared("images"),
        "inspect": _shared("inspect"),
        "diff": _shared("diff"),
        "share": _shared("share"),
        "slim": _shared("slim"),
        "sbom": _shared("sbom"),
        "history": _shared("history"),
        "rm": _shared("rm"),
        "load": _shared("load"),
        "save": _shared("save"),
        "convert": _own("convert", "Copy an image between places", _convert, CONVERT),
        "du": _shared("du"),
        "prune": _shared("prune"),
        "gc": _shared("gc"),
        "fsck": _shared("fsck"),
        "doctor": _shared("doctor"),
        "builders": _shared("builders"),
        "use": _own("use", "Use a builder from now on", _use),
        "completion": _own("completion", "Print a shell's completion script", _completion, COMPLETION),
    }


def find(words: Sequence[str]) -> Callable[[], int]:
    """Return the function that runs a command line. Raises UsageError for an unknown command."""
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
        suggestion = nearest(name, list(commands))
        raise UsageError(
            f"pybuild has no command {name!r}.",
            hint=f"Did you mean {suggestion}?" if suggestion else "pybuild --help lists them.",
        )
    if command.syntax.asks_for_help(rest):
        return partial(_help_on, name, command)
    return partial(command.run, rest)


def _version() -> int:
    from importlib.metadata import version

    print(f"pybuild {version('pybuild_magic')}")
    return 0


def _help(commands: dict[str, Command]) -> int:
    lines = ["pybuild COMMAND", "", "Builds Dockerfiles; runs, copies and inspects images.", ""]
    lines += [f"  {name:<12}{reword(command.doc)}" for name, command in commands.items()]
    lines += ["", "See pybuild COMMAND --help."]
    print("\n".join(lines))
    return 0


def _help_on(name: str, command: Command) -> int:
    lines = [f"pybuild {name} {command.syntax.line}".rstrip(), "", command.doc, *command.syntax.help_lines()]
    print(reword("\n".join(lines)))
    return 0
