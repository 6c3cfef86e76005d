"""The secrets of a build, which are read when a step asks for them and kept nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..errors import UsageError
from ..portable import user_path

MAX_SIZE = 500 * 1024
"""The most bytes of a secret, as in BuildKit."""


class SecretSource(msgspec.Struct, frozen=True):
    """The source of a secret: the environment variable `env` if given, else a file."""

    id: str
    path: str = ""
    env: str = ""


class SecretStore:
    """Secrets by id. Raises `UsageError` at once for a file that is missing or too large.

    If neither a file nor a variable is given, the id names the variable or, if that is not set, the file, as in
    BuildKit's client.
    """

    def __init__(self, sources: tuple[SecretSource, ...] = (), environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._sources: dict[str, SecretSource] = {}
        for source in sources:
            if not source.env and not source.path:
                known = source.id in self._environ
                source = SecretSource(source.id, env=source.id if known else "", path="" if known else source.id)
            if not source.env:
                self._check(source)
            self._sources[source.id] = source

    def _check(self, source: SecretSource) -> None:
        path = user_path(source.path)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise UsageError(f"The secret {source.id} cannot be read from {source.path}: {error.strerror}.") from error
        if size > MAX_SIZE:
            raise UsageError(f"The secret {source.id} has {size} bytes; at most {MAX_SIZE} are possible.")

    def get(self, id: str) -> bytes | None:  # noqa: A002 - BuildKit's name
        """Return the current value; b"" for a variable that is not set, and None for a secret that was not given."""
        source = self._sources.get(id)
        if source is None:
            return None
        if source.env:
            return self._environ.get(source.env, "").encode("utf-8", "surrogateescape")
        self._check(source)
        return user_path(source.path).read_bytes()
