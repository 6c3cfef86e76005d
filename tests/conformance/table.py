"""The table of results: README.md beside this module, written by `make conformance` and read by the pytest run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .case import CASES
from .compare import LEVELS, Verdict
from .rungs import COLUMNS, EXPLAINED

PATH = Path(__file__).with_name("README.md")
EQUAL, DIFFERS, ABSENT = "✓", "✗", "–"
Marks = Mapping[str, bool]
_ALL = (*LEVELS, *COLUMNS)


def recorded() -> dict[str, Marks]:
    """The levels of each case as the table has them."""
    found: dict[str, Marks] = {}
    for line in PATH.read_text().splitlines() if PATH.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(_ALL) + 2 and cells[0].strip("`") in CASES:
            marks = zip(_ALL, cells[1:], strict=False)
            found[cells[0].strip("`")] = {level: mark == EQUAL for level, mark in marks if mark != ABSENT}
    return found


def recorded_suite() -> str:
    """The Debian suite of the engine that the table was written against."""
    found = re.search(r"^.*Written against .*Debian (\w+)\.$", PATH.read_text() if PATH.exists() else "", re.MULTILINE)
    return found[1] if found else ""


def write(results: Mapping[str, Marks], version: str) -> str:
    """Write the table and return its summary."""
    short = summary(results)
    rows = [_row(name, marks) for name, marks in sorted(results.items())]
    text = f"""# The embedded builder against BuildKit

Each case in `cases/` is built by the embedded builder and by a real BuildKit, both with `SOURCE_DATE_EPOCH`,
`rewrite-timestamp=true`, `compression=uncompressed` and `type=oci`, and the results are compared on these levels:

- **accepted**: both build it, or both refuse it with the same words at the same line;
- **files**: the merged file system: path, type, mode, owner, size, content, links, xattrs, times;
- **layers**: the entries and whiteouts of each layer;
- **config**: every field, including the history;
- **bytes**: the diffIDs, the image ID, and the digest of the manifest;
- **LLB**: the graph in BuildKit's `mode=max` provenance, vertex by vertex: op, inputs, mounts, meta, platform, lines of
  the Dockerfile, and names, except those of vertices that builds at the same time share;
- **provenance**: every field of that document in SLSA's v0.2, and its place in the image's index; all but times, ids,
  names of the client's directories, and the blobs that happen to exist for a step.

{EQUAL} means equal, {DIFFERS} means different, and {ABSENT} means that there is nothing to compare: both refuse,
or BuildKit is older than the reference and has built an equivalent Dockerfile. Cases with a RUN are also built on each
lower **rung** of the sandbox, where every level has to be equal that is equal on the best rung.

`make conformance` writes this file; the tests fail when a level that it records is lost. A case is a few lines in
`cases/`. Written against {version}.

`pairs.py` compares what runs again after a change: both builders build, something is changed, and both build again. The
names of the vertices, their inputs, their order and the CACHED ones are the same.

Caches are carried both ways: when one builder exports the cache of a case with `mode=max`, the other, which has only
the base images, finds every step CACHED, and the keys are those that it would write itself. CI carries the caches of
all cases to the embedded builder, and those of some to a freshly started BuildKit; `make conformance` carries all of
them both ways.

{short}

| case | {" | ".join(_ALL)} | explained |
|---|{":-:|" * len(_ALL)}---|
""" + "\n".join(rows)
    PATH.write_text(text + "\n")
    return short


def summary(results: Mapping[str, Marks]) -> str:
    """How many cases hold each level."""
    lines = [f"| level | equal, of {len(results)} cases |", "|---|--:|"]
    for level in _ALL:
        marks = [marks[level] for marks in results.values() if level in marks]
        lines.append(f"| {level} | {sum(marks)} of {len(marks)} |")
    return "\n".join(lines)


def _row(name: str, marks: Marks) -> str:
    cells = [(EQUAL if marks[column] else DIFFERS) if column in marks else ABSENT for column in _ALL]
    notes = [CASES[name].note, *dict.fromkeys(EXPLAINED.get(name, {}).values())]
    note = "; ".join(filter(None, notes)).replace("|", chr(92) + "|")
    return f"| `{name}` | {' | '.join(cells)} | {note} |"


def rung_marks(marks: Marks, lower: Mapping[int, Verdict]) -> Marks:
    """The columns of a case's rungs: whether what the best rung reaches is reached on each."""
    return {f"rung {rung}": not lost(marks, verdict.marks) for rung, verdict in lower.items()}


def lost(marks: Marks, others: Marks) -> list[str]:
    """The levels of `marks` that `others` do not reach."""
    return [level for level in LEVELS if marks.get(level) and not others.get(level)]
