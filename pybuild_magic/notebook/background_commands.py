"""The commands of `%build` for runs in the background, and for the volumes that outlive them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..display.table import Document, Table
from ..display.words import human_bytes, seconds, shorten
from ..errors import UsageError
from ..request.flags import Flag, Kind, ParsedFlags, parse_flags, truth
from ..run.options import EXEC_FLAGS, options_from, parse_signal

PS_FLAGS: tuple[Flag, ...] = (
    Flag("all", Kind.BOOL, "", "Include runs that have ended", short="a"),
    Flag("quiet", Kind.BOOL, "", "Show only the names", short="q"),
)
LOGS_FLAGS: tuple[Flag, ...] = (
    Flag("follow", Kind.BOOL, "", "Keep printing until the run ends", short="f"),
    Flag("tail", Kind.ONE, "LINES", "Show only the last lines; all by default", short="n"),
)
STOP_FLAGS: tuple[Flag, ...] = (
    Flag("signal", Kind.ONE, "SIGNAL", "Signal to ask with, in place of its own stop signal", short="s"),
    Flag("time", Kind.ONE, "SECONDS", "The same as --timeout"),
    Flag("timeout", Kind.ONE, "SECONDS", "Time to end before it is killed; -1 for ever", short="t"),
)


def ps(words: Sequence[str]) -> Table | Document:
    """List the runs in the background."""
    from ..run.background import list_runs

    flags = parse_flags(words, PS_FLAGS)
    _none(flags, "ps")
    known = list_runs(ended=_is_set(flags, "all"))
    if _is_set(flags, "quiet"):
        return Document((("", "\n".join(record.info.name for record in known)),))
    rows = tuple(
        (
            record.info.name,
            record.info.image,
            shorten(" ".join(record.info.command))[:60],
            f"{seconds(max(0.0, time.time() - record.info.created))} ago",
            record.state(),
            "this kernel" if record.info.owner is not None else "itself",
        )
        for record in known
    )
    return Table(("NAME", "IMAGE", "COMMAND", "BEGUN", "STATE", "ENDS WITH"), rows)


def logs(words: Sequence[str]) -> None:
    """Print the output of a run in the background."""
    from ..run.background import find_run
    from .run_command import Writer

    flags = parse_flags(words, LOGS_FLAGS)
    run = find_run(_one(flags, "logs"))
    tail = flags.values.get("tail", ["all"])[-1]
    if tail != "all" and not tail.removeprefix("-").isdigit():
        raise UsageError(f"--tail is a number of lines, or all, not {tail!r}.")
    lines = None if tail == "all" or tail.startswith("-") else int(tail)
    write = Writer()
    for piece in run.logs(lines, follow=_is_set(flags, "follow")):
        write(*piece)


def stop(words: Sequence[str]) -> Document:
    """Ask runs in the background to end, and kill those that do not."""
    from ..run.background import find_run

    flags = parse_flags(words, STOP_FLAGS)
    if not flags.arguments:
        raise UsageError("%build stop takes the names of runs.", hint="%build ps lists them.")
    given = [*flags.values.get("time", ()), *flags.values.get("timeout", ())]
    try:
        timeout = float(given[-1]) if given else None
    except ValueError:
        raise UsageError(f"--timeout is a number of seconds, not {given[-1]!r}.") from None
    number = parse_signal(flags.values["signal"][-1]) if "signal" in flags.values else 0
    lines: list[str] = []
    for run in [find_run(name) for name in flags.arguments]:
        was_running = run.running
        code = run.stop(timeout, number)
        lines.append(f"{run.name} {'ended' if was_running else 'had ended'}{'' if code is None else f' with {code}'}")
    return Document((("", "\n".join(lines)),))


def enter(words: Sequence[str]) -> Any:
    """Run another process beside a run in the background: `[FLAGS] NAME COMMAND...`."""
    from ..run.background import find_run
    from .run_command import Writer

    options, rest = options_from(words, EXEC_FLAGS)
    if len(rest) < 2:
        raise UsageError(
            "%build exec takes a run, and a command.", hint="For example: %build exec db psql -c 'SELECT 1'"
        )
    if options.interactive and options.stdin is None:
        raise UsageError("A cell has nothing to type into.", hint="Leave -i out, or use pybuild exec -it.")
    return find_run(rest[0]).entered(tuple(rest[1:]), options).captured(Writer())


def volumes(words: Sequence[str]) -> Table | Document:
    """List named volumes, or remove some: `rm NAME...`, or `prune` for those that no run uses."""
    from ..run.named import list_volumes, prune_volumes, remove_volume

    word, rest = (words[0], words[1:]) if words else ("ls", ())
    if word == "rm" and rest:
        for name in rest:
            remove_volume(name)
        return Document((("", "\n".join(f"Removed {name}" for name in rest)),))
    if word not in ("ls", "prune") or rest:
        raise UsageError(f"%build volumes takes no {word}.", hint="It takes prune, or rm and names.")
    known = list_volumes() if word == "ls" else prune_volumes()
    rows = tuple(
        (volume.name, "" if word == "prune" else human_bytes(volume.size), "in use" if volume.in_use else "")
        for volume in known
    )
    if word == "prune":
        return Document((("", "\n".join(f"Removed {name}" for name, *_ in rows) or "There was nothing to remove."),))
    return Table(("NAME", "SIZE", "STATE"), rows, numbers=frozenset({"SIZE"}))


def _is_set(flags: ParsedFlags, name: str) -> bool:
    return name in flags.values and truth(flags.values[name][-1], f"--{name}")


def _none(flags: ParsedFlags, command: str) -> None:
    if flags.arguments:
        raise UsageError(f"%build {command} takes no {flags.arguments[0]}.")


def _one(flags: ParsedFlags, command: str) -> str:
    if len(flags.arguments) != 1:
        raise UsageError(f"%build {command} takes one run.", hint="%build ps lists them.")
    return flags.arguments[0]
