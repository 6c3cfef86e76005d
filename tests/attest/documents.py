"""What is attested, read out of archives and directories with tarfile and json alone."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any


class Archive:
    """An OCI archive with one image."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self._files = {
                member.name: file.read() for member in tar if member.isreg() and (file := tar.extractfile(member))
            }
        (digest,) = {entry["digest"] for entry in json.loads(self._files["index.json"])["manifests"]}
        self.root: dict[str, Any] = self.document(digest)

    def document(self, digest: str) -> Any:
        """The JSON document of that digest."""
        return json.loads(self._files[f"blobs/{digest.replace(':', '/')}"])

    @property
    def images(self) -> list[dict[str, Any]]:
        """The entries of the index that are images."""
        return [entry for entry in self.root["manifests"] if not _attests(entry)]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of the index that attest an image."""
        return [entry for entry in self.root.get("manifests", []) if _attests(entry)]

    @property
    def statements(self) -> list[dict[str, Any]]:
        """All that is attested, in order."""
        manifests = [self.document(entry["digest"]) for entry in self.entries]
        return [self.document(layer["digest"]) for manifest in manifests for layer in manifest["layers"]]


def _attests(entry: dict[str, Any]) -> bool:
    return "vnd.docker.reference.type" in entry.get("annotations", {})
