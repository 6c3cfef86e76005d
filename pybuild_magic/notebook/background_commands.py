"""The commands of `%build` for runs in the background, for stopped ones, and for the volumes that outlive them."""

from __future__ import annotations

import time
from typing import Any

from ..display.table import Document, Table
from ..display.words import human_bytes, seconds, shorten
from ..errors import UsageError
from ..request.flags import Flag, Kind, MisreadError, ParsedFlags
from ..run.flags import EXEC_FLAGS
from ..run.options import options_of_flags
from ..run.refused import refused
from ..run.values import parse_signal
from .command import command

_LISTED = "%build ps lists them."


@command(
    "ps",
    flags=(
        Flag("all", Kind.BOOL, "", "Include runs that have ended", short="a"),
        Flag("filter", Kind.MANY, "NAME=VALUE", "Show only some: by label, name, status, exited, ...", short="f"),
        Flag("format", Kind.ONE, "json|table|TEMPLATE", "Print JSON, or a Go template such as {{.Names}}"),
        Flag("last", Kind.ONE, "NUMBER", "Show the newest, ended ones too", short="n"),
        Flag("latest", Kind.BOOL, "", "Show the newest one, ended or not", short="l"),
        Flag("no-trunc", Kind.BOOL, "", "Show whole commands"),
        Flag("quiet", Kind.BOOL, "", "Show only the names", short="q"),
        refused(
            "size",
            "is not available: what a run has written is not measured",
            "--diff shows what one changes.",
            kind=Kind.BOOL,
            short="s",
            same="false",
        ),
    ),
)
def ps(flags: ParsedFlags) -> Table | Document:
    """List the runs in the background."""
    from ..run.background import list_runs
    from ..run.listing import chosen, formatted, read_filter

    filters = [read_filter(word) for word in flags.every("filter")]
    most = 1 if flags.on("latest") else _number(flags.last("last", "-1"), "--last")
    ended = flags.on("all") or most > 0 or any(name == "status" for name, _ in filters)
    known = chosen(list_runs(ended=ended), filters)
    known = known[:most] if most > 0 else known
    if (form := flags.last("format")) and not flags.on("quiet"):
        return Document((("", formatted(known, form, whole=flags.on("no-trunc"))),))
    if flags.on("quiet"):
        return Document((("", "\n".join(record.info.name for record in known)),))
    rows = tuple(
        (
            record.info.name,
            record.info.image,
            " ".join(record.info.command) if flags.on("no-trunc") else shorten(" ".join(record.info.command))[:60],
            f"{seconds(max(0.0, time.time() - record.info.created))} ago",
            record.state(),
            "this kernel" if record.info.owner is not None else "itself",
        )
        for record in known
    )
    said = ((record.info.name, [*record.info.warnings, record.info.error]) for record in known)
    note = "\n".join(f"{name}: {text}" for name, texts in said for text in texts if text)
    if not known and filters:
        note = "No run has passed the filters; -a shows those that have ended, too."
    elif not known:
        note = "Nothing runs in the background: %build run -d REF starts an image there."
    return Table(("NAME", "IMAGE", "COMMAND", "BEGUN", "STATE", "ENDS WITH"), rows, note)


def _number(word: str, flag: str) -> int:
    if not word.removeprefix("-").isdigit():
        raise MisreadError(f"{flag} takes a number, not {word!r}.")
    return int(word)


@command(
    "logs",
    "NAME",
    takes="one run",
    hint=_LISTED,
    names=("run",),
    flags=(
        Flag("follow", Kind.BOOL, "", "Keep printing until the run ends", short="f"),
        Flag("since", Kind.ONE, "TIME", "Show only what came from then on: 10m, or 2026-01-31T12:00:00"),
        Flag("tail", Kind.ONE, "LINES", "Show only the last lines; all by default", short="n"),
        Flag("timestamps", Kind.BOOL, "", "Begin each line with its time", short="t"),
        Flag("until", Kind.ONE, "TIME", "Show only what came before"),
        refused(
            "details",
            "is not available: a log has no other details than times",
            "Use -t.",
            kind=Kind.BOOL,
            same="false",
        ),
    ),
)
def logs(flags: ParsedFlags) -> None:
    """Print the output of a run in the background."""
    from ..golang.moment import parse_moment
    from ..oci.timestamp import format_time
    from ..run.background import find_run
    from .run_command import Writer

    now = time.time()
    limits = {name: parse_moment(flags.last(name), now, f"--{name}") for name in ("since", "until") if flags.last(name)}
    run = find_run(flags.arguments[0])
    tail = flags.last("tail", "all")
    if tail != "all" and not tail.removeprefix("-").isdigit():
        raise UsageError(f"--tail takes a number of lines or all, not {tail!r}.")
    lines = None if tail == "all" or tail.startswith("-") else int(tail)
    write = Writer()
    if not limits and not flags.on("timestamps"):
        for piece in run.logs(lines, follow=flags.on("follow")):
            write(*piece)
        return
    for line in run.lines(lines, follow=flags.on("follow"), **limits):
        stamp = f"{format_time(int(line.time * 1e9))} ".encode() if flags.on("timestamps") else b""
        write(line.stream, stamp + line.data)


@command(
    "stop",
    "NAME...",
    takes="the names of runs",
    hint=_LISTED,
    names=("running",),
    flags=(
        Flag("signal", Kind.ONE, "SIGNAL", "Signal to send, instead of the stop signal", short="s"),
        Flag("time", Kind.ONE, "SECONDS", "The same as --timeout"),
        Flag("timeout", Kind.ONE, "SECONDS", "Seconds to wait before killing it; -1 to wait forever", short="t"),
    ),
)
def stop(flags: ParsedFlags) -> Document:
    """Ask runs in the background to end, and kill those that do not."""
    from ..run.background import find_run

    timeouts = [*flags.every("time"), *flags.every("timeout")]
    try:
        timeout = float(timeouts[-1]) if timeouts else None
    except ValueError:
        raise MisreadError(f"--timeout takes a number of seconds, not {timeouts[-1]!r}.") from None
    number = parse_signal(flags.last("signal")) if flags.every("signal") else 0
    lines: list[str] = []
    for run in [find_run(name) for name in flags.arguments]:
        was_running = run.running
        code = run.stop(timeout, number)
        lines.append(f"{run.name} {'ended' if was_running else 'had ended'}{'' if code is None else f' with {code}'}")
    return Document((("", "\n".join(lines)),))


@command(
    "commit",
    "RUN [NAME]",
    takes="the ID of a stopped run, and perhaps a name",
    hint="%build du lists the runs that a full disk has stopped.",
    names=("stopped", "image"),
)
def commit(flags: ParsedFlags) -> Document:
    """Save what a run has changed, after a full disk prevented its `--commit`."""
    from ..run.commit import commit_stopped

    return Document((("", f"Committed {commit_stopped(*flags.arguments)}"),))


@command(
    "exec",
    "NAME COMMAND...",
    takes="a run, and a command",
    hint="For example: %build exec db psql -c 'SELECT 1'",
    names=("running", "failed"),
    flags=EXEC_FLAGS,
    with_command=True,
)
def enter(flags: ParsedFlags) -> Any:
    """Run another process beside a run in the background."""
    from .run_command import enter as run_beside

    name, *rest = flags.arguments
    return run_beside(name, tuple(rest), options_of_flags(flags))


@command("volumes rm", "NAME...", takes="the names of volumes", hint="%build volumes lists them.", names=("volume",))
def remove_volumes(flags: ParsedFlags) -> Document:
    """Remove volumes by name."""
    from ..run.named import remove_volume

    for name in flags.arguments:
        remove_volume(name)
    return Document((("", "\n".join(f"Removed {name}" for name in flags.arguments)),))


@command("volumes prune")
def prune_volumes(_flags: ParsedFlags) -> Document:
    """Remove the volumes that no run uses."""
    from ..run.named import prune_volumes

    lines = [f"Removed {volume.name}" for volume in prune_volumes()]
    return Document((("", "\n".join(lines) or "There was nothing to remove."),))


def _volumes(_flags: ParsedFlags) -> Table:
    """List named volumes."""
    from ..run.named import list_volumes

    rows = tuple(
        (volume.name, human_bytes(volume.size), "in use" if volume.in_use else "") for volume in list_volumes()
    )
    note = "" if rows else "No named volumes yet: %build run -v NAME:/PATH REF makes one."
    return Table(("NAME", "SIZE", "STATE"), rows, note, frozenset({"SIZE"}))


volumes = command(
    "volumes", words={"ls": command("volumes ls")(_volumes), "prune": prune_volumes, "rm": remove_volumes}
)(_volumes)
