"""`--load` from a daemon that is no Docker engine: its archive goes into an engine as it comes, or into our store."""

from __future__ import annotations

import contextlib
import tempfile
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import msgspec

from ...errors import ExportError, UnsupportedError
from ...request.solve_request import SolveRequest
from ..settings import settings
from .dockerconfig import DockerConfig
from .dockerd import Dockerd
from .failures import DaemonError
from .grpc.wire import reason


class _Message(msgspec.Struct):
    error: str = ""


class Loader:
    """One load. Where it goes is found out when the build begins: an engine that answers, else the embedded store."""

    def __init__(self) -> None:
        self._dockerd: Dockerd | None = None

        self._connection: HTTPConnection | None = None
        self._spool: IO[bytes] | None = None
        self._name = ""

    def archive_type(self) -> str:
        """`oci` where several platforms can be loaded, `docker` for engines with the older image store."""
        dockerd = Dockerd(DockerConfig().default_engine(), settings().connect_timeout)
        try:
            info = dockerd.info()
        except (DaemonError, UnsupportedError):
            return "oci"
        self._dockerd = dockerd
        return "oci" if info.containerd_store else "docker"

    def open(self, request: SolveRequest) -> BinaryIO:
        """A file to write the archive to. Raises ExportError."""
        names = [entry.attrs["name"] for entry in request.exporters if entry.attrs.get("name")]
        self._name = names[0].split(",")[0] if names else ""
        if self._dockerd is None:
            if not self._name:
                raise ExportError("An image is loaded into the embedded store by its name.", hint="Add -t NAME.")
            self._spool = tempfile.NamedTemporaryFile(prefix="pybuild-load-", suffix=".tar")  # noqa: SIM115
            return cast("BinaryIO", self._spool)
        return cast("BinaryIO", _Chunks(self._start(self._dockerd)))

    def _start(self, dockerd: Dockerd) -> HTTPConnection:
        try:
            connection = self._connection = dockerd.http()
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
        except (OSError, HTTPException) as error:
            raise ExportError(
                f"The Docker engine at {dockerd.address.host} cannot be reached: {reason(error)}."
            ) from error
        connection.sock.settimeout(None)
        return connection

    def finish(self) -> None:
        """The archive is whole. Raises ExportError with what the engine says."""
        if self._spool is not None:
            from ...images.load import load_image
            from ...store import Store

            self._spool.flush()
            with Store() as store:
                load_image(store, Path(self._spool.name), self._name)
        if self._connection is None or self._dockerd is None:
            return
        where = self._dockerd.address.host
        try:
            self._connection.send(b"0\r\n\r\n")
            response = self._connection.getresponse()
            body = response.read(1 << 20)
        except (OSError, HTTPException) as error:
            raise ExportError(f"The Docker engine at {where} broke off the load: {reason(error)}.") from error
        if response.status != 200:
            raise ExportError(
                f"The Docker engine at {where} refused the image: {body[:300].decode('utf-8', 'replace')}."
            )
        for line in body.splitlines():
            with contextlib.suppress(msgspec.MsgspecError):
                if error := msgspec.json.decode(line, type=_Message).error:
                    raise ExportError(f"The Docker engine at {where} could not load the image: {error}.")

    def close(self) -> None:
        """Break off what is not finished."""
        if self._connection is not None:
            self._connection.close()
        if self._spool is not None:
            self._spool.close()


class _Chunks:
    """The body of a chunked request as a file."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if not view:
            return 0
        try:
            self._connection.send(b"%x\r\n" % len(view))
            self._connection.send(view)
            self._connection.send(b"\r\n")
        except OSError as error:
            raise ExportError(f"The Docker engine broke off the load: {reason(error)}.") from error
        return len(view)
