"""The `docker` exporter: an image in an archive that `docker load` reads, or in the Docker engine."""

from __future__ import annotations

from .archive import ArchiveExporter

EXPORTER = ArchiveExporter("docker")
