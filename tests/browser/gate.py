"""A gate in a build: what stands at it waits until the test opens it, however slow the machine is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Gate:
    """A server that answers when the gate is open. `command` and `code` end with the answer."""

    def __init__(self, port: int, opened: threading.Event) -> None:
        self._opened = opened
        self.command = f"wget -q -O /dev/null http://127.0.0.1:{port}"
        """For a RUN on busybox, whose network is that of the machine."""
        self.code = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}').read()"
        """For a cell of Python."""

    def open(self) -> None:
        """Let everybody through, from now on."""
        self._opened.set()


@contextlib.contextmanager
def gate() -> Iterator[Gate]:
    """A closed gate, which opens at the end of the block at the latest."""
    opened = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            opened.wait()
            with contextlib.suppress(OSError):  # who waited is gone
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield Gate(server.server_port, opened)
        finally:
            opened.set()
            server.shutdown()
