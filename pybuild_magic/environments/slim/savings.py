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
from .advice import Step, cut, parse_step
from .covering import REMOVED, LayerFile, SlimLayer, layer_files
from .rules import BLAS, DEBIAN_BLAS, Rule, cuda_users, rule_of_directory, rule_of_name

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
        self.owners: set[str] = set()
        self.modes: set[str] = set()
        """Those that a later step gives the files, if it changes them."""
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
    steps = [parse_step(layer.created_by) for layer in layers]
    kinds: dict[tuple[str, int], _Pile] = defaultdict(_Pile)
    rules: dict[str, Rule] = {}
    covered: dict[tuple[int, int, str, bool], _Pile] = defaultdict(_Pile)
    contents: dict[tuple[bytes, int, str], list[LayerFile]] = defaultdict(list)
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
                contents[(entry.digest, size, "") if entry.digest else (b"", size, name)].append(file)
    prefix = next((place for place, _ in prefixes.most_common(1)), "/usr/local")
    rows = [_of_rule(rules[key], pile, steps[layer], packages, prefix) for (key, layer), pile in kinds.items()]
    rows += [
        _of_covered(steps[layer], steps[above], kind, pile, same=same)
        for (layer, above, kind, same), pile in covered.items()
        # That later steps write something of a base again, as apt-get does its lists of packages, is no fault.
        if same or kind == REMOVED or not steps[layer].of_base
    ]
    rows += [*_twice(steps, contents.values()), *_of_blas(steps, blas, packages)]
    largest = sorted((row for row in rows if row.size >= _LEAST), key=lambda row: (-row.size, row.what))
    return Savings(rows=tuple(largest), total=total)


def _of_rule(rule: Rule, pile: _Pile, step: Step, packages: set[str], prefix: str) -> Saving:
    title, note = rule.what, rule.likely
    places = [prefix] if rule.key == "compilers" else pile.largest
    line = advice.of_kind(rule, step, places, pile.roots, pile.uid)
    if rule.key == "compilers":
        note = f"{note}: compile in a stage named build, and copy what it makes"
    if rule.key == "cuda":
        users = cuda_users(frozenset(packages))
        if users:
            note = f"{', '.join(users)} can use it if there is a GPU; without one, the CPU build is enough"
            if "torch" in users:
                line = "RUN pip install --index-url https://download.pytorch.org/whl/cpu torch"
        else:
            title, note = "CUDA, used by no package", "no package of this environment loads it"
            line = advice.of_cuda_wheels(step, packages) or line
    return _saving(pile, title, line, note, step.text)


def _saving(pile: _Pile, what: str, line: str, note: str = "", step: str = "") -> Saving:
    return Saving(what=what, size=pile.size, files=pile.files, step=step, line=line, note=note, examples=pile.examples)


def _add_covered(pile: _Pile, file: LayerFile) -> None:
    entry, above = file.entry, file.replacement
    pile.add(place_of(entry.path), entry.size)
    pile.places[f"/{file.covering}"] += entry.size
    if above is not None and (above.uid, above.gid) != (entry.uid, entry.gid):
        pile.owners.add(f"{above.uid}:{above.gid}")
    if above is not None and above.mode != entry.mode:
        pile.modes.add(f"{above.mode:o}")


def _of_covered(step: Step, later: Step, kind: str, pile: _Pile, *, same: bool) -> Saving:
    if kind == REMOVED:
        title, note = "files that a later step removes", f"they are removed by {cut(later.text)}"
        line = advice.of_removed(step, later, [place for place, _ in pile.examples], pile.largest)
        if line.startswith(".dockerignore"):
            note += ", which is not needed then"
    elif same:
        title = "files whose owner or mode a later step changes"
        note = f"the layer of {cut(later.text)} contains all of them again"
        line = advice.of_owner(step, later, pile.owners, pile.modes)
    else:
        title, note = "files that a later step writes again", f"they are written again by {cut(later.text)}"
        line = advice.of_replaced(step, later)
    return _saving(pile, title, line, note, step.text)


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
        rows.append(_saving(pile, title, line, "; ".join(notes), step.text))
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
        return [_saving(pile, title, line, "wheels contain their own, and use no other", step.text)]
    names = [name for name in ("numpy", "scipy") if name in packages] or ["numpy"]
    line = f"RUN micromamba install --yes {' '.join(names)} 'libblas=*=*openblas'"
    return [_saving(pile, title, line, "wheels contain their own; packages of conda share one")]
