"""The commands of `%build` about a builder's storage: its use of disk space, clean-up, and the history of builds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..builders import EMBEDDED, Builder, choose, embedded_builder
from ..display.collected import collected_line, size_line
from ..display.table import Document, Groups, Table
from ..display.words import USAGES, clipped, human_bytes, moment, plural, seconds, short_digest, shorten
from ..errors import UsageError
from ..request.flags import Flag, Kind, ParsedFlags
from ..request.values import parse_size
from ..store.policy import CollectionPlan
from ..store.usage import Usage
from .command import command


@command("du")
def disk_usage(_flags: ParsedFlags) -> Groups:
    """Show what takes up room, by kind, as `docker buildx du` does."""
    from ..run.named import list_volumes

    builder = choose()
    usage = builder.disk_usage()
    head = f"Total {human_bytes(usage.total)}, reclaimable {human_bytes(usage.reclaimable)}"
    if builder.name == EMBEDDED:
        limit = embedded_builder().collector.limit()
        head += f"; kept below {human_bytes(limit.size)} ({limit.why})" if limit else "; no limit is set"
        if size := sum(volume.size for volume in list_volumes()):
            head += f"; volumes take {human_bytes(size)} besides"
    kinds: dict[str, list[Usage]] = {}
    for row in usage.rows:
        kinds.setdefault(row.type, []).append(row)
    ordered = sorted(kinds.items(), key=lambda kind: -sum(row.size for row in kind[1]))
    return Groups(head, tuple(_usage_of(kind, rows) for kind, rows in ordered))


def _usage_of(kind: str, usages: Sequence[Usage]) -> tuple[str, Table]:
    usages = sorted(usages, key=lambda row: -row.size)
    rows = tuple(
        (
            short_digest(row.id),
            human_bytes(row.size),
            "in use" if row.in_use else "image" if row.shared else "",
            moment(row.last_used),
            clipped(shorten(row.description), 100),
        )
        for row in usages
    )
    whole = tuple(
        f"{row.id} · used {plural(row.usage_count, 'time')}, made {moment(row.created)} · {row.description}"
        for row in usages
    )
    size = human_bytes(sum(row.size for row in usages))
    name = f"{USAGES[kind]} ({kind})" if kind in USAGES else kind
    columns = ("ID", "SIZE", "NEEDED BY", "LAST USED", "DESCRIPTION")
    title = f"{name}: {plural(len(usages), 'record')}, {size}"
    links = tuple(f"layer {row.id}" if row.is_layer else "" for row in usages)
    return title, Table(columns, rows, numbers=frozenset({"SIZE"}), opens=links, whole=whole)


_SIZE = ("SIZE", "Amount of cache to keep")


@command(
    "prune",
    flags=(
        Flag("all", Kind.BOOL, "", "Remove the whole cache", short="a"),
        Flag("filter", Kind.MANY, "KEY=VALUE", "Remove only records that match"),
        Flag("force", Kind.BOOL, "", "Accepted for compatibility with docker: nothing is asked", short="f"),
        Flag("keep-storage", Kind.ONE, *_SIZE),
        Flag("reserved-space", Kind.ONE, *_SIZE),
        Flag("until", Kind.ONE, "24h", "Remove only what was not used for this long"),
    ),
)
def prune(flags: ParsedFlags) -> Table:
    """Remove build cache, as `docker buildx prune` does."""
    until = _age(flags.last("until")) if flags.every("until") else None
    keep = None
    for name in ("keep-storage", "reserved-space"):  # two names of one flag
        if flags.every(name):
            keep = parse_size(flags.last(name), f"--{name}")
    pruned = choose().prune(all=flags.on("all"), until=until, keep_storage=keep, filters=flags.every("filter"))
    rows = tuple(
        (short_digest(row.id), row.type, human_bytes(row.size), clipped(shorten(row.description), 100))
        for row in pruned.records
    )
    return Table(
        ("ID", "TYPE", "SIZE", "DESCRIPTION"), rows, f"Freed {human_bytes(pruned.reclaimed)}", frozenset({"SIZE"})
    )


@command(
    "gc",
    flags=(
        Flag("dry-run", Kind.BOOL, "", "Show what would be removed, without removing it"),
        Flag("keep-storage", Kind.ONE, "SIZE", "Maximum size of the store"),
    ),
)
def collect_garbage(flags: ParsedFlags) -> Table | Document:
    """Shrink the store to its limit now, as happens after builds."""
    keep = parse_size(flags.last("keep-storage"), "--keep-storage") if flags.every("keep-storage") else None
    collector = embedded_builder().collector
    if flags.on("dry-run"):
        return _planned(collector.plan(keep))
    return Document((("", collected_line(collector.run(keep))),))


@command("history", "[REF]", takes="one ref, or none")
def history(flags: ParsedFlags) -> Any:
    """List recent builds; with the ref of a build, or its beginning, show that build's log."""
    records = choose().history()
    if flags.arguments:
        return _log(choose(), flags.arguments[0])
    rows = tuple(
        (
            record.ref[:12],
            record.name,
            record.status,
            moment(record.created),
            "" if record.duration is None else seconds(record.duration),
            clipped(record.error.splitlines()[0], 120) if record.error else "",
        )
        for record in records
    )
    links = tuple(f"build {record.ref}" for record in records)
    columns = ("REF", "NAME", "STATUS", "STARTED", "TOOK", "ERROR")
    return Table(columns, rows, "" if rows else "No builds yet.", frozenset({"TOOK"}), links)


@command("fsck", flags=(Flag("repair", Kind.BOOL, "", "Remove what is damaged"),))
def fsck(flags: ParsedFlags) -> Table:
    """Check that everything in the store is present and intact."""
    from ..store.fsck import fsck as check

    problems = check(embedded_builder().store, repair=flags.on("repair"))
    rows = tuple(
        (problem.kind, problem.id, problem.message, "yes" if problem.repaired else "no") for problem in problems
    )
    note = plural(len(rows), "problem") if rows else "The store is sound."
    return Table(("KIND", "ID", "PROBLEM", "REPAIRED"), rows, note)


def _planned(plan: CollectionPlan) -> Table:
    rows = tuple(
        (
            step.kind,
            short_digest(step.id)[:12],
            human_bytes(step.size),
            moment(step.last_used),
            clipped(shorten(step.description), 100),
        )
        for step in plan.steps
    )
    note = f"Would free {human_bytes(plan.freed)} of {human_bytes(plan.total)}."
    if not rows:
        note = f"Nothing would be removed: the store takes {size_line(plan.total, plan.limit)}."
    return Table(("KIND", "ID", "SIZE", "LAST USED", "DESCRIPTION"), rows, note, frozenset({"SIZE"}))


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _age(value: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise UsageError(f"--until {value!r} is not a duration.", hint="Write 24h, 90m or 7d.")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _log(builder: Builder, ref: str) -> Document:
    from ..display.replay import replayed

    return Document((replayed(builder, ref),))
