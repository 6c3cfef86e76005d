"""A lock as `pylock.toml` (PEP 751), which pip and uv install, and other tools read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..untrusted.redaction import split_credentials
from .index import File
from .lock import Locked
from .target import TargetPython

NAME = "pylock.toml"
SOURCES = "pylock.sources.toml"
"""The lock of distributions that are built first; a second lock has its name between two dots."""
INSTALLER = "pip>=26.3"
"""The first pip that installs such a lock with repositories in it. Pythons bring older ones."""


def text(locked: Iterable[Locked], target: TargetPython) -> str:
    """Return the text of a lock that is valid for the target alone."""
    import tomli_w

    places = f"sys_platform == 'linux' and platform_machine == '{target.machine}' and implementation_name == 'cpython'"
    return tomli_w.dumps(
        {
            "lock-version": "1.0",
            "environments": [places],
            "requires-python": f"=={target.python}.*",
            "created-by": "pybuild_magic",
            "packages": [_package(distribution) for distribution in locked],
        }
    )


def _package(locked: Locked) -> dict[str, Any]:
    name, version = locked.distribution.name, locked.distribution.version
    origin = locked.distribution.origin
    if locked.files:
        package: dict[str, Any] = {"name": name, "version": version}
        if locked.built:
            package["sdist"] = _file(locked.files[0])
        else:
            package["wheels"] = [_file(file) for file in locked.files]
        return package
    assert origin is not None
    where: dict[str, Any] = {"url": split_credentials(origin.url)[0]}
    if origin.subdirectory:
        where["subdirectory"] = origin.subdirectory
    if origin.vcs:  # the code alone knows its version
        return {"name": name, "vcs": {"type": origin.vcs, **where, "commit-id": origin.commit}}
    return {"name": name, "version": version, "archive": {**where, "hashes": {"sha256": locked.hashes[0]}}}


def _file(file: File) -> dict[str, Any]:
    return {"name": file.filename, "url": split_credentials(file.url)[0], "hashes": {"sha256": file.sha256}}
