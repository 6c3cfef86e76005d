"""The reasons for a context's size: its largest directories, and those that hardly anyone wants in an image."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from ..errors import ContextError
from ..golang.patternmatcher import read_ignore
from ..portable import kind_of

LARGE = 100_000_000
"""The bytes of a copy from which on the user is told what makes it large."""

_ANYWHERE = frozenset(
    {".git", ".hg", ".svn", ".ipynb_checkpoints", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
    | {".tox", ".nox", ".dvc", "node_modules", ".cache", ".virtual_documents"}
)
"""Names of directories that can be made again, or that are useful only on the user's own machine."""
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
"""Files that mark an environment: of venv, virtualenv or uv, and of conda."""
_DATA = frozenset(
    {"csv", "tsv", "parquet", "feather", "arrow", "npy", "npz", "h5", "hdf5", "nc", "zarr", "tfrecord"}
    | {"safetensors", "pt", "pth", "ckpt", "onnx", "gguf", "sqlite", "db", "zip", "jsonl", "mp4", "wav"}
)
_MOSTLY = 0.9
"""The share of a directory from which on one of its subdirectories is named instead of it."""
_SHOWN = 3


class Clutter(msgspec.Struct, frozen=True):
    """The composition of a directory tree. Sizes are in bytes; paths have no slash at either end."""

    total: int
    largest: tuple[tuple[str, int], ...]
    """The largest directories."""
    ignorable: tuple[tuple[str, int], ...]
    """Patterns for `.dockerignore`, and the bytes that each would leave out, the largest first."""
    data: tuple[tuple[str, int], ...]
    """Those of the largest directories that are mostly data, which may better be mounted than copied."""

    def sentence(self) -> str:
        """Return a sentence with the size and the directories that make most of it."""
        return f"{_mb(self.total)}, most of it in {_listing(self.largest)}." if self.largest else f"{_mb(self.total)}."

    def advice(self, root: Path) -> str:
        """Return advice on what to leave out of the context `root`, and how; "" when there is none."""
        command = "%build ignore"
        if root != (here := Path.cwd()):
            place = root.relative_to(here) if root.is_relative_to(here) else root
            command += f" --context {shlex.quote(str(place))}"
        parts: list[str] = []
        if self.ignorable:
            parts.append(f"`{command}` leaves out {_listing(self.ignorable[:_SHOWN])}.")
        if self.data:
            names = " ".join(shlex.quote(path) for path, _ in self.data)
            parts.append(f"Data can be mounted instead of copied: `{command} {names}`, and RUN --mount=type=bind.")
        return " ".join(parts)


class LeftOut(msgspec.Struct, frozen=True):
    """The patterns of a context's `.dockerignore`, and what the new ones leave out."""

    path: str
    added: tuple[tuple[str, int], ...]
    """The new patterns, and the bytes that each leaves out; 0 when unknown."""
    patterns: tuple[str, ...]
    data: tuple[tuple[str, int], ...]
    """Large directories of data that are not left out, and their bytes."""


def leave_out(root: Path, patterns: Sequence[str] = (), dockerfile: Path | None = None) -> LeftOut:
    """Add patterns to the `.dockerignore` of a directory: those given, or those of what images seldom need.

    If `dockerfile` has its own `DOCKERFILE.dockerignore`, they go there, since its builds read no other. Raises
    ContextError when the file cannot be written.
    """
    survey = look_at(files_of(root))
    sizes = dict(survey.ignorable)
    path = root / ".dockerignore"
    if dockerfile is not None and kind_of(own := dockerfile.with_name(f"{dockerfile.name}.dockerignore")):
        path = own
    try:
        before = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
        known = read_ignore(before)
        new = [pattern for pattern in dict.fromkeys(patterns or sizes) if pattern not in known]
        if new:
            text = (
                before
                + "\n" * (bool(before) and not before.endswith("\n"))
                + "".join(f"{pattern}\n" for pattern in new)
            )
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ContextError(f"{path} cannot be written: {error.strerror or error}.") from None
    added = tuple((pattern, sizes.get(pattern, 0)) for pattern in new)
    return LeftOut(str(path), added, (*known, *new), () if patterns else survey.data)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _listing(sizes: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{path} ({_mb(size)})" for path, size in sizes)


def look_at(files: Iterable[tuple[str, int]]) -> Clutter:
    """Sum up files, which are given by path and bytes."""
    direct: dict[str, list[int]] = {}
    """By directory: the bytes of the files directly in it, and of those that are data."""
    environments: set[str] = set()
    for path, size in files:
        folder, _, name = path.rpartition("/")
        counted = direct.get(folder)
        if counted is None:
            counted = direct[folder] = [0, 0]
        counted[0] += size
        if name.rpartition(".")[2].lower() in _DATA:
            counted[1] += size
        if folder and name == _ENVIRONMENT[0]:
            environments.add(folder)
    mark = f"/{_ENVIRONMENT[1]}/"
    environments |= {folder.partition(mark)[0] for folder in (f"{name}/" for name in direct) if mark in folder}
    sizes: dict[str, int] = {}
    data: dict[str, int] = {}
    patterns: dict[str, int] = {}
    for path, (size, of_data) in direct.items():
        folders = list(_up_to(path))
        pattern = next(filter(None, (_pattern(folder, environments) for folder in folders)), "")
        if pattern:
            patterns[pattern] = patterns.get(pattern, 0) + size
        for folder in folders:
            sizes[folder] = sizes.get(folder, 0) + size
            if not pattern and of_data:
                data[folder] = data.get(folder, 0) + of_data
    largest = _largest(sizes)
    return Clutter(
        sum(size for size, _ in direct.values()),
        tuple(largest),
        tuple(sorted(patterns.items(), key=lambda item: -item[1])),
        tuple((path, size) for path, size in largest if data.get(path, 0) > size / 2),
    )


def _up_to(folder: str) -> Iterator[str]:
    """Yield the directories that a path goes through and the directory itself, the outermost first; not the root."""
    at = folder.find("/")
    while at >= 0:
        yield folder[:at]
        at = folder.find("/", at + 1)
    if folder:
        yield folder


def _pattern(folder: str, environments: set[str]) -> str:
    """Return the pattern that leaves out a directory that is clutter."""
    name = folder.rpartition("/")[2]
    if name in _ANYWHERE:
        return name if name == folder and name == ".git" else f"**/{name}"
    return folder if folder in environments else ""


def _largest(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """Return the largest directories, none of which is inside another."""
    children: dict[str, list[str]] = {}
    for path in sizes:
        children.setdefault(path.rpartition("/")[0], []).append(path)
    largest: list[tuple[str, int]] = []
    for top in sorted(children.get("", ()), key=sizes.__getitem__, reverse=True)[:_SHOWN]:
        path = top
        while inner := max(children.get(path, ()), key=sizes.__getitem__, default=""):
            if sizes[inner] < _MOSTLY * sizes[path]:
                break
            path = inner
        largest.append((path, sizes[path]))
    return largest


def files_of(root: Path) -> Iterator[tuple[str, int]]:
    """Yield the files of a directory, by path below it, and their bytes.

    Links are not followed, and directories that cannot be read are left out.
    """
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        yield path, entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
