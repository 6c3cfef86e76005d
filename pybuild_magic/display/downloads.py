"""Handing files of the kernel's machine to the browser, in chunks over a widget's comm.

A result is static HTML, in which the path of each output is text with a token. One widget a kernel, which is never
displayed, runs in every page that shows the notebook: where it finds a token that its kernel knows, it puts a button.
So a link works wherever the file is, also outside of what Jupyter serves; and a page without the kernel shows the path.

The page asks for each chunk, so that the kernel holds one at a time and a slow page is no trouble. A directory is
sent as a tar. Only what a result has offered can be asked for.
"""

from __future__ import annotations

import os
import secrets
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any, cast

import anywidget
import traitlets

CHUNK = 4 << 20
"""Bytes of one message."""


class DownloadChannel(anywidget.AnyWidget):
    """The widget: `tokens` are the names of what can be asked for."""

    _esm = Path(__file__).parent / "static" / "downloads.js"
    tokens = cast("Any", traitlets.List().tag(sync=True))


class Downloads:
    """The files that a kernel offers to its pages."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._archives: dict[str, IO[bytes]] = {}
        self._channel: Any = DownloadChannel()
        self._channel.on_msg(self._answer)

    def offer(self, path: Path) -> str:
        """The token for what is at `path`, a file or a directory."""
        for token, known in self._paths.items():
            if known == path:
                return token
        token = secrets.token_urlsafe(9)
        self._paths[token] = path
        self._channel.tokens = list(self._paths)
        return token

    def _answer(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        request = content.get("request")
        try:
            path = self._paths[str(content["token"])]
            offset = int(content["offset"])
            with self._open(str(content["token"]), path, offset) as file:
                size, version = _identity(file)
                file.seek(offset)
                data = file.read(CHUNK)
            if offset + len(data) >= size and (archive := self._archives.pop(str(content["token"]), None)):
                archive.close()
        except (OSError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "It cannot be read"
            self._channel.send({"request": request, "error": f"{reason}."})
            return
        name = f"{path.name}.tar" if path.is_dir() else path.name
        self._channel.send(
            {"request": request, "name": name, "size": size, "version": version, "count": len(data)}, [data]
        )

    def _open(self, token: str, path: Path, offset: int) -> IO[bytes]:
        """The file; a directory as an archive made when its first byte is asked for, and gone after its last."""
        if not path.is_dir():
            return path.open("rb")
        if offset == 0 or token not in self._archives:
            archive = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - lives as long as the download
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(path, arcname=path.name)
            self._archives[token] = archive
        archive = self._archives[token]
        return open(archive.fileno(), "rb", closefd=False)


def _identity(file: IO[bytes]) -> tuple[int, str]:
    stat = os.fstat(file.fileno())
    return stat.st_size, f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


_downloads: Downloads | None = None


def offer(path: Path) -> str:
    """The token by which this kernel's pages can ask for what is at `path`."""
    global _downloads
    if _downloads is None:
        _downloads = Downloads()
    return _downloads.offer(path)
