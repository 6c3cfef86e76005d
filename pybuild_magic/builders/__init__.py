"""The builders, which solve requests: the embedded one, those outside, and the choice of one by name."""

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
    """Close the embedded builder of this process, if there is one; the next use creates another.

    With `collect`, a store that the builds made too large is collected first, which otherwise happens in the
    background.
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

    For "" it is the builder chosen with `use`, else BUILDX_BUILDER's, BUILDKIT_HOST's, or the embedded one. Nothing is
    connected to yet. Raises `UnsupportedError` for an unknown name, `UsageError` for a malformed address.
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
        suggestion = nearest(name, known)
        raise UnsupportedError(
            f"There is no builder {name!r}.",
            hint=f"Did you mean {suggestion}?"
            if suggestion
            else "%build builders lists them; an address is tcp://HOST:PORT.",
        )
    with _lock:
        if address not in _daemons:
            from .buildkit.builder import BuildKitBuilder

            _daemons[address] = BuildKitBuilder(name, address)
        return _daemons[address]


def default_name() -> str:
    """Return the name of the builder that is used when none is named."""
    return _used or os.environ.get("BUILDX_BUILDER") or os.environ.get("BUILDKIT_HOST") or EMBEDDED


def use(name: str) -> Builder:
    """Make `name` the default builder of this process; "" returns the choice to the environment."""
    global _used
    builder = choose(name)
    _used = name
    return builder
