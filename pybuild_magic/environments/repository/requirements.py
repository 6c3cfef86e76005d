"""`requirements.txt`: the distributions that it names, and whether it can be installed before the code is copied."""

from __future__ import annotations

import posixpath
import re

import msgspec

from ...errors import ContextError
from .files import RepositoryFiles

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PLAIN = re.compile(r"[A-Za-z0-9_.+/-]+")
"""Paths that need no quoting in a Dockerfile, where mounts are separated by commas and words by spaces."""
_FILES = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s+|=)?(.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s+|=)?(.+)")
_REMOTE = re.compile(r"(?:git|hg|svn|bzr)\+|https?://|ftp://", re.IGNORECASE)
_HASH = re.compile(r"--hash[=\s]\s*(\S+)")
_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{64}|sha384:[0-9a-fA-F]{96}|sha512:[0-9a-fA-F]{128}")
"""The hashes that pip takes."""
_MOST = 100


class Requirements(msgspec.Struct, frozen=True):
    """The contents of a `requirements.txt` and of the files that it includes."""

    files: tuple[str, ...]
    """Paths in the repository: the file, and those that it includes."""
    names: frozenset[str]
    """The distributions, in normal form."""
    local: str = ""
    """The reason why the code must be copied first; "" when it need not be."""
    itself: bool = False
    """Whether it installs the repository itself."""


def read_requirements(files: RepositoryFiles, path: str) -> Requirements:
    """Read a requirements file and its includes. Raises ContextError for a missing file and a bad hash."""
    seen, names, local, itself = list[str](), set[str](), "", False
    todo = [path]
    while todo:
        current = todo.pop(0)
        if current in seen:
            continue
        text = files.text(current)
        if text is None:
            raise ContextError(f"{path} includes {current}, which is not in the repository.")
        seen.append(current)
        if len(seen) > _MOST:
            raise ContextError(f"{path} includes more than {_MOST} files.")
        for line in _lines(text):
            for digest in _HASH.findall(line):
                if not _DIGEST.fullmatch(digest):
                    raise ContextError(
                        f"{current} has the hash {digest[:80]}, which is not valid.",
                        hint="pip takes sha256:, sha384: and sha512:, each with all of its hexadecimal digits.",
                    )
            if match := _FILES.fullmatch(line):
                included = match[1].strip().strip("\"'")
                if _REMOTE.match(included):
                    continue
                included = posixpath.normpath(posixpath.join(posixpath.dirname(current), included))
                if included.startswith(("/", "..")):
                    raise ContextError(f"{current} includes {included[:80]}, which is not in the repository.")
                if not _PLAIN.fullmatch(included):
                    local = local or f"{included[:80]!r} is included"
                todo.append(included)
                continue
            target_spec = match[1].strip() if (match := _EDITABLE.fullmatch(line)) else line
            if _is_local(target_spec):
                local = local or f"it installs {target_spec[:80]}"
                target = posixpath.normpath(posixpath.join(posixpath.dirname(current), target_spec.partition("[")[0]))
                itself = itself or target == "." or posixpath.normpath(target_spec.partition("[")[0]) == "."
            elif not line.startswith("-") and (match := _NAME.match(line)):
                names.add(normal_name(match[1]))
    return Requirements(tuple(seen), frozenset(names), local, itself)


def normal_name(name: str) -> str:
    """Return the name of a distribution as an index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_plain(path: str) -> bool:
    """Return whether a path needs no quoting in a Dockerfile."""
    return _PLAIN.fullmatch(path) is not None


def _lines(text: str) -> list[str]:
    joined = re.sub(r"\\\n", "", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.split("\n"))
    return [line for line in lines if line]


def _is_local(requirement: str) -> bool:
    """Return whether a requirement is a path, or an irrelevant option."""
    if _REMOTE.match(requirement) or requirement.startswith("-"):
        return False
    if re.search(r"@\s*file:", requirement) or requirement.startswith("file:"):
        return True
    return (
        requirement.startswith(("./", "../", "/"))
        or requirement.partition("[")[0] in (".", "..")
        or _is_path(requirement)
    )


def _is_path(requirement: str) -> bool:
    word = re.split(r"[\s;\[]", requirement, maxsplit=1)[0]
    return ("/" in word and "@" not in word) or word.endswith((".whl", ".tar.gz", ".zip"))
