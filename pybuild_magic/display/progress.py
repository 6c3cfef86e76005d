"""Progress in a notebook: a card that is a live widget while the build runs, and shows the result when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from ..builders import default_name
from ..cancel import Cancel
from ..errors import BuildError, Interrupted
from ..request.options import BuildOptions
from ..status.messages import SolveStatus
from ..status.trace import Trace
from . import fold
from .advice import advice
from .console import asked_by_page

if TYPE_CHECKING:
    from .markup import Markup
    from .widget import LiveView

_PATIENCE = 0.25
"""Seconds before a card appears; a cached build is over by then, and needs no widget."""


class Result(Protocol):
    """A finished build, as far as a card needs it."""

    def mime_bundle(self, steps: Markup | None = None) -> dict[str, Any]:
        """Return the forms by media type; `steps` are those of the static page."""
        ...

    def with_hint(self, hint: str) -> Result:
        """Return the same with a hint after its error."""
        ...

    def displayed(self) -> None:
        """Record that the running cell shows it."""
        ...


class NotebookProgress:
    """The display of one build. All calls come from one thread: the cell's, or that of a `background` build."""

    def __init__(self, options: BuildOptions, cancel: Cancel, *, background: bool = False) -> None:
        self._title = ", ".join(options.tags) or options.target or "image"
        self._builder = options.builder or default_name()
        self._cancel = cancel
        self._is_background = background
        self._again: list[Any] = []
        self._live = self._open(background=True) if background else None

    def _open(self, *, background: bool = False) -> LiveView:
        from .widget import LiveView

        return LiveView(self._title, self._builder, self._cancel.cancel, background=background)

    def show(self) -> None:
        """Show the card once more, in another cell; it follows the first one."""
        if self._live is not None:
            self._again.append(self._live.show())

    def update(self, status: SolveStatus) -> None:
        """Do nothing: `tick` shows the news."""

    def tick(self, trace: Trace) -> None:
        """Show the news."""
        if self._live is None and trace.elapsed >= _PATIENCE:
            self._live = self._open()
        if self._live is not None:
            self._live.update(trace)

    def finish(self, trace: Trace, error: BuildError | None, result: Result | None = None) -> None:
        """Replace the widget with the result, so that a saved notebook shows it without a kernel."""
        if error is not None and self._live is None and not any(trace.visible()):
            return  # nothing had begun, so the error alone is enough
        self._settle(_bundle(trace, error, result))
        if result is not None and not self._is_background:
            result.displayed()
        if error is not None and asked_by_page():
            error.rest = _rest(error)

    def _settle(self, bundle: dict[str, Any]) -> None:
        from IPython import display

        if self._live is None:
            cast("Any", display).display(bundle, raw=True)
            return
        for handle in [self._live.handle, *self._again]:
            handle.update(bundle, raw=True)
        self._live.close()


def _bundle(trace: Trace, error: BuildError | None, result: Result | None) -> dict[str, Any]:
    """Return the card by media type. Where HTML is shown, an error's report is in the card only."""
    if result is not None and error is None:
        return result.mime_bundle(fold.steps_of(trace))
    folded: dict[str, Any] = {"text/html": str(fold.render(trace, error)), "text/plain": fold.plain(trace, error)}
    if result is None or error is None:
        return folded
    failed = next((step for step in trace.visible() if step.state == "error"), None)
    hint = advice(error, (line.text for line in failed.lines) if failed else ())
    return result.with_hint(hint).mime_bundle() | folded


def _rest(error: BuildError) -> str:
    """Return a single line, because the card right above it has the details."""
    if isinstance(error, Interrupted):
        return "Canceled."
    where = f" at {error.location}" if error.location else ""
    return f"{error.kind[:1].upper()}{error.kind[1:]}{where}: see above."
