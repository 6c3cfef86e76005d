"""The display: progress and results, as text, HTML and widgets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..summary import MIME_TYPE, Summary
from .console import in_kernel, in_terminal

if TYPE_CHECKING:
    from ..cancel import Cancel
    from ..request.options import BuildOptions
    from ..results.contents import Contents
    from .markup import Markup
    from .plain import Plain, RawJson
    from .progress import NotebookProgress
    from .screen import Screen
    from .service import Lines


def open_progress(
    options: BuildOptions, cancel: Cancel, *, background: bool = False
) -> Plain | RawJson | Screen | NotebookProgress | None:
    """Return the display that `--progress` and `--quiet` ask for.

    `auto` is a widget in a notebook, redrawn rows in a terminal, and plain text elsewhere.

    A widget has a button that calls `cancel`. The display of a `background` build appears at once, in the cell that
    started it; later calls may come from one other thread.
    """
    mode = "quiet" if options.quiet else options.progress
    if mode == "auto" and options.call.method != "build":
        mode = "quiet"  # the answer itself is all that is shown
    if mode in ("quiet", "none"):
        return None
    if mode == "widget" or (mode == "auto" and in_kernel()):
        from .progress import NotebookProgress

        return NotebookProgress(options, cancel, background=background)
    if mode == "auto" and in_terminal():
        from .screen import Screen

        return Screen(sys.stderr)
    from .plain import Plain, RawJson

    write = (sys.stdout if in_kernel() else sys.stderr).write
    return RawJson(write) if mode == "rawjson" else Plain(write)


def mime_bundle(
    summary: Summary,
    contents: Contents | None = None,
    lines: Lines | None = None,
    steps: Markup | None = None,
) -> dict[str, Any]:
    """Return a result in Jupyter's form: as data, as HTML and as text, each of limited size.

    In a kernel, pages may ask for more of `contents` and for the `lines` of a step, and download outputs. `steps` are
    made by fold.py from the steps of a build that has just ended.
    """
    import msgspec

    from ..results.trees import Listings, document_of, image_files
    from . import html, text
    from .attestations import with_attested

    downloads: dict[int, str] = {}
    if contents is not None and in_kernel():
        from .downloads import offer

        token = offer(contents, lines)
        summary = msgspec.structs.replace(summary, fetch=token)
        downloads = {number: token for number, (_, path) in enumerate(contents.outputs) if path is not None}
    summary = with_attested(summary, contents)
    listings = Listings(contents) if contents else None
    trees = image_files(summary.image, listings, html.trees_of(summary)) if summary.image and listings else ()
    document = document_of(summary, listings)
    return {
        "text/plain": text.render(document),
        "text/html": str(html.render(summary, downloads, steps, trees)),
        MIME_TYPE: msgspec.to_builtins(document),
    }
