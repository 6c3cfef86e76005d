"""`pybuild run` and `exec`: a process with this process's standard streams, terminal and signals."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence

from ..builders import embedded_builder
from ..builders.embedded.sandbox import Hold
from ..cancel import Cancel
from ..errors import BuildError, UsageError
from ..request.flags import MisreadError
from ..run import Container, RunOptions, image_for, options_from, start_with
from ..run.background import NotStartedError, find_run
from ..run.flags import EXEC_FLAGS
from ..run.image import is_failed_step
from ..run.result import code_of_outcome
from ..run.values import WorkdirError
from .messages import tell

NOT_STARTED = 125
"""The exit code of docker run for errors before the process has started."""
NO_WORKDIR = 128
"""The exit code of docker exec for a working directory that is not absolute."""


def run(words: Sequence[str]) -> int:
    """Run a process; return its exit code. Raises UsageError for words that are not those of the command."""
    try:
        options, rest = options_from(words)
    except UsageError as error:
        raise MisreadError(error.message, hint=error.hint) from None
    if not rest:
        raise UsageError(
            "pybuild run needs an image, and takes a command.", hint="For instance: pybuild run -it busybox sh"
        )
    if is_failed_step(rest[0]) and len(rest) == 1 and not options.interactive:
        raise UsageError("A shell needs standard input.", hint="Use pybuild run -it @failed, or give a command.")
    _check_terminal(options)
    try:
        if options.detach:
            # This command ends at once, but the process that it has started must not end with it.
            print(start_with(rest[0], tuple(rest[1:]), options, owned=False).name)
            return 0
        with embedded_builder().store.lease():
            image = image_for(rest[0], options)
            return attached(Container(image, tuple(rest[1:]), options))
    except NotStartedError as error:
        tell(error.render())
        return error.code
    except BuildError as error:
        tell(error.render())
        return NOT_STARTED


def enter(words: Sequence[str]) -> int:
    """Run another process in a background run or a failed step; return its exit code.

    Raises BuildError when that does not exist or the process cannot start; `docker exec` ends with 1 then.
    """
    try:
        options, rest = options_from(words, EXEC_FLAGS)
    except WorkdirError as error:
        tell(error.render())
        return NO_WORKDIR
    except UsageError as error:
        raise MisreadError(error.message, hint=error.hint) from None
    if rest and is_failed_step(rest[0]):
        return run(words)
    if len(rest) < 2:
        raise UsageError("pybuild exec needs a run and a command.", hint="For instance: pybuild exec -it db sh")
    _check_terminal(options)
    process = find_run(rest[0]).entered(tuple(rest[1:]), options)

    def execute(cancel: Cancel, hold: Hold, terminal: tuple[int, int] | None) -> int:
        cancel.on_cancel(process.cancel.cancel)
        return process.run(_write, hold, terminal)

    return _attached(options, execute)


def attached(container: Container) -> int:
    """Run a process to its end with the streams of this one."""

    def execute(cancel: Cancel, hold: Hold, terminal: tuple[int, int] | None) -> int:
        outcome, changes = container.execute(_write, cancel, hold, terminal)
        if outcome.limits and sys.stderr.isatty():  # elsewhere, only the process's own output is expected
            tell(f"Limits: {outcome.limits}.")
        for text in (*outcome.warnings, *outcome.reached.sentences):
            tell(f"WARNING: {text}")
        if container.options.diff:
            tell(repr(changes))
        return code_of_outcome(outcome)

    return _attached(container.options, execute)


Execute = Callable[[Cancel, Hold, "tuple[int, int] | None"], int]
"""Runs a process to its end with a terminal of the given rows and columns, and returns its exit code."""


def _check_terminal(options: RunOptions) -> None:
    if options.tty and options.interactive and not sys.stdin.isatty():
        raise UsageError("-t needs a terminal on standard input.", hint="Leave -t out.")


def _attached(options: RunOptions, execute: Execute) -> int:
    typed = options.interactive and sys.stdin.isatty()
    from .terminal import handed_over, size_of

    cancel = Cancel()
    hold = Hold(options.stdin or b"", 0 if options.interactive else -1)
    terminal = size_of(0 if typed else 1) if options.tty else None
    work = _Work(lambda: execute(cancel, hold, terminal), cancel)
    with handed_over(hold, cancel.cancel, raw=options.tty and typed):
        work.thread.start()
        while work.thread.is_alive():
            work.thread.join(0.5)  # so that signals are handled
    return work.code()


class _Work:
    """The run itself, which is in a thread so that signals reach the main thread."""

    def __init__(self, execute: Callable[[], int], cancel: Cancel) -> None:
        self.execute = execute
        self.cancel = cancel
        self.exit_code = 0
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="pybuild-run", daemon=True)

    def run(self) -> None:
        """Run the process, and record how it ended."""
        try:
            self.exit_code = self.execute()
        except BaseException as error:
            self.error = error

    def code(self) -> int:
        """Return the exit code. Raises the run's error."""
        if self.cancel.cancelled:
            return 128 + 9
        if self.error is not None:
            raise self.error
        return self.exit_code


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]
