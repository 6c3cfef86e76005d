"""`pybuild run`: a process with this one's standard streams, terminal and signals."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

from ..builders import embedded_builder
from ..builders.embedded.sandbox import Hold, RunOutcome
from ..cancel import Cancel
from ..errors import BuildError, UsageError
from ..run import Container, find_image, options_from
from ..run.container import keep
from ..run.image import FAILED
from . import tell

NOT_STARTED = 125
"""The exit code of docker run for what was wrong before the process began."""


def run(words: Sequence[str]) -> int:
    """Run a process; returns its exit code."""
    try:
        options, rest = options_from(words)
        if not rest:
            raise UsageError("pybuild run takes an image, and a command.", hint="Such as: run -it busybox sh")
        if rest[0] == FAILED and len(rest) == 1 and not options.interactive:
            raise UsageError("A shell needs something to read.", hint="pybuild run -it @failed, or give a command.")
        with embedded_builder().store.lease():
            image = find_image(rest[0], options.platform, pull=options.pull)
            return attached(Container(image, tuple(rest[1:]), options))
    except BuildError as error:
        tell(error.render())
        return NOT_STARTED


def attached(container: Container) -> int:
    """Run it with this process's streams, to its end."""
    options = container.options
    typed = options.interactive and sys.stdin.isatty()
    if options.tty and options.interactive and not typed:
        raise UsageError("-t wants a terminal at standard input, which this is not.", hint="Leave -t out.")
    from .terminal import handed_over, size_of

    cancel = Cancel()
    hold = Hold(options.stdin or b"", 0 if options.interactive else -1)
    terminal = size_of(0 if typed else 1) if options.tty else None
    work = _Work(container, hold, cancel, terminal)
    with handed_over(hold, cancel.cancel, raw=options.tty and typed):
        work.thread.start()
        while work.thread.is_alive():
            work.thread.join(0.5)  # so that signals are handled
    return work.code()


class _Work:
    """The run itself, in a thread, so that signals find the main one."""

    def __init__(self, container: Container, hold: Hold, cancel: Cancel, terminal: tuple[int, int] | None) -> None:
        self.container = container
        self.hold = hold
        self.cancel = cancel
        self.terminal = terminal
        self.outcome: RunOutcome | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="pybuild-run", daemon=True)

    def run(self) -> None:
        """Run it, and make of what it left what is asked for."""
        options, sandbox = self.container.options, embedded_builder().sandbox
        try:
            with self.container.opened(self.cancel, self.terminal) as spec:
                outcome = sandbox.run(spec, _write, self.cancel, self.hold)
            if options.diff or options.commit:
                changes = keep(self.container, outcome, self.cancel)
                if options.diff:
                    tell(repr(changes))
            else:
                sandbox.discard(outcome)
            self.outcome = outcome
        except BaseException as error:
            self.error = error

    def code(self) -> int:
        """The exit code. Raises what went wrong."""
        if self.cancel.cancelled:
            return 128 + 9
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome.exit_code


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]
