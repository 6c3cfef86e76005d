"""A scanner's image, run on a result by BuildKit's protocol: its inputs, and the directory for its output.

The rules are those of BuildKit's `frontend/attestations/sbom`.
"""

from __future__ import annotations

from ...attest.options import SBOMOptions
from ...attest.sbom.attestation import RESULT_SBOM
from ...dockerfile.lower import LoweredTarget
from ...errors import BuildError
from ...llb.ops import NO_OUTPUT, Edge, ExecOp, Meta, Mount, MountType, Node, SourceOp
from ...oci import platform as platforms
from .sources import Resolver

_DESTINATION = "/run/out/"
_CORE = f"/run/src/core/{RESULT_SBOM}"
_EXTRAS = "/run/src/extras"


def scan(resolver: Resolver, options: SBOMOptions, target: LoweredTarget, edge: Edge, *, again: bool) -> Edge:
    """Return what a scanner writes about a target, as a file system, which may be cached unless it is to be made
    `again`. Raises BuildError.
    """
    host = platforms.normalise(platforms.host())
    image = resolver.resolve(options.generator, host, f"[internal] resolve image config for {options.generator}")
    config = image.parsed.config
    args = (*config.entrypoint, *config.cmd)
    if not args:
        raise BuildError(f"scanner {options.generator} does not have cmd")
    base = Edge(Node(SourceOp(f"docker-image://{image.pinned}"), name=f"FROM {image.pinned}", platform=str(host)))
    extras = [(f"{_EXTRAS}/{RESULT_SBOM}-{name}", extra) for name, extra in target.scanned.items() if extra]
    inputs = [base, edge, *(extra for _, extra in extras)]
    paths = [_CORE, *(path for path, _ in extras)]
    roots = [Mount(path, input=number, readonly=True, output=NO_OUTPUT) for number, path in enumerate(paths, start=1)]
    parameters = {"DESTINATION": _DESTINATION, "SOURCE": _CORE}
    if extras:
        parameters["SOURCE_EXTRAS"] = _EXTRAS
    env = {name: value for name, _, value in (pair.partition("=") for pair in config.env)}
    env |= {f"BUILDKIT_SCAN_{name}": value for name, value in (parameters | options.parameters).items()}
    meta = Meta(args, tuple(f"{name}={value}" for name, value in env.items()), config.working_dir or "/")
    temporary = Mount("/tmp", output=NO_OUTPUT, mount_type=MountType.TMPFS)
    mounts = (Mount("/", input=0, output=0), *roots, temporary, Mount(_DESTINATION, output=1))
    name = f"[{target.platform}] generating sbom using {options.generator}"
    node = Node(ExecOp(meta, mounts), tuple(inputs), name=name, platform=str(host), ignore_cache=again)
    return Edge(node, 1)
