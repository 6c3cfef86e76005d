"""Lookup of a builder's address by its name: Docker's contexts, and the builders made by `docker buildx create`.

Source: buildx's `instances`. Only files are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ...docker.config import DockerConfig, EngineAddress
from ...errors import UnsupportedError, nearest
from ...net.command import Command
from ...net.tls import TLS
from .address import Address, is_address, parse

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class BuilderNode(msgspec.Struct, rename="pascal"):
    """A node of a buildx builder: one daemon."""

    name: str = ""
    endpoint: str = ""
    driver_opts: dict[str, str] | None = None


class Instance(msgspec.Struct, rename="pascal"):
    """A builder made by `docker buildx create`."""

    name: str = ""
    driver: str = ""
    nodes: list[BuilderNode] = []


class BuilderNames:
    """The builder names of one user."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.docker = DockerConfig(environ)
        self._buildx = Path(environ.get("BUILDX_CONFIG") or self.docker.path / "buildx")

    def instances(self) -> Iterator[Instance]:
        """Yield the builders of buildx, by name."""
        for file in sorted((self._buildx / "instances").glob("*")):
            if _NAME.fullmatch(file.name):
                try:
                    yield msgspec.json.decode(file.read_bytes(), type=Instance)
                except (OSError, msgspec.MsgspecError):
                    continue

    def find(self, name: str, tls: TLS | None = None) -> Address | None:
        """Return the address of a builder given by name or address; None for an unknown name.

        `tls` has the settings for `tcp://`. Raises UsageError for a malformed address.
        """
        if is_address(name):
            scheme, _, rest = name.partition("://")
            if scheme == "docker":
                named = rest if _NAME.fullmatch(rest) else "default"
                return Address(name, "docker", self._engine(rest), f"{named}/{named}")
            if scheme == "buildx":
                return self._buildx_address(name, rest or "default")
            return parse(name, tls)
        return self._named(name, name)

    def _engine(self, rest: str) -> EngineAddress:
        if not rest:
            return self.docker.default_engine()
        if rest.startswith("/"):
            return EngineAddress(f"unix://{rest}")
        if ":" in rest:
            return EngineAddress(f"tcp://{rest}", self.docker.environ_tls())
        return self.docker.context(rest)

    def _buildx_address(self, text: str, name: str) -> Address:
        address = self._named(text, name)
        if address is None:
            known = [instance.name for instance in self.instances()] + list(self.docker.contexts())
            suggestion = nearest(name, known)
            raise UnsupportedError(
                f"buildx has no builder {name!r}.",
                hint=f"Did you mean {suggestion}?" if suggestion else "`docker buildx ls` lists them.",
            )
        return address

    def _named(self, text: str, name: str) -> Address | None:
        """Return an address that leads straight to the daemon where no other program is needed, else through `docker
        buildx`.
        """
        instance = next((instance for instance in self.instances() if instance.name == name), None)
        if instance is None:
            if name not in self.docker.contexts():
                return None
            return Address(text, "docker", self.docker.context(name), f"{name}/{name}")
        node = instance.nodes[0] if instance.nodes else BuilderNode()
        if instance.driver == "remote" and is_address(node.endpoint):
            opts = node.driver_opts or {}
            tls = TLS(opts.get("cacert", ""), opts.get("cert", ""), opts.get("key", ""), opts.get("servername", ""))
            return msgspec.structs.replace(parse(node.endpoint, tls or None), text=text, node=f"{name}/{node.name}")
        dial = Command(("docker", "buildx", "dial-stdio", "--builder", name))
        return Address(text, instance.driver or "docker-container", dial, f"{name}/{node.name}")
