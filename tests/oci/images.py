"""Small images for tests, written as layouts and archives with nothing but the standard library."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from pybuild_magic.oci import config as configs
from pybuild_magic.oci import mediatype
from pybuild_magic.oci.config import RootFS
from pybuild_magic.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor, describe
from pybuild_magic.oci.layout import LAYOUT, LayoutWriter
from pybuild_magic.oci.manifest import Index, Manifest
from pybuild_magic.oci.platform import parse


def layer(files: dict[str, bytes]) -> bytes:
    """An uncompressed tar."""
    return tar(dict(files))


def tar(members: dict[str, bytes | tuple[bytes, str]], mode: str = "w") -> bytes:
    """A tar of files, and of links where the value is (type, target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, tuple):
                info.type, info.linkname = data
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class SmallImage:
    """One layer with one file, for linux/amd64."""

    def __init__(self, text: bytes = b"hello") -> None:
        self.layer = layer({"hello.txt": text})
        self.layer_descriptor = describe(self.layer, mediatype.OCI_LAYER)
        base = configs.empty(parse("linux/amd64"))
        import msgspec

        self.config = msgspec.structs.replace(
            base, created="1970-01-01T00:00:00Z", rootfs=RootFS(diff_ids=(self.layer_descriptor.digest,))
        ).encode()
        self.config_descriptor = describe(self.config, mediatype.OCI_CONFIG)
        self.manifest = Manifest(self.config_descriptor, (self.layer_descriptor,)).encode()
        self.descriptor = describe(self.manifest, mediatype.OCI_MANIFEST)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Digest and content of all blobs."""
        return {
            self.layer_descriptor.digest: self.layer,
            self.config_descriptor.digest: self.config,
            self.descriptor.digest: self.manifest,
        }

    def index(self, *names: str) -> Index:
        """An index with an entry for each name."""
        entries = [
            self.descriptor.annotated({CONTAINERD_NAME: name, REF_NAME: name.rpartition(":")[2]}) for name in names
        ]
        return Index(tuple(entries) or (self.descriptor,))

    def layout(self, path: Path, *names: str) -> Path:
        """Write it as a layout directory."""
        writer = LayoutWriter(path)
        for digest, data in self.blobs.items():
            with writer.blob(digest) as file:
                if file is not None:
                    file.write(data)
        writer.finish({"oci-layout": LAYOUT, "index.json": self.index(*names).encode(indent=False)})
        return path

    def archive(self, *names: str, mode: str = "w") -> bytes:
        """The layout as a tar."""
        members: dict[str, bytes | tuple[bytes, str]] = {
            "oci-layout": LAYOUT,
            "index.json": self.index(*names).encode(),
        }
        members |= {f"blobs/{digest.replace(':', '/')}": data for digest, data in self.blobs.items()}
        return tar(members, mode)

    def docker_archive(self, *names: str, packed: bytes = b"") -> bytes:
        """What `docker save` wrote before it wrote layouts: a layer in a directory of its own, shared by a link."""
        saved = [{"Config": "c.json", "RepoTags": list(names) or None, "Layers": ["a/layer.tar"]}]
        return tar(
            {
                "manifest.json": json.dumps(saved).encode(),
                "c.json": self.config,
                "a/layer.tar": (tarfile.SYMTYPE, "../b/layer.tar"),
                "b/layer.tar": packed or self.layer,
            }
        )


def as_blob(descriptor: Descriptor, **changes: object) -> Descriptor:
    """The descriptor with other members."""
    import msgspec

    return msgspec.structs.replace(descriptor, **changes)
