"""The explorer of a result as a widget, for front ends without the labextension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anywidget
import msgspec
import traitlets

from ..results.trees import document_of
from ..summary import Summary
from . import text
from .attestations import with_attested
from .downloads import answer
from .scripts import source
from .service import service

if TYPE_CHECKING:
    from ..results.contents import Contents
    from .service import Lines


class ResultView(anywidget.AnyWidget):
    """The widget: it draws the document `summary`, and its custom messages carry the protocol of `service`."""

    _esm = source("result.js")
    _css = source("result.css")
    summary = cast("Any", traitlets.Dict().tag(sync=True))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget's bundle, with a text for front ends that show no widgets."""
        bundle: Any = cast("Any", super())._repr_mimebundle_(**kwargs)
        words = {"text/plain": text.render(msgspec.convert(self.summary, Summary))}
        return ({**bundle[0], **words}, bundle[1]) if bundle else words


def explore(summary: Summary, contents: Contents | None, lines: Lines | None) -> ResultView:
    """Return the widget of one result."""
    if contents is not None:
        summary = msgspec.structs.replace(summary, fetch=service().offer(contents, lines))
    view: Any = ResultView(summary=msgspec.to_builtins(document_of(with_attested(summary, contents), contents)))
    view.on_msg(answer)
    return view
