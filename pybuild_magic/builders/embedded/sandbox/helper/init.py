"""The optional init process of a sandbox: it reaps processes and forwards signals, like tini."""

from __future__ import annotations

import os

from . import linux
from .light import signal

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTERM,
    signal.SIGCONT,
)


def stay(*fds: int) -> None:
    """Fork: the child returns, with a session of its own if there is a terminal; this process ends when the child does.

    `fds` are descriptors (-1 for none) that this process must close.
    """
    child = os.fork()
    if child == 0:
        _take_terminal()
        return
    linux.set_name("docker-init")
    for fd in fds:
        if fd >= 0:
            os.close(fd)
    for number in (*FORWARDED, signal.SIGWINCH):
        signal.signal(number, lambda number, _: _pass_on(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _pass_on(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass  # it has ended, and will be waited for


def _take_terminal() -> None:
    """Make this process group the foreground group of the terminal, which reads from it and gets its signals."""
    os.setpgid(0, 0)
    if os.isatty(0):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
