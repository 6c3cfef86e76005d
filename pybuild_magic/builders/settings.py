"""Settings of builders: one set a process, changed by `%config` or by a program."""

from __future__ import annotations

import os

import msgspec

from ..net.tls import TLS
from ..request.values import parse_size
from ..store.limit import DEFAULT


class BuilderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How daemons are reached, and how large the store may be. Paths are of PEM files, times in seconds."""

    addresses: tuple[str, ...] = ()
    """More builders for `%build builders` to list."""
    connect_timeout: float = 20.0
    """Within which a daemon has to answer when it is connected to."""
    silence_timeout: float = 90.0
    """After which a daemon that is not heard of during a build counts as gone; it calls every five seconds."""
    keep_storage: str = ""
    """How large the store may be: a size, "off" for any, "" for what PYBUILD_KEEP_STORAGE says, or 10 GB."""
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
    """Change settings, by their names, for builders that are chosen from now on."""
    global _current
    _current = msgspec.structs.replace(_current, **changes)
    return _current


def kept_storage(setting: str = "") -> int | None:
    """Return bytes that the store may take by a setting, or else by this process's; None for any number.

    Raises `UsageError` for what is no size.
    """
    text, where = setting or _current.keep_storage, "keep_storage"
    if not text:
        text, where = os.environ.get("PYBUILD_KEEP_STORAGE", ""), "PYBUILD_KEEP_STORAGE"
    if text.strip().lower() in ("off", "none", "no"):
        return None
    return parse_size(text, where) if text.strip() else DEFAULT
