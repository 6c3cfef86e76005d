"""Progress in a notebook: a live widget for builds that one can watch, and static HTML of the steps in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..builders import default_name
from ..cancel import Cancel
from ..errors import BuildError
from ..request.options import BuildOptions
from ..status.messages import SolveStatus
from ..status.trace import Trace
from . import fold

if TYPE_CHECKING:
    from .widget import LiveView

_PATIENCE = 0.25
"""Seconds of a build before there is something to watch; a cached one is over by then, and costs no widget."""


class NotebookProgress:
    """The display of one build. Every call comes from one thread: the cell's, or that of a `background` build."""

    def __init__(self, options: BuildOptions, cancel: Cancel, *, background: bool = False) -> None:
        self._title = ", ".join(options.tags) or options.target or "image"
        self._builder = options.builder or default_name()
        self._cancel = cancel
        self._again: list[Any] = []
        self._live = self._open(background=True) if background else None

    def _open(self, *, background: bool = False) -> LiveView:
        from .widget import LiveView

        return LiveView(self._title, self._builder, self._cancel.cancel, background=background)

    def show(self) -> None:
        """Show what goes on once more, in another cell; it becomes what the first one does."""
        if self._live is not None:
            self._again.append(self._live.show())

    def become(self, bundle: dict[str, Any]) -> None:
        """Put the result in the place of the steps."""
        self._replace(bundle)

    def _replace(self, bundle: dict[str, Any]) -> None:
        for handle in [*([self._live.handle] if self._live else []), *self._again]:
            handle.update(bundle, raw=True)

    def update(self, status: SolveStatus) -> None:
        """`tick` shows what is new."""

    def tick(self, trace: Trace) -> None:
        """Show what is new."""
        if self._live is None and trace.elapsed >= _PATIENCE:
            self._live = self._open()
        if self._live is not None:
            self._live.update(trace)

    def finish(self, trace: Trace, error: BuildError | None) -> None:
        """Put the folded steps in the widget's place, so that a saved notebook shows them without a kernel."""
        from IPython import display

        live = self._live.handle if self._live else None
        if error is not None and live is None and not any(trace.visible()):
            return  # nothing was begun, so the error alone says it all
        folded = {"text/html": str(fold.render(trace, error)), "text/plain": fold.plain(trace, error)}
        if live is None:
            cast("Any", display).display(folded, raw=True)
        else:
            self._replace(folded)
        if self._live is not None:
            self._live.close()
        if error is not None:
            error.shown = True
