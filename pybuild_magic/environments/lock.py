"""A locked environment: each distribution, with the digests of the files that the target may install."""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from ..errors import SourceError
from ..untrusted.redaction import split_credentials
from .index import File, Indexes
from .installed import Distribution, Environment, distribution_of, normalised
from .needs import missing
from .target import TargetPython
from .wheels import wheel_of

_AT_ONCE = 8
_ROUNDS = 20
"""The maximum depth of dependencies of added distributions."""


VCS = {"git": "git", "hg": "mercurial", "svn": "subversion", "bzr": "brz"}
"""The Debian packages of the version control systems that pip knows."""


class Locked(msgspec.Struct, frozen=True):
    """The way to obtain a distribution again. One with a `wheel` is put beside the Dockerfile."""

    distribution: Distribution
    requirement: str
    """The line for the installer, without digests."""
    hashes: tuple[str, ...] = ()
    """sha256 digests in hexadecimal."""
    files: tuple[File, ...] = ()
    """The files of indexes, for a distribution that comes from one."""
    built: bool = False
    """Whether a wheel must be built from it first."""
    wheel: tuple[str, bytes] | None = None
    """The file name and content of a wheel."""

    def line(self, *, hashes: bool) -> str:
        """Return the line for a requirements file."""
        if not hashes or not self.hashes:
            return self.requirement
        return " \\\n    ".join((self.requirement, *(f"--hash=sha256:{digest}" for digest in self.hashes)))


class Lock(msgspec.Struct, frozen=True):
    """The installed distributions, by name, with notes about them."""

    locked: tuple[Locked, ...]
    notes: tuple[str, ...] = ()

    def lines(self, *, built: bool, hashes: bool) -> str:
        """Return the requirements file of distributions from indexes: those with wheels, or those to be built."""
        return "".join(f"{locked.line(hashes=hashes)}\n" for locked in self.fetched(built=built))

    def fetched(self, *, built: bool) -> tuple[Locked, ...]:
        """Return the distributions from elsewhere: those with wheels, or those to be built."""
        return tuple(locked for locked in self.locked if locked.wheel is None and locked.built is built)

    @property
    def wheels(self) -> dict[str, bytes]:
        """The wheels beside the Dockerfile, by file name."""
        return dict(locked.wheel for locked in self.locked if locked.wheel is not None)


def lock(environment: Environment, target: TargetPython, indexes: Indexes) -> Lock:
    """Find a way to obtain each distribution again. Raises a SourceError that names all those without one."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(partial(_lock_one, target=target, indexes=indexes), environment.values()))
    failures = [answer for answer in answers if isinstance(answer, str)]
    if failures:
        raise SourceError(
            "\n".join(failures),
            hint="Install a version that an index has for this Python, choose another Python (--python), or leave it "
            "out: --only-imports keeps just the notebook's imports.",
        )
    pairs = cast("list[tuple[Locked, str]]", answers)
    return Lock(tuple(locked for locked, _ in pairs), tuple(note for _, note in pairs if note))


def complete(environment: Environment, names: Sequence[str], target: TargetPython, indexes: Indexes) -> Environment:
    """Add the distributions `names`, and dependencies that only the target has, in their latest matching versions.

    Raises SourceError for a distribution that no index has.
    """
    whole = dict(environment)
    todo = [Requirement(text) for text in names if normalised(Requirement(text).name) not in whole]
    for _ in range(_ROUNDS):
        for requirement in todo:
            name = normalised(requirement.name)
            if name not in whole:
                whole[name] = _newest(requirement, target, indexes)
        added = {name: package for name, package in whole.items() if name not in environment}
        todo = [requirement for _, requirement in missing(added, whole, target)]
        if not todo:
            break
    return dict(sorted(whole.items()))


def _newest(requirement: Requirement, target: TargetPython, indexes: Indexes) -> Distribution:
    files = [file for file in indexes.files(normalised(requirement.name)) if file.wheel and file.suits(target)]
    versions = {file.version for file in files if file.yanked is None}
    fitting = list(requirement.specifier.filter(versions, prereleases=None))
    if not fitting:
        raise SourceError(f"No index has a wheel of {requirement} for Python {target.python} on {target.machine}.")
    releases = [version for version in fitting if not version.is_prerelease] or fitting
    file = next(file for file in files if file.version == max(releases))
    distribution = distribution_of(indexes.metadata(file))
    if distribution is None:
        raise SourceError(f"The metadata of {file.filename} cannot be read.")
    return distribution


def _lock_one(package: Distribution, target: TargetPython, indexes: Indexes) -> tuple[Locked, str] | str:
    """Return the way to obtain a distribution again, with notes, or the reason why there is none."""
    origin = package.origin
    if origin is None:
        return _from_index(package, target, indexes)
    part = f"#subdirectory={origin.subdirectory}" if origin.subdirectory else ""
    if origin.vcs and origin.vcs not in VCS:
        return f"{package.pinned} is from a repository of {origin.vcs[:40]!r}, from which pip cannot install."
    if origin.vcs:
        url, userinfo = split_credentials(origin.url)
        if userinfo and userinfo != "git":
            note = f"{package.name} is in a repository that needs a password, which the build must be given."
        else:
            note = ""
        return Locked(package, f"{package.name} @ {origin.vcs}+{url}@{origin.commit}{part}", built=True), note
    if not origin.path:
        url, _ = split_credentials(origin.url)
        digest = origin.hashes.get("sha256", "")
        if not digest:
            return (
                f"{package.pinned} was installed from {url} without a recorded digest: "
                "install it again with pip 23 or later."
            )
        return Locked(package, f"{package.name} @ {url}{part}", (digest,), built=not url.endswith(".whl")), ""
    path = Path(origin.path)
    if path.is_dir():
        name, content = wheel_of(path)
        return _local(package, name, content, target, f"{package.name} comes from the directory {path}")
    if path.is_file() and path.suffix == ".whl":
        return _local(package, path.name, path.read_bytes(), target, f"{package.name} is the wheel {path}")
    if path.is_file():
        name, content = wheel_of(path)
        return _local(package, name, content, target, f"{package.name} comes from the archive {path}")
    answer = _from_index(package, target, indexes)
    if isinstance(answer, str):
        return f"{package.pinned} was installed from {path}, which no longer exists, and no index has it."
    return answer[0], f"{package.pinned} was installed from {path}, which no longer exists; the index's copy is used."


def _from_index(package: Distribution, target: TargetPython, indexes: Indexes) -> tuple[Locked, str] | str:
    files = indexes.files(package.name, package.version)
    if not files:
        return f"{package.pinned} is in none of the configured indexes: install a version that is, or a wheel of it."
    wheels = [file for file in files if file.wheel and file.suits(target)]
    sources = [file for file in files if not file.wheel and file.suits(target)]
    note = " ".join(
        filter(None, (_yanked(package, wheels or sources), _patch_level(package, wheels or sources, target)))
    )
    remote = [file for file in wheels if not file.path and file.sha256]
    if remote:
        hashes = tuple(sorted({file.sha256 for file in remote}))
        return Locked(package, package.pinned, hashes, tuple(remote)), note
    if wheels:
        file = wheels[0]
        return Locked(package, package.pinned, wheel=(file.filename, file.read())), note
    if sources:
        file = next((file for file in sources if not file.path and file.sha256), None)
        if file is None:
            return f"{package.pinned} has neither a wheel for Python {target.python} nor a source with a digest."
        return Locked(package, package.pinned, (file.sha256,), (file,), built=True), note or _to_build(package, target)
    if not any(file.suits_python(target) for file in files):
        required = min(file.requires_python for file in files)
        return f"{package.pinned} needs Python {required}, and not {target.python}."
    return f"{package.pinned} has no wheel for Python {target.python} on {target.machine}, and no source."


def _to_build(package: Distribution, target: TargetPython) -> str:
    return f"{package.pinned} has no wheel for Python {target.python} on {target.machine}: it is built from source."


def _yanked(package: Distribution, files: Sequence[File]) -> str:
    reasons = [file.yanked for file in files if file.yanked is not None]
    if len(reasons) < len(files) or not reasons:
        return ""
    reason = f": {reasons[0].strip().rstrip('.')}" if reasons[0].strip() else ""
    return (
        f"{package.pinned} was yanked from the index{reason}. It is used all the same; better install another version."
    )


def _patch_level(package: Distribution, files: Sequence[File], target: TargetPython) -> str:
    """Return a note about a distribution that is not for the target's Python, or not for all its patch levels."""
    required = {file.requires_python for file in files if not file.allows(target.release or f"{target.python}.0")}
    if not required or len(required) < len({file.requires_python for file in files}):
        return ""
    if target.release:
        return f"{package.pinned} needs Python {min(required)}, and the base has {target.release}: use a newer base."
    return f"{package.pinned} needs Python {min(required)}: use a base with that version or a later one."


def _local(
    package: Distribution, name: str, content: bytes, target: TargetPython, where: str
) -> tuple[Locked, str] | str:
    supported = parse_wheel_filename(name)[3]
    if not supported & target.tags:
        return f"{where}, but its wheel {name} is not for Python {target.python} on {target.machine}."
    pure = all(tag.platform == "any" for tag in supported)
    note = f"{where}: a wheel of it is included" + ("." if pure else ", compiled on this machine.")
    digest = hashlib.sha256(content).hexdigest()
    return Locked(package, package.pinned, (digest,), wheel=(name, content)), note
