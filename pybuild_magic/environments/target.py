"""The Python for which an environment is made: its version and platform, accepted wheels, and markers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from typing import cast

import msgspec
from packaging import tags
from packaging.markers import default_environment

from ..errors import UsageError
from ..oci import platform as platforms

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}
"""Python's names of architectures that OCI names differently."""
_NEWEST_GLIBC = 45
"""The glibc minor version up to which wheels are accepted; pip in the image chooses among them by its own."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


class TargetPython(msgspec.Struct, frozen=True, dict=True):
    """CPython `version`, such as (3, 12), on Linux with glibc; `machine` is Python's name of the architecture."""

    version: tuple[int, int]
    machine: str
    release: str = ""
    """The exact version, such as `3.12.1`; "" where that is not known yet."""

    @property
    def python(self) -> str:
        """The version as `3.12`."""
        return f"{self.version[0]}.{self.version[1]}"

    @cached_property
    def tags(self) -> frozenset[tags.Tag]:
        """The tags of all acceptable wheels."""
        names = list(self._platforms())
        interpreter = f"cp{self.version[0]}{self.version[1]}"
        return frozenset(
            (
                *tags.cpython_tags(self.version, platforms=names),
                *tags.compatible_tags(self.version, interpreter, names),
            )
        )

    def _platforms(self) -> Iterator[str]:
        for minor in range(_NEWEST_GLIBC, 4, -1):
            yield f"manylinux_2_{minor}_{self.machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{self.machine}"
        yield f"linux_{self.machine}"

    @cached_property
    def markers(self) -> dict[str, str]:
        """The values of environment markers on it."""
        here = default_environment()
        there = {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "sys_platform": "linux",
            "python_version": self.python,
        }
        if self.version != sys.version_info[:2]:
            there["python_full_version"] = there["implementation_version"] = f"{self.python}.99"
        return {**cast("dict[str, str]", here), **there, "extra": ""}


def target(python: str = "", platform: str = "") -> TargetPython:
    """Return the target of `--python X.Y` (by default this Python's version) and of a platform of images.

    Raises UsageError for an invalid version, and for a platform other than Linux.
    """
    version = sys.version_info[:2]
    if python:
        major, _, minor = python.partition(".")
        if not (major == "3" and minor.isdigit()):
            raise UsageError(f"--python {python} is not a valid version.", hint="Write it as 3.12.")
        version = (3, int(minor))
    requested = platforms.parse(platform) if platform else platforms.host()
    if requested.os != "linux":
        raise UsageError(f"Environments are made for Linux, not for {requested.os}.")
    return TargetPython(version, _MACHINES.get(requested.architecture, requested.architecture))
