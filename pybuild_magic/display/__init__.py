"""What people see: progress and results, as text, HTML and widgets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..summary import MIME_TYPE, Summary

if TYPE_CHECKING:
    from ..options import BuildOptions
    from .plain import Plain, RawJson
    from .widget import WidgetProgress


def in_kernel() -> bool:
    """Whether a Jupyter front end shows what is displayed, rather than a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def open_progress(options: BuildOptions) -> Plain | RawJson | WidgetProgress | None:
    """The display that `--progress` and `--quiet` ask for; `auto` is a widget in a notebook, else plain text."""
    mode = "quiet" if options.quiet else options.progress
    if mode in ("quiet", "none"):
        return None
    if mode == "widget" or (mode == "auto" and in_kernel()):
        from .widget import WidgetProgress

        return WidgetProgress(options)
    from .plain import Plain, RawJson

    write = (sys.stdout if in_kernel() else sys.stderr).write
    return RawJson(write) if mode == "rawjson" else Plain(write)


def mime_bundle(summary: Summary) -> dict[str, Any]:
    """A result as Jupyter keeps it: as data, as HTML and as text."""
    import msgspec

    from . import html, text

    return {
        "text/plain": text.render(summary),
        "text/html": str(html.render(summary)),
        MIME_TYPE: msgspec.to_builtins(summary),
    }
