"""`%build imagetools`: combining images into one, and showing the parts of an image in a registry."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import Any

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.plain import Plain
from ..display.table import Document, Table
from ..display.words import human_bytes
from ..errors import UsageError
from ..request.flags import Flag, Kind, ParsedFlags
from ..session.auth import DockerAuth
from .command import command


@command(
    "imagetools create",
    "[SOURCE...]",
    names=("image",),
    flags=(
        Flag("tag", Kind.MANY, "NAME", "Name of the new image: docker://NAME pushes it", short="t"),
        Flag("append", Kind.BOOL, "", "Append to the images that the name has"),
        Flag("annotation", Kind.MANY, "KEY=VALUE", "Add an annotation to the index"),
        Flag("dry-run", Kind.BOOL, "", "Show the index, without writing it"),
    ),
)
def create(flags: ParsedFlags) -> Document:
    """Combine images into one."""
    from ..api.imagetools import create

    names = flags.every("tag")
    dry = flags.on("dry-run")
    if not names and not dry:
        raise UsageError("The new image needs a name.", hint="Add -t docker://NAME, or --dry-run.")
    annotations = dict(_annotation(text) for text in flags.every("annotation"))
    cancel = Cancel()
    work = partial(
        create, embedded_builder().store, flags.arguments, [] if dry else names, DockerAuth(), cancel,
        append=flags.on("append"), annotations=annotations,
    )  # fmt: skip
    document = watch("making an index", work, Plain(sys.stderr.write), cancel)
    return Document((("", document.decode()),))


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    match = re.fullmatch(r"(?:index:)?([^:]+)", key)
    if not equals or match is None:
        raise UsageError(f"--annotation {text!r} is not KEY=VALUE.", hint="Only those of the index can be set here.")
    return match[1], value


@command(
    "imagetools inspect",
    "REF",
    takes="one image",
    hint="For example: inspect docker://NAME",
    names=("image",),
    flags=(Flag("raw", Kind.BOOL, "", "Show the original JSON"),),
)
def inspect(flags: ParsedFlags) -> Any:
    """Show the parts of an image in a registry."""
    from ..images.describe import inspect_image
    from ..images.places import RegistryPlace
    from ..oci import reference
    from ..oci.blobs import read
    from ..oci.remote.registry import Registry

    ref = reference.parse(flags.arguments[0].removeprefix("docker://")).tagged()
    store, cancel = embedded_builder().store, Cancel()
    with Registry(DockerAuth()) as registry, store.lease():
        place = RegistryPlace(registry, ref, store, cancel)
        root = registry.resolve(ref, cancel)
        document = read(place.manifests, root)
        if flags.on("raw"):
            return Document((("", document.decode("utf-8", "replace")),))

        def document_of(digest: str) -> bytes:
            with place.manifests.open(digest) as file:
                return file.read()

        image = inspect_image(document_of, root.digest, (str(ref),))
    rows = tuple(
        (
            manifest.platform,
            manifest.digest,
            manifest.media_type,
            human_bytes(sum(layer.size for layer in manifest.layers)),
        )
        for manifest in image.manifests
    )
    note = f"{ref}: {image.digest} ({image.media_type})"
    return Table(("PLATFORM", "DIGEST", "MEDIA TYPE", "SIZE"), rows, note, frozenset({"SIZE"}))


@command("imagetools", words={"create": create, "inspect": inspect})
def imagetools(_flags: ParsedFlags) -> None:
    """Combine images into one, or show the parts of one."""
    raise UsageError(
        "%build imagetools takes create or inspect.", hint="For example: create -t docker://NAME NAME1 NAME2"
    )
