"""The export of an image from a Docker engine, as by `docker save`."""

from __future__ import annotations

import contextlib
import shutil
from http.client import HTTPException
from typing import BinaryIO
from urllib.parse import quote

import msgspec

from ..errors import SourceError
from .config import DockerConfig
from .engine import Engine

_MOST_SAID = 1 << 20


def save_image(name: str, target: BinaryIO) -> None:
    """Write the archive of the default engine's image `name` to `target`. Raises DaemonError and SourceError."""
    engine = Engine(DockerConfig().default_engine())
    engine.check()
    try:
        with contextlib.closing(engine.http()) as connection:
            connection.request("GET", f"/images/{quote(name, safe='/:@')}/get")
            response = connection.getresponse()
            if response.status != 200:
                raise SourceError(
                    f"The Docker engine does not export the image {name}: {_said(response.read(_MOST_SAID))}."
                )
            shutil.copyfileobj(response, target)
    except (OSError, HTTPException) as error:
        raise engine.unreachable(error) from error


def _said(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=dict[str, str]).get("message", "")
    except msgspec.DecodeError:
        return body[:200].decode("utf-8", "replace")
