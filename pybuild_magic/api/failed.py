"""The state of a failed step, for the caller of the build: its files, its changes, and processes run on it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..builders import embedded_builder
from ..display.difference import ShownDifference, shown
from ..errors import RunError
from ..result import FileTree
from ..results.contents import StoreView
from ..results.difference import compare_trees
from ..run import RunResult, run


class FailedState:
    """The state of the step that failed with `error`; each member raises StoreError once it is no longer kept."""

    def __init__(self, error: RunError) -> None:
        self._error = error

    @cached_property
    def files(self) -> FileTree:
        """The files as the step left them."""
        builder = embedded_builder()
        with builder.store.lease():
            view = StoreView(builder.store, builder.failed.find(self._error.step_ref).after)
        return FileTree(view=lambda: view)

    def diff(self) -> ShownDifference:
        """Return the changes that the step made before it failed."""
        builder = embedded_builder()
        with builder.store.lease():
            step = builder.failed.find(self._error.step_ref)
            return shown(compare_trees(builder.store.tree(step.before), builder.store.tree(step.after)))

    def run(self, *command: str, **arguments: Any) -> RunResult:
        """Run a process in the state that the step left; see `pybuild_magic.run`."""
        return run(self._error, *command, **arguments)
