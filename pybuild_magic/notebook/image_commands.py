"""The commands of `%build` about images: to list, load, save, remove, slim, share and compare them."""

from __future__ import annotations

import sys
from typing import Any

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.plain import Plain
from ..display.table import Document, Table
from ..display.words import familiar, human_bytes, moment, short_digest
from ..environments.compare import EnvironmentDifference
from ..environments.compare import diff as compare
from ..environments.share import share as texts_for
from ..environments.slim.opening import ShownSavings
from ..environments.slim.opening import slim as find
from ..errors import UsageError
from ..golang.json import dumps
from ..images.describe import inspect_image
from ..oci import reference
from ..portable import kind_of, user_path
from ..request.flags import Flag, Kind, ParsedFlags
from ..results.opening import stored_name
from ..session import DirSink, FileSink, Session
from ..session.auth import DockerAuth
from ..status.report import VertexReport
from .command import command

_LISTED = "%build images lists them."
_PLATFORM = (Flag("platform", Kind.ONE, "OS/ARCH", "The platform, if the image has several"),)


@command("images")
def images(_flags: ParsedFlags) -> Table:
    """List the images in the store."""
    store = embedded_builder().store
    rows: list[tuple[str, ...]] = []
    for record in store.images.list():
        image = inspect_image(store.blobs.read, record.descriptor.digest)
        platforms = ", ".join(manifest.platform for manifest in image.manifests)
        familiar = reference.parse(record.name).familiar
        rows.append(
            (
                familiar,
                short_digest(record.descriptor.digest),
                platforms,
                human_bytes(image.total_size),
                moment(record.created),
            )
        )
    links = tuple(f"image {row[0]}" for row in rows)
    columns = ("NAME", "DIGEST", "PLATFORM", "SIZE", "CREATED")
    note = "" if rows else "No images yet: a build with -t NAME puts one here."
    return Table(columns, tuple(rows), note, frozenset({"SIZE"}), links)


@command("inspect", "REF", takes="one image", hint=_LISTED, names=("image",))
def inspect(flags: ParsedFlags) -> Any:
    """Show an image in the store: its manifests, config and layers, as after a build."""
    from ..result import Image
    from ..results.opening import stored_image

    contents = stored_image(embedded_builder().store, flags.arguments[0])
    assert contents.image is not None
    return Image(contents.image, contents)


@command("rm", "REF...", takes="the names of images", hint=_LISTED, names=("image", "stopped"))
def remove(flags: ParsedFlags) -> Document:
    """Remove images by name, and stopped runs; what nothing else needs is deleted."""
    from ..store.collect import remove_images
    from ..store.stopped import SHORT

    store = embedded_builder().store
    found = [(word, store.stopped.get(word)) for word in flags.arguments]
    stopped = [run for _, run in found if run]
    names = [stored_name(store, word) for word, run in found if not run]
    freed = sum(run.size for run in stopped)
    for run in stopped:
        store.stopped.remove(run)
    freed += remove_images(store, names)
    lines = [f"Removed {name}" for name in (*names, *(run.id[:SHORT] for run in stopped))]
    return Document((("", "\n".join([*lines, f"Freed {human_bytes(freed)}"])),))


@command(
    "load",
    "FILE|DIR",
    takes="one file or directory",
    hint="Name an archive or a layout that was saved or exported.",
    names=("file",),
    flags=(Flag("tag", Kind.ONE, "NAME", "Another name for the image", short="t"),),
)
def load(flags: ParsedFlags) -> Document:
    """Load the images of an archive or layout into the store."""
    from ..images.load import load_images

    (source,) = flags.arguments
    path, cancel = user_path(source), Cancel()
    store = embedded_builder().store
    names = watch(
        f"loading {source}",
        lambda report: load_images(store, path, flags.last("tag"), cancel, report),
        Plain(sys.stderr.write),
        cancel,
    )
    return Document((("", "\n".join(f"Loaded {familiar([name])}" for name in names)),))


_SAVE = "For example: %build save hello:latest hello.tar. A path that ends in a slash becomes an OCI layout."


@command(
    "save",
    "REF... [FILE|DIR]",
    takes="the names of images, and a file or directory",
    hint=_SAVE,
    names=("image", "file"),
    flags=(Flag("output", Kind.ONE, "PATH", "The file or directory, instead of the last argument", short="o"),),
)
def save(flags: ParsedFlags) -> Document:
    """Save images from the store to a file, or as a layout to a directory; as `docker save`."""
    from ..exporters import ExportContext
    from ..exporters.save import save as save_images

    words, dest = list(flags.arguments), flags.last("output")
    if not dest and len(words) > 1:
        dest = words.pop()
    if not dest:
        raise UsageError("%build save takes the names of images, and a file or directory.", hint=_SAVE)
    store, cancel = embedded_builder().store, Cancel()
    names = [stored_name(store, word) for word in words]
    images = [store.images.get(name) for name in names]
    sink = DirSink(dest) if dest.endswith("/") or kind_of(user_path(dest)) == "directory" else FileSink(dest)

    def work(report: VertexReport) -> None:
        with store.lease():
            context = ExportContext(store, Session(auth=DockerAuth()), report, cancel, sink)
            save_images([image for image in images if image], context)

    watch(f"saving to {dest}", work, Plain(sys.stderr.write), cancel)
    return Document((("", f"Saved {familiar(names)} to {dest}"),))


@command("slim", "REF", takes="one image", hint=_LISTED, names=("image",), flags=_PLATFORM)
def slim(flags: ParsedFlags) -> ShownSavings:
    """Show what an image could do without: for each thing, a line of a Dockerfile that leaves it out."""
    return find(flags.arguments[0], flags.last("platform"))


@command("share", "REF", takes="one image", hint=_LISTED, names=("image",), flags=_PLATFORM)
def share(flags: ParsedFlags) -> Document:
    """Print what others can paste to use an image: docker run, JupyterHub, Binder, a devcontainer."""
    return Document(tuple((part.title, part.text) for part in texts_for(flags.arguments[0], flags.last("platform"))))


_FORMAT = Flag("format", Kind.ONE, "FORMAT", "table, or json for all that differs", choices=("table", "json"))


@command(
    "diff",
    "REF REF",
    takes="two images, the older one first",
    hint=_LISTED,
    names=("image",),
    flags=(_FORMAT, *_PLATFORM),
)
def diff(flags: ParsedFlags) -> EnvironmentDifference | Document:
    """Compare two images: their packages by what installed them, then their configs and files."""
    older, newer = flags.arguments
    found = compare(older, newer, flags.last("platform"))
    if flags.last("format") == "json":
        return Document((("", dumps(found.to_dict(), indent=True).decode()),))
    return found
