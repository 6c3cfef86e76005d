"""Downloads in browsers without the labextension: a button next to each path on the static page.

A result is static HTML, in which the path of each output carries the token of its result. One widget per kernel, which
is never displayed, runs in every page that shows the notebook: it adds a button wherever it finds a token that its
kernel knows. So a download works wherever the file is, even outside of the directories that Jupyter serves; a page
without the kernel just shows the path. The page asks for each chunk, with the protocol of `service`, so that the kernel
holds few at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anywidget
import traitlets

from .scripts import source
from .service import service

if TYPE_CHECKING:
    from ..results.contents import Contents
    from .service import Lines


class DownloadChannel(anywidget.AnyWidget):
    """The widget: `tokens` are those of results whose outputs can be downloaded."""

    _esm = source("downloads.js")
    tokens = cast("Any", traitlets.List().tag(sync=True))


def answer(widget: Any, content: object, _buffers: object = None) -> None:
    """Answer a custom message of a widget."""
    service().handle(content, lambda reply, buffers: widget.send(reply, buffers))


_channel: Any = None


def offer(contents: Contents, lines: Lines | None = None) -> str:
    """Return the token with which this kernel's pages can ask for `contents`; each output file gets a button."""
    global _channel
    token = service().offer(contents, lines)
    if any(path is not None for _, path in contents.outputs):
        if _channel is None:
            _channel = DownloadChannel()
            _channel.on_msg(answer)
        _channel.tokens = service().tokens
    return token
