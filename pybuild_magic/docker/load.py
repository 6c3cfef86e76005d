"""Loading an archive of images into a Docker engine, as `docker load` does, while the archive is being written."""

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
    """Return the engine to load into. Raises UnsupportedError, before anything is built, when it cannot be there."""
    config = DockerConfig()
    try:
        engine = Engine(config.default_engine())
        engine.check()
    except UnsupportedError as error:
        raise UnsupportedError(
            f"There is no Docker engine to load the image into. {config.choice()}: {error.message}",
            hint=error.hint or HINT,
        ) from error
    return engine


class Load:
    """One archive on its way into an engine. Write it to `file`, then call `finish`; `close` at the end of all."""

    def __init__(self, engine: Engine, size: int | None = None) -> None:
        """Connect, and begin the request: of `size` bytes, or of chunks. Raises ExportError."""
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
        """For an archive whose size was given: bytes go here as they are."""
        # The time limit was for connecting: an engine takes in a large image at its own pace.
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
        """Note that the engine closed its side: what it says of the reason is worth more than the error."""
        self._failure = error

    def finish(self) -> None:
        """End the archive, and wait for the engine's word. Raises ExportError with what it says."""
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
                said = msgspec.json.decode(body, type=dict[str, str]).get("message", "")
            except msgspec.MsgspecError:
                said = body[:200].decode("utf-8", "replace")
            raise ExportError(f"{self._where} refused the image: {said} ({response.status}).")
        for line in body.splitlines():
            with contextlib.suppress(msgspec.MsgspecError):
                if error := msgspec.json.decode(line, type=_Message).error:
                    raise ExportError(f"{self._where} could not load the image: {error}.")

    def _broken(self, error: Exception) -> ExportError:
        return ExportError(f"{self._where} broke off the load: {reason(error)}.")

    def shut(self) -> None:
        """Wake whoever writes to the engine, from another thread: the load is over."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, and so break off a load that is not finished."""
        if self._connection is not None:
            self._connection.close()
