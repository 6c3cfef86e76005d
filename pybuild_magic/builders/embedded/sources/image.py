"""Images as sources: found in the store or a registry, resolved for a platform, with their layers brought into the
store.

A name in the store takes precedence over a registry, unless the build pulls: `FROM name` means what an earlier cell
built.
"""

from __future__ import annotations

from ....cache.keys import image_names
from ....cancel import Cancel
from ....dockerfile.metadata import ResolvedImage
from ....errors import BuildError, SourceError
from ....images.places import BlobsPlace, Found, Place, RegistryPlace, find_image
from ....images.pull import fetch_layers
from ....images.stored import find_stored
from ....llb.ops import SourceOp
from ....llb.sourcepolicy import SourcePolicy, Update, evaluate
from ....oci import reference
from ....oci.digest import sha256
from ....oci.platform import Platform
from ....oci.reference import Reference
from ....oci.remote.registry import Registry
from ....session import Session
from ....status.report import Reporter, VertexReport
from ....store import CacheRecord, Store
from .context import ResolveMode, SourceContext, image_key, platform_of
from .remote import RemoteLayers

_IMAGE = "docker-image://"
_LAYOUT = "oci-layout://"


class Resolver:
    """Finds images for one build: it is the front end's ImageResolver, and its sources look the images up here
    again.
    """

    def __init__(
        self,
        store: Store,
        session: Session,
        cancel: Cancel,
        reporter: Reporter,
        mode: ResolveMode | str = ResolveMode.DEFAULT,
        policy: SourcePolicy = SourcePolicy(),  # noqa: B008 - immutable
    ) -> None:
        self._store = store
        self._cancel = cancel
        self._reporter = reporter
        self._mode = ResolveMode(mode)
        self.policy = policy
        self._known: dict[tuple[str, str], tuple[Found, Place]] = {}
        self.registry = Registry(session.auth)
        """The build's only registry client, which remembers tokens."""

    def close(self) -> None:
        """Close idle connections."""
        self.registry.close()

    def resolve(self, ref: str, platform: Platform, name: str = "") -> ResolvedImage:
        """Resolve the image `ref` for `platform`, shown as the vertex `name`. Thread-safe.

        `ref` is a reference, or `oci-layout://PATH[:TAG][@DIGEST]`. Raises SourceError and Interrupted.
        """
        if not name:
            return self._resolve(ref, platform)
        with self._reporter.vertex(sha256(f"{name} {platform.full}".encode()), name):
            return self._resolve(ref, platform)

    def _resolve(self, ref: str, platform: Platform) -> ResolvedImage:
        ref = self._allowed(ref)
        if ref.startswith(_LAYOUT):
            from ....images.layout import find_in_layout

            image, _ = find_in_layout(self._store, ref.removeprefix(_LAYOUT), platform, self._cancel)
            return ResolvedImage(ref, image.root.digest, image.config_data)
        parsed = reference.parse(ref).tagged()
        image, _ = self.locate(parsed, platform)
        return ResolvedImage(str(parsed), image.root.digest, image.config_data)

    def _allowed(self, ref: str) -> str:
        """Return the image with which the policy replaces `ref`. Raises BuildError when it is denied."""
        op = SourceOp(ref if ref.startswith(_LAYOUT) else f"{_IMAGE}{reference.parse(ref).tagged()}")
        try:
            allowed = evaluate(self.policy, op).identifier
        except BuildError as error:
            raise SourceError(
                f"failed to resolve source metadata for {op.identifier.removeprefix(_IMAGE)}: "
                f"could not resolve image due to policy: {error.message}",
                hint=error.hint,
            ) from None
        if not allowed.startswith((_IMAGE, _LAYOUT)):
            raise SourceError(f"A source policy replaces {op.identifier} with {allowed}, which is not an image.")
        return allowed.removeprefix(_IMAGE)

    def locate(self, ref: Reference, platform: Platform) -> tuple[Found, Place]:
        """Return the image, and the place of its layers. Raises SourceError and Interrupted."""
        key = str(ref), platform.full
        if key not in self._known:
            located = self._locate(ref, platform)
            self._known[key] = self._known[str(ref.with_digest(located[0].root.digest)), platform.full] = located
        return self._known[key]

    def _locate(self, ref: Reference, platform: Platform) -> tuple[Found, Place]:
        place = RegistryPlace(self.registry, ref, self._store, self._cancel)
        unfit: SourceError | None = None
        # A pinned name means the same everywhere, so the store's copy is used even by a build that pulls.
        if ref.digest or self._mode is not ResolveMode.PULL:
            try:
                here = find_stored(self._store, ref, platform, self._cancel)
            except SourceError as error:
                here, unfit = None, error
            if here is not None:
                return here, place if ref.digest else BlobsPlace(self._store.blobs)
        try:
            root = self.registry.resolve(ref, self._cancel)
            image = find_image(self._store, place, root, platform, self._cancel)
        except SourceError as error:
            raise unfit or error from error
        _note_origin(self._store, image, ref)
        return image, place


def _note_origin(store: Store, image: Found, ref: Reference) -> None:
    """Record the repository of layers in the store, so that a push can mount them from there."""
    for layer in image.manifest.layers:
        store.compressed.seen_in(layer.digest, ref.domain, ref.path)


class ImageSource:
    """`docker-image://REF[@DIGEST]`."""

    def __init__(self, op: SourceOp, platform: str, context: SourceContext) -> None:
        self._op = op
        self._platform = platform
        self._context = context

    def key(self, progress: VertexReport) -> str:
        """Return a key made of the layers alone. See Source."""
        with progress.step(f"resolve {self._ref}"):
            image, _ = self._locate()
        return image_key(image.diff_ids)

    def pin(self, progress: VertexReport) -> Update:
        """Return the present digest of the name as the pin. See Source."""
        with progress.step(f"resolve {self._ref}"):
            image, _ = self._locate()
        ref = self._ref if self._ref.digest else self._ref.with_digest(image.root.digest)
        return Update(f"{_IMAGE}{ref}")

    def names(self) -> tuple[str, ...]:
        """Return the names of its manifest and of its layers. See Source."""
        image, _ = self._locate()
        return image_names(image.root.digest, self._platform, image.diff_ids)

    def snapshot(self, progress: VertexReport) -> tuple[str, ...]:
        """See Source."""
        image, place = self._locate()
        store = self._context.store
        fetched = fetch_layers(store, place, image, self._context.cancel, progress)
        if isinstance(place, RegistryPlace):
            _note_origin(store, image, self._ref)
        documents = tuple(sorted({image.root.digest, image.descriptor.digest, image.manifest.config.digest}))
        description = f"pulled from {self._ref}"
        # Keep the documents, so that the next build only asks the registry whether the tag has moved.
        store.cache.put(
            f"image:{image.descriptor.digest}", CacheRecord(fetched, blobs=documents, description=description)
        )
        return fetched

    @property
    def revision(self) -> str:
        """See Source."""
        return self._locate()[0].root.digest

    def leave(self, remote: RemoteLayers, progress: VertexReport) -> tuple[str, ...] | None:
        """Return the snapshot, with its layers left in the registry; None when the store has them, or no registry
        does.
        """
        image, place = self._locate()
        if isinstance(place, RegistryPlace) and remote.leave(image, place, self._ref, progress):
            return image.diff_ids
        return None

    @property
    def _ref(self) -> Reference:
        return reference.parse(self._op.identifier.partition("://")[2]).tagged()

    def _locate(self) -> tuple[Found, Place]:
        return self._context.resolver.locate(self._ref, platform_of(self._platform))
