"""The caches that front ends import: those of the user, which BuildKit passes on to them, and others that they name.

A result is looked up in the user's caches whether or not a front end passes them on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ....cache import attributes
from ....cache.imported import ImportedCache
from ....errors import BuildError
from ....request.values import CacheEntry
from ..caches import CacheReader
from .result import DefinitionError

ATTRIBUTE = "cache-imports"
"""The attribute of a front end with the user's caches."""
_MOST = 100
"""The most caches that the front ends of a build import."""


class _Entry(msgspec.Struct, rename="pascal"):
    type: str = ""
    attrs: dict[str, str] | None = None


class CacheImports:
    """The caches of one build's front ends. `use` gives the solver more caches.

    A local cache is a path on this machine, which an image must neither choose nor learn: a front end knows it by a
    name that is valid in this build alone.
    """

    def __init__(
        self, given: Sequence[CacheEntry], reader: CacheReader, use: Callable[[Sequence[ImportedCache]], None]
    ) -> None:
        self._reader = reader
        self._use = use
        self._passed = [_renamed(entry) for entry in given]
        self._known = {_key(entry) for entry in self._passed}

    def to_frontend(self, attrs: Mapping[str, str]) -> dict[str, str]:
        """Return the attributes for a front end, with the user's caches."""
        if not self._passed:
            return dict(attrs)
        entries = [{"Type": entry.type, "Attrs": entry.attrs} for entry in self._passed]
        return {**attrs, ATTRIBUTE: msgspec.json.encode(entries).decode()}

    def from_frontend(self, attrs: Mapping[str, str]) -> None:
        """Import the caches that a front end passes to the built-in one. Raises DefinitionError."""
        if not (text := attrs.get(ATTRIBUTE)):
            return
        try:
            entries = msgspec.json.decode(text, type=list[_Entry])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise DefinitionError(f"failed to unmarshal {ATTRIBUTE} ({text[:200]!r})") from None
        self.read(CacheEntry(entry.type, entry.attrs or {}) for entry in entries)

    def read(self, entries: Iterable[CacheEntry]) -> None:
        """Import the caches of a front end's request, each once: one that is unavailable causes a warning.

        Raises DefinitionError for too many.
        """
        for entry in entries:
            key = _key(entry)
            if key in self._known:
                continue
            if len(self._known) >= _MOST:
                raise DefinitionError(f"a front end imports more than {_MOST} caches")
            self._known.add(key)
            if entry.type == "local":
                self._reader.skip(
                    f"type=local,src={entry.attrs.get('src', '')}",
                    "A front end imports only those local caches that --cache-from names.",
                )
                continue
            try:
                values = attributes.check_import(entry.type, entry.attrs)
            except BuildError as error:
                self._reader.skip(str(entry), error.message)
                continue
            self._use(self._reader.read(entry.type, values))


def _renamed(entry: CacheEntry) -> CacheEntry:
    """Return a user's cache as a front end knows it."""
    return CacheEntry(entry.type, {**entry.attrs, "src": secrets.token_hex(12)}) if entry.type == "local" else entry


def _key(entry: CacheEntry) -> str:
    """Return what tells a cache from another, as BuildKit does."""
    ref = entry.attrs.get("ref", "")
    return ref if entry.type == "registry" and ref else repr((entry.type, sorted(entry.attrs.items())))
