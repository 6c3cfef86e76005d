"""The commands of `%build`: looking at and tidying what the builder keeps. Each takes words, and returns an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ..api.policy import source_policy
from ..builders import EMBEDDED, Builder, choose, embedded_builder
from ..diagnosis import Report
from ..diagnosis import doctor as examine
from ..display.table import Document, Groups, Table
from ..display.words import USAGES, clipped, human_bytes, plural, seconds, shorten
from ..errors import UsageError, nearest
from ..images.describe import inspect_image
from ..oci import reference
from ..portable import kind_of, user_path
from ..request.command import equivalent_command
from ..request.flags import flag_lines, truth
from ..request.options import BuildOptions
from ..request.solve_request import compile_request
from ..request.table import OPTIONS
from ..request.values import is_remote, parse_size
from ..results.opening import stored_name
from ..run.options import FLAGS as RUN_FLAGS
from ..store.usage import Usage
from .background_commands import enter, logs, ps, stop, volumes
from .builder_commands import list_builders, use
from .cells import export_cell, ignore, import_file
from .environment_commands import environment, test
from .image_commands import diff, share, slim
from .imagetools_command import imagetools
from .kernel_commands import kernel, kernels
from .lock_command import lock
from .repository_command import repository
from .sbom_command import sbom
from .store_commands import collect_garbage, load, save


def images(words: Sequence[str]) -> Table:
    """List the images in the store."""
    _no_more(words, "images")
    store = embedded_builder().store
    rows: list[tuple[str, ...]] = []
    for record in store.images.list():
        image = inspect_image(store.blobs.read, record.descriptor.digest)
        platforms = ", ".join(manifest.platform for manifest in image.manifests)
        familiar = reference.parse(record.name).familiar
        rows.append(
            (
                familiar,
                _short(record.descriptor.digest),
                platforms,
                human_bytes(image.total_size),
                _when(record.created),
            )
        )
    opens = tuple(f"image {row[0]}" for row in rows)
    columns = ("NAME", "DIGEST", "PLATFORM", "SIZE", "CREATED")
    return Table(columns, tuple(rows), numbers=frozenset({"SIZE"}), opens=opens)


def inspect(words: Sequence[str]) -> Any:
    """Show an image in the store: its manifests, config and layers, as after a build."""
    from ..result import Image
    from ..results.opening import stored_image

    if len(words) != 1:
        raise UsageError("%build inspect takes one image.", hint="%build images lists them.")
    contents = stored_image(embedded_builder().store, words[0])
    assert contents.image is not None
    return Image(contents.image, contents)


def remove(words: Sequence[str]) -> Document:
    """Remove images by name; what nothing else needs is deleted."""
    if not words:
        raise UsageError("%build rm takes the names of images.", hint="%build images lists them.")
    from ..store import collect

    store = embedded_builder().store
    names = [stored_name(store, word) for word in words]
    for name in names:
        store.images.remove(name)
    freed = collect.collect_garbage(store)
    return Document((("", "\n".join(f"Removed {name}" for name in names) + f"\nFreed {human_bytes(freed)}"),))


def disk_usage(words: Sequence[str]) -> Groups:
    """Show what takes up room, by kind, as `docker buildx du` does."""
    _no_more(words, "du")
    builder = choose()
    usage = builder.disk_usage()
    head = f"Total {human_bytes(usage.total)}, reclaimable {human_bytes(usage.reclaimable)}"
    if builder.name == EMBEDDED:
        limit = embedded_builder().collector.limit()
        head += f"; kept below {human_bytes(limit.size)} ({limit.why})" if limit else "; no limit is set"
    kinds: dict[str, list[Usage]] = {}
    for row in usage.rows:
        kinds.setdefault(row.type, []).append(row)
    ordered = sorted(kinds.items(), key=lambda kind: -sum(row.size for row in kind[1]))
    return Groups(head, tuple(_usage_of(kind, rows) for kind, rows in ordered))


def _usage_of(kind: str, usages: Sequence[Usage]) -> tuple[str, Table]:
    usages = sorted(usages, key=lambda row: -row.size)
    rows = tuple(
        (
            _short(row.id),
            human_bytes(row.size),
            "in use" if row.in_use else "image" if row.shared else "",
            _when(row.last_used),
            clipped(shorten(row.description), 100),
        )
        for row in usages
    )
    whole = tuple(
        f"{row.id} · used {plural(row.usage_count, 'time')}, made {_when(row.created)} · {row.description}"
        for row in usages
    )
    size = human_bytes(sum(row.size for row in usages))
    name = f"{USAGES[kind]} ({kind})" if kind in USAGES else kind
    columns = ("ID", "SIZE", "NEEDED BY", "LAST USED", "DESCRIPTION")
    title = f"{name}: {plural(len(usages), 'record')}, {size}"
    return title, Table(columns, rows, numbers=frozenset({"SIZE"}), whole=whole)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def prune(words: Sequence[str]) -> Table:
    """Remove build cache: `[-a] [--until 24h] [--keep-storage 1g] [--filter KEY=VALUE]`, as `docker buildx prune`."""
    every, until, keep, filters = False, None, None, list[str]()
    rest = list(words)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in ("-a", "--all"):
            every = truth(value, word) if equals else True
            continue
        if word in ("-f", "--force"):
            continue
        known = ("--all", "--until", "--keep-storage", "--reserved-space", "--filter")
        if word not in known:
            near = nearest(word, known)
            raise UsageError(f"%build prune takes no {word}.", hint=f"Did you mean {near}?" if near else "")
        if not equals:
            if not rest:
                raise UsageError(f"{word} needs a value.")
            value = rest.pop(0)
        if word == "--until":
            until = _age(value)
        elif word == "--filter":
            filters.append(value)
        else:
            keep = parse_size(value, word)
    pruned = choose().prune(all=every, until=until, keep_storage=keep, filters=filters)
    rows = tuple(
        (_short(row.id), row.type, human_bytes(row.size), clipped(shorten(row.description), 100))
        for row in pruned.records
    )
    return Table(
        ("ID", "TYPE", "SIZE", "DESCRIPTION"), rows, f"Freed {human_bytes(pruned.reclaimed)}", frozenset({"SIZE"})
    )


def history(words: Sequence[str]) -> Any:
    """List recent builds; with the ref of a build, or its beginning, show that build's log."""
    if len(words) > 1:
        raise UsageError("%build history takes one ref, or none.")
    records = choose().history()
    if words:
        return _log(choose(), words[0])
    rows = tuple(
        (
            record.ref[:12],
            record.name,
            record.status,
            _when(record.created),
            "" if record.duration is None else seconds(record.duration),
            clipped(record.error.splitlines()[0], 80) if record.error else "",
        )
        for record in records
    )
    opens = tuple(f"build {record.ref}" for record in records)
    columns = ("REF", "NAME", "STATUS", "STARTED", "TOOK", "ERROR")
    return Table(columns, rows, numbers=frozenset({"TOOK"}), opens=opens)


def fsck(words: Sequence[str]) -> Table:
    """Check that everything in the store is present and intact; `--repair` drops what is not."""
    from ..store.fsck import fsck as check

    repair = list(words) == ["--repair"]
    if words and not repair:
        raise UsageError(f"%build fsck takes no {words[0]}.", hint="It takes --repair.")
    problems = check(embedded_builder().store, repair=repair)
    rows = tuple(
        (problem.kind, problem.id, problem.message, "yes" if problem.repaired else "no") for problem in problems
    )
    note = plural(len(rows), "problem") if rows else "The store is sound."
    return Table(("KIND", "ID", "PROBLEM", "REPAIRED"), rows, note)


def doctor(words: Sequence[str]) -> Report:
    """Report how well builds run on this machine, and what would improve it."""
    _no_more(words, "doctor")
    return examine()


def run_command(words: Sequence[str]) -> Any:
    """Run a process on an image, as docker run does: `[FLAGS] REF [COMMAND...]`."""
    from ..run import options_from
    from .run_command import run_or_start

    options, rest = options_from(words)
    if not rest:
        raise UsageError("%build run takes an image, and a command.", hint="For example: %build run busybox echo hello")
    return run_or_start(rest[0], tuple(rest[1:]), options)


COMMANDS: dict[str, Callable[[Sequence[str]], Any]] = {
    "images": images,
    "inspect": inspect,
    "rm": remove,
    "du": disk_usage,
    "prune": prune,
    "gc": collect_garbage,
    "history": history,
    "fsck": fsck,
    "doctor": doctor,
    "load": load,
    "save": save,
    "builders": list_builders,
    "use": use,
    "export": export_cell,
    "import": import_file,
    "ignore": ignore,
    "lock": lock,
    "imagetools": imagetools,
    "run": run_command,
    "ps": ps,
    "logs": logs,
    "stop": stop,
    "exec": enter,
    "volumes": volumes,
    "kernel": kernel,
    "kernels": kernels,
    "repo": repository,
    "slim": slim,
    "share": share,
    "diff": diff,
    "env": environment,
    "test": test,
    "sbom": sbom,
}
"""By their name on the line."""


def find(word: str) -> Callable[[Sequence[str]], Any] | None:
    """The command that a line begins with; None for a flag or a context. Raises `UsageError` for what is neither."""
    if word in COMMANDS or word.startswith("-") or is_remote(word) or kind_of(user_path(word)):
        return COMMANDS.get(word)
    near = nearest(word, list(COMMANDS))
    raise UsageError(
        f"%build has no command {word!r}, and there is no such directory to build.",
        hint=f"Did you mean %build {near}?" if near else "%build --help lists the commands.",
    )


def dry_run(options: BuildOptions) -> Document:
    """Return the request that the options mean, and the same as a docker command. Raises what a build would at once."""
    from ..dockerfile.parser import parse

    if options.dockerfile is not None:
        parse(options.dockerfile)
    request = compile_request(options, choose(options.builder).driver, policy=source_policy(options))
    return Document((("SolveRequest", request.to_json()), ("The same with docker", equivalent_command(options))))


USAGE = {
    "use": "[NAME]",
    "inspect": "REF",
    "rm": "REF...",
    "prune": "[-a] [--until 24h] ...",
    "gc": "[--dry-run] [--keep-storage 5g]",
    "history": "[REF]",
    "fsck": "[--repair]",
    "load": "FILE|DIR [-t NAME]",
    "save": "REF... FILE|DIR",
    "export": "[-f] [FILE]",
    "import": "[FILE]",
    "ignore": "[--context DIR] [PATTERN...]",
    "lock": "[FLAGS] [CONTEXT]",
    "imagetools": "create|inspect ...",
    "run": "[FLAGS] REF [COMMAND...]",
    "ps": "[-a]",
    "logs": "[-f] [--tail N] NAME",
    "stop": "[-t SECONDS] NAME...",
    "exec": "[FLAGS] NAME COMMAND...",
    "volumes": "[prune | rm NAME...]",
    "kernel": "[FLAGS] REF",
    "repo": "[--list] [--base IMAGE] PATH|URL",
    "slim": "REF",
    "share": "REF",
    "diff": "REF REF",
    "env": "[FLAGS] [NAME]",
    "test": "[FLAGS] NB.ipynb... --in REF",
    "sbom": "[--format spdx] REF",
}


def about(command: Callable[[Sequence[str]], Any]) -> str:
    """Return the purpose of a command, in a few words."""
    return re.split(r"[.:;](?=\s|$)", command.__doc__ or "")[0]


def help_page() -> Document:
    """Return all flags and commands, a line each."""
    lines = [
        "%%build [FLAGS] [CONTEXT]".ljust(44) + "build the Dockerfile in the cell",
        "%build -f Dockerfile [FLAGS] [CONTEXT]".ljust(44) + "build a Dockerfile on disk",
        "%build COMMAND".ljust(44) + "manage images, the cache, kernels and more",
        "",
        "CONTEXT is a directory (by default the notebook's), a Git or HTTP URL, - for none,",
        "or $name, a dict {path: str | bytes}. $name and {expr} are expanded in the line, never in the cell.",
        "",
        "Commands",
    ]
    for name, command in COMMANDS.items():
        lines.append(f"  {name} {USAGE.get(name, '')}".ljust(44) + about(command))
    lines += ["", "Flags", *flag_lines(OPTIONS)]
    return Document((("", "\n".join(lines)),))


def run_help() -> Document:
    """Return all flags of `%build run`, a line each."""
    lines = [
        "%build run [FLAGS] REF [COMMAND...]".ljust(44) + "run a process on an image, as docker run does",
        "%%build run [FLAGS] REF [ARGUMENTS...]".ljust(44) + "run the cell as a script on it",
        "",
        "REF is an image in the store or in a registry, the path of a layout or an archive, or $name, a result.",
        "",
        "Flags",
        *flag_lines(RUN_FLAGS),
    ]
    return Document((("", "\n".join(lines)),))


def _no_more(words: Sequence[str], command: str) -> None:
    if words:
        raise UsageError(f"%build {command} takes no {words[0]}.")


def _age(value: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise UsageError(f"--until {value!r} is not a duration.", hint="Write 24h, 90m or 7d.")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _log(builder: Builder, ref: str) -> Document:
    from ..display.replay import replayed

    return Document((replayed(builder, ref),))


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12] or digest


def _when(moment: float) -> str:
    if not moment:
        return "never"
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")
