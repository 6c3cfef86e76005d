"""The commands of `%build` that keep the store small, and bring images into it and out of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.collected import collected_line
from ..display.plain import Plain
from ..display.table import Document, Table
from ..display.words import clipped, familiar, human_bytes, shorten
from ..errors import UsageError
from ..portable import kind_of, user_path
from ..request.values import parse_size
from ..results.opening import stored_name
from ..session import DirSink, FileSink, Session
from ..session.auth import DockerAuth
from ..status.report import VertexReport
from ..store.policy import Plan
from .cells import option


def collect_garbage(words: Sequence[str]) -> Table | Document:
    """Shrink the store to its limit now, as happens after builds; `--dry-run` shows what would go."""
    dry, keep, rest = False, None, list(words)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word == "--dry-run" and not equals:
            dry = True
        elif word == "--keep-storage":
            if not equals and not rest:
                raise UsageError(f"{word} needs a value.")
            keep = parse_size(value if equals else rest.pop(0), word)
        else:
            raise UsageError(f"%build gc takes no {word}.", hint="It takes --dry-run and --keep-storage SIZE.")
    collector = embedded_builder().collector
    if dry:
        return _planned(collector.plan(keep))
    return Document((("", collected_line(collector.run(keep))),))


def load(words: Sequence[str]) -> Document:
    """Load the images of an archive or layout into the store: `FILE|DIR`, and `-t NAME` for another name."""
    from ..images.load import load_images

    rest, name = option(words, "-t", "--tag")
    if len(rest) != 1 or rest[0].startswith("-"):
        raise UsageError(
            "%build load takes one file or directory.", hint="It is an archive or a layout that was saved or exported."
        )
    path, cancel = user_path(rest[0]), Cancel()
    store = embedded_builder().store
    names = watch(
        f"loading {rest[0]}",
        lambda report: load_images(store, path, name, cancel, report),
        Plain(sys.stderr.write),
        cancel,
    )
    return Document((("", "\n".join(f"Loaded {familiar([name])}" for name in names)),))


def save(words: Sequence[str]) -> Document:
    """Save images from the store to a file, or as a layout to a directory: `REF... FILE|DIR`, as `docker save`."""
    from ..exporters import ExportContext
    from ..exporters.save import save as save_images

    rest, dest = option(words, "-o", "--output")
    if not dest and len(rest) > 1:
        dest = rest.pop()
    if not rest or not dest or any(word.startswith("-") for word in rest):
        raise UsageError("%build save takes the names of images, and a file or directory.", hint=_SAVE)
    store, cancel = embedded_builder().store, Cancel()
    names = [stored_name(embedded_builder().store, word) for word in rest]
    images = [store.images.get(name) for name in names]
    sink = DirSink(dest) if dest.endswith("/") or kind_of(user_path(dest)) == "directory" else FileSink(dest)

    def work(report: VertexReport) -> None:
        with store.lease():
            context = ExportContext(store, Session(auth=DockerAuth()), report, cancel, sink)
            save_images([image for image in images if image], context)

    watch(f"saving to {dest}", work, Plain(sys.stderr.write), cancel)
    return Document((("", f"Saved {familiar(names)} to {dest}"),))


_SAVE = "For example: %build save hello:latest hello.tar. A path that ends in a slash becomes an OCI layout."


def _planned(plan: Plan) -> Table:
    rows = tuple(
        (
            step.kind,
            (step.id.partition(":")[2] or step.id)[:12],
            human_bytes(step.size),
            datetime.fromtimestamp(step.last_used).astimezone().strftime("%Y-%m-%d %H:%M"),
            clipped(shorten(step.description), 100),
        )
        for step in plan.steps
    )
    note = f"Would free {human_bytes(plan.freed)} of {human_bytes(plan.total)}."
    if not rows:
        note = f"Nothing would go: the store takes {human_bytes(plan.total)}."
    return Table(("KIND", "ID", "SIZE", "LAST USED", "DESCRIPTION"), rows, note, frozenset({"SIZE"}))
