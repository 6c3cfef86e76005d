"""A Unix socket for grpcio to connect to, in front of a connection that grpcio cannot make itself.

Behind it is a command whose standard input and output are the connection: then the accepted socket becomes the
command's own, and no byte passes through this process. Or it is a connection that was upgraded from HTTP: then
two threads carry bytes, in the kernel (splice) where both ends are sockets.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ...errors import UnsupportedError
from .address import Command
from .failures import DaemonError
from .wire import SocketWire, Wire

_BLOCK = 1 << 18
_END_SECONDS = 2.0
_ERROR_BYTES = 4000


class Bridge:
    """A listening socket at `path`; each connection to it is one to the daemon. Close it when grpcio is done."""

    def __init__(self, attach: Callable[[socket.socket], Callable[[], None]]) -> None:
        """`attach` makes the connection that an accepted socket is for, and returns what ends it. Raises OSError."""
        self._attach = attach
        self._directory = Path(tempfile.mkdtemp(prefix="pybuild-"))
        self.path = self._directory / "grpc"
        self._listener = socket.socket(socket.AF_UNIX)
        self._ends: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._closed = False
        self._listener.bind(str(self.path))
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._accept, name="pybuild-bridge", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    accepted.close()
                    return
                try:
                    self._ends.append(self._attach(accepted))
                except (OSError, DaemonError, UnsupportedError):
                    accepted.close()

    def close(self) -> None:
        """End everything: no thread, process or file stays."""
        with self._lock:
            self._closed = True
            ends, self._ends = self._ends, []
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for end in ends:
            end()
        shutil.rmtree(self._directory, ignore_errors=True)


class CommandRunner:
    """Starts the command of an address for each connection, and knows what the last one complained of."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._errors: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def check(self) -> None:
        """Raise UnsupportedError when the program is not installed."""
        program = self.command.argv[0]
        if shutil.which(program) is None:
            raise UnsupportedError(
                f"This builder is reached through `{program}`, which is not installed.",
                hint=f"Install {program}, or use an address that needs no program: tcp://, unix://, docker://.",
            )

    def attach(self, accepted: socket.socket) -> Callable[[], None]:
        """Run the command on an accepted socket; see Bridge."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the connection has failed, closed at its end
        with accepted:
            process = subprocess.Popen(
                self.command.argv,
                stdin=accepted.fileno(),
                stdout=accepted.fileno(),
                stderr=errors,
                # Ctrl-C in a terminal is for the build, which ends the command in its own time.
                start_new_session=True,
            )
        self._processes.append(process)
        self._errors.append(errors)

        def end() -> None:
            _stop(process)
            errors.close()

        return end

    def complaint(self) -> str:
        """The end of what the last command wrote to its standard error, when it has failed; else ""."""
        if not self._processes:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._processes[-1].wait(0.3)
        if not self._processes[-1].returncode:
            return ""
        errors = self._errors[-1]
        try:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
            text = errors.read().decode("utf-8", "replace").strip()
        except ValueError:
            return ""
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with exit code {self._processes[-1].returncode}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Its input has ended with the connection; a command that does not end by that is made to."""
    for number in (0, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(OSError):
            # The command may have started others (docker its plugin): it leads a group of its own.
            getattr(os, "killpg", os.kill)(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
            return


def attach_wire(accepted: socket.socket, wire: Wire) -> Callable[[], None]:
    """Carry bytes between an accepted socket and `wire`, until either ends; see Bridge."""
    near = SocketWire(accepted)

    def carry(source: Wire, target: Wire) -> None:
        try:
            if isinstance(source, SocketWire) and isinstance(target, SocketWire) and hasattr(os, "splice"):
                source.pass_on(target)
            else:
                while data := source.read():
                    target.write([data])
        except (OSError, ValueError):
            pass
        finally:
            near.shut()
            wire.shut()

    threads = [
        threading.Thread(target=carry, args=pair, name="pybuild-bridge", daemon=True)
        for pair in ((near, wire), (wire, near))
    ]
    for thread in threads:
        thread.start()

    def end() -> None:
        near.shut()
        wire.shut()
        for thread in threads:
            thread.join(5)
        near.close()
        wire.close()

    return end
