"""The parts of a compiled repository: what was found, and the blocks that its Dockerfile is put together of."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

HOME = "/home/jovyan"
"""Where the code is, and what Jupyter's hubs mount a volume on: the environment itself is elsewhere."""
PREFIX = "/srv/env"
"""The environment that Jupyter and the kernel run in."""
PIP_CACHE = "/var/cache/pip"
_OWNED = "uid=1000,gid=1000"


class Use(StrEnum):
    """What is made of a file."""

    USED = "used"
    UNUSED = "not used"
    NOT_DONE = "not done"


class Finding(msgspec.Struct, frozen=True):
    """A file of the repository that repo2docker or a package manager knows, and what is made of it."""

    path: str
    use: Use
    why: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What a language adds to the Dockerfile: each block is an instruction or several, with a comment above them.

    Blocks that depend on no file of the repository come first, then those that depend on files which say what is to be
    installed, then the code, so that what changes often is built on what seldom does.
    """

    base: str
    stages: tuple[str, ...] = ()
    """Whole stages above the last one; `{base}` in them is the base image."""
    system: tuple[str, ...] = ()
    """As root, for every repository of the language."""
    packages: tuple[str, ...] = ()
    """Debian packages that the language needs."""
    variables: dict[str, str] = {}
    path: tuple[str, ...] = ()
    """Directories in front of PATH."""
    tools: tuple[str, ...] = ()
    """As the user, for every repository of the language."""
    dependencies: tuple[str, ...] = ()
    """As the user, from files alone."""
    project: tuple[str, ...] = ()
    """As the user, in the code's directory."""
    activate: tuple[str, ...] = ()
    """The words in front of the command that enter the environment."""
    findings: tuple[Finding, ...] = ()


def run(*commands: str, mounts: Sequence[str] = ()) -> str:
    """Return a RUN of commands, a line each, that all have to go well."""
    lines = [*(f"--mount={mount}" for mount in mounts), " && \\\n    ".join(commands)]
    return "RUN " + " \\\n    ".join(lines)


def block(comment: str, *instructions: str) -> str:
    """Return instructions under a comment."""
    return "\n".join([f"# {comment}", *instructions])


def cache(target: str) -> str:
    """Return a cache mount of the user's: what was fetched once is not fetched again, and is not in the image."""
    return f"type=cache,target={target},{_OWNED}"


def bind(source: str, target: str, stage: str = "") -> str:
    """Return a bind mount of one file of the context, or of a stage."""
    return "type=bind," + (f"from={stage}," if stage else "") + f"source={source},target={target}"
