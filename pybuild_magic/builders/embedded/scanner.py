"""A scanner's image, run on a result by BuildKit's protocol: its inputs, and the directory for its output.

The rules are those of BuildKit's `frontend/attestations/sbom`. The output directory is in its root file system instead
of a mount, because the sandbox keeps only the former.
"""

from __future__ import annotations

from ...attest.options import SBOMOptions
from ...attest.sbom.attestation import CORE
from ...dockerfile.lower import LoweredTarget
from ...errors import BuildError
from ...llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    Edge,
    ExecOp,
    FileAction,
    FileMkdir,
    FileOp,
    FileRm,
    Meta,
    Mount,
    MountType,
    Node,
    SourceOp,
)
from ...oci import platform as platforms
from .sources import Resolver

DESTINATION = "run/out"
_CORE = f"/run/src/core/{CORE}"
_EXTRAS = "/run/src/extras"


def scan_node(resolver: Resolver, options: SBOMOptions, target: LoweredTarget, edge: Edge) -> Node:
    """Return the vertex that scans a target; DESTINATION of its result has the output. Raises BuildError."""
    host = platforms.normalise(platforms.host())
    image = resolver.resolve(options.generator, host, f"[internal] resolve image config for {options.generator}")
    config = image.parsed.config
    args = (*config.entrypoint, *config.cmd)
    if not args:
        raise BuildError(f"scanner {options.generator} does not have cmd")
    base = Edge(Node(SourceOp(f"docker-image://{image.pinned}"), name=f"FROM {image.pinned}", platform=str(host)))
    empty = Edge(Node(FileOp(_EMPTY), (base,), name="[internal] make room for what the scanner writes"))
    extras = [(f"{_EXTRAS}/{CORE}-{name}", extra) for name, extra in target.scanned.items() if extra]
    inputs = [empty, edge, *(extra for _, extra in extras)]
    paths = [_CORE, *(path for path, _ in extras)]
    roots = [Mount(path, input=number, readonly=True, output=NO_OUTPUT) for number, path in enumerate(paths, start=1)]
    parameters = {"DESTINATION": f"/{DESTINATION}/", "SOURCE": _CORE}
    if extras:
        parameters["SOURCE_EXTRAS"] = _EXTRAS
    env = {name: value for name, _, value in (pair.partition("=") for pair in config.env)}
    env |= {f"BUILDKIT_SCAN_{name}": value for name, value in (parameters | options.parameters).items()}
    meta = Meta(args, tuple(f"{name}={value}" for name, value in env.items()), config.working_dir or "/")
    temporary = Mount("/tmp", output=NO_OUTPUT, mount_type=MountType.TMPFS)
    mounts = (Mount("/", input=0, output=0), *roots, temporary)
    name = f"[{target.platform}] generating sbom using {options.generator}"
    return Node(ExecOp(meta, mounts), tuple(inputs), name=name, platform=str(host))


_EMPTY = (
    FileAction(FileRm(f"/{DESTINATION}", allow_not_found=True), input=0),
    FileAction(FileMkdir(f"/{DESTINATION}", 0o755, make_parents=True), input=1, secondary_input=NO_INPUT, output=0),
)
"""Excludes files of the image at that path, which the scanner did not write."""
