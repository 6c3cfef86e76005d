"""The OCI layouts that a front end gets as contexts, under names that are valid only in this build.

With BuildKit they are on the client's side, as stores of its session. Here they are paths on this machine, which an
image must neither choose nor learn.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from ....images.layout import split_layout
from .result import DefinitionError

_SCHEME = "oci-layout://"
_CONTEXT = "context:"


class Layouts:
    """The layouts of one build, each under the name of a store, as buildx would make it."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        """By name: `PATH[:TAG][@DIGEST]`."""

    def to_frontend(self, attrs: Mapping[str, str], digest: Callable[[str, str], str]) -> dict[str, str]:
        """Return the attributes for a front end. `digest` returns that of a place, given the context's name."""
        renamed = dict(attrs)
        for key, value in attrs.items():
            if key.startswith(_CONTEXT) and value.startswith(_SCHEME):
                place = value.removeprefix(_SCHEME)
                pinned = f"{split_layout(place)[0]}@{digest(place, key.removeprefix(_CONTEXT))}"
                renamed[key] = f"{_SCHEME}{self.name(pinned)}@{pinned.rpartition('@')[2]}"
        return renamed

    def from_frontend(self, attrs: Mapping[str, str]) -> dict[str, str]:
        """Return the attributes that a front end passes to the built-in one. Raises DefinitionError."""
        return {
            key: f"{_SCHEME}{self.place(value.removeprefix(_SCHEME).partition('@')[0])}"
            if key.startswith(_CONTEXT) and value.startswith(_SCHEME)
            else value
            for key, value in attrs.items()
        }

    def name(self, place: str) -> str:
        """Return the name of a place, and remember it."""
        for name, known in self._places.items():
            if known == place:
                return name
        name = secrets.token_hex(12)
        self._places[name] = place
        return name

    def place(self, name: str) -> str:
        """Return the place with a name. Raises DefinitionError for a name that no front end was given."""
        if name not in self._places:
            raise DefinitionError(f"a front end may not read oci-layout://{name}")
        return self._places[name]
