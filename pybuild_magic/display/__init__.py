"""What people see: progress and results, as text, HTML and widgets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..summary import MIME_TYPE, Summary

if TYPE_CHECKING:
    from ..cancel import Cancel
    from ..options import BuildOptions
    from .plain import Plain, RawJson
    from .progress import NotebookProgress


def in_kernel() -> bool:
    """Whether a Jupyter front end shows what is displayed, rather than a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def open_progress(
    options: BuildOptions, cancel: Cancel, *, background: bool = False
) -> Plain | RawJson | NotebookProgress | None:
    """The display that `--progress` and `--quiet` ask for; `auto` is a widget in a notebook, else plain text.

    A widget has a button that calls `cancel`. That of a `background` build is shown at once, in the cell that asked
    for it; its later calls may come from any one thread.
    """
    mode = "quiet" if options.quiet else options.progress
    if mode in ("quiet", "none"):
        return None
    if mode == "widget" or (mode == "auto" and in_kernel()):
        from .progress import NotebookProgress

        return NotebookProgress(options, cancel, background=background)
    from .plain import Plain, RawJson

    write = (sys.stdout if in_kernel() else sys.stderr).write
    return RawJson(write) if mode == "rawjson" else Plain(write)


def mime_bundle(summary: Summary, paths: Sequence[Path | None] = ()) -> dict[str, Any]:
    """A result as Jupyter keeps it: as data, as HTML and as text. In a kernel, what is at `paths` can be downloaded."""
    import msgspec

    from . import html, text

    tokens: dict[int, str] = {}
    if in_kernel() and any(paths):
        from .downloads import offer

        tokens = {index: offer(path) for index, path in enumerate(paths) if path is not None}
    return {
        "text/plain": text.render(summary),
        "text/html": str(html.render(summary, tokens)),
        MIME_TYPE: msgspec.to_builtins(summary),
    }
