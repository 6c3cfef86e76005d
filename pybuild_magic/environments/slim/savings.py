"""The possible savings in an image: files by kind and step, covered files, duplicates, each with a line for the
Dockerfile.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from .covering import REMOVED, LayerFile, SlimLayer, layer_files
from .rules import BLAS, Rule, cuda_users, rule_of_directory, rule_of_name

_LEAST = 100_000
"""The bytes from which a row is shown."""
_SMALL = 4096
"""The bytes up to which duplicates are ignored: most are empty, or the same licence."""
_EXAMPLES = 3
_WIDE = 80
"""The most characters of a command repeated in an advice."""
_SITE = re.compile(r"((?:^|.*/)(?:site|dist)-packages/)([^/]+)")
_BUILDKIT = re.compile(r"^(?:/bin/sh -c #\(nop\)\s*|RUN /bin/sh -c |/bin/sh -c )|\s*# buildkit$")
_COPY = re.compile(r"(?:COPY|ADD)\s+(?:--\S+\s+)*(\S+)")
_RUN = re.compile(r"RUN\s+((?:--\S+\s+)*)(.*)", re.DOTALL)


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an image can do without."""

    what: str
    size: int
    """Bytes, uncompressed."""
    files: int
    step: str
    """The instruction whose layer has the files; "" for several."""
    line: str
    """The line for the Dockerfile, instead of the step or in addition."""
    note: str = ""
    """A reason for keeping it, or how certain the finding is."""
    examples: tuple[tuple[str, int], ...] = ()
    """Directories or files with their bytes, largest first."""


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """All savings in an image, largest first; no file is counted twice."""

    rows: tuple[Saving, ...]
    total: int
    """Bytes of all files of all layers."""

    @property
    def size(self) -> int:
        """The bytes of all rows together."""
        return sum(row.size for row in self.rows)


class _Pile:
    """Files that will form a row."""

    def __init__(self) -> None:
        self.size = self.files = 0
        self.places: Counter[str] = Counter()

    def add(self, place: str, size: int) -> None:
        """Count a file."""
        self.size += size
        self.files += 1
        self.places[place] += size

    @property
    def examples(self) -> tuple[tuple[str, int], ...]:
        """The largest places."""
        return tuple(self.places.most_common(_EXAMPLES))


def find_savings(layers: Sequence[SlimLayer]) -> Savings:
    """Return the possible savings in an image of these layers, given bottom first."""
    steps = [short_step(layer.created_by) for layer in layers]
    kinds: dict[tuple[str, int], _Pile] = defaultdict(_Pile)
    rules: dict[str, Rule] = {}
    covered: dict[tuple[int, int, str, bool], _Pile] = defaultdict(_Pile)
    contents: dict[tuple[bytes, int, str], list[LayerFile]] = defaultdict(list)
    blas: list[LayerFile] = []
    packages: set[str] = set()
    known: dict[str, Rule | None] = {}
    total = 0
    for file in layer_files(layers):
        entry = file.entry
        size, path = entry.size, entry.path
        total += size
        parent, _, name = path.rpartition("/")
        if file.covered:
            covered[file.layer, file.above, file.covered, file.same].add(_place(path), size)
            continue
        if parent not in known:
            known[parent] = rule_of_directory(parent)
            if match := _SITE.match(parent):
                packages.add(match[2])
        rule = known[parent] or rule_of_name(name)
        if rule is not None:
            rules[rule.key] = rule
            kinds[rule.key, file.layer].add(_place(path), size)
        elif size > _SMALL:
            if ".so" in name and BLAS.search(path):
                blas.append(file)
            else:
                contents[(entry.digest, size, "") if entry.digest else (b"", size, name)].append(file)
    rows = [_of_rule(rules[key], pile, steps[layer], packages) for (key, layer), pile in kinds.items()]
    rows += [_of_covered(steps, *key, pile) for key, pile in covered.items()]
    rows += [*_twice(contents.values()), *_of_blas(blas)]
    largest = sorted((row for row in rows if row.size >= _LEAST), key=lambda row: (-row.size, row.what))
    return Savings(rows=tuple(largest), total=total)


def short_step(created_by: str) -> str:
    """Return an instruction in its Dockerfile form, on one line."""
    text = _BUILDKIT.sub("", created_by)
    if created_by.startswith(("RUN /bin/sh -c ", "/bin/sh -c ")) and "#(nop)" not in created_by:
        text = f"RUN {text}"
    return " ".join(text.split())


def _of_rule(rule: Rule, pile: _Pile, step: str, packages: set[str]) -> Saving:
    note = rule.likely
    line = _line(rule, step)
    title = rule.what
    if rule.key == "cuda":
        users = cuda_users(frozenset(packages))
        if users:
            note = f"{', '.join(users)} can use it if there is a GPU; without one, the CPU build is enough"
            line = (
                "RUN pip install --index-url https://download.pytorch.org/whl/cpu torch" if "torch" in users else line
            )
        else:
            title, note = "CUDA, used by no package", "no package of this environment loads it"
    return Saving(what=title, size=pile.size, files=pile.files, step=step, line=line, note=note, examples=pile.examples)


def _line(rule: Rule, step: str) -> str:
    """Return the instruction that leaves the files out: a changed version of the step, because a later step saves
    nothing.
    """
    if copied := _COPY.match(step):
        if not copied[1].startswith("/"):
            return f".dockerignore: {rule.ignore}"
        # A history does not tell --from, but paths of a context are hardly ever written with a slash in front.
        return f"In the stage that {_cut(copied[1])} is copied from: {_removal(rule)}"
    match = _RUN.fullmatch(step)
    if match is None:
        return "Use a FROM image without them: this layer is the base's"
    mounts, command = match.groups()
    if rule.key == "bytecode" and "pip install" in command:  # it writes them whatever the variable says
        return f"RUN {mounts}{_cut(command.replace('pip install', 'pip install --no-compile'))}"
    instruction = f"{mounts}{_cut(command)}"
    if rule.line:
        return rule.line.replace("{command}", instruction)
    return f"RUN {instruction}, {_removal(rule)}" if not rule.remove else f"RUN {instruction} && {_removal(rule)}"


def _removal(rule: Rule) -> str:
    """Return the command that removes the files in the step which makes them."""
    if rule.remove:
        return rule.remove if rule.remove.startswith("find ") else f"rm -rf {rule.remove}"
    return "without the packages nvidia-*" if rule.key == "cuda" else rule.line


def _of_covered(steps: Sequence[str], layer: int, above: int, kind: str, same: bool, pile: _Pile) -> Saving:
    first, second = steps[layer], steps[above]
    if kind == REMOVED:
        title = "files that a later step removes"
        match, later = _RUN.fullmatch(first), _RUN.fullmatch(second)
        line = f"RUN {_cut(match[2])} && {_cut(later[2])}" if match and later else f"{_cut(first)}, without them"
        if match and not later:
            line = f"RUN {_cut(match[2])} && rm -rf {' '.join(place for place, _ in pile.examples)}"
        note = f"they are removed by {_cut(second)}"
    elif same:
        title = "files whose owner or mode a later step changes"
        line = re.sub(r"^(COPY|ADD)\b", r"\1 --chown=USER --chmod=MODE", _cut(first))
        line = line if line != _cut(first) else f"{_cut(first)} && chown, in the same step"
        note = f"the layer of {_cut(second)} contains all of them again"
    else:
        title = "files that a later step writes again"
        match, later = _RUN.fullmatch(first), _RUN.fullmatch(second)
        line = f"RUN {_cut(match[2])} && {_cut(later[2])}" if match and later else f"{_cut(second)}, without the first"
        note = f"they are written again by {_cut(second)}"
    return Saving(
        what=title, size=pile.size, files=pile.files, step=first, line=line, note=note, examples=pile.examples
    )


def _twice(groups: Iterable[list[LayerFile]]) -> list[Saving]:
    """Return files with the same content under several paths, in two rows: certain duplicates, and probable ones."""
    piles: dict[bool, tuple[_Pile, list[tuple[int, str, str]]]] = {True: (_Pile(), []), False: (_Pile(), [])}
    for files in groups:
        if len(files) < 2:
            continue
        first, *others = sorted(files, key=lambda file: (len(file.entry.path), file.entry.path))
        pile, pairs = piles[bool(first.entry.digest)]
        for other in others:
            pile.add(_place(other.entry.path), other.entry.size)
            pairs.append((other.entry.size, first.entry.path, other.entry.path))
    rows: list[Saving] = []
    for is_certain, (pile, pairs) in piles.items():
        if not pairs:
            continue
        _, original, other = max(pairs)
        rows.append(
            Saving(
                what="duplicate files" if is_certain else "files that are probably duplicates",
                size=pile.size,
                files=pile.files,
                step="",
                line=f"RUN ln -f /{original} /{other}",
                note="in the step that makes the second" if is_certain else "their names and sizes are equal",
                examples=pile.examples,
            )
        )
    return rows


def _of_blas(files: list[LayerFile]) -> list[Saving]:
    """Return all linear algebra libraries except the largest."""
    if len(files) < 2:
        return []
    largest, *others = sorted(files, key=lambda file: -file.entry.size)
    pile = _Pile()
    for file in others:
        pile.add(f"/{file.entry.path}", file.entry.size)
    return [
        Saving(
            what=f"{len(files)} libraries of linear algebra (BLAS)",
            size=pile.size,
            files=pile.files,
            step="",
            line="RUN micromamba install --yes numpy scipy 'libblas=*=*openblas'",
            note=f"wheels contain their own; conda and Debian share one, such as /{largest.entry.path}",
            examples=pile.examples,
        )
    ]


def _place(path: str) -> str:
    """Return the label of a file: its package, or its directory."""
    if match := _SITE.match(path):
        return f"/{match[0]}"
    return "/" + "/".join(path.split("/")[:-1][:4])


def _cut(text: str) -> str:
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"
