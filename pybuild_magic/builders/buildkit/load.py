"""`--load` from a daemon that is no Docker engine: its archive goes into an engine as it comes, or into our store."""

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
    """One load. Where it goes is found out when the build begins: an engine that answers, else the embedded store."""

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
                raise ExportError("An image is loaded into the embedded store by its name.", hint="Add -t NAME.")
            self._spool = tempfile.NamedTemporaryFile(prefix="pybuild-load-", suffix=".tar")  # noqa: SIM115
            return cast("BinaryIO", self._spool)
        self._load = Load(self._engine)
        return cast("BinaryIO", self._load)

    def finish(self) -> None:
        """Load the archive, which is whole now. Raises ExportError with what the engine says."""
        if self._spool is not None:
            from ...images.load import load_image
            from ...store import Store

            self._spool.flush()
            with Store() as store:
                load_image(store, Path(self._spool.name), self._name)
        if self._load is not None:
            self._load.finish()

    def close(self) -> None:
        """Break off what is not finished."""
        if self._load is not None:
            self._load.close()
        if self._spool is not None:
            self._spool.close()
