"""The `oci` exporter: an image in an OCI archive or layout."""

from __future__ import annotations

from .archive import ArchiveExporter

EXPORTER = ArchiveExporter("oci")
