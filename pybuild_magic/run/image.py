"""What a process is run on: an image of the store, a registry's, one of a layout or an archive, or a result."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.sources import Resolver
from ..cancel import Cancel
from ..errors import UsageError
from ..images.layout import find_in_layout
from ..images.pull import fetch_layers
from ..oci import config as image_config
from ..oci import platform as platforms
from ..oci import reference
from ..oci.config import ImageConfig
from ..portable import kind_of, user_path
from ..results.contents import Contents
from ..session import Session
from ..status.messages import SolveStatus
from ..status.report import Reporter

_LAYOUT = "oci-layout://"


class RunImage(msgspec.Struct, frozen=True):
    """An image whose layers are in the store."""

    name: str
    snapshot: tuple[str, ...]
    config: ImageConfig


def find_image(ref: Any, platform: str = "", *, pull: bool = False, cancel: Cancel | None = None) -> RunImage:
    """The image that `ref` stands for: a name, `oci-layout://PATH`, a path of a layout or an archive, or a result.

    What the store has not is pulled. Hold a lease of the store. Raises SourceError, UsageError and Interrupted.
    """
    cancel = cancel or Cancel()
    if not isinstance(ref, str):
        return _of_result(getattr(ref, "image", ref), platform)
    store = embedded_builder().store
    wanted = platforms.parse(platform) if platform else platforms.host()
    path = ref.removeprefix(_LAYOUT)
    if path != ref or (ref.startswith(("/", ".", "~")) and kind_of(user_path(ref))):
        found, place = find_in_layout(store, path, wanted, cancel)
        return RunImage(path, fetch_layers(store, place, found, cancel), found.config)
    from ..session.auth import DockerAuth

    parsed = reference.parse(ref).tagged()
    with closing(Resolver(store, Session(auth=DockerAuth()), cancel, Reporter(_ignore), _mode(pull))) as resolver:
        found, place = resolver.locate(parsed, wanted)
        return RunImage(parsed.familiar, fetch_layers(store, place, found, cancel), found.config)


def _mode(pull: bool) -> str:
    return "pull" if pull else "default"


def _ignore(_status: SolveStatus) -> None:
    pass


def _of_result(image: object, platform: str) -> RunImage:
    contents = getattr(image, "contents", None)
    if not isinstance(contents, Contents) or contents.image is None:
        raise UsageError("There is no image to run.", hint="Build it with -t NAME, and run that.")
    manifest = contents.manifest(platforms.parse(platform).full if platform else "")
    config = image_config.decode(contents.document(manifest.config_digest))
    name = contents.image.names[0] if contents.image.names else manifest.config_digest[:19]
    return RunImage(name, contents.tree(manifest).diff_ids, config)
