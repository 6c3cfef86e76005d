"""The import of an image archive into a Docker engine, as by `docker load`, while the archive is being written."""

from __future__ import annotations

import contextlib
import socket
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

import msgspec

from ..errors import BuildError, ExportError, UnsupportedError
from ..net.wire import reason
from .config import DockerConfig
from .engine import Engine

HINT = "Write a file with dest=FILE, or choose an engine with DOCKER_HOST or `docker context use`."


class _Message(msgspec.Struct):
    error: str = ""


def default_engine() -> Engine:
    """Return the engine to load into. Raises UnsupportedError, before anything is built, when it cannot exist here."""
    config = DockerConfig()
    try:
        engine = Engine(config.default_engine())
        engine.check()
    except UnsupportedError as error:
        raise UnsupportedError(
            f"No Docker engine can take the image. {config.choice()}: {error.message}",
            hint=error.hint or HINT,
        ) from error
    return engine


class Load:
    """An archive that is being sent to an engine. Write it to `file`, then call `finish`; call `close` in any case."""

    def __init__(self, engine: Engine, size: int | None = None) -> None:
        """Connect, and begin the request: `size` bytes, or in chunks. Raises ExportError."""
        self._where = f"The Docker engine at {engine.address.host}"
        self._connection: HTTPConnection | None = None
        self._chunked = size is None
        self._failure: OSError | None = None
        try:
            connection = self._connection = engine.http()
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            if size is None:
                connection.putheader("Transfer-Encoding", "chunked")
            else:
                connection.putheader("Content-Length", str(size))
            connection.endheaders()
        except BuildError as error:
            raise ExportError(error.message, hint=error.hint or HINT) from error
        except (OSError, HTTPException) as error:
            self.close()
            raise ExportError(f"{self._where} cannot be reached: {reason(error)}.", hint=HINT) from error
        self.socket: socket.socket = connection.sock
        """For an archive of known size: bytes are written here directly."""
        # The time limit is only for connecting: an engine imports a large image at its own pace.
        self.socket.settimeout(None)

    def write(self, data: Any) -> int:
        """Write a chunk, as a file does. Raises ExportError."""
        view = memoryview(data)
        if view:
            try:
                for part in (b"%x\r\n" % len(view), view, b"\r\n"):
                    self.socket.sendall(part)
            except OSError as error:
                raise self._broken(error) from error
        return len(view)

    def refused_early(self, error: OSError) -> None:
        """Record that the engine closed its side: its answer explains more than the error does."""
        self._failure = error

    def finish(self) -> None:
        """Finish the archive, and wait for the engine's answer. Raises ExportError with its message."""
        assert self._connection is not None
        try:
            if self._chunked:
                self.socket.sendall(b"0\r\n\r\n")
            response = self._connection.getresponse()
            body = response.read(1 << 20)
        except (OSError, HTTPException) as error:
            raise self._broken(self._failure or error) from error
        self._check(response, body)
        if self._failure is not None:
            raise self._broken(self._failure)

    def _check(self, response: HTTPResponse, body: bytes) -> None:
        if response.status != 200:
            try:
                message = msgspec.json.decode(body, type=dict[str, str]).get("message", "")
            except msgspec.MsgspecError:
                message = body[:200].decode("utf-8", "replace")
            raise ExportError(f"{self._where} refused the image: {message} ({response.status}).")
        for line in body.splitlines():
            with contextlib.suppress(msgspec.MsgspecError):
                if error := msgspec.json.decode(line, type=_Message).error:
                    raise ExportError(f"{self._where} could not load the image: {error}.")

    def _broken(self, error: Exception) -> ExportError:
        return ExportError(f"{self._where} aborted the load: {reason(error)}.")

    def shut(self) -> None:
        """Wake a thread that is writing to the engine: the load is over."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, which aborts an unfinished load."""
        if self._connection is not None:
            self._connection.close()
