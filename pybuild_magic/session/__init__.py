"""The session: the user's side of a build, on which any builder calls while it works.

It offers local directories, secrets, SSH agents, credentials of registries, and the places where results go.
"""

from __future__ import annotations

import secrets as _random
from collections.abc import Mapping

from ..oci.remote.credentials import CredentialSource as Auth
from .archive import TarSource
from .directory import DirSource
from .files import Files, FileStat, Filter, LocalDir
from .memory import MemorySource
from .secrets import SecretSource, SecretStore
from .sinks import DirSink, FileSink, Sink
from .ssh import SSHAgents, SSHSource

__all__ = [
    "Auth",
    "DirSink",
    "DirSource",
    "FileSink",
    "FileStat",
    "Files",
    "Filter",
    "LocalDir",
    "MemorySource",
    "SSHAgents",
    "SSHSource",
    "SecretSource",
    "SecretStore",
    "Session",
    "Sink",
    "TarSource",
]


class Session:
    """The user's side of a build. `local_dirs` has `context`, `dockerfile` and the named contexts."""

    def __init__(
        self,
        *,
        local_dirs: Mapping[str, LocalDir] | None = None,
        secrets: SecretStore | None = None,
        ssh: SSHAgents | None = None,
        auth: Auth | None = None,
        sinks: Mapping[str, Sink] | None = None,
    ) -> None:
        self.id = _random.token_hex(12)
        self.local_dirs = dict(local_dirs or {})
        self.secrets = secrets or SecretStore()
        self.ssh = ssh or SSHAgents()
        self.auth = auth
        """None offers no credentials."""
        self.sinks = dict(sinks or {})
        """The places where results go, by the `id` of the request's exporter."""
