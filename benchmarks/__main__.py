"""`make bench`: every scenario, ours and BuildKit's in turns, and the page; medians, ratios, peak memory; JSON."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from . import buildah, caches, environments, ladder, memory, page, promises, registries, running
from .figure import Figure
from .fresh import file_system, fresh
from .peers import BuildKit, Client, Kernel, Peer
from .report import MEASURED, circumstances, described, write
from .scenarios import CONTEXTS, SCENARIOS, Scenario

_CACHEONLY = ("-o", "type=cacheonly")


def main(arguments: list[str]) -> int:
    """Run the scenarios that match, and return the exit code: 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="what to run, by name or a part of one (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="where JSON and chart go")
    given = parser.parse_args(arguments)
    known = [*(scenario.name for scenario in SCENARIOS), "page", *registries.NAMES, *environments.NAMES]
    known += [*caches.NAMES, *ladder.NAMES, *promises.NAMES, *memory.NAMES, *running.NAMES]
    if unknown := [word for word in given.names if not any(word in name for name in known)]:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = {name for name in known if not given.names or name in given.names}
    wanted |= {name for name in known for word in set(given.names) - set(known) if word in name}
    chosen = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    builds = chosen or wanted & set(environments.NAMES)
    with tempfile.TemporaryDirectory(prefix="pybuild-bench-") as scratch, file_system(Path(scratch)) as outputs:
        ours, theirs, third = Kernel(Path(scratch)), BuildKit(), buildah.find(Path(scratch)) if builds else None
        print(f"{theirs.name}: Docker {theirs.engine.version.engine}, buildx {theirs.engine.version.buildx}")
        if builds and third is None:
            print("buildah is left out: `python -m tests.services.install benchmarks`, as root, installs it")
        print(f"load of the machine: {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs")
        client = Client(ours, theirs)
        print(f"{'':34}{'ours':>9}{'BuildKit':>10}{'ratio':>8}{'target':>8}{'ours':>10}{'BuildKit':>10}")
        rows: list[dict[str, Any]] = []
        pages: list[dict[str, Any]] = []
        figures: list[dict[str, Any]] = []
        try:
            if "page" in wanted:
                pages += _noted(lambda: page.measure(ours, Path(scratch), given.rounds))
            for scenario in chosen:
                peers = [ours, *([client] * scenario.client)]
                peers += [third] if third and third.can(scenario) else []
                everyone = [*peers, theirs]
                rows += _noted(partial(_measure, scenario, everyone, given.rounds, Path(scratch), outputs))
            for measure in _figures(wanted, ours, theirs, third, Path(scratch), given.rounds):
                figures.extend(_noted(measure))
        finally:
            ours.close()
            if third:
                third.close()
            machine = {
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
                "engine": theirs.engine.version.engine,
                "buildx": theirs.engine.version.buildx,
                "rounds": given.rounds,
            }
            measured = {"scenarios": rows, "page": pages, "figures": figures}
            whole = write(given.out, machine, measured)
    missed = [row["name"] for row in rows if row["target"] and row["ratio"] > row["target"]]
    missed += [row["name"] for row in pages if row["ms"] > row["target"]]
    missed += [figure["name"] for figure in figures if Figure(**_without_note(figure)).missed]
    print(f"\n{given.out}/results.json, {given.out}/results.svg")
    _tell_earlier(measured, whole)
    if missed:
        print(f"Targets missed: {', '.join(missed)}")
    return bool(missed)


def _noted(measure: Callable[[], Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Measure, and yield the rows with the circumstances at the beginning of the measurement."""
    note = {MEASURED: circumstances()}
    for row in measure():
        yield (row if isinstance(row, dict) else asdict(row)) | note


def _without_note(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != MEASURED}


def _tell_earlier(measured: dict[str, list[dict[str, Any]]], whole: dict[str, list[dict[str, Any]]]) -> None:
    """Print which rows of the report are from earlier runs, and how they were measured."""
    for kind, rows in whole.items():
        names = {row["name"] for row in measured[kind]}
        for row in rows:
            if row["name"] not in names:
                print(f"not measured now: {row['name']} ({described(row) or 'unknown'})")


def _figures(
    wanted: set[str], ours: Kernel, theirs: BuildKit, third: buildah.Buildah | None, scratch: Path, rounds: int
) -> Iterator[Callable[[], Iterable[Figure]]]:
    """Yield the functions that measure figures other than scenarios."""
    for name in registries.NAMES:
        if name in wanted:
            yield partial(registries.measure, name, ours, theirs, scratch)
    for name in environments.NAMES:
        if name in wanted:
            yield partial(environments.measure, name, ours, theirs, third, scratch)
    for name in caches.NAMES:
        if name in wanted:
            yield partial(caches.measure, name, ours, theirs, scratch, rounds)
    for name in ladder.NAMES:
        if name in wanted:
            yield partial(ladder.measure, name, scratch, rounds)
    for name in promises.NAMES:
        if name in wanted:
            yield partial(promises.measure, name, ours, scratch, rounds)
    for name in running.NAMES:
        if name in wanted:
            yield partial(running.measure, name, ours, theirs, scratch, rounds)
    if wanted & set(memory.NAMES):
        yield partial(memory.measure, ours, scratch)


def _measure(scenario: Scenario, peers: list[Peer], rounds: int, scratch: Path, outputs: Path) -> list[dict[str, Any]]:
    """Measure a scenario, and return a row for each peer but the last, with which the others are compared."""
    contexts = [fresh(scratch) for _ in range(scenario.at_once)]
    for context in contexts:
        context.mkdir()
        CONTEXTS[scenario.context](context)
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    peaks: dict[str, int] = dict.fromkeys(times, 0)
    for number in range(rounds):
        for peer in peers if number % 2 == 0 else reversed(peers):
            if not scenario.warm:  # a context at a new path is sent as a whole again
                contexts = [context.rename(fresh(scratch)) for context in contexts]
            seconds, peak = _once(scenario, peer, contexts, outputs, first=number == 0)
            times[peer.name].append(seconds)
            peaks[peer.name] = max(peaks[peer.name], peak)
    *ours, theirs = times
    return [_row(scenario, name, theirs, times, peaks) for name in ours]


def _row(
    scenario: Scenario, name: str, theirs: str, times: dict[str, list[float]], peaks: dict[str, int]
) -> dict[str, Any]:
    embedded = name == Kernel.name
    title = "  as a client of BuildKit" if name == Client.name else f"  {name}"
    mine, real = statistics.median(times[name]), statistics.median(times[theirs])
    row: dict[str, Any] = {
        "name": scenario.name if embedded else f"{scenario.name} {name}",
        "title": scenario.title if embedded else title,
        "who": name,
        "ours": mine,
        "buildkit": real,
        "ratio": mine / real,
        "target": scenario.target if embedded else 1.0 if name == Client.name else None,
        "times": times,
        "peak_ours": peaks[name],
        "peak_buildkit": peaks[theirs],
    }
    target = f"≤ {row['target']}" if row["target"] else ""
    memory = "".join(f"{peak / (1 << 20):>7.0f}MiB" for peak in (row["peak_ours"], row["peak_buildkit"]))
    print(f"{row['title']:34}{mine:>8.3f}s{real:>9.3f}s{row['ratio']:>8.3f}{target:>8}{memory}", flush=True)
    return row


def _once(scenario: Scenario, peer: Peer, contexts: list[Path], outputs: Path, *, first: bool) -> tuple[float, int]:
    """Measure one build, and return its seconds and peak bytes."""
    out = fresh(outputs)
    flags = [flag.format(out=out, context=contexts[0]) for flag in scenario.flags]
    if not scenario.warm or first:
        peer.reset()
    if scenario.warm or scenario.built:
        peer.build(scenario.dockerfile, contexts, _CACHEONLY if scenario.built else flags)
    peer.peak()
    os.sync()  # so that this build need not wait for the writes of the one before
    seconds = peer.build(scenario.dockerfile, contexts, flags)
    return seconds, peer.peak()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
