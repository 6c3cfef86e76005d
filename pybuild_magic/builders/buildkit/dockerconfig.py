"""What Docker's own configuration knows: its contexts, and the builders that `docker buildx create` has made.

Source: docker/cli's context store (`contexts/meta`, `contexts/tls`), buildx's `instances`. Only files are read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import UnsupportedError, nearest
from ..settings import TLS
from .address import Address, Command, EngineAddress, is_address, parse

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class _Endpoint(msgspec.Struct, rename="pascal"):
    host: str = ""
    skip_tls_verify: bool = msgspec.field(default=False, name="SkipTLSVerify")


class _Context(msgspec.Struct, rename="pascal"):
    name: str = ""
    endpoints: dict[str, Any] = {}


class BuilderNode(msgspec.Struct, rename="pascal"):
    """One daemon of a buildx builder."""

    name: str = ""
    endpoint: str = ""
    driver_opts: dict[str, str] | None = None


class Instance(msgspec.Struct, rename="pascal"):
    """A builder of `docker buildx create`."""

    name: str = ""
    driver: str = ""
    nodes: list[BuilderNode] = []


class DockerConfig:
    """The configuration of one user."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        home = self._environ.get("HOME") or str(Path("~").expanduser())
        self.path = Path(self._environ.get("DOCKER_CONFIG") or Path(home, ".docker"))
        self._buildx = Path(self._environ.get("BUILDX_CONFIG") or self.path / "buildx")

    def default_engine(self) -> EngineAddress:
        """The engine that `docker` talks to: DOCKER_HOST, else the current context, else the usual socket."""
        if host := self._environ.get("DOCKER_HOST"):
            return EngineAddress(host, self._environ_tls())
        current = self._environ.get("DOCKER_CONTEXT") or self._current()
        if current and current != "default":
            return self.context(current)
        return EngineAddress(DEFAULT_ENGINE)

    def _environ_tls(self) -> TLS | None:
        if not self._environ.get("DOCKER_TLS_VERIFY"):
            return None
        certs = Path(self._environ.get("DOCKER_CERT_PATH") or self.path)
        return TLS(str(certs / "ca.pem"), str(certs / "cert.pem"), str(certs / "key.pem"))

    def _current(self) -> str:
        try:
            config = msgspec.json.decode((self.path / "config.json").read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return ""
        return str(config.get("currentContext") or "")

    def contexts(self) -> dict[str, EngineAddress]:
        """Docker's contexts, by name, `default` among them."""
        found = {"default": EngineAddress(self._environ.get("DOCKER_HOST") or DEFAULT_ENGINE, self._environ_tls())}
        for file in sorted((self.path / "contexts" / "meta").glob("*/meta.json")):
            try:
                context = msgspec.json.decode(file.read_bytes(), type=_Context)
                endpoint = msgspec.convert(context.endpoints.get("docker", {}), type=_Endpoint)
            except (OSError, msgspec.MsgspecError):
                continue
            if context.name and endpoint.host:
                found[context.name] = EngineAddress(endpoint.host, self._context_tls(context.name))
        return found

    def _context_tls(self, name: str) -> TLS | None:
        folder = self.path / "contexts" / "tls" / hashlib.sha256(name.encode()).hexdigest() / "docker"
        files = [str(folder / file) if (folder / file).is_file() else "" for file in ("ca.pem", "cert.pem", "key.pem")]
        return TLS(*files) if any(files) else None

    def context(self, name: str) -> EngineAddress:
        """The engine of a context. Raises UnsupportedError that names the nearest."""
        contexts = self.contexts()
        if name not in contexts:
            near = nearest(name, list(contexts))
            raise UnsupportedError(
                f"Docker has no context {name!r}.",
                hint=f"Did you mean {near}?" if near else "`docker context ls` lists them.",
            )
        return contexts[name]

    def instances(self) -> Iterator[Instance]:
        """The builders of buildx, by name."""
        for file in sorted((self._buildx / "instances").glob("*")):
            if _NAME.fullmatch(file.name):
                try:
                    yield msgspec.json.decode(file.read_bytes(), type=Instance)
                except (OSError, msgspec.MsgspecError):
                    continue

    def instance(self, name: str) -> Instance | None:
        """The builder of that name."""
        return next((instance for instance in self.instances() if instance.name == name), None)

    def find(self, name: str, tls: TLS | None = None) -> Address | None:
        """The address of a builder by its name or address; None for a name that is not known.

        Raises UsageError for a malformed address.
        """
        if is_address(name):
            scheme, _, rest = name.partition("://")
            if scheme == "docker":
                return Address(name, "docker", self._engine(rest))
            if scheme == "buildx":
                return self._buildx_address(name, rest or "default")
            return parse(name, tls)
        return self._named(name, name)

    def _engine(self, rest: str) -> EngineAddress:
        if not rest:
            return self.default_engine()
        if rest.startswith("/"):
            return EngineAddress(f"unix://{rest}")
        if ":" in rest:
            return EngineAddress(f"tcp://{rest}", self._environ_tls())
        return self.context(rest)

    def _buildx_address(self, text: str, name: str) -> Address:
        found = self._named(text, name)
        if found is None:
            known = [each.name for each in self.instances()] + list(self.contexts())
            near = nearest(name, known)
            raise UnsupportedError(
                f"buildx has no builder {name!r}.",
                hint=f"Did you mean {near}?" if near else "`docker buildx ls` lists them.",
            )
        return found

    def _named(self, text: str, name: str) -> Address | None:
        """Straight to the daemon where that needs no other program, else by way of `docker buildx`."""
        instance = self.instance(name)
        if instance is None:
            return Address(text, "docker", self.context(name)) if name in self.contexts() else None
        node = instance.nodes[0] if instance.nodes else BuilderNode()
        if instance.driver == "remote" and is_address(node.endpoint):
            opts = node.driver_opts or {}
            tls = TLS(opts.get("cacert", ""), opts.get("cert", ""), opts.get("key", ""), opts.get("servername", ""))
            return msgspec.structs.replace(parse(node.endpoint, tls or None), text=text)
        dial = Command(("docker", "buildx", "dial-stdio", "--builder", name))
        return Address(text, instance.driver or "docker-container", dial)
