"""The process that hosts a run in the background: it carries out the run, keeps its log, and answers at its door.

If the host is killed, the sandbox's helper notices and kills the process.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.sandbox import Hold, RunOutcome, RunSpec
from ..cancel import Cancel
from ..errors import BuildError, Interrupted, UsageError
from . import door
from .container import Container
from .door import Answer, Enter, Flush, Request, Signal, Stop
from .health import Check, Health, Watch
from .image import RunImage
from .log import LogWriter
from .options import RunOptions, environment
from .records import Record, read_record

_FOR_EVER = 1e9


class HostRequest(msgspec.Struct, frozen=True):
    """The run to be hosted."""

    image: RunImage
    command: tuple[str, ...]
    options: RunOptions
    script: str | None = None
    check: Check | None = None


class StartReport(msgspec.Struct, frozen=True):
    """How a run began: `error` is "", or the reason why it did not; `code` is then the exit code of `docker run`."""

    error: str = ""
    hint: str = ""
    code: int = 125


class Host:
    """The run that this process hosts."""

    def __init__(self, record: Record, request: HostRequest, owner: int) -> None:
        self.record = record
        self.request = request
        self.container = Container(request.image, request.command, request.options, request.script, record.info.id)
        self.owner = owner
        self.cancel = Cancel()
        self.open_input = os.pipe() if request.options.interactive else (-1, -1)
        """A pipe as standard input, as with `docker run -di`: nothing ever comes, but the input does not end."""
        self.hold = Hold(request.options.stdin or b"", self.open_input[0])
        self.hold.awaited = True
        self.log = LogWriter(record.directory)
        self.watch = Watch(request.check, self.enter, self._tell_health) if request.check else None
        self._writing = threading.Lock()
        self.spec: RunSpec | None = None
        self.outcome: RunOutcome | None = None
        self.error: BaseException | None = None
        self.deadline = _FOR_EVER
        self.clients: dict[int, socket.socket] = {}
        self.ended, self._ending = os.pipe()
        self.server = door.listen(record.directory)
        """It listens from the start, since clients may connect as soon as they learn that the run has begun."""
        self.thread = threading.Thread(target=self.work, name="pybuild-run", daemon=True)

    def work(self) -> None:
        """Run the process to its end."""
        try:
            self.outcome, _ = self.container.execute(self.log.write, self.cancel, self.hold, note=self._note)
        except BaseException as error:
            self.error = error
        finally:
            self.hold.started.set()
            os.close(self._ending)

    def _note(self, spec: RunSpec) -> None:
        self.spec = spec

    def begin(self) -> StartReport:
        """Start the process, and wait until it has begun or has failed to."""
        self.thread.start()
        self.hold.started.wait()
        if self.hold.failed or (self.spec is None) or self.error is not None:
            self.thread.join()
            if self.outcome is not None:
                return StartReport(self.outcome.error, code=self.outcome.exit_code)
            error = self.error
            return StartReport(error.message, error.hint) if isinstance(error, BuildError) else StartReport(repr(error))
        if self.hold.warnings:
            self._write(warnings=self.hold.warnings)
        if self.watch is not None:
            self._tell_health(Health())
            self.watch.start()
        return StartReport()

    def _write(self, **changes: Any) -> None:
        """Record what has changed."""
        with self._writing:
            self.record.write(msgspec.structs.replace(self.record.info, **changes))

    def _tell_health(self, health: Health) -> None:
        self._write(health=health)

    def serve(self) -> None:
        """Answer requests until the process has ended."""
        server = self.server
        poll = select.poll()
        for fd in (server.fileno(), self.ended, *({self.owner} - {-1})):
            poll.register(fd, select.POLLIN)
        while True:
            wait = max(0.0, self.deadline - time.monotonic())
            events = poll.poll(None if wait > _FOR_EVER / 2 else wait * 1000)
            if not events and time.monotonic() >= self.deadline:
                self.deadline = _FOR_EVER
                self.cancel.cancel()
            for fd, _ in events:
                if fd == self.ended:
                    self.thread.join()
                    if self.watch is not None:
                        self.watch.stop()
                    server.close()
                    return
                if fd == self.owner:
                    poll.unregister(fd)
                    self.wait_for_end(self.container.options.stop_timeout)
                    self.hold.stop(self.container.stop_signal)  # nobody waits for one that does not handle it
                elif fd == server.fileno():
                    client, _ = server.accept()
                    self.clients[client.fileno()] = client
                    poll.register(client, select.POLLIN)
                elif not self.attend(self.clients[fd]):
                    poll.unregister(fd)
                    self.clients.pop(fd).close()

    def attend(self, client: socket.socket) -> bool:
        """Answer a request; return False when the client has gone."""
        fds: list[int] = []
        try:
            message = door.take(client)
            if message is None:
                return False
            request, fds = message
            self.do(request, fds)
            answer = Answer()
        except BuildError as error:
            answer = Answer(error.message, error.hint)
        except OSError:
            return False
        finally:
            for fd in fds:
                os.close(fd)
        try:
            client.send(msgspec.json.encode(answer))
        except OSError:
            return False
        return True

    def do(self, request: Request, fds: Sequence[int]) -> None:
        """Carry out a request. Raises BuildError."""
        match request:
            case Stop(timeout, number):
                self.stop(timeout, number)
            case Signal(number):
                self.hold.signal(number)
            case Enter():
                self.enter(request, fds)
            case Flush():
                self.hold.flush()
            case _:
                pass

    def stop(self, timeout: float | None, number: int = 0) -> None:
        """Ask the process to end, and kill it after a while, also if it ignores the signal: it may be finishing."""
        self.wait_for_end(self.container.options.stop_timeout if timeout is None else timeout)
        self.hold.signal(number or self.container.stop_signal)

    def wait_for_end(self, seconds: float) -> None:
        """Kill the process when so many seconds have passed; never when they are negative."""
        if seconds >= 0:
            self.deadline = min(self.deadline, time.monotonic() + seconds)

    def enter(self, request: Enter, fds: Sequence[int]) -> None:
        """Start another process in the same sandbox."""
        spec = self.spec
        if spec is None or len(fds) < 3:
            raise UsageError("The run has not started.")
        base = (*spec.env, *(["TERM=xterm"] if request.terminal else []))
        spec = msgspec.structs.replace(
            spec,
            args=request.args,
            env=environment(RunOptions(env=request.env), base),
            user=request.user or spec.user,
            cwd=request.workdir or spec.cwd,
            insecure=spec.insecure or request.privileged,
            terminal=request.terminal,
        )
        embedded_builder().sandbox.enter(spec, self.hold, fds[0], tuple(fds[1:]))

    def finish(self) -> None:
        """Record how the process ended, for those who ask later."""
        self.log.close()
        code = 128 + 9 if self.outcome is None else self.outcome.exit_code
        error = "" if self.outcome is None else self.outcome.error
        if self.error is not None and not isinstance(self.error, Interrupted):
            error, code = str(self.error), 125
        warnings = self.record.info.warnings
        if self.outcome is not None:
            warnings = (*warnings, *self.outcome.reached.sentences)
        ended = {"exit_code": code, "error": error, "ended": time.time(), "warnings": warnings}
        try:
            self._write(**ended)
        except OSError:
            with embedded_builder().store.db.reserve.spent():  # the disk is full
                self._write(**ended)
        if self.request.options.rm:
            self.record.remove()


def main(words: Sequence[str]) -> int:
    """Host the run whose directory is the first of `words`.

    The request comes on standard input, and how the run began is written to standard output. The second word is a
    descriptor of the process with which the run ends; -1 for none.
    """
    directory, owner = words
    record = read_record(Path(directory))
    assert record is not None
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=HostRequest)
    builder = embedded_builder()
    try:
        with builder.store.lease():
            host = Host(record, request, int(owner))
            outcome = host.begin()
            with open(1, "wb", closefd=True) as answer:
                answer.write(msgspec.json.encode(outcome))
            if outcome.error:
                record.remove()
                return 1
            host.serve()
            host.finish()
    finally:
        builder.close()
    return 0
