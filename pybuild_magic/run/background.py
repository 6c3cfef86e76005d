"""Runs in the background, started here and returned to later: `docker run -d`, logs, stop and exec."""

from __future__ import annotations

import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.sandbox import Hold
from ..builders.embedded.sandbox.client import GONE
from ..builders.embedded.sandbox.process import Result, run_job
from ..cancel import Cancel
from ..errors import BuildError, Interrupted, UsageError
from ..untrusted.printable import visible
from . import door
from .container import Show, command_of, image_for
from .health import Health, check_of
from .host import HostRequest, StartReport
from .identity import new_identity, write_identity
from .log import Piece, lines_of, read_log
from .options import RunOptions, all_labels, environment, options_of
from .records import Record, RunInfo, find_record, new_record, records, this_process
from .result import Captured, RunResult, code_of

_TICK = 0.1
_START = (
    "import sys; sys.path[:] = [*filter(None, sys.path), sys.argv[1]]; from pybuild_magic.run.host import main; "
    "sys.exit(main(sys.argv[2:]))"
)
"""The program of the host. It imports nothing from the directory in which it is started."""


class BackgroundRun:
    """A run in the background; `logs()`, `exec(...)`, `stop()` and `wait()` act like Docker's commands."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.name = record.info.name

    @property
    def running(self) -> bool:
        """Whether the run is still going."""
        return self._record.running

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the run is going, or when it was killed with its host."""
        return None if self.running else self._record.fresh().info.exit_code

    @property
    def health(self) -> Health | None:
        """The health with the last checks, by the image's HEALTHCHECK or `--health-cmd`; None if it is not checked."""
        return self._record.fresh().info.health

    def logs(self, tail: int | None = None, *, follow: bool = False) -> Iterator[tuple[int, bytes]]:
        """Yield (stream, bytes) of the output so far, stream 1 or 2; with `follow`, go on until the run ends."""
        for piece in self._pieces(tail, follow=follow):
            yield piece.stream, piece.data

    def lines(
        self, tail: int | None = None, *, follow: bool = False, since: float = -math.inf, until: float = math.inf
    ) -> Iterator[Piece]:
        """Yield the lines of the output with their times, as `logs` does, from one point in time to another."""
        for line in lines_of(self._pieces(tail, follow=follow)):
            if line.time > until:
                return
            if line.time >= since:
                yield line

    def _pieces(self, tail: int | None, *, follow: bool) -> Iterator[Piece]:
        record = self._record.fresh()
        with suppress(BuildError):  # it has ended, and its log is complete
            door.ask(record.directory, door.Flush()).close()
        yield from read_log(record.directory, (lambda: record.running) if follow else None, tail)

    @property
    def text(self) -> str:
        """All output that the log still has."""
        return b"".join(data for _, data in self.logs()).decode("utf-8", "replace")

    def stop(self, timeout: float | None = None, signal: int = 0) -> int | None:
        """Ask the process to end by a signal, kill it after `timeout` seconds, and return its exit code.

        With signal 0, its own stop signal is sent; with a negative `timeout`, it is never killed.
        """
        with suppress(UsageError), door.ask(self._record.directory, door.Stop(timeout, signal)) as connection:
            connection.recv(1)  # returns when the host closes the connection
        return self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        door.ask(self._record.directory, door.Signal(number)).close()

    def wait(self) -> int | None:
        """Wait until the run ends, and return its exit code; None if it was killed with its host or is forgotten."""
        with suppress(UsageError), door.ask(self._record.directory, door.Wait()) as connection:
            connection.recv(1)
        while self.running:
            time.sleep(_TICK)
        try:
            return self._record.fresh().info.exit_code
        except UsageError:
            return None

    def remove(self) -> None:
        """Forget the run and its log. It must have ended."""
        if self.running:
            raise UsageError(f"The run {self.name} is still running.", hint=f"%build stop {self.name} ends it.")
        self._record.remove()

    def exec(self, *command: str, show: Show | None = None, **arguments: Any) -> RunResult:
        """Run another process in the same sandbox: `exec("psql", "-c", "…", user="postgres", env={"A": "1"})`."""
        return self.entered(command, options_of(arguments)).captured(show)

    def entered(self, command: tuple[str, ...], options: RunOptions) -> Entered:
        """Return another process for the same sandbox, not yet started. Raises UsageError."""
        return Entered(self._record.fresh(), command, options)

    def __repr__(self) -> str:
        info = self._record.info
        try:
            state = self._record.state()
        except UsageError:
            state = "forgotten"
        return visible(f"<BackgroundRun {self.name}: {info.image}, {state}>")


def start(ref: Any, *command: str, **arguments: Any) -> BackgroundRun:
    """Start a run in the background, which ends with this process at the latest; see `run` for the arguments.

    Raises BuildError when it cannot be started.
    """
    return start_with(ref, command, options_of({**arguments, "detach": True}))


def start_with(
    ref: Any, command: tuple[str, ...], options: RunOptions, script: str | None = None, *, owned: bool = True
) -> BackgroundRun:
    """Start a run as `start` does, from RunOptions; unless it is `owned`, it outlives this process."""
    if options.diff:
        raise UsageError("--diff needs a run in the foreground.", hint="--commit NAME keeps what it leaves.")
    with embedded_builder().store.lease():
        image = image_for(ref, options)
        words = command_of(image, command, options, script)
        check = check_of(image.config.config, options)
        owner = this_process() if owned and not options.detach_from_kernel else None
        labels = all_labels(options, image.config.config.labels)
        info = RunInfo(new_identity(), options.name, image.name, words, time.time(), owner, labels=labels)
        record, lock = new_record(info)
        try:
            write_identity(options.cidfile, info.id)
            resolved = msgspec.structs.replace(
                options, env=environment(options, ()), env_files=(), label_files=(), cidfile=""
            )
            request = msgspec.msgpack.encode(HostRequest(image, command, resolved, script, check))
            answer = _host(record, lock, request, is_watched=owner is not None)
        except BaseException:
            record.remove()
            raise
        finally:
            os.close(lock)
    if answer.error:
        record.remove()
        raise NotStartedError(answer.error, hint=answer.hint, code=answer.code)
    return BackgroundRun(record)


class NotStartedError(BuildError):
    """A run in the background could not be started; `code` is the exit code of `docker run` for the reason."""

    def __init__(self, message: str, *, hint: str = "", code: int = 125) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def _host(record: Record, lock: int, request: bytes, *, is_watched: bool) -> StartReport:
    """Start the process that hosts a run, and return how the run began."""
    owner = os.pidfd_open(os.getpid()) if is_watched else -1
    faults = record.directory / "faults"
    try:
        with faults.open("wb") as errors:
            host = subprocess.Popen(
                [sys.executable, "-c", _START, str(Path(__file__).parents[2]), str(record.directory), str(owner)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(lock, *({owner} - {-1})),
                start_new_session=True,
            )
    finally:
        if owner >= 0:
            os.close(owner)
    assert host.stdin is not None
    assert host.stdout is not None
    with host.stdin, host.stdout:
        with suppress(BrokenPipeError):
            host.stdin.write(request)
            host.stdin.close()
        answer = host.stdout.read()
    # Wait for the host, which may end while this process goes on, so that it does not stay as a zombie.
    threading.Thread(target=host.wait, name="pybuild-host", daemon=True).start()
    try:
        return msgspec.json.decode(answer, type=StartReport)
    except msgspec.DecodeError:
        last_line = faults.read_text("utf-8", "replace").strip().splitlines()[-1:]
        return StartReport(f"The process that hosts the run has died{''.join(f': {line}' for line in last_line)}.")


def find_run(name: str) -> BackgroundRun:
    """Return the run with this name, or whose ID begins so. Raises UsageError."""
    return BackgroundRun(find_record(name))


def list_runs(*, ended: bool = False) -> list[Record]:
    """Return the runs that are going, the newest first; with `ended`, those that have ended too."""
    return [record for record in records() if ended or record.running]


class Entered:
    """Another process in the sandbox of a run."""

    def __init__(self, record: Record, command: tuple[str, ...], options: RunOptions) -> None:
        if not command:
            raise UsageError("No command was given.", hint=f"For instance: exec {record.info.name} sh")
        self.record = record
        self.command = command
        self.options = options
        self.cancel = Cancel()
        self.result = Result()

    def run(self, on_output: Callable[[int, bytes], None], hold: Hold, terminal: tuple[int, int] | None = None) -> int:
        """Run the process to its end, and return its exit code. Raises BuildError when it cannot be started."""
        options = self.options
        request = door.Enter(
            self.command,
            environment(options, ()),
            options.user,
            options.workdir,
            options.privileged,
            (terminal or (24, 80)) if options.tty else None,
        )

        submit = door.channel(lambda fds: door.ask(self.record.directory, request, fds).close())
        run_job(submit, on_output, self.cancel, self.result, hold, terminal=options.tty)
        if self.result.failure == (0, GONE):
            return 128 + 9  # the run has ended, and this with it
        if self.result.failure is not None:
            raise BuildError(f"The command cannot be started: {self.result.failure[1]}.")
        if self.result.error:
            on_output(2, f"{self.result.error}\n".encode())
        self.cancel.check()
        return 127 if self.result.no_workdir else code_of(self.result.code, self.result.error)

    def captured(self, show: Show | None = None) -> RunResult:
        """Run the process to its end, and return its output, which `show` gets as it comes. An interrupt kills it."""
        streams = {1: Captured(), 2: Captured()}
        chunks: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        failure: list[BaseException] = []
        code = [0]

        def take(stream: int, data: bytes) -> None:
            streams[stream].add(data)
            if show is not None:
                chunks.put((stream, data))

        def work() -> None:
            try:
                code[0] = self.run(take, Hold(self.options.stdin or b""))
            except BaseException as error:
                failure.append(error)
            finally:
                chunks.put(None)

        started = time.monotonic()
        thread = threading.Thread(target=work, name="pybuild-exec", daemon=True)
        thread.start()
        try:
            while (chunk := chunks.get()) is not None:
                if show is not None:
                    show(*chunk)
        except KeyboardInterrupt:
            self.cancel.cancel()
            thread.join()
            raise Interrupted("The process was stopped.") from None
        thread.join()
        if failure:
            raise failure[0]
        return RunResult(
            exit_code=code[0],
            stdout=bytes(streams[1].data),
            stderr=bytes(streams[2].data),
            duration=time.monotonic() - started,
            truncated=any(stream.truncated for stream in streams.values()),
        )
