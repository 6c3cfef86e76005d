"""`--load` from a daemon that is not a Docker engine: its archive is passed to an engine, or stored in our store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, BinaryIO, cast

from ...docker.config import DockerConfig
from ...docker.engine import Engine
from ...docker.load import Load
from ...errors import DaemonError, ExportError, UnsupportedError
from ...request.solve_request import SolveRequest
from ..settings import settings


class Loader:
    """One load. The destination is chosen when the build begins: an engine that answers, else the embedded store."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._load: Load | None = None
        self._spool: IO[bytes] | None = None
        self._name = ""

    def archive_type(self) -> str:
        """Return `oci` where several platforms can be loaded, `docker` for engines with the older image store."""
        try:
            engine = Engine(DockerConfig().default_engine(), settings().connect_timeout)
            info = engine.info()
        except (DaemonError, UnsupportedError):
            return "oci"
        self._engine = engine
        return "oci" if info.containerd_store else "docker"

    def open(self, request: SolveRequest) -> BinaryIO:
        """Return a file to write the archive to. Raises ExportError."""
        names = [entry.attrs["name"] for entry in request.exporters if entry.attrs.get("name")]
        self._name = names[0].split(",")[0] if names else ""
        if self._engine is None:
            if not self._name:
                raise ExportError("An image loaded into the embedded store needs a name.", hint="Add -t NAME.")
            self._spool = tempfile.NamedTemporaryFile(prefix="pybuild-load-", suffix=".tar")  # noqa: SIM115
            return cast("BinaryIO", self._spool)
        self._load = Load(self._engine)
        return cast("BinaryIO", self._load)

    def finish(self) -> None:
        """Load the complete archive. Raises ExportError with the engine's message."""
        if self._spool is not None:
            from ...images.load import load_image
            from ...store import Store

            self._spool.flush()
            with Store() as store:
                load_image(store, Path(self._spool.name), self._name)
        if self._load is not None:
            self._load.finish()

    def close(self) -> None:
        """Abort an unfinished load."""
        if self._load is not None:
            self._load.close()
        if self._spool is not None:
            self._spool.close()
