"""Downloads for browsers that have no labextension: a button next to each path of the static page.

A result is static HTML, in which the path of each output has the token of its result. One widget a kernel, which is
never displayed, runs in every page that shows the notebook: where it finds a token that its kernel knows, it puts a
button. So a link works wherever the file is, also outside of what Jupyter serves; and a page without the kernel shows
the path. The page asks for each chunk, by the protocol of `service`, so that the kernel holds few at a time.
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
    """The widget: `tokens` are those of the results whose outputs can be asked for."""

    _esm = source("downloads.js")
    tokens = cast("Any", traitlets.List().tag(sync=True))


def answer(widget: Any, content: object, _buffers: object = None) -> None:
    """Answer a custom message of a widget."""
    service().handle(content, lambda reply, buffers: widget.send(reply, buffers))


_channel: Any = None


def offer(contents: Contents, lines: Lines | None = None) -> str:
    """Return the token by which this kernel's pages can ask for `contents`; a button for each file that was written."""
    global _channel
    token = service().offer(contents, lines)
    if any(path is not None for _, path in contents.outputs):
        if _channel is None:
            _channel = DownloadChannel()
            _channel.on_msg(answer)
        _channel.tokens = service().tokens
    return token
