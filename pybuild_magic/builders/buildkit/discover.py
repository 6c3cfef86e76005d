"""Discovery of builders and of their state: Docker's contexts, buildx's builders, addresses from the settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

import msgspec

from ...errors import BuildError
from ..settings import settings
from .names import BuilderNames

PROBE_SECONDS = 5.0
_LONGEST = 100
"""The most characters of a status."""


class BuilderInfo(msgspec.Struct, frozen=True):
    """A builder, with the state in which it was just found."""

    name: str
    driver: str
    status: str
    """`running`, or a short reason why it cannot be reached."""
    version: str = ""
    """BuildKit's."""
    platforms: tuple[str, ...] = ()


def names() -> list[str]:
    """Return the names of all known builders, without contacting them."""
    named = BuilderNames()
    addresses = [*settings().addresses, os.environ.get("BUILDKIT_HOST", ""), os.environ.get("BUILDX_BUILDER", "")]
    names = [*(instance.name for instance in named.instances()), *named.docker.contexts(), *addresses]
    return list(dict.fromkeys(name for name in names if name and name != "embedded"))


def probe_all(names: Iterable[str]) -> list[BuilderInfo]:
    """Return the state of every builder; all are contacted at the same time."""
    builders: dict[str, BuilderInfo] = {}

    def probe_one(name: str) -> None:
        builders[name] = probe(name)

    order = list(names)
    threads = [threading.Thread(target=probe_one, args=(name,), daemon=True) for name in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [builders[name] for name in order]


def probe(name: str, timeout: float = PROBE_SECONDS) -> BuilderInfo:
    """Return the state of one builder."""
    from .connect import Connection

    driver = ""
    try:
        address = BuilderNames().find(name, settings().tls)
        if address is None:
            return BuilderInfo(name, "", "not known")
        driver = address.driver
        connection = Connection(address, min(timeout, settings().connect_timeout))
    except BuildError as error:
        return BuilderInfo(name, driver, _brief(error.message.removeprefix(f"The builder {name} ")))
    try:
        platforms = dict.fromkeys(
            "/".join(part for part in (platform.OS, platform.Architecture, platform.Variant) if part)
            for worker in connection.workers
            for platform in worker.platforms
        )
        return BuilderInfo(name, driver, "running", connection.version, tuple(platforms))
    finally:
        connection.close()


def _brief(reason: str) -> str:
    """Return a single line, for a table; using the builder shows the full error."""
    line = reason.partition("\n")[0].removesuffix(".")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
