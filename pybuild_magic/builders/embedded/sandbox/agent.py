"""A socket of the sandbox for an SSH agent: connections to it are passed on to the user's agent."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_CHUNK = 1 << 16


class AgentSocket:
    """While the block runs, `path` is a socket whose connections are passed on to the socket `agent`.

    This is how BuildKit forwards an agent: the process gets a socket with the owner and mode that it asks for, and the
    user's own socket is left as it is.
    """

    def __init__(self, path: Path, agent: Path) -> None:
        self._path = path
        self._agent = agent
        self._server = socket.socket(socket.AF_UNIX)
        self._open: set[socket.socket] = set()

    def __enter__(self) -> AgentSocket:
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:  # the path may be too long for a socket address
            self._server.bind(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)
        self._server.listen()
        threading.Thread(target=self._accept, name="pybuild-ssh", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._server, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(str(self._agent))
            except OSError:
                client.close()
                agent.close()
                continue
            self._open |= {client, agent}
            for source, target in ((client, agent), (agent, client)):
                threading.Thread(target=self._pump, args=(source, target), name="pybuild-ssh", daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if source not in self._open:
            return
        self._open.discard(source)
        if target not in self._open:
            source.close()
            target.close()
