"""A terminal for the process of a sandbox, made in the sandbox's own /dev/pts; the builder gets the other end."""

from __future__ import annotations

import ctypes
import os
import struct

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .container import Report

_NAME = 64


def prepare(size: list[int]) -> None:
    """Import what `open_terminal` needs, while imports are still possible."""
    for name in ("fcntl", "termios") if size else ():
        __import__(name)


def open_terminal(size: list[int], report: Report, ptmx: str = "/dev/pts/ptmx") -> str:
    """Open a terminal of `size` rows and columns as standard input, output and error, and as the controlling terminal.

    The root must be the sandbox's by now, or `ptmx` would be the machine's. The process gets a session of its own.
    Returns the terminal's path.
    """
    import fcntl
    import termios

    libc = ctypes.CDLL(None, use_errno=True)
    master = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    name = ctypes.create_string_buffer(_NAME)
    if libc.unlockpt(master) or libc.ptsname_r(master, name, ctypes.c_size_t(_NAME)):
        raise OSError(ctypes.get_errno(), f"terminal: {os.strerror(ctypes.get_errno())}")
    slave = os.open(name.value, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    if os.getsid(0) != os.getpid():
        os.setsid()  # where the tracer outside has its session
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    report(("console",), [master])
    os.close(master)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    os.close(slave)
    return os.fsdecode(name.value)


def show_as_console(name: str) -> None:
    """Show a terminal as /dev/console, as Docker does; a /dev of the job is left as it is."""
    try:
        target = os.open("/dev/console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    source = os.open(name, os.O_PATH | os.O_CLOEXEC)
    linux.bind(source, target, recursive=False)
    os.close(source)
    os.close(target)
