"""The builders: who solves a request. One is built in; what a builder is, and choosing one by name."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ..errors import UnsupportedError, nearest
from .builder import Builder, SolveResponse

if TYPE_CHECKING:
    from .buildkit.address import Address
    from .embedded.builder import EmbeddedBuilder

__all__ = ["EMBEDDED", "Builder", "SolveResponse", "choose", "close", "default_name", "embedded_builder", "use"]

EMBEDDED = "embedded"


_embedded: EmbeddedBuilder | None = None
_lock = threading.Lock()


def embedded_builder() -> EmbeddedBuilder:
    """Return the embedded builder of this process, on the user's store."""
    global _embedded
    from ..store.store import default_root
    from .embedded.builder import EmbeddedBuilder

    with _lock:
        if _embedded is None or _embedded.store.root != default_root():
            _embedded = EmbeddedBuilder()
        return _embedded


def close(*, collect: bool = False) -> None:
    """End the embedded builder of this process, if there is one; the next use makes another.

    `collect`: a store that builds have made too large is collected first, where that otherwise goes on meanwhile.
    """
    global _embedded
    with _lock:
        closed, _embedded = _embedded, None
    if closed is not None:
        closed.close(collect=collect)


_used = ""
_daemons: dict[Address, Builder] = {}


def choose(name: str = "") -> Builder:
    """Return the builder called `name`: `embedded`, a builder of buildx, a context of Docker, or an address.

    For "" it is the one that `use` has named, else BUILDX_BUILDER's, BUILDKIT_HOST's, else the embedded one. Nothing
    is connected to yet. Raises `UnsupportedError` for a name that nobody knows, `UsageError` for a bad address.
    """
    name = name or default_name()
    if name == EMBEDDED:
        return embedded_builder()
    from .buildkit.names import BuilderNames
    from .settings import settings

    address = BuilderNames().find(name, settings().tls)
    if address is None:
        from .buildkit.discover import names

        known = [EMBEDDED, *names()]
        near = nearest(name, known)
        raise UnsupportedError(
            f"There is no builder {name!r}.",
            hint=f"Did you mean {near}?" if near else "%build builders lists them; an address is tcp://HOST:PORT.",
        )
    with _lock:
        if address not in _daemons:
            from .buildkit.builder import BuildKitBuilder

            _daemons[address] = BuildKitBuilder(name, address)
        return _daemons[address]


def default_name() -> str:
    """Return the builder that is meant when none is named."""
    return _used or os.environ.get("BUILDX_BUILDER") or os.environ.get("BUILDKIT_HOST") or EMBEDDED


def use(name: str) -> Builder:
    """Make `name` the builder of this process when none is named; "" is to choose by the environment again."""
    global _used
    builder = choose(name)
    _used = name
    return builder
