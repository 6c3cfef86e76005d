"""The config of an image: how its containers run and how it was made, read and written as BuildKit's JSON."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from ..errors import SourceError
from ..golang.json import as_map, check_nesting, dumps, without_nulls
from .digest import sha256
from .platform import Platform
from .timestamp import normal_time

INLINE_CACHE = "moby.buildkit.cache.v0"
"""The member with the records of a build cache: their JSON in base64."""
DEFAULT_PATH_UNIX = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of an image that starts from scratch, as BuildKit sets it."""


class Healthcheck(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """HEALTHCHECK. Times are nanoseconds; zero inherits the engine's default."""

    test: tuple[str, ...] = ()
    """`("NONE",)`, `("CMD", arg, …)` or `("CMD-SHELL", command)`; empty inherits."""
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """How a container of the image starts. The fields are Docker's, in the order BuildKit writes them."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] = {}
    """Keys are `80/tcp`; values are empty objects."""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: dict[str, dict[str, Any]] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()

    @property
    def search_path(self) -> tuple[str, ...]:
        """The absolute directories of its PATH; none when it has no such variable."""
        value = next((pair[5:] for pair in self.env if pair.startswith("PATH=")), "")
        return tuple(folder for folder in value.split(":") if folder.startswith("/"))

    def document(self) -> dict[str, Any]:
        """Return the members of the JSON document: empty ones left out, maps sorted."""
        members: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("ExposedPorts", "Volumes", "Labels"):
            if name in members:
                members[name] = as_map(members[name])
        for name in ("ExposedPorts", "Volumes"):
            if name in members:
                members[name] = {key: {} for key in members[name]}
        return members


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the instructions that made the image; `created` is RFC 3339 text, or "" when it is unknown."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False
    """True when the instruction changed the config alone: it has no layer."""


class RootFS(msgspec.Struct, frozen=True):
    """The layers of the image: digests of their uncompressed tars, bottom first."""

    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole document. Change one with `msgspec.structs.replace`.

    Members that BuildKit's own type does not have (`container`, `docker_version`, `StopTimeout`, …) are
    dropped when a base image's config is read, as BuildKit drops them.
    """

    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""
    created: str = ""
    author: str = ""
    config: ContainerConfig = ContainerConfig()
    rootfs: RootFS = RootFS()
    history: tuple[History, ...] = ()

    @property
    def platform(self) -> Platform:
        """The platform that the image is for, as written."""
        return Platform(self.architecture, self.os, self.os_version, self.os_features, self.variant)

    def encode(self, inline_cache: bytes = b"") -> bytes:
        """Return the bytes that BuildKit's image writer would store; their digest is the image ID.

        `inline_cache` are the records of a build cache to include. BuildKit keeps the document as a Go map, hence the
        sorted keys, while `config`, `rootfs` and each history entry are Go structs in declared order
        (exporter/containerimage/writer.go, patchImageConfig).
        """
        history = [msgspec.to_builtins(entry) for entry in self.history]
        members: dict[str, Any] = {
            **self.platform.document(),
            "config": self.config.document(),
            "created": self.created or None,
            "history": history or None,
            "rootfs": {"type": self.rootfs.type, "diff_ids": list(self.rootfs.diff_ids) or None},
        }
        if self.author:
            members["author"] = self.author
        if inline_cache:
            members[INLINE_CACHE] = base64.b64encode(inline_cache).decode()
        return dumps(as_map(members))

    @property
    def digest(self) -> str:
        """The digest of `encode()`: Docker's image ID."""
        return sha256(self.encode())


def empty(platform: Platform) -> ImageConfig:
    """Return the config that `FROM scratch` starts with."""
    env = () if platform.os == "windows" else (f"PATH={DEFAULT_PATH_UNIX}",)
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        os_version=platform.os_version,
        os_features=platform.os_features,
        variant=platform.variant,
        config=ContainerConfig(env=env, working_dir="/"),
    )


def decode(data: bytes) -> ImageConfig:
    """Return the config that `data` holds: an image's own document, or a base image's. Raises SourceError."""
    check_nesting(data, "The image config")
    try:
        members = without_nulls(msgspec.json.decode(data, type=dict[str, Any]))
        config = msgspec.convert(members, ImageConfig)
        return msgspec.structs.replace(
            config,
            created=normal_time(config.created) if config.created else "",
            history=tuple(
                msgspec.structs.replace(entry, created=normal_time(entry.created)) if entry.created else entry
                for entry in config.history
            ),
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise SourceError(f"The image config cannot be read: {error}.") from error
