"""The `pybuild` command: the magics' commands in a terminal, without importing IPython.

`python -m pybuild_magic` is the same. Words are parsed by the magics' tables; this package handles the terminal.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130
BROKEN_PIPE = 141
MISREAD = 125
"""Docker's exit code for words that are no flags, and for a run that did not begin."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 130 when it was interrupted, 125 for a run that did not begin."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        from .. import builders
        from ..errors import BuildError, Interrupted
        from ..request.flags import MisreadError
        from .commands import find
        from .messages import tell
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        return find(words)()
    except (Interrupted, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone; keep Python from failing once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except BuildError as error:
        tell(error.render())
        return MISREAD if isinstance(error, MisreadError) else 1
    finally:
        with suppress(KeyboardInterrupt):  # a further interrupt changes nothing
            builders.close(collect=True)


def entry() -> NoReturn:
    """Run as a program: once the work is over, an interrupt has no effect."""
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
