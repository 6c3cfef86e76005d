"""A process that the helper runs: its output and the helper's messages, passed on until it has ended."""

from __future__ import annotations

import array
import marshal
import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from signal import SIGTERM
from typing import Any

from ....cancel import Cancel
from .client import GONE, receive, shut

_CHUNK = 1 << 16
_ABSENT = ("no such file", "executable file not found in $PATH")
"""The end of the error for a command that does not exist."""

Output = Callable[[int, bytes], None]
"""Receives the process's output: 1 (stdout) or 2 (stderr), and the bytes as they come."""


class Result:
    """The messages of a job so far."""

    def __init__(self) -> None:
        self.code = 0
        self.error = ""
        self.no_workdir = False
        self.stubs: list[str] = []
        self.created: list[str] = []
        self.console = -1
        """A descriptor of the other end of the process's new terminal."""
        self.images: list[int] = []
        """Descriptors of the roots of images, in the order of the stack."""
        self.failure: tuple[int, str] | None = None

    def take(self, message: tuple[Any, ...], fds: list[int]) -> bool:
        """Process a message; return True for the last."""
        match message:
            case ("console",):
                self.console = fds.pop()
            case ("stubs", stubs):
                self.stubs = stubs
                self.images += fds
            case ("created", created):
                self.created = created
            case ("error", code, text):
                self.code, self.error = code, text
            case ("workdir",):
                self.no_workdir = True
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


class Hold:
    """A caller's control of a process: its input, its terminal, and signals, which may come from any thread.

    The process reads `data`, then from the descriptor `stdin` until its end, unless that is -1. Without either, its
    standard input is empty. A `pair` is a socket that serves as both standard input and output.
    """

    def __init__(self, data: bytes = b"", stdin: int = -1, pair: int = -1) -> None:
        self.data = memoryview(data)
        self.stdin = stdin
        self.pair = pair
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._console = -1
        self._streams: _Streams | None = None
        self._waiting: list[tuple[str, int]] = []
        self._size: tuple[int, int] | None = None
        self.started = threading.Event()
        """Set when the process has begun, or has failed to, if that is `awaited`."""
        self.awaited = False
        self.failed = False
        """Whether it failed to begin."""
        self.tag = os.urandom(8).hex()
        """The name of its sandbox, for those who enter it."""
        self.cgroups: list[str] = []
        """The files by which one more process joins its cgroups."""
        self.ulimits: list[tuple[str, int, int]] = []
        """The limits of one more process, where there are no cgroups for them."""
        self.warnings: tuple[str, ...] = ()
        """Its limits and its warnings, as its outcome will have them; there when it begins."""

    @property
    def open(self) -> bool:
        """Whether the process has any input."""
        return self.stdin >= 0 or len(self.data) > 0

    def signal(self, number: int) -> None:
        """Send a signal to the process: at once, or when it has started."""
        self._order("signal", number)

    def stop(self, number: int = SIGTERM) -> None:
        """Send a signal that is to end the process; if that does not handle it, kill it at once, with its children."""
        self._order("stop", number)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the process the new size of its terminal."""
        import fcntl
        import termios

        with self._lock:
            self._size = rows, columns
            if self._console >= 0:
                fcntl.ioctl(self._console, termios.TIOCSWINSZ, array.array("H", (rows, columns, 0, 0)))

    def _order(self, word: str, number: int) -> None:
        with self._lock:
            if self._channel is None:
                self._waiting.append((word, number))
                return
            with suppress(OSError):  # it has ended
                self._channel.send(marshal.dumps((word, int(number))))

    def flush(self) -> None:
        """Pass on the output that the process has written by now, without waiting for the thread that does so."""
        streams = self._streams
        if streams is not None:
            for fd in list(streams.streams):
                streams.pass_on(fd)

    def attach_streams(self, streams: _Streams | None) -> None:
        """Set the standard streams of the process; None when it has ended."""
        self._streams = streams

    def attach(self, channel: socket.socket | None) -> None:
        """Set the socket through which the process is reached; None when it has ended."""
        with self._lock:
            self._channel = channel
        waiting, self._waiting = (self._waiting, []) if channel else ([], self._waiting)
        for word, number in waiting:
            self._order(word, number)

    def attach_console(self, console: int) -> None:
        """Set the other end of the process's terminal; -1 when it is closed."""
        with self._lock:
            self._console = console
        if console >= 0 and self._size:
            self.resize(*self._size)


class _Streams:
    """The standard streams of a running process."""

    def __init__(
        self,
        channel: socket.socket,
        streams: dict[int, int],
        hold: Hold,
        sink: int,
        start_fd: int,
        on_output: Output,
    ) -> None:
        self.channel = channel
        self.on_output = on_output
        self._passing = threading.Lock()
        self.streams = streams
        self.hold = hold
        self.sink = sink
        """The destination of the process's input; -1 when there is none, or no more."""
        self.source = hold.stdin
        self.pending = hold.data
        self.console = -1
        self.start_fd = start_fd
        """A pipe that is closed when the process has begun, or carries the reason if not; -1 when nobody waits for
        that.
        """
        self.poll = select.poll()
        if start_fd >= 0:
            self.poll.register(start_fd, select.POLLIN)
        self.poll.register(channel, select.POLLIN)
        for fd in streams:
            os.set_blocking(fd, False)
            self.poll.register(fd, select.POLLIN)
        if sink >= 0:
            os.set_blocking(sink, False)
        self.watch_input()

    def watch_input(self) -> None:
        """Wait for the next event of the input: room for pending bytes, or more bytes."""
        if self.sink < 0:
            return
        if self.pending:
            self.poll.register(self.sink, select.POLLOUT | (select.POLLIN if self.sink == self.console else 0))
        elif self.sink == self.console:
            self.poll.register(self.sink, select.POLLIN)
        elif self.source < 0:
            os.close(self.sink)  # it has read everything
            self.sink = -1
            return
        else:
            self.forget(self.sink)
        if self.source >= 0:
            if self.pending:
                self.forget(self.source)
            else:
                self.poll.register(self.source, select.POLLIN)

    def forget(self, fd: int) -> None:
        """Stop waiting for a descriptor."""
        with suppress(KeyError):
            self.poll.unregister(fd)

    def read_source(self) -> None:
        """Read more of the input."""
        try:
            self.pending = memoryview(os.read(self.source, _CHUNK))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.pending = memoryview(b"")
        if not self.pending:
            self.forget(self.source)
            self.source = -1
        self.watch_input()

    def write_sink(self) -> None:
        """Pass on pending input."""
        try:
            self.pending = self.pending[os.write(self.sink, self.pending) :]
        except BlockingIOError:
            return
        except OSError:  # it has closed its standard input
            self.pending = memoryview(b"")
            self.forget(self.sink)
            if self.source >= 0:
                self.forget(self.source)
                self.source = -1
            if self.sink != self.console:
                os.close(self.sink)
            self.sink = -1
            return
        self.watch_input()

    def take_console(self, console: int) -> None:
        """Take over the process's terminal, through which its input goes too."""
        if self.sink >= 0:
            self.forget(self.sink)
            os.close(self.sink)
        self.console = console
        os.set_blocking(console, False)
        self.streams[console] = 1
        self.hold.attach_console(console)
        self.poll.register(console, select.POLLIN)
        if self.hold.open:
            self.sink = console
            self.watch_input()

    def close(self) -> None:
        """Close the descriptors that belong to this process only."""
        self.hold.attach_streams(None)
        with self._passing:  # nobody reads them from now on
            self.streams = {}
        self.hold.started.set()
        self.hold.attach_console(-1)
        self.hold.attach(None)
        for fd in {self.sink, self.console} - {-1}:
            os.close(fd)

    def take_messages(self, result: Result) -> bool:
        """Handle the helper's messages that have arrived; return whether the last is among them."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        ended = False
        while not ended and poll.poll(0):
            ended = self.take_message(result)
        return ended

    def take_message(self, result: Result) -> bool:
        """Handle the helper's next message; return True for the last."""
        ended = result.take(*receive(self.channel))
        if result.console >= 0:
            console, result.console = result.console, -1
            self.take_console(console)
        return ended

    def pass_on(self, fd: int) -> bool | None:
        """Pass on available output of a stream; return False at its end, None when there is nothing yet."""
        with self._passing:
            if fd not in self.streams:
                return False
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                return None
            except OSError:  # all ends of the terminal are closed
                return False
            if data:
                self.on_output(self.streams[fd], data)
            return bool(data)

    def follow(self, result: Result) -> None:
        """Pass everything on until the process has ended and all of its output has been read."""
        ended = False
        while not ended:
            for fd, events in self.poll.poll():
                if fd == self.start_fd:
                    self.forget(fd)
                    if reason := os.read(fd, _CHUNK):  # a tracer's process, which reports in no other way
                        result.error = reason.decode("utf-8", "replace").rstrip("\n")
                        result.code = 127 if result.error.endswith(_ABSENT) else 126
                    ended = ended or self.take_messages(result)
                    self.hold.failed = bool(result.error or result.failure)
                    self.hold.started.set()
                    break  # an earlier event may have handled this already
                if fd == self.channel.fileno():
                    ended = self.take_message(result)
                elif fd == self.source and fd not in self.streams:
                    self.read_source()
                elif fd == self.sink and events & ~select.POLLIN and self.pending:
                    self.write_sink()
                elif fd in self.streams and self.pass_on(fd) is False:
                    self.forget(fd)
        for fd in self.streams:
            while self.pass_on(fd):
                pass


def close_all(fds: list[int]) -> None:
    """Close descriptors, each once."""
    while fds:
        os.close(fds.pop())


Submit = Callable[[tuple[int, ...]], socket.socket]
"""Starts the job of a process with its descriptors (see `helper.server`), and returns the job's socket."""


def run_job(
    submit: Submit, on_output: Output, cancel: Cancel, result: Result, hold: Hold | None = None, *, terminal: bool
) -> None:
    """Run a process to its end, and record the helper's messages in `result`."""
    hold = hold or Hold()
    with ExitStack() as stack:
        ends: list[int] = []

        def pipe() -> int:
            read, write = os.pipe()
            ends.append(write)
            stack.callback(os.close, read)
            return read

        streams = {pipe(): 2} if hold.pair >= 0 else {pipe(): 1, pipe(): 2}
        sink = -1
        if hold.pair >= 0:
            ends = [os.dup(hold.pair), *ends, os.dup(hold.pair)]
        elif hold.open and not terminal:
            read, sink = os.pipe()
            ends.append(read)
        start_fd = pipe() if hold.awaited else -1
        try:
            channel = submit(tuple(ends))
        except BaseException:
            if sink >= 0:
                os.close(sink)
            raise
        finally:
            for fd in ends:
                os.close(fd)
        stack.enter_context(channel)
        stack.enter_context(cancel.on_cancel(lambda: shut(channel)))
        process = _Streams(channel, streams, hold, sink, start_fd, on_output)
        stack.callback(process.close)
        hold.attach(channel)
        hold.attach_streams(process)
        process.follow(result)
