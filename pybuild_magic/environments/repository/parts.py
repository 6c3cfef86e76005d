"""The parts of a compiled repository: findings, and the blocks of its Dockerfile."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

HOME = "/home/jovyan"
"""The directory of the code, over which Jupyter's hubs mount a volume; the environment itself is elsewhere."""
PREFIX = "/srv/env"
"""The environment in which Jupyter and the kernel run."""
PIP_CACHE = "/var/cache/pip"
_OWNED = "uid=1000,gid=1000"


class Use(StrEnum):
    """The use of a file."""

    USED = "used"
    UNUSED = "not used"
    NOT_DONE = "not done"


class Finding(msgspec.Struct, frozen=True):
    """A file of the repository known to repo2docker or a package manager, and its use."""

    path: str
    use: Use
    why: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The contribution of a language to the Dockerfile: each block is one or several instructions under a comment.

    Blocks that use no file of the repository come first, then those that use files listing what to install, then the
    code, so that parts that change often come after parts that seldom do.
    """

    base: str
    stages: tuple[str, ...] = ()
    """Whole stages before the last one; `{base}` in them is the base image."""
    system: tuple[str, ...] = ()
    """Run as root, for every repository of the language."""
    packages: tuple[str, ...] = ()
    """Debian packages that the language needs."""
    variables: dict[str, str] = {}
    path: tuple[str, ...] = ()
    """Directories to prepend to PATH."""
    tools: tuple[str, ...] = ()
    """Run as the user, for every repository of the language."""
    dependencies: tuple[str, ...] = ()
    """Run as the user, with files only."""
    project: tuple[str, ...] = ()
    """Run as the user, in the code's directory."""
    activate: tuple[str, ...] = ()
    """The words before a command that activate the environment."""
    findings: tuple[Finding, ...] = ()


def run(*commands: str, mounts: Sequence[str] = ()) -> str:
    """Return a RUN of commands, one per line, all of which must succeed."""
    lines = [*(f"--mount={mount}" for mount in mounts), " && \\\n    ".join(commands)]
    return "RUN " + " \\\n    ".join(lines)


def block(comment: str, *instructions: str) -> str:
    """Return instructions under a comment."""
    return "\n".join([f"# {comment}", *instructions])


def cache(target: str) -> str:
    """Return a cache mount for the user: downloads are kept between builds, and are not in the image."""
    return f"type=cache,target={target},{_OWNED}"


def bind(source: str, target: str, stage: str = "") -> str:
    """Return a bind mount of one file of the context, or of a stage."""
    return "type=bind," + (f"from={stage}," if stage else "") + f"source={source},target={target}"
