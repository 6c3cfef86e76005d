"""A package index of the tests' own: wheels that are made here, served on loopback as JSON and as HTML, or refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def wheel(
    name: str, version: str, requires: Sequence[str] = (), code: str = "", tag: str = "py3-none-any", more: Any = None
) -> tuple[str, bytes]:
    """A wheel of one module, `code`; `more` are further files."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    files = {
        f"{module}.py": code or f"version = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **(more or {}),
    }
    record = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path, (2001, 2, 3, 4, 5, 6)), text)
    return f"{module}-{version}-{tag}.whl", buffer.getvalue()


@dataclass
class LocalIndex:
    """What is served: files by project, which of them are withdrawn, and who may ask."""

    url: str = ""
    html: bool = False
    login: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    yanked: dict[str, str] = field(default_factory=dict)
    pythons: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    folder: Path | None = None
    """A directory whose files are there below /folder."""

    def add(self, name: str, version: str, requires: Sequence[str] = (), **more: Any) -> str:
        """Add a wheel; its file name."""
        filename, content = wheel(name, version, requires, **more)
        self.files.setdefault(name, {})[filename] = content
        return filename

    def page(self, name: str) -> tuple[str, bytes]:
        """The page of a project: its type and content."""
        files = self.files[name]
        if self.html:
            anchors = [
                f'<a href="../../files/{filename}#sha256={_digest(content)}"'
                + (f' data-yanked="{self.yanked[filename]}"' if filename in self.yanked else "")
                + f">{filename}</a>"
                for filename, content in files.items()
            ]
            return "text/html", f"<!DOCTYPE html><html><body>{''.join(anchors)}</body></html>".encode()
        rows = [
            {
                "filename": filename,
                "url": f"../../files/{filename}",
                "hashes": {"sha256": _digest(content)},
                "yanked": self.yanked.get(filename, False),
                "requires-python": self.pythons.get(filename),
            }
            for filename, content in files.items()
        ]
        document = {"meta": {"api-version": "1.0"}, "name": name, "files": rows}
        return "application/vnd.pypi.simple.v1+json", json.dumps(document).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def served(index: LocalIndex) -> Iterator[LocalIndex]:
    """Serve an index until the end of the block; its `url` is then known."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            expected = "Basic " + base64.b64encode(index.login.encode()).decode()
            if index.login and self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            kind, content = "text/plain", b""
            parts = self.path.strip("/").split("/")
            if parts[0] == "simple" and len(parts) == 2 and parts[1] in index.files:
                kind, content = index.page(parts[1])
            elif parts[0] == "files":
                kind = "application/octet-stream"
                content = next((files[parts[1]] for files in index.files.values() if parts[1] in files), b"")
            elif parts[0] == "folder" and index.folder is not None:
                path = index.folder.joinpath(*parts[1:]).with_name(parts[-1].partition("?")[0])
                content = path.read_bytes() if path.is_file() else b""
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", kind)
            if parts[0] == "files":  # as PyPI says of its files
                self.send_header("Cache-Control", "max-age=365000000, immutable, public")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
