"""The check of an image finds each thing that can be wrong with it."""

from __future__ import annotations

import io
from typing import BinaryIO

import msgspec
import pytest

from pybuild_magic.errors import SourceError
from pybuild_magic.oci import config as configs
from pybuild_magic.oci import mediatype
from pybuild_magic.oci.config import RootFS
from pybuild_magic.oci.descriptor import Descriptor, describe
from pybuild_magic.oci.manifest import Index, Manifest, decode_index, decode_manifest, media_type_of
from pybuild_magic.oci.platform import parse
from pybuild_magic.oci.validate import problems
from pybuild_magic.store import decompress
from tests.oci.images import SmallImage


class Memory:
    """Blobs in a dict."""

    def __init__(self, blobs: dict[str, bytes]) -> None:
        self.blobs = blobs

    def has(self, digest: str) -> bool:
        return digest in self.blobs

    def size(self, digest: str) -> int | None:
        return len(self.blobs[digest]) if digest in self.blobs else None

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.blobs[digest])

    def add(self, data: bytes, media_type: str) -> Descriptor:
        descriptor = describe(data, media_type)
        self.blobs[descriptor.digest] = data
        return descriptor


def test_a_whole_image_has_no_problems() -> None:
    image = SmallImage()
    memory = Memory(image.blobs)
    index = memory.add(
        Index((msgspec.structs.replace(image.descriptor, platform=parse("linux/amd64")),)).encode(), mediatype.OCI_INDEX
    )
    assert problems(memory, index, decompress) == []


def test_missing_blobs_are_named() -> None:
    image = SmallImage()
    for digest in image.blobs:
        memory = Memory({key: data for key, data in image.blobs.items() if key != digest})
        found = problems(memory, image.descriptor, decompress)
        assert len(found) == 1, found
        assert digest in found[0]
        assert "is missing" in found[0]


def test_changed_and_cut_blobs_are_named() -> None:
    image = SmallImage()
    for digest, data in image.blobs.items():
        for wrong, reason in ((data[:-1], "bytes"), (data[:-1] + b"~", "digest does not match")):
            found = problems(Memory({**image.blobs, digest: wrong}), image.descriptor, decompress)
            assert len(found) == 1, found
            assert digest in found[0]
            assert reason in found[0]


def test_layers_and_diff_ids_must_agree() -> None:
    image = SmallImage()
    memory = Memory(image.blobs)
    for diff_ids, reason in (((), "1 layers, its config 0"), (("sha256:" + "0" * 64,), "but the config says")):
        config = msgspec.structs.replace(configs.decode(image.config), rootfs=RootFS(diff_ids=diff_ids))
        manifest = Manifest(memory.add(config.encode(), mediatype.OCI_CONFIG), (image.layer_descriptor,))
        found = problems(memory, memory.add(manifest.encode(), mediatype.OCI_MANIFEST), decompress)
        assert len(found) == 1, found
        assert reason in found[0]


def test_types_and_platforms_must_agree() -> None:
    image = SmallImage()
    memory = Memory(image.blobs)
    wrong = msgspec.structs.replace(image.descriptor, media_type=mediatype.DOCKER_MANIFEST)
    assert "its descriptor says" in problems(memory, wrong)[0]
    wrong = msgspec.structs.replace(image.descriptor, platform=parse("linux/arm64"))
    assert "is for linux/amd64, not linux/arm64" in problems(memory, wrong)[0]


@pytest.mark.parametrize(
    "data",
    [
        b'{"schemaVersion":2,"manifests":[],"layers":[]}',
        b'{"schemaVersion":1,"fsLayers":[],"layers":[]}',
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}',
        b'{"schemaVersion":2}',
        b"[]",
    ],
)
def test_a_document_that_could_be_read_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError):
        media_type_of(data)


def test_descriptors_of_a_hostile_document_are_refused() -> None:
    for digest, size in (("sha256:../../x", 1), ("sha256:" + "0" * 64, -1)):
        one = f'{{"mediaType":"a","digest":"{digest}","size":{size}}}'
        with pytest.raises(SourceError):
            decode_index(f'{{"schemaVersion":2,"manifests":[{one}]}}'.encode())
        with pytest.raises(SourceError):
            decode_manifest(f'{{"schemaVersion":2,"config":{one},"layers":[]}}'.encode())
    with pytest.raises(SourceError, match="more than"):
        decode_index(b" " * (9 << 20))
    with pytest.raises(SourceError):
        decode_index(b"[" * 100_000)
