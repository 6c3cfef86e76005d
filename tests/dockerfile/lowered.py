"""Lowering in one call, on base images that are written here."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from pybuild_magic.dockerfile import lower as front_end
from pybuild_magic.dockerfile.lower import LoweredTarget
from pybuild_magic.dockerfile.lower_options import parse_options
from pybuild_magic.dockerfile.metadata import ResolvedImage
from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.errors import SourceError
from pybuild_magic.llb.ops import walk
from pybuild_magic.oci import reference
from pybuild_magic.oci.platform import Platform

AMD64 = Platform("amd64", "linux")
Op = TypeVar("Op")


def image(
    *, layers: int = 1, architecture: str = "amd64", env: list[str] | None = None, onbuild: list[str] | None = None,
    **config: Any,
) -> bytes:  # fmt: skip
    """The config of an image."""
    history = [{"created": "2020-01-01T00:00:00Z", "created_by": "base"}] * layers
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": {"Env": env or ["PATH=/bin"], "OnBuild": onbuild or [], **config},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "b" * 64] * layers},
        "history": history,
    }
    return json.dumps(document).encode()


class Images:
    """Base images by familiar name; others than those given are one plain image."""

    def __init__(self, known: dict[str, bytes] | None = None, missing: set[str] | None = None) -> None:
        self.known = known or {}
        self.missing = missing or set()
        self.asked: list[str] = []

    def resolve(self, ref: str, platform: Platform, name: str = "") -> ResolvedImage:
        """The image, or "not found"."""
        self.asked.append(ref)
        short = ref if "://" in ref else reference.parse(ref).familiar.removesuffix(":latest")
        if short in self.missing:
            raise SourceError("not found")
        return ResolvedImage(ref, "sha256:" + "a" * 64, self.known.get(short) or image())


def lower(dockerfile: str, images: Images | None = None, ignore: Any = None, **attrs: str) -> list[LoweredTarget]:
    """The targets of a Dockerfile, with the attributes that a request would carry."""
    options = msgspec.structs.replace(parse_options(attrs), build_platform=AMD64)
    if ignore:
        options = msgspec.structs.replace(options, read_ignore=ignore)
    return front_end.compile(parse(dockerfile), options, images or Images())


def one(dockerfile: str, images: Images | None = None, **attrs: str) -> LoweredTarget:
    """The one target of a Dockerfile."""
    (target,) = lower(dockerfile, images, **attrs)
    return target


def names(target: LoweredTarget) -> list[str]:
    """The names of the vertices, inputs first."""
    return [node.name for node in walk(target.edge)]


def ops(target: LoweredTarget, kind: type[Op]) -> list[Op]:
    """The ops of one kind, inputs first."""
    return [node.op for node in walk(target.edge) if isinstance(node.op, kind)]
