"""The settings of builders, one set per process, changed by `%config` or by a program."""

from __future__ import annotations

import os

import msgspec

from ..net.tls import TLS
from ..request.values import parse_size
from ..store.limit import DEFAULT


class BuilderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Connections to daemons, and the size of the store. Paths are those of PEM files, times are in seconds."""

    addresses: tuple[str, ...] = ()
    """Additional builders to be listed by `%build builders`."""
    connect_timeout: float = 20.0
    """The time within which a daemon must answer a connection."""
    silence_timeout: float = 90.0
    """The time after which a silent daemon is considered gone during a build; it sends something every five seconds."""
    keep_storage: str = ""
    """The size limit of the store: a size, "off" for none, "" for PYBUILD_KEEP_STORAGE, or 10 GB."""
    tls_cacert: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_server_name: str = ""

    @property
    def tls(self) -> TLS:
        """The settings for `tcp://` addresses."""
        return TLS(self.tls_cacert, self.tls_cert, self.tls_key, self.tls_server_name)


_current = BuilderSettings()


def settings() -> BuilderSettings:
    """Return the settings of this process."""
    return _current


def configure(**changes: object) -> BuilderSettings:
    """Change settings, by name, for builders that are chosen from now on."""
    global _current
    _current = msgspec.structs.replace(_current, **changes)
    return _current


def kept_storage(setting: str = "") -> int | None:
    """Return the store's size limit in bytes from a setting, or else from this process's; None for no limit.

    Raises `UsageError` for an invalid size.
    """
    text, where = setting or _current.keep_storage, "keep_storage"
    if not text:
        text, where = os.environ.get("PYBUILD_KEEP_STORAGE", ""), "PYBUILD_KEEP_STORAGE"
    if text.strip().lower() in ("off", "none", "no"):
        return None
    return parse_size(text, where) if text.strip() else DEFAULT
