"""Settings of builders that are not in this process: one set a process, changed by `%config` or by a program."""

from __future__ import annotations

import msgspec

from .buildkit.address import TLS


class BuilderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How daemons are reached. Paths are of PEM files, times in seconds."""

    addresses: tuple[str, ...] = ()
    """More builders for `%build builders` to list."""
    connect_timeout: float = 20.0
    """Within which a daemon has to answer when it is connected to."""
    silence_timeout: float = 90.0
    """After which a daemon that is not heard of during a build counts as gone; it calls every five seconds."""
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
    """Those of this process."""
    return _current


def configure(**changes: object) -> BuilderSettings:
    """Change settings, by their names, for builders that are chosen from now on."""
    global _current
    _current = msgspec.structs.replace(_current, **changes)
    return _current
