"""The base image of an environment: its Python, and the programs in it that a Dockerfile could use."""

from __future__ import annotations

import datetime
import posixpath
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ..builders import embedded_builder
from ..errors import UsageError
from ..oci import reference
from ..oci.config import DEFAULT_PATH_UNIX
from ..run import find_image
from ..store import resolve
from ..store.links import LinkLoopError
from ..store.tree import Tree
from .target import TargetPython

_MORE_PLACES = ("/opt/conda/bin", "/opt/venv/bin")
_PROGRAM = re.compile(r"python(?:3(?:\.\d+)?)?")
_VERSION = re.compile(r"python(3\.\d+)")
_LARGEST = 128 << 20
"""The maximum bytes of a program that are searched."""
_OF_PYTHON = re.compile(r"(?:docker\.io/library/)?python[:@]")
_ITS_VERSION = re.compile(r"(?:docker\.io/library/)?python:(3\.\d+)(?!\d).*")
_OF_DEBIAN = re.compile(r"(?:docker\.io/library/)?(?:python|debian|ubuntu|buildpack-deps)[:@]")
"""Images that are known to have apt without inspection."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base image. One that is not yet in the store is assumed to be a Debian image with Python."""

    image: str
    python: str
    """The interpreter, as a RUN command."""
    files: Tree | None = None
    """Its file system, if the store has it."""
    has_apt: bool = True
    has_find: bool = True
    """Whether it has find, sort, xargs and nproc."""
    has_useradd: bool = True
    has_ensurepip: bool = True
    """Whether `python -m venv` can install pip; in Debian this is a separate package."""
    has_headers: bool = True
    """Whether C extensions can be compiled without a package for that."""
    release: str = ""
    """The exact version of its Python, such as `3.12.1`; "" if unknown."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it may turn out to lack Python."""
        return self.files is None and not _OF_PYTHON.match(f"{self.image}:")

    @property
    def may_lack_apt(self) -> bool:
        """Whether it may turn out to lack apt."""
        return self.files is None and not _OF_DEBIAN.match(f"{self.image}:")


class _Interpreter(msgspec.Struct, frozen=True):
    """A Python in an image. `place` is the path of its program, with all links resolved."""

    program: str
    """The command that starts it."""
    version: str
    """Its version, such as `3.12`."""
    library: str
    """The directory of its standard library."""
    place: str


@contextmanager
def opened(image: str, target: TargetPython) -> Generator[Base]:
    """Yield the facts about a base image.

    Raises UsageError for an image that is unsuitable for the target, as far as the store or its name tells.
    """
    builder = embedded_builder()
    if builder.store.images.get(str(reference.parse(image).tagged())) is None:
        if (its := _ITS_VERSION.fullmatch(image)) and its[1] != target.python:
            raise _without(image, [its[1]], target)
        _check_released(target)
        of_python = _OF_PYTHON.match(f"{image}:") is not None
        yield Base(image=image, python=f"python{target.python}", has_headers=of_python)
        return
    with builder.store.lease():
        image_here = find_image(image)
        yield _looked_into(image, builder.store.tree(image_here.snapshot), image_here.config.config.search_path, target)


def _without(image: str, versions: Sequence[str], target: TargetPython) -> UsageError:
    """Return the error about an image that has only other versions of Python."""
    hint = (
        f"It has Python {', '.join(versions)}: use --python {versions[0]}, or another base."
        if versions
        else f"It has no Python at all: use another base, such as python:{target.python}-slim."
    )
    return UsageError(f"The base image {image} has no python{target.python}.", hint=hint)


def _check_released(target: TargetPython) -> None:
    """Raise UsageError for a version of Python that cannot exist yet.

    Python 3.N is released in October of the year 2011 + N (PEP 602), and can be tried for a year before.
    """
    today = datetime.datetime.now(datetime.UTC)
    newest = today.year - 2011 - (today.month < 10)
    if target.version[1] > newest + 1:
        raise UsageError(f"There is no Python {target.python} yet.", hint=f"The newest should be --python 3.{newest}.")


def _looked_into(image: str, files: Tree, folders: Sequence[str], target: TargetPython) -> Base:
    folders = folders or DEFAULT_PATH_UNIX.split(":")
    interpreters = list(_interpreters(files, folders))
    fitting = next((interpreter for interpreter in interpreters if interpreter.version == target.python), None)
    if fitting is None:
        raise _without(image, list(dict.fromkeys(interpreter.version for interpreter in interpreters)), target)
    if _has_any(files, ("/lib", "/usr/lib"), re.compile(r"ld-musl-.*")):
        raise UsageError(
            f"The base image {image} uses musl, but environments are locked for glibc.",
            hint=f"Use another base, such as python:{target.python}-slim.",
        )

    def has(*programs: str) -> bool:
        return all(any(_is_there(files, f"{folder}/{name}") for folder in folders) for name in programs)

    base = Base(
        image=image,
        python=fitting.program,
        files=files,
        has_apt=has("apt-get"),
        has_find=has("find", "sort", "xargs", "nproc"),
        has_useradd=has("getent", "useradd"),
        has_ensurepip=_is_there(files, f"{fitting.library}/ensurepip/__init__.py"),
        has_headers=_is_there(files, _headers(fitting)),
        release=_release(files, fitting),
    )
    if not base.has_ensurepip and not base.has_apt:
        raise UsageError(
            f"The Python of the base image {image} lacks ensurepip, so no environment can be created with it.",
            hint=f"Use a base that has it, such as python:{target.python}-slim.",
        )
    return base


def release_of(files: Tree, folders: Sequence[str]) -> str:
    """Return the exact version of the first Python in the given directories of an image; "" if unknown."""
    return next((_release(files, interpreter) for interpreter in _interpreters(files, folders)), "")


def _release(files: Tree, interpreter: _Interpreter) -> str:
    """Return the exact version of an interpreter, which is a text in its program or in its shared library."""
    pattern = re.compile(rb"\0(" + re.escape(interpreter.version).encode() + rb"\.\d+(?:(?:a|b|rc)\d+)?)\+?\0")
    folder = posixpath.dirname(interpreter.library)
    for path in (interpreter.place, f"{folder}/libpython{interpreter.version}.so.1.0"):
        entry = files.get(_followed(files, path))
        if (
            entry is not None
            and entry.is_file
            and entry.size <= _LARGEST
            and (match := pattern.search(files.read(entry)))
        ):
            return match[1].decode()
    return ""


def _interpreters(files: Tree, folders: Sequence[str]) -> Iterator[_Interpreter]:
    """Return the Pythons of an image that have a usual name: those on its PATH first, the most exact names first."""
    for folder in dict.fromkeys((*folders, *_MORE_PLACES)):
        names = [entry.path.rpartition("/")[2] for entry in files.children(_followed(files, folder))]
        for name in sorted((name for name in names if _PROGRAM.fullmatch(name)), key=len, reverse=True):
            place = f"/{_followed(files, f'{folder}/{name}')}"
            libraries = _libraries(files, posixpath.dirname(posixpath.dirname(place)))
            # The name of the program that links lead to has the version; if not, a single library directory tells it.
            versions = [match[1] for text in (posixpath.basename(place), name) if (match := _VERSION.fullmatch(text))]
            version = versions[0] if versions else next(iter(libraries)) if len(libraries) == 1 else ""
            if version in libraries and files.get(place[1:]) is not None:
                program = name if folder in folders else f"{folder}/{name}"
                yield _Interpreter(program, version, libraries[version], place)


def _libraries(files: Tree, prefix: str) -> dict[str, str]:
    """Return the directories of standard libraries below a prefix, by Python version."""
    programs: dict[str, str] = {}
    for folder in (f"{prefix}/lib64", f"{prefix}/lib"):
        for entry in files.children(_followed(files, folder)):
            match = _VERSION.fullmatch(entry.path.rpartition("/")[2])
            if match and _is_there(files, f"{entry.path}/os.py"):
                programs[match[1]] = f"/{entry.path}"
    return programs


def _headers(interpreter: _Interpreter) -> str:
    prefix = posixpath.dirname(posixpath.dirname(interpreter.library))
    return f"{prefix}/include/python{interpreter.version}/Python.h"


def _has_any(files: Tree, folders: Sequence[str], name: re.Pattern[str]) -> bool:
    return any(
        name.fullmatch(entry.path.rpartition("/")[2])
        for folder in folders
        for entry in files.children(_followed(files, folder))
    )


def _is_there(files: Tree, path: str) -> bool:
    return files.get(_followed(files, path)) is not None


def _followed(files: Tree, path: str) -> str:
    """Return the path that a path in an image leads to; the path itself if it leads nowhere."""
    try:
        return resolve(files, path.strip("/"))
    except LinkLoopError:
        return path.strip("/")
