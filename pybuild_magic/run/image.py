"""The image of a run: from the store, a registry, a layout, an archive or a result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeGuard

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.failed import FailedStep
from ..cancel import Cancel
from ..errors import FAILED, RunError, SourceError, UsageError
from ..images.layout import find_in_layout, place_on_disk
from ..images.stored import find_stored
from ..oci import config as image_config
from ..oci import platform as platforms
from ..oci import reference
from ..oci.config import ContainerConfig, ImageConfig
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..status.messages import SolveStatus

_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})


class RunImage(msgspec.Struct, frozen=True):
    """An image whose layers are in the store."""

    name: str
    snapshot: tuple[str, ...]
    config: ImageConfig
    step: FailedStep | None = None
    """The failed step that left these layers, if they are not those of an image."""


def is_failed_step(ref: object) -> TypeGuard[str]:
    """Return whether a name stands for the files that a failed step left."""
    return isinstance(ref, str) and (ref == FAILED or ref.startswith(f"{FAILED}:"))


def find_image(
    ref: Any,
    platform: str = "",
    *,
    pull: str = "missing",
    cancel: Cancel | None = None,
    before_pull: Callable[[], object] = lambda: None,
) -> RunImage:
    """Return the image that `ref` stands for.

    It is a name, `oci-layout://PATH`, a path of a layout or an archive, or a result. `@failed`, an error, or an error's
    `state_name` stand for the files that a failed step left. `pull` is one of PULLS. `before_pull` may raise an
    error before layers are fetched from a registry. The caller holds a lease of the store. Raises SourceError,
    StoreError, UsageError and Interrupted.
    """
    cancel = cancel or Cancel()
    if isinstance(ref, RunError):
        if not ref.step_ref:
            raise ref.not_kept()
        ref = ref.state_name
    if is_failed_step(ref):
        return _of_step(embedded_builder().failed.find("" if ref == FAILED else ref.removeprefix("@")))
    if not isinstance(ref, str):
        return _of_result(getattr(ref, "image", ref), platform)
    store = embedded_builder().store
    target = platforms.parse(platform) if platform else platforms.host()
    if path := place_on_disk(ref):
        from ..images.pull import fetch_layers

        image, place = find_in_layout(store, path, target, cancel)
        return RunImage(path, fetch_layers(store, place, image, cancel), image.config)
    parsed = reference.parse(ref).tagged()
    image = None if pull == "always" else _of_store(parsed, target, cancel)
    if image is None and pull == "never":
        raise SourceError(
            f"{ref} is not in the store{f' for {platform}' if platform else ''}, and --pull never forbids to pull it.",
            hint="%build images lists what is there.",
        )
    image = image or _resolved(parsed, target, cancel, before_pull, pull=pull == "always")
    own = image.config.platform
    if platform and (own.os, own.architecture) != (target.os, target.architecture):
        raise SourceError(
            f"{image.name} is an image for {own}, not for {target}.",
            hint="Leave --platform out, or build the image for that platform.",
        )
    return image


def _of_store(ref: Reference, platform: Platform, cancel: Cancel) -> RunImage | None:
    """Return an image that the store has with all its layers unpacked, as most are.

    It is what `_resolved` would return, without the imports and the client of registries.
    """
    store = embedded_builder().store
    try:
        image = find_stored(store, ref, platform, cancel)
    except SourceError:
        return None  # a registry may have it for the platform
    if image is None or not all(map(store.has_layer, image.diff_ids)):
        return None
    return RunImage(ref.familiar, image.diff_ids, image.config)


def _resolved(
    ref: Reference, platform: Platform, cancel: Cancel, before_pull: Callable[[], object], *, pull: bool
) -> RunImage:
    from ..builders.embedded.sources import Resolver
    from ..images.pull import fetch_layers
    from ..session import Session
    from ..session.auth import DockerAuth
    from ..status.report import Reporter

    store, session = embedded_builder().store, Session(auth=DockerAuth())
    with closing(Resolver(store, session, cancel, Reporter(_ignore), _mode(pull))) as resolver:
        image, place = resolver.locate(ref, platform)
        before_pull()
        return RunImage(ref.familiar, fetch_layers(store, place, image, cancel), image.config)


def _mode(pull: bool) -> str:
    return "pull" if pull else "default"


def _ignore(_status: SolveStatus) -> None:
    pass


def _of_step(step: FailedStep) -> RunImage:
    """Return the files that a failed step left as an image; its command is a shell, since the step's own failed."""
    meta = step.op.meta
    known = len(meta.args) > 2 and meta.args[0].rpartition("/")[2] in _SHELLS
    shell = meta.args[:-1] if known else ("/bin/sh", "-c")
    config = ContainerConfig(env=meta.env, user=meta.user, working_dir=meta.cwd, cmd=shell[:1], shell=shell)
    return RunImage(
        FAILED, step.after, msgspec.structs.replace(image_config.empty(platforms.host()), config=config), step
    )


def _of_result(image: object, platform: str) -> RunImage:
    from ..results.contents import Contents

    contents = getattr(image, "contents", None)
    if not isinstance(contents, Contents) or contents.image is None:
        raise UsageError("There is no image to run.", hint="Build it with -t NAME, and run that.")
    manifest = contents.manifest(platforms.parse(platform).full if platform else "")
    config = image_config.decode(contents.document(manifest.config_digest))
    name = contents.image.names[0] if contents.image.names else manifest.config_digest[:19]
    return RunImage(name, contents.tree(manifest).diff_ids, config)
