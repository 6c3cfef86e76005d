"""The engine that `docker` uses here: DOCKER_HOST's, or that of a context in Docker's configuration. Only files are
read.

Source: docker/cli's `cli/context/store` (`contexts/meta`, `contexts/tls`) and its order of precedence.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UnsupportedError, nearest
from ..net.tls import TLS
from ..portable import user_path

DEFAULT_ENGINE = "unix:///var/run/docker.sock"


class EngineAddress(msgspec.Struct, frozen=True):
    """The address of a Docker engine. `host` is as in DOCKER_HOST."""

    host: str
    tls: TLS | None = None


class _Endpoint(msgspec.Struct, rename="pascal"):
    host: str = ""
    skip_tls_verify: bool = msgspec.field(default=False, name="SkipTLSVerify")


class _Context(msgspec.Struct, rename="pascal"):
    name: str = ""
    endpoints: dict[str, Any] = {}


class DockerConfig:
    """The configuration of one user, in `~/.docker` or DOCKER_CONFIG."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        home = self._environ.get("HOME") or str(user_path("~"))
        self.path = Path(self._environ.get("DOCKER_CONFIG") or Path(home, ".docker"))

    def default_engine(self) -> EngineAddress:
        """Return the engine of DOCKER_HOST, else of DOCKER_CONTEXT, else of the current context, else the usual one.

        Raises UnsupportedError for a context that does not exist.
        """
        if host := self._environ.get("DOCKER_HOST"):
            return EngineAddress(host, self.environ_tls())
        name = self._environ.get("DOCKER_CONTEXT") or self._current()
        if name and name != "default":
            return self.context(name)
        return EngineAddress(DEFAULT_ENGINE)

    def choice(self) -> str:
        """Return what determined the default engine, as the start of a sentence."""
        if host := self._environ.get("DOCKER_HOST"):
            return f"DOCKER_HOST is {host}"
        if name := self._environ.get("DOCKER_CONTEXT"):
            return f"DOCKER_CONTEXT is {name}"
        name = self._current()
        return f"Docker's context is {name}" if name else "DOCKER_HOST is not set"

    def environ_tls(self) -> TLS | None:
        """Return the TLS files named by the environment: DOCKER_CERT_PATH's, with DOCKER_TLS_VERIFY or DOCKER_TLS."""
        verify = bool(self._environ.get("DOCKER_TLS_VERIFY"))
        if not verify and not self._environ.get("DOCKER_TLS"):
            return None
        folder = Path(self._environ.get("DOCKER_CERT_PATH") or self.path)
        # As in docker: the certificate and its key may be missing, the authority may not.
        authority = str(folder / "ca.pem") if verify else ""
        return msgspec.structs.replace(_tls_files(folder), ca=authority, unverified=not verify)

    def _current(self) -> str:
        try:
            config = msgspec.json.decode((self.path / "config.json").read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return ""
        return str(config.get("currentContext") or "")

    def contexts(self) -> dict[str, EngineAddress]:
        """Return the engines of Docker's contexts by name, including `default`."""
        engines = {"default": EngineAddress(self._environ.get("DOCKER_HOST") or DEFAULT_ENGINE, self.environ_tls())}
        for file in sorted((self.path / "contexts" / "meta").glob("*/meta.json")):
            try:
                context = msgspec.json.decode(file.read_bytes(), type=_Context)
                endpoint = msgspec.convert(context.endpoints.get("docker", {}), type=_Endpoint)
            except (OSError, msgspec.MsgspecError):
                continue
            if context.name and endpoint.host:
                engines[context.name] = EngineAddress(endpoint.host, self._context_tls(context.name, endpoint))
        return engines

    def _context_tls(self, name: str, endpoint: _Endpoint) -> TLS | None:
        folder = self.path / "contexts" / "tls" / hashlib.sha256(name.encode()).hexdigest() / "docker"
        return msgspec.structs.replace(_tls_files(folder), unverified=endpoint.skip_tls_verify) or None

    def context(self, name: str) -> EngineAddress:
        """Return the engine of a context. Raises UnsupportedError that names a similar one."""
        contexts = self.contexts()
        if name not in contexts:
            suggestion = nearest(name, list(contexts))
            raise UnsupportedError(
                f"Docker has no context {name!r}.",
                hint=f"Did you mean {suggestion}?" if suggestion else "`docker context ls` lists them.",
            )
        return contexts[name]


def _tls_files(folder: Path) -> TLS:
    """Return those of Docker's three files that exist in the folder."""
    ca, cert, key = (
        str(folder / file) if (folder / file).is_file() else "" for file in ("ca.pem", "cert.pem", "key.pem")
    )
    return TLS(ca, cert, key)
