"""Signals for the first process of a sandbox, to which the kernel delivers none that it does not handle."""

from __future__ import annotations

import os

from .light import signal


def deliver(pid: int, order: str, number: int, *, below: bool, first: bool) -> bool:
    """Send a signal to a job's process; return False when it was to end the process (`stop`) but would be ignored.

    With `below`, a tracer is above the process, which is the first child of `pid`; `first` means first of its PID
    namespace.
    """
    target = (children(pid) or [pid])[0] if below else pid
    if order == "stop" and number != signal.SIGKILL and first and not _hears(target, number):
        return False
    try:
        os.kill(target, number)
    except ProcessLookupError:
        pass  # it has just ended, and its end is reported next
    return True


def _hears(pid: int, number: int) -> bool:
    """Return whether a process handles a signal; the first of a PID namespace gets no other."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            mask = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return True
    return bool(int(mask.split()[1], 16) >> number - 1 & 1)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; the tracer's first is that of the job."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []
