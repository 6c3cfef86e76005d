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
from ..portable import user_path
from ..request.flags import Flag, Kind, ParsedFlags, truth
from ..session.auth import DockerAuth
from .command import command

_PROGRESS = ("auto", "plain", "tty", "none", "quiet")
_WHOLE = re.compile(r"\{\{\s*\.Manifest\s*\}\}")
"""The template that stands for what is shown without one."""


@command(
    "imagetools create",
    "[SOURCE...]",
    names=("image",),
    flags=(
        Flag("tag", Kind.MANY, "NAME", "Name of the new image: docker://NAME pushes it", short="t"),
        Flag("append", Kind.BOOL, "", "Append to the images that the name has"),
        Flag("annotation", Kind.MANY, "[KIND:]KEY=VALUE", "Add an annotation: of kind index or manifest-descriptor"),
        Flag("dry-run", Kind.BOOL, "", "Show the index, without writing it"),
        Flag("file", Kind.MANY, "FILE", "Read the descriptor of a source from this file", short="f"),
        Flag("platform", Kind.MANY, "PLATFORM", "Keep only the manifests of these platforms", short="p"),
        Flag("prefer-index", Kind.BOOL, "", "Make an index even of a single manifest (default true)"),
        Flag("progress", Kind.ONE, "MODE", "Show the progress: auto, plain or none", choices=_PROGRESS),
    ),
)
def create(flags: ParsedFlags) -> Document:
    """Combine images into one."""
    from ..api.imagetools import create, parse_annotation
    from ..oci import platform

    names = flags.every("tag")
    dry = flags.on("dry-run")
    if not names and not dry:
        raise UsageError("The new image needs a name.", hint="Add -t docker://NAME, or --dry-run.")
    cancel = Cancel()
    work = partial(
        create, embedded_builder().store, [*map(_text, flags.every("file")), *flags.arguments], names, DockerAuth(),
        cancel,
        append=flags.on("append"),
        annotations=[own for text in flags.every("annotation") for own in parse_annotation(text)],
        only=[platform.parse(word) for text in flags.every("platform") for word in text.split(",")],
        prefer_index=truth(flags.last("prefer-index", "true"), "--prefer-index"),
        dry_run=dry,
    )  # fmt: skip
    progress = None if flags.last("progress") in ("none", "quiet") else Plain(sys.stderr.write)
    return Document((("", watch("making an index", work, progress, cancel).decode()),))


def _text(path: str) -> str:
    try:
        return user_path(path).read_text()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--file {path} cannot be read: {getattr(error, 'strerror', '') or error}.") from error


@command(
    "imagetools inspect",
    "REF",
    takes="one image",
    hint="For example: inspect docker://NAME",
    names=("image",),
    flags=(
        Flag("raw", Kind.BOOL, "", "Show the original JSON"),
        Flag("format", Kind.ONE, "TEMPLATE", "Show what a Go template names, such as {{json .Image}}"),
    ),
)
def inspect(flags: ParsedFlags) -> Any:
    """Show the parts of an image in a registry."""
    from ..golang.template import execute
    from ..images.describe import inspect_image
    from ..images.formatted import LEFT_OUT, template_data
    from ..images.places import RegistryPlace
    from ..oci import reference
    from ..oci.blobs import read
    from ..oci.remote.registry import Registry

    name, template = flags.arguments[0].removeprefix("docker://"), flags.last("format")
    if template and flags.on("raw"):
        raise UsageError("--format and --raw cannot be used together.")
    ref = reference.parse(name).tagged()
    store, cancel = embedded_builder().store, Cancel()
    with Registry(DockerAuth()) as registry, store.lease():
        place = RegistryPlace(registry, ref, store, cancel)
        root = registry.resolve(ref, cancel)
        document = read(place.manifests, root)
        if flags.on("raw"):
            return Document((("", document.decode("utf-8", "replace")),), verbatim=True)
        if template and not _WHOLE.fullmatch(template.strip()):
            data = template_data(store, place, root, name, cancel)
            return Document((("", execute(template, data, zero=LEFT_OUT)),), verbatim=True)

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
