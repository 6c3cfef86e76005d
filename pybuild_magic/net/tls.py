"""The TLS files of a connection to a daemon, as in the clients of Docker, buildx and BuildKit."""

from __future__ import annotations

import ssl

import msgspec

from ..errors import UnsupportedError
from ..portable import user_path
from .wire import reason


class TLS(msgspec.Struct, frozen=True):
    """The PEM files of a TLS connection. Without `ca`, the system's authorities are trusted."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""
    """The name that the daemon's certificate has to be for; by default the host of the address."""
    unverified: bool = False
    """True to accept any certificate, when the user has configured Docker so."""

    def __bool__(self) -> bool:
        return any((self.ca, self.cert, self.key, self.server_name, self.unverified))


def tls_context(tls: TLS) -> ssl.SSLContext:
    """Return an SSLContext with these settings. Raises UnsupportedError for files that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=str(user_path(tls.ca)) if tls.ca else None)
        if tls.cert:
            context.load_cert_chain(user_path(tls.cert), user_path(tls.key))
    except (OSError, ssl.SSLError) as error:
        raise UnsupportedError(f"The TLS files of the builder cannot be read: {reason(error)}.") from error
    if tls.unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
