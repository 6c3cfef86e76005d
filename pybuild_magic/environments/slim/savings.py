"""The possible savings in an image: files by kind and step, covered files, duplicates, each with a line for the
Dockerfile.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from ...results.growth import place_of
from . import advice
from .advice import Later
from .covering import REMOVED, LayerFile, SlimLayer, layer_files
from .owners import Given, given
from .rules import BLAS, DEBIAN_BLAS, Rule, cuda_users, rule_of_directory, rule_of_name
from .steps import Step, between, cut, parse_step

_LEAST = 100_000
"""The bytes from which a row is shown."""
_SMALL = 4096
"""The bytes up to which duplicates are ignored: most are empty, or the same licence."""
_BLAS = 2_000_000
"""The bytes from which a library of linear algebra is one: Debian has small ones that lead to another."""
_EXAMPLES = 3
_SITE = re.compile(r"((?:^|.*/)(?:site|dist)-packages/)([^/]+)")
_PREFIX = re.compile(r"^(.+)/lib/python3[^/]*/site-packages/")


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
    is_known: bool = False
    """Whether the step is as the Dockerfile has it; an image's history lacks some of its flags."""


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
        self.labels: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        """Bytes by the directories that can be removed, or by file."""
        self.roots: set[str] = set()
        """The directories to search for them."""
        self.uid = 0

    def add(self, label: str, size: int) -> None:
        """Count a file."""
        self.size += size
        self.files += 1
        self.labels[label] += size

    @property
    def examples(self) -> tuple[tuple[str, int], ...]:
        """The largest places."""
        return tuple(self.labels.most_common(_EXAMPLES))

    @property
    def largest(self) -> list[str]:
        """The directories or files, largest first."""
        return sorted(self.places, key=lambda place: (-self.places[place], place))


def find_savings(layers: Sequence[SlimLayer]) -> Savings:
    """Return the possible savings in an image of these layers, given bottom first."""
    steps = [parse_step(layer.created_by, layer.source, is_base=layer.is_base) for layer in layers]
    kinds: dict[tuple[str, int], _Pile] = defaultdict(_Pile)
    rules: dict[str, Rule] = {}
    covered: dict[tuple[int, int, str, bool], _Pile] = defaultdict(_Pile)
    contents: dict[tuple[bytes, int, str, int, int, int], list[LayerFile]] = defaultdict(list)
    blas: list[LayerFile] = []
    packages: set[str] = set()
    prefixes: Counter[str] = Counter()
    known: dict[str, tuple[Rule | None, str]] = {}
    total = 0
    for file in layer_files(layers):
        entry = file.entry
        size, path = entry.size, entry.path
        total += size
        parent, _, name = path.rpartition("/")
        if file.covered:
            _add_covered(covered[file.layer, file.above, file.covered, file.same], file)
            continue
        if parent not in known:
            known[parent] = rule_of_directory(parent)
            if match := _SITE.match(parent):
                packages.add(match[2])
            if match := _PREFIX.match(f"{parent}/"):
                prefixes[f"/{match[1]}"] += 1
        rule, place = known[parent]
        root = f"/{match[0]}" if place and (match := _SITE.match(place[1:])) else posixpath.dirname(place)
        if rule is None:
            rule, place = rule_of_name(name), f"/{path}"
            root = f"/{parent}"
        if rule is not None:
            rules[rule.key] = rule
            pile = kinds[rule.key, file.layer]
            pile.add(place_of(path), size)
            pile.places[place] += size
            pile.roots.add(root)
            pile.uid = entry.uid
        elif size > _SMALL:
            if size > _BLAS and ".so" in name and BLAS.search(path):
                blas.append(file)
            else:
                # Files of another owner or mode are no links to each other.
                same = entry.mode, entry.uid, entry.gid
                contents[(entry.digest, size, "" if entry.digest else name, *same)].append(file)
    prefix = next((place for place, _ in prefixes.most_common(1)), "/usr/local")

    def later(layer: int, above: int) -> Later:
        crossed = [step for number in range(layer + 1, above) for step in (*layers[number].before, steps[number].text)]
        return Later(steps[above], tuple(between([*crossed, *layers[above].before])))

    def users(rule: Rule, layer: int, places: Sequence[str]) -> list[Later]:
        above = range(layer + 1, len(steps))
        return [later(layer, number) for number in above if advice.uses(rule, places, steps[number])]

    rows = [
        _of_rule(rules[key], pile, steps[layer], packages, prefix, users(rules[key], layer, pile.largest))
        for (key, layer), pile in kinds.items()
    ]
    rows += [
        _of_covered(
            steps[layer],
            later(layer, above),
            kind,
            pile,
            given(layers, layer, above, steps[layer].dest) if same else None,
        )
        for (layer, above, kind, same), pile in covered.items()
        # That later steps write something of a base again, as apt-get does its lists of packages, is no fault.
        if same or kind == REMOVED or not steps[layer].of_base
    ]
    rows += [*_twice(steps, contents.values()), *_of_blas(steps, blas, packages)]
    largest = sorted((row for row in rows if row.size >= _LEAST), key=lambda row: (-row.size, row.what))
    return Savings(rows=tuple(largest), total=total)


def _of_rule(rule: Rule, pile: _Pile, step: Step, packages: set[str], prefix: str, users: Sequence[Later]) -> Saving:
    title, note = rule.what, rule.likely
    places = [prefix] if rule.key == "compilers" else pile.largest
    line = advice.of_kind(rule, step, places, pile.roots, pile.uid, users)
    if users and line.startswith("RUN"):
        note = "; ".join(filter(None, (note, f"the line replaces {cut(users[0].step.text)}, too")))
    if rule.key == "compilers":
        note = f"{note}: compile in a stage named build, and copy what it makes"
    if rule.key == "cuda":
        loading = cuda_users(frozenset(packages))
        if loading:
            note = f"{', '.join(loading)} can use it if there is a GPU; without one, the CPU build is enough"
            if "torch" in loading:
                line = "RUN pip install --index-url https://download.pytorch.org/whl/cpu torch"
        else:
            title, note = "CUDA, used by no package", "no package of this environment loads it"
            line = advice.of_cuda_wheels(step, packages) or line
    return _saving(pile, title, line, note, step)


def _saving(pile: _Pile, what: str, line: str, note: str = "", step: Step | None = None) -> Saving:
    return Saving(
        what=what,
        size=pile.size,
        files=pile.files,
        step=step.text if step else "",
        line=line,
        note=note,
        examples=pile.examples,
        is_known=step is not None and step.is_known,
    )


def _add_covered(pile: _Pile, file: LayerFile) -> None:
    pile.add(place_of(file.entry.path), file.entry.size)
    pile.places[f"/{file.covering}"] += file.entry.size


def _of_covered(step: Step, later: Later, kind: str, pile: _Pile, as_given: Given | None) -> Saving:
    """Return what a later step covers; `as_given` is what it gives to files with their content."""
    by = cut(later.step.text)
    if kind == REMOVED:
        title, note = "files that a later step removes", f"they are removed by {by}"
        line = advice.of_removed(step, later, [place for place, _ in pile.examples], pile.largest)
    elif as_given is not None:
        title, note = "files whose owner or mode a later step changes", f"they are all in the layer of {by} again"
        line = advice.of_owner(step, later, as_given)
    else:
        title, note = "files that a later step writes again", f"they are written again by {by}"
        line = advice.of_replaced(step, later)
    if line.startswith("RUN"):
        note += ", which the line replaces, too"
    elif step.sources and not step.of_base:
        note += ", which is not needed then"
    return _saving(pile, title, line, note, step)


def _twice(steps: Sequence[Step], groups: Iterable[list[LayerFile]]) -> list[Saving]:
    """Return files with the same content under several paths: a row for each step that makes one again, in which they
    are certain duplicates, or probable ones.
    """
    piles: dict[tuple[bool, int, bool], _Pile] = defaultdict(_Pile)
    originals: dict[str, str] = {}
    for files in groups:
        if len(files) < 2:
            continue
        first, *others = sorted(files, key=lambda file: (file.layer, len(file.entry.path), file.entry.path))
        for other in others:
            path, size = f"/{other.entry.path}", other.entry.size
            pile = piles[bool(first.entry.digest), other.layer, first.layer == other.layer]
            pile.add(place_of(other.entry.path), size)
            pile.places[path] += size
            originals[path] = f"/{first.entry.path}"
    rows: list[Saving] = []
    for (is_certain, layer, same_layer), pile in piles.items():
        paths, step = pile.largest[:_EXAMPLES], steps[layer]
        line = advice.of_duplicates(step, [(originals[path], path) for path in paths], same_layer=same_layer)
        notes = [] if is_certain else ["their names and sizes are equal"]
        if step.sources:
            notes.append(advice.left_out(step, paths))
        if pile.files > len(paths) and not step.of_base:
            notes.append(f"the line is about the largest, and {pile.files - len(paths):,} more are like them")
        title = "duplicate files" if is_certain else "files that are probably duplicates"
        rows.append(_saving(pile, title, line, "; ".join(notes), step))
    return rows


def _of_blas(steps: Sequence[Step], files: list[LayerFile], packages: set[str]) -> list[Saving]:
    """Return all linear algebra libraries except the largest; except those of wheels, which use no other."""
    if len(files) < 2:
        return []
    largest_first = sorted(files, key=lambda file: (-file.entry.size, file.entry.path))
    others = [file for file in largest_first if DEBIAN_BLAS.match(file.entry.path)]
    debian = others if len(others) < len(files) else others[1:]
    pile = _Pile()
    for file in debian or largest_first[1:]:
        pile.add(f"/{file.entry.path}", file.entry.size)
    title = f"{len(files)} libraries of linear algebra (BLAS)"
    if debian:
        step = steps[debian[0].layer]
        names = sorted({match[1] for file in debian if (match := DEBIAN_BLAS.match(file.entry.path))})
        line = advice.of_packages(step, [f"lib{name.replace('-', '0-', 1)}" for name in names])
        return [_saving(pile, title, line, "wheels contain their own, and use no other", step)]
    names = [name for name in ("numpy", "scipy") if name in packages] or ["numpy"]
    line = f"RUN micromamba install --yes {' '.join(names)} 'libblas=*=*openblas'"
    return [_saving(pile, title, line, "wheels contain their own; packages of conda share one")]
