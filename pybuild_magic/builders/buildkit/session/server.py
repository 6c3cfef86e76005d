"""The session of a build: services of the client, on a connection over which the daemon makes calls.

The daemon finds the session by its ID, which the solve names, and calls only the methods listed in the metadata of the
connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import BinaryIO

from ....cancel import Cancel
from ....errors import BuildError
from ....net.grpc.frames import ProtocolError
from ....net.grpc.rpc import Handler, Server
from ....net.wire import Wire
from ....oci.blobs import Blobs
from ....session import Session
from . import attachables
from .content import Content
from .filesend import FileSend
from .filesync import FileSync
from .tokens import Registries

_PREFIX = "x-docker-expose-session-"


class SessionServer:
    """Serves a session until it is closed. `failure` is the first error on this side."""

    def __init__(
        self,
        session: Session,
        cancel: Cancel,
        *,
        shared_key: str = "",
        stores: Mapping[str, Blobs] | None = None,
        uploads: Mapping[str, Callable[[], BinaryIO]] | None = None,
        modes: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._shared_key = shared_key
        self._cancel = cancel
        self.files = FileSend(session.sinks, cancel, modes)
        self._handlers = self._services(stores or {}, uploads or {})
        self._connection: Server | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._closed = False
        self.failure: BuildError | None = None
        self.broken: Exception | None = None
        """The reason why the connection ended before `close`."""

    def _services(
        self, stores: Mapping[str, Blobs], uploads: Mapping[str, Callable[[], BinaryIO]]
    ) -> dict[str, Handler]:
        session = self._session
        registries = Registries(session.auth, self._cancel)
        handlers: dict[str, Handler] = {
            "/grpc.health.v1.Health/Check": attachables.check_health,
            "/moby.filesync.v1.FileSync/DiffCopy": FileSync(session.local_dirs).diff_copy,
            "/moby.filesync.v1.Auth/Credentials": registries.credentials,
            "/moby.filesync.v1.Auth/FetchToken": registries.fetch_token,
            "/moby.filesync.v1.Auth/GetTokenAuthority": registries.authority,
            "/moby.filesync.v1.Auth/VerifyTokenAuthority": registries.verify,
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": attachables.Secrets(session.secrets).get,
        }
        ssh = attachables.SSH(session.ssh)
        handlers["/moby.sshforward.v1.SSH/CheckAgent"] = ssh.check
        handlers["/moby.sshforward.v1.SSH/ForwardAgent"] = ssh.forward
        if session.sinks:
            handlers["/moby.filesync.v1.FileSend/DiffCopy"] = self.files.diff_copy
        if uploads:
            handlers["/moby.upload.v1.Upload/Pull"] = attachables.Upload(uploads).pull
        if stores:
            content = Content(stores)
            methods = {
                "Info": content.info,
                "Update": content.update,
                "Read": content.read,
                "Status": content.status,
                "ListStatuses": content.list_statuses,
                "Write": content.write,
                "Abort": content.abort,
            }
            handlers |= {f"/containerd.services.content.v1.Content/{name}": serve for name, serve in methods.items()}
        return handlers

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """Return the metadata that announces the connection."""
        return [
            (f"{_PREFIX}uuid", self._session.id),
            (f"{_PREFIX}name", "pybuild_magic"),
            (f"{_PREFIX}sharedkey", self._shared_key),
            *((f"{_PREFIX}grpc-method", path) for path in self._handlers),
        ]

    def start(self, wire: Wire, ended: Callable[[], None]) -> None:
        """Serve in background threads; `ended` is called when the connection breaks before `close`."""
        connection = self._connection = Server(wire, self._handlers, self._failed)

        def serve() -> None:
            try:
                connection.run()
                self.broken = ConnectionResetError("the daemon closed the session")
            except (OSError, ProtocolError) as error:
                self.broken = error
            if not self._closed:
                ended()

        self._thread = threading.Thread(target=serve, name="pybuild-session", daemon=True)
        self._thread.start()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, OSError) and not isinstance(error, BuildError):
            error = BuildError(f"{error.filename or 'A file'}: {error.strerror or error}.")
        if not isinstance(error, BuildError):
            error = BuildError(f"{type(error).__name__}: {error}")
        self.failure = self.failure or error

    @property
    def silent(self) -> float:
        """Return the seconds since the last message from the daemon, which checks every few seconds whether its client
        is alive.
        """
        return time.monotonic() - self._connection.heard if self._connection else 0.0

    def close(self) -> None:
        """Close the connection, and end the services on it."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
