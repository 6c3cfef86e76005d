"""An HTTP server on a fixed loopback address, so that what it serves has one URL in every run; also a Git repository.

Several test processes listen on the one port at the same time (SO_REUSEPORT) and answer the same.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.services.common import tool

from .case import SITE, TIME, Tree, write_tree

Pages = Mapping[str, tuple[bytes, Mapping[str, str]]]
"""What is answered: path -> (body, headers)."""

ADDRESS = ("127.91.17.3", 18099)

FIRST: Tree = {"README": "first\n", "sub/deep/file": "in git\n", "run.sh": "#!/bin/sh\n"}
SECOND: Tree = {**FIRST, "README": "second\n", "sub/more": "more\n"}
APART: Tree = {"apart": "apart\n"}
BRANCH: Tree = {"only-on-branch": "branch\n", "sub/deep/file": "on branch\n"}


@dataclass(frozen=True)
class Site:
    """Where it listens, and commits of the repository."""

    http: str
    git: str
    commit: str
    """The head of `main`."""
    tagged: str
    """The commit of the annotated tag `v1`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Serve until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="pybuild-site-") as scratch:
        root = Path(scratch)
        commit, tagged = _repository(root)
        with serving(ADDRESS, root, SITE) as url:
            yield Site(url, f"{url}/git/repo.git", commit, tagged)


@contextlib.contextmanager
def serving(address: tuple[str, int], root: Path, pages: Pages) -> Iterator[str]:
    """The URL of a server of `pages`, which may change, and of the repositories in `root` below `/git/`."""
    server = _Server(address, functools.partial(_Handler, root, pages))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{address[0]}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, root: Path, pages: Pages, *arguments: object) -> None:
        self._root = root
        self._pages = pages
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith("/git/"):
            self._git(path.removeprefix("/git"), query)
            return
        body, headers = self._pages.get(path, (None, {}))
        if body is None:
            self.send_error(404)
            return
        if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
            self.send_response(304)
            body = b""
        else:
            self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - http.server's own names
    do_POST = do_GET  # noqa: N815

    def _git(self, path: str, query: str) -> None:
        """Git's own server, which is a CGI program."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run([tool("git"), "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _repository(root: Path) -> tuple[str, str]:
    """A bare repository with two commits on `main`, tags and a branch; (head of main, commit of v1)."""
    bare, work = root / "repo.git", root / "work"
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()},
    }

    def git(*words: str) -> str:
        command = [tool("git"), f"--git-dir={bare}", f"--work-tree={work}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd=root).stdout.strip()

    def commit(tree: Tree, message: str) -> str:
        shutil.rmtree(work, ignore_errors=True)
        write_tree(work, tree)
        if "run.sh" in tree:
            (work / "run.sh").chmod(0o755)
        git("add", "--all", ".")
        git("commit", "--quiet", "--message", message)
        return git("rev-parse", "HEAD")

    work.mkdir()
    subprocess.run(
        [tool("git"), "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True, env=env, cwd=root
    )
    git("config", "core.bare", "false")
    tagged = commit(FIRST, "first")
    git("tag", "--annotate", "--message", "release", "v1")
    git("tag", "light")
    git("checkout", "--quiet", "-b", "other")
    commit(BRANCH, "branch")
    git("checkout", "--quiet", "-b", "apart")
    commit(APART, "apart")
    git("checkout", "--quiet", "--force", "main")
    head = commit(SECOND, "second")
    git("config", "core.bare", "true")
    return head, tagged


_WHO = {"NAME": "T", "EMAIL": "t@example.com", "DATE": f"{TIME} +0000"}
