"""The materials of a result: the sources of its graph with their digests, its secrets, and its use of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from ..llb.ops import Edge, ExecOp, MountType, NetMode, Node, SourceOp, walk
from ..oci import platform as platforms
from ..oci import reference
from ..oci.platform import Platform
from ..untrusted.redaction import redact_url

Revision = Callable[[Node], str]
"""From a source to its digest or commit; "" for a source that was not needed."""


class ImageMaterial(msgspec.Struct, frozen=True):
    """An image, by the name under which it was requested."""

    ref: str
    platform: Platform | None
    digest: str
    local: bool = False
    """Whether it comes from a layout on the user's machine."""


class Capture:
    """Everything that went into the result for one platform, without duplicates, like BuildKit's
    `provenance.Capture`.
    """

    def __init__(self) -> None:
        self._images: list[ImageMaterial] = []
        self.git: dict[str, str] = {}
        """Commits by URL."""
        self.http: dict[str, str] = {}
        """Digests by URL."""
        self.locals: set[str] = set()
        self.secrets: dict[str, bool] = {}
        """By id, whether the secret may be missing."""
        self.ssh: dict[str, bool] = {}
        self.network = False
        """Whether any process had a network."""

    @property
    def incomplete(self) -> bool:
        """Whether something went in that has no digest, such as a local directory."""
        return bool(self.locals)

    @property
    def images(self) -> list[ImageMaterial]:
        """Return the images by name; one that is listed by its tag is not listed by its digest again."""
        tagged = {_tagged(image.ref) for image in self._images if "@" not in image.ref}
        images = [image for image in self._images if "@" not in image.ref or _tagged(image.ref) not in tagged]
        return sorted(images, key=lambda image: image.ref)

    def add(self, edges: Iterable[Edge | None], revision: Revision) -> None:
        """Add the materials of the graphs."""
        for node in walk(*edges):
            if isinstance(node.op, SourceOp):
                self._source(node, node.op, revision)
            elif isinstance(node.op, ExecOp):
                self._process(node.op)

    def add_image(self, image: ImageMaterial) -> None:
        """Add an image, unless it is already listed."""
        same = (image.ref, image.local, _normal(image.platform))
        if all((image.ref, image.local, _normal(image.platform)) != same for image in self._images):
            self._images.append(image)

    def _source(self, node: Node, op: SourceOp, revision: Revision) -> None:
        scheme, _, rest = op.identifier.partition("://")
        match scheme:
            case "local":
                self.locals.add(rest)
            case "docker-image" | "oci-layout":
                platform = platforms.parse(node.platform) if node.platform else None
                self.add_image(ImageMaterial(rest, platform, revision(node), scheme == "oci-layout"))
            case "git":
                self.git.setdefault(redact_url(_git_url(op)), revision(node))
                for name, uses in (
                    ("git.authtokensecret", self.secrets),
                    ("git.authheadersecret", self.secrets),
                    ("git.mountsshsock", self.ssh),
                ):
                    if secret := op.attrs.get(name):
                        _use(uses, secret, optional=True)
            case _:
                self.http.setdefault(redact_url(op.identifier), revision(node))

    def _process(self, op: ExecOp) -> None:
        for mount in op.mounts:
            if mount.mount_type == MountType.SECRET and mount.secret:
                _use(self.secrets, mount.secret.id, optional=mount.secret.optional)
            elif mount.mount_type == MountType.SSH and mount.ssh:
                _use(self.ssh, mount.ssh.id or "default", optional=mount.ssh.optional)
        for secret in op.secretenv:
            _use(self.secrets, secret.id, optional=secret.optional)
        self.network |= op.network != NetMode.NONE


def for_platform(images: Sequence[ImageMaterial], of: Platform, built: Sequence[Platform]) -> list[ImageMaterial]:
    """Return the images, without those requested on behalf of another platform of the same build."""
    every = {
        image.ref
        for image in images
        if all(
            any(other.ref == image.ref and _fits(other.platform, platform) for other in images) for platform in built
        )
    }
    return [
        image
        for image in images
        if image.ref not in every
        or image.platform is None
        or (image.platform.os, image.platform.architecture) == (of.os, of.architecture)
    ]


def _fits(platform: Platform | None, target: Platform) -> bool:
    return platform is not None and _normal(platform) == _normal(target)


def _normal(platform: Platform | None) -> str:
    return str(platforms.normalise(platform)) if platform else ""


def _tagged(ref: str) -> str:
    parsed = reference.parse(ref)
    return f"{parsed.name}:{parsed.tag or reference.DEFAULT_TAG}"


def _git_url(op: SourceOp) -> str:
    where, _, fragment = op.identifier.partition("://")[2].partition("#")
    ref = fragment.partition(":")[0]
    return op.attrs.get("git.fullurl", where) + (f"#{ref}" if ref else "")


def _use(uses: dict[str, bool], name: str, *, optional: bool) -> None:
    uses[name] = uses.get(name, True) and optional
