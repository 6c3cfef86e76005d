"""The places of Bake files: the working directory, standard input, a Git repository, or a URL."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..cancel import Cancel
from ..dockerfile.git_ref import parse_git_ref
from ..errors import ContextError, UsageError
from ..golang.path import clean_path, join_path
from ..portable import kind_of, user_path
from ..request.options import BuildOptions
from ..request.parse import parse_options
from ..request.values import is_remote
from ..store.decompress import MAGIC_SIZE, compression_of
from ..temporary import temporary_directory
from .run import Progress, run

DEFAULTS = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
"""The files that are read when none is named, as far as they exist."""
WORKING_DIRECTORY = "cwd://"
"""The prefix of a path on this machine, for a definition that comes from elsewhere."""
_NAME_ONE = "Add a docker-bake.hcl, or name a file with -f."
_LONGEST = 2 << 20
"""The maximum bytes of a definition from elsewhere, as in buildx."""
_COMPRESSIONS = ("bzip2", "gzip", "xz")
"""The compressions by which a definition is taken for an archive, as in BuildKit."""

Watch = Callable[[BuildOptions, Cancel], Progress | None]
"""Opens a display for the build that the options describe."""


class Origin(msgspec.Struct, frozen=True):
    """The repository or archive that a definition comes from, with the files that its targets are built from."""

    url: str
    is_git: bool = True

    def context(self, path: str) -> str:
        """Return the URL of a directory in it. Raises UsageError for a directory in an archive."""
        directory = clean_path(path)
        if directory == ".":
            return self.url
        if not self.is_git:
            raise UsageError(f"An archive is a context only as a whole: {directory} in it cannot be one.")
        base, _, fragment = self.url.partition("#")
        ref, _, above = fragment.partition(":")
        return f"{base}#{ref}:{join_path(above, directory)}"

    def credentials(self, environ: Mapping[str, str] = os.environ) -> list[str]:
        """Return the flags that let a build read a private repository, as far as the environment has credentials."""
        if not self.is_git:
            return []
        words = [
            f"--secret=id={name},env=BUILDX_BAKE_{name}"
            for name in ("GIT_AUTH_TOKEN", "GIT_AUTH_HEADER")
            if environ.get(f"BUILDX_BAKE_{name}")
        ]
        ssh = self.url.startswith(("git@", "ssh://")) and (environ.get("SSH_AUTH_SOCK") or environ.get(_KEYS))
        return [*words, f"--ssh=default={environ[_KEYS]}" if environ.get(_KEYS) else "--ssh=default"] if ssh else words


_KEYS = "BUILDX_BAKE_GIT_SSH"


def split_words(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Split the words of a command into the URL of the definition, the context of the command, and the targets."""
    urls = list(words[:2]) if words and is_remote(words[0]) else []
    if len(urls) == 2 and not is_remote(urls[1]):
        urls.pop()
    url, context = [*urls, "", ""][:2]
    return url, context or WORKING_DIRECTORY, list(words[len(urls) :])


def read_local(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names and texts of files, by default those in DEFAULTS. Raises ContextError."""
    files: list[tuple[str, str]] = []
    chosen = names or [name for name in DEFAULTS if kind_of(Path(name))]
    if not chosen:
        raise ContextError("There is no Bake file here.", hint=_NAME_ONE)
    for name in chosen:
        name = name.removeprefix(WORKING_DIRECTORY)
        try:
            files.append((name, sys.stdin.read() if name == "-" else user_path(name).read_text("utf-8")))
        except OSError as error:
            raise ContextError(f"{name} cannot be read: {error.strerror or error}.") from None
        except UnicodeDecodeError:
            raise ContextError(f"{name} is not a text file.") from None
    return files


def reader(origin: Origin | None) -> Callable[[str], str | None]:
    """Return a function that reads the files which a Compose file names, and the working directory's `.env`.

    A definition from elsewhere must not read this machine's files.
    """

    def read(name: str) -> str | None:
        path = user_path(name)
        if kind_of(path) != "file":
            return None
        if origin is not None and name != ".env":
            raise UsageError(f"A Compose file from {origin.url} names {name}, which is on this machine.")
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ContextError(f"{name} cannot be read: {getattr(error, 'strerror', '') or 'it is no text'}.") from None

    return read


def read_remote(
    url: str, names: Sequence[str], flags: Sequence[str], watch: Watch, cancel: Cancel
) -> tuple[list[tuple[str, str]], Origin | None]:
    """Return files from a repository or archive, or the file at the URL, and the origin of the targets' contexts.

    They are fetched, as a context would be, by the builder that the `flags` of a build name. Raises BuildError.
    """
    reader = _Reader(url, flags, watch, cancel)
    is_git = parse_git_ref(url) is not None
    if not is_git:
        definition = reader.read("-", f"FROM scratch\nADD {json.dumps([url, '/0/definition'])}\n")["0/definition"]
        if not _is_archive(definition):
            return [(url, _text(url, definition))], None
    remote_names = [name for name in names if not name.startswith(WORKING_DIRECTORY)]
    chosen = remote_names or ([] if names else DEFAULTS)
    sources = [_pattern(name, exact=bool(remote_names)) for name in chosen]
    copies = [f"COPY {json.dumps([source, f'/{number}/'])}" for number, source in enumerate(sources)]
    files = reader.read(url, "\n".join(["FROM scratch", *copies, ""])) if copies else {}
    read = [
        (name, _text(name, files[path]))
        for number, name in enumerate(chosen)
        if (path := f"{number}/{Path(name).name}") in files
    ]
    local = [name for name in names if name.startswith(WORKING_DIRECTORY)]
    if not read and not local:
        raise ContextError(f"There is no Bake file in {url}.", hint=_NAME_ONE)
    return [*read, *(read_local(local) if local else [])], Origin(url, is_git)


class _Reader:
    """Reads files by builds that have them as their result."""

    def __init__(self, url: str, flags: Sequence[str], watch: Watch, cancel: Cancel) -> None:
        self._flags = [*flags, *Origin(url, is_git=parse_git_ref(url) is not None).credentials()]
        self._watch = watch
        self._cancel = cancel

    def read(self, context: str, dockerfile: str) -> dict[str, bytes]:
        with temporary_directory("pybuild-bake-") as place:
            words = [*self._flags, f"--output=type=local,dest={place}", "--provenance=false", context]
            options = parse_options(words, dockerfile=dockerfile)
            run(options, self._watch(options, self._cancel), self._cancel)
            files: dict[str, bytes] = {}
            for path in sorted(Path(place).rglob("*")):
                if path.is_file() and not path.is_symlink():
                    with path.open("rb") as file:
                        files[path.relative_to(place).as_posix()] = file.read(_LONGEST + 1)
            return files


def _pattern(name: str, *, exact: bool) -> str:
    """Return the source of a COPY for a file: its name, or a pattern, which may match nothing."""
    quoted = "".join(f"\\{char}" if char in "*?[\\" else char for char in name)
    return quoted if exact else f"{quoted[:-1]}[{quoted[-1]}]"


def _is_archive(data: bytes) -> bool:
    return compression_of(data[:MAGIC_SIZE]) in _COMPRESSIONS or data[257:262] == b"ustar"


def _text(name: str, data: bytes) -> str:
    if len(data) > _LONGEST:
        raise ContextError(f"{name} is too large: a definition has at most {_LONGEST >> 20} MiB.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ContextError(f"{name} is not a text file.") from None
