"""Builds in the background, so that the notebook can go on meanwhile."""

from __future__ import annotations

import threading
from typing import Any, Protocol, cast

from ..cancel import Cancel
from ..display.console import cell_number
from ..errors import BuildError, Interrupted
from ..request.options import BuildOptions
from ..result import BuildResult
from ..status.messages import SolveStatus, now
from ..status.stepname import is_counted
from ..status.trace import Trace
from ..untrusted.printable import visible_lines
from .run import Progress, run


class Card(Progress, Protocol):
    """A live display of progress in a page, which turns into the result."""

    def show(self) -> None:
        """Show the card once more."""
        ...


class BuildHandle:
    """A build in progress. Its display shows the progress, and the result when the build has ended.

    `wait()` returns the result, `cancel()` stops the build, `done` tells whether it has ended.
    """

    def __init__(self, options: BuildOptions, progress: Progress | None, cancel: Cancel) -> None:
        self._title = ", ".join(options.tags) or options.target or "image"
        self._cancel = cancel
        self._ended = threading.Event()
        self._watch = _Watch(progress)
        self._result: BuildResult | None = None
        self._error: BaseException | None = None
        self._display: Any = None
        self._card = cast("Card", progress) if hasattr(progress, "show") else None
        self._cell = cell_number()
        self._lock = threading.Lock()
        # A daemon thread, so that the interpreter can exit: the store stays consistent whenever a build dies.
        threading.Thread(target=self._run, args=(options,), name="pybuild-background", daemon=True).start()

    def _run(self, options: BuildOptions) -> None:
        try:
            self._result = run(options, self._watch, self._cancel)
        except BaseException as error:
            self._error = error
        with self._lock:
            self._ended.set()
            if self._display is not None:
                self._display.update(self._bundle(), raw=True)

    @property
    def done(self) -> bool:
        """Whether the build has ended, successfully or not."""
        return self._ended.is_set()

    @property
    def result(self) -> BuildResult | None:
        """The result; None while the build goes on. Raises the build's error if it failed."""
        if self._error is not None:
            raise self._error
        return self._result

    @property
    def state(self) -> str:
        """`running`, `done`, `error` or `canceled`."""
        if not self.done:
            return "running"
        if self._error is None:
            return "done"
        return "canceled" if isinstance(self._error, Interrupted) else "error"

    def wait(self, timeout: float | None = None) -> BuildResult:
        """Wait for the build to end, and return the result.

        Raises the build's error if it failed, and `TimeoutError` after `timeout` seconds. An interrupt stops the
        waiting, not the build.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"The build of {self._title} goes on; it has not ended in {timeout} seconds.")
        result = self.result
        assert result is not None
        return result

    def cancel(self) -> None:
        """Stop the build. Steps that have finished stay cached."""
        self._cancel.cancel()

    def __repr__(self) -> str:
        if self._result is not None:
            return repr(self._result)
        if self._error is not None:
            error = self._error
            return visible_lines(f"{self._title}: {error.render() if isinstance(error, BuildError) else error}")
        return visible_lines(f"Building {self._title} in the background: {self._watch.state()}")

    def _bundle(self) -> dict[str, Any]:
        if self._result is not None:
            return self._result.mime_bundle()
        # A card already shows the error.
        has_card = self._card is not None and isinstance(self._error, BuildError)
        return {"text/plain": visible_lines(f"{self._title}: {self.state}") if has_card else repr(self)}

    def _ipython_display_(self) -> None:
        from IPython import display

        with self._lock:
            if self._card is not None and self._cell == cell_number():
                return  # the card that the build opened is right above
            if self._card is not None and not self.done:
                self._card.show()
                return
            handle: Any = cast("Any", display).display(self._bundle(), raw=True, display_id=True)
            if not self.done:
                self._display = handle


class _Watch:
    """Passes the progress on, and remembers its state."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._trace = Trace()

    def update(self, status: SolveStatus) -> None:
        if self._progress is not None:
            self._progress.update(status)

    def tick(self, trace: Trace) -> None:
        self._trace = trace
        if self._progress is not None:
            self._progress.tick(trace)

    def finish(self, trace: Trace, error: BuildError | None, result: BuildResult | None = None) -> None:
        self._trace = trace
        if self._progress is not None:
            self._progress.finish(trace, error, result)

    def state(self) -> str:
        """Describe the state: `3 of 9 steps, at RUN make for 2.1 s`."""
        steps = [step for step in self._trace.steps.values() if is_counted(step.name)]
        done = sum(step.completed is not None for step in steps)
        at = "".join(f", at {step.name} for {step.seconds(now()):.1f} s" for step in self._trace.running()[:1])
        return f"{done} of {len(steps)} steps{at}"
