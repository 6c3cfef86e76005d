"""A process that the helper runs: its output passed on, and what the helper tells of it, until it has ended."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from ....cancel import Cancel
from .client import GONE, Helper, receive, shut

_CHUNK = 1 << 16

Output = Callable[[int, bytes], None]
"""Takes what the process writes: 1 (stdout) or 2 (stderr), and the bytes as they come."""


class Result:
    """What a job has told so far."""

    def __init__(self) -> None:
        self.code = 0
        self.error = ""
        self.stubs: list[str] = []
        self.made: list[str] = []
        self.images: list[int] = []
        """Descriptors of the roots of images, in the order of the stack."""
        self.failure: tuple[int, str] | None = None

    def take(self, message: tuple[Any, ...], fds: list[int]) -> bool:
        """Note a message; True for the last."""
        self.images += fds
        match message:
            case ("stubs", stubs):
                self.stubs = stubs
            case ("made", made):
                self.made = made
            case ("error", code, text):
                self.code, self.error = code, text
            case ("failed", number, text):
                self.failure = number, text
            case ("gone",):
                self.failure = 0, GONE
                return True
            case ("exit", status):
                if not self.error:
                    self.code = status if status >= 0 else 128 - status
                return True
            case _:
                pass
        return False


def _follow(channel: socket.socket, streams: dict[int, int], on_output: Output, result: Result) -> None:
    """Pass the output on until the process has ended and all that it wrote has been read."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    for fd in streams:
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    ended = False
    while not ended:
        for fd, _ in poll.poll():
            if fd in streams:
                if not _pass_on(fd, streams[fd], on_output):
                    poll.unregister(fd)
            else:
                ended = result.take(*receive(channel))
    for fd, stream in streams.items():
        while _pass_on(fd, stream, on_output):
            pass


def close_all(fds: list[int]) -> None:
    """Close descriptors, once."""
    while fds:
        os.close(fds.pop())


def _pass_on(fd: int, stream: int, on_output: Output) -> bool:
    """Pass on what can be read now; False when there is nothing (more)."""
    try:
        data = os.read(fd, _CHUNK)
    except BlockingIOError:
        return False
    if data:
        on_output(stream, data)
    return bool(data)


def run_job(helper: Helper, job: dict[str, Any], on_output: Output, cancel: Cancel, result: Result) -> None:
    """Run a process to its end, and note in `result` what the helper tells of it."""
    with ExitStack() as stack:
        pipes: list[tuple[int, int]] = []
        for _ in range(2):
            read, write = os.pipe()
            pipes.append((read, write))
            stack.callback(os.close, read)
        try:
            channel = helper.submit("run_kept" if job["keeper"] else "run", job, (pipes[0][1], pipes[1][1]))
        finally:
            for _, write in pipes:
                os.close(write)
        stack.enter_context(channel)
        stack.enter_context(cancel.on_cancel(lambda: shut(channel)))
        _follow(channel, {pipes[0][0]: 1, pipes[1][0]: 2}, on_output, result)
