"""A connection to a daemon through the standard input and output of a command, such as `buildctl dial-stdio`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from urllib.parse import unquote

import msgspec

from ..errors import UnsupportedError, UsageError
from ..temporary import temporary_file
from ..untrusted.foreign import split_url
from .wire import SocketWire

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9_.:%-]*")
_ERROR_BYTES = 4000
_END_SECONDS = 2.0


class Command(msgspec.Struct, frozen=True):
    """A command whose standard input and output are a connection to a daemon."""

    argv: tuple[str, ...]


def ssh_command(text: str, remote: tuple[str, ...]) -> tuple[str, ...]:
    """Return the `ssh` command that runs `remote` on the host of an `ssh://[USER@]HOST[:PORT]` address.

    It never asks for a password. Raises UsageError for a part that could be taken for an option of ssh.
    """
    parts = split_url(text)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"The address {text} has no valid port.") from None
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
    if parts.username:
        argv += ["-l", checked(text, unquote(parts.username), _USER, "a user's name")]
    if port:
        argv += ["-p", str(port)]
    return (*argv, "--", checked(text, host, _HOST, "a host's name"), *remote)


def checked(text: str, value: str, pattern: re.Pattern[str], part: str) -> str:
    """Return `value`, a part of the address `text`, if it is safe in a command. Raises UsageError, naming `part`."""
    if not pattern.fullmatch(value):
        raise UsageError(f"The builder's address {text} is not valid: {value!r} is not {part}.")
    return value


class CommandWire(SocketWire):
    """A command whose standard input and output are the other end of a socket. Closing the wire ends the command."""

    def __init__(self, command: Command) -> None:
        """Start the command. Raises UnsupportedError when it cannot be run."""
        program = command.argv[0]
        if shutil.which(program) is None:
            raise UnsupportedError(
                f"This builder is reached through `{program}`, which is not installed.",
                hint=f"Install {program}, or use an address that needs no program: tcp://, unix://, docker://.",
            )
        if os.name == "nt":
            raise UnsupportedError(
                "On Windows no builder can be reached through a command.",
                hint="Use tcp://, or work in WSL.",
            )
        self._errors = temporary_file()  # read when the connection has failed, closed at its end
        self.complaint = ""
        """The last line of the command's standard error, set by `close` if the command failed."""
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        with theirs:
            self._process = subprocess.Popen(
                command.argv,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                # Ctrl-C in a terminal is meant for the build, which ends the command itself.
                start_new_session=True,
            )

    def close(self) -> None:
        """Close the connection, and end the command if that does not end it."""
        super().close()
        _stop(self._process)
        if not self._errors.closed:
            self.complaint = self._last_words()
            self._errors.close()

    def _last_words(self) -> str:
        code = self._process.returncode or 0
        if code <= 0:  # it succeeded, or was killed
            return ""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
        lines = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip().removeprefix("ERROR: ") if lines else f"it ended with exit code {code}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command whose input has ended; terminate it, and at last kill it, if it does not end."""
    for number in (0, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(OSError):
            # To its whole process group: the command may have started others, as docker starts its plugin.
            getattr(os, "killpg", os.kill)(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
            return
