"""The tar of a layer, against the ones that a real BuildKit writes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from pybuild_magic.store import Layer, LayerWriter, Store, import_tar, rewrite_timestamps
from tests.services.buildkit import Engine

SCRIPT = r"""
import os, stat
os.makedirs(b"/k"); os.chdir(b"/k")
def touch(name, data=b"x"):
    os.makedirs(os.path.dirname(name) or b".", exist_ok=True)
    with open(name, "wb") as f: f.write(data)
touch(b"empty", b"")
touch(b"a" * 100)
touch(b"b" * 101)
touch(b"d" * 90 + b"/" + b"e" * 90)
touch(b"d" * 90 + b"/" + b"e" * 99 + b"/" + b"f" * 100)
touch(b"d" * 153 + b"/x"); touch(b"d" * 154 + b"/x"); touch(b"d" * 90 + b"/" + b"g" * 101)
os.makedirs(b"h" * 98); os.makedirs(b"i" * 99); os.makedirs(b"j" * 150 + b"/" + b"k" * 99)
touch(b"l" * 97 + b"/" + b"m" * 200)
touch("\u00fcn\u00efcode/\u6587\u4ef6".encode()); touch(("\u00e9" * 60).encode() + b"/" + b"n" * 90)
touch(b"not-\xff\xfe-utf8/\x80")
touch(b"new\nline"); touch(b"space and \\ backslash")
os.link(b"empty", b"hard-empty"); touch(b"linked", b"once" * 1000); os.link(b"linked", b"zz" + b"z" * 120)
os.symlink(b"t" * 100, b"sym100"); os.symlink(b"t" * 101, b"sym101"); os.symlink("ziel-\u00fc".encode(), b"symu")
os.symlink(b"u" * 99 + b"/" + b"v" * 20, b"symslash")
os.mknod(b"char", 0o640 | stat.S_IFCHR, os.makedev(259, 123456))
os.mknod(b"block", 0o600 | stat.S_IFBLK, os.makedev(7, 1))
os.mkfifo(b"fifo", 0o622)
touch(b"suid"); os.chmod(b"suid", 0o6755); os.makedirs(b"sticky"); os.chmod(b"sticky", 0o1777)
touch(b"owned"); os.chown(b"owned", 2097151, 2097152); touch(b"owned2"); os.chown(b"owned2", 4000000000, 4000000001)
touch(b"cap"); os.setxattr(b"cap", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
os.link(b"cap", b"cap-link")
touch(b"user-xattr")
try: os.setxattr(b"user-xattr", "user.comment", b"hello")
except OSError: pass
with open(b"sparse", "wb") as f: f.truncate(5000000); f.seek(3000000); f.write(b"data")
for name, time in ((b"past", -5.5), (b"future", 8589934592.25), (b"edge", 8589934591.75), (b"frac", 1234567890.999)):
    touch(name); os.utime(name, (time, time))
os.remove("/etc/debian_version"); os.makedirs("/srv/" + "deep/" * 30)
"""

DOCKERFILE = f"""
FROM debian
RUN mkdir -p /gone/{"w" * 99} && echo 1 > /gone/{"w" * 99}/{"x" * 99} && echo 2 > /gone/\u00fcmlaut && echo 3 > /gone/a
COPY <<'EOF' /script.py
{SCRIPT}
EOF
RUN python3 /script.py
RUN rm -r /gone/{"w" * 99}/* /gone/\u00fcmlaut /k/\u00fcn\u00efcode && rm -r /srv && mkdir /srv && touch /srv/new
COPY --chown=5000000:7 <<'EOF' /{"y" * 60}/{"z" * 60}
here
EOF
"""


def layers_of(archive: Path, store: Store, count: int) -> list[Layer]:
    """The uppermost layers of the image in an archive."""
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            file = tar.extractfile("blobs/" + digest.replace(":", "/"))
            assert file is not None
            return file.read()

        index = tar.extractfile("index.json")
        assert index is not None
        document = json.loads(index.read())
        while "layers" not in document:
            document = json.loads(blob(document["manifests"][0]["digest"]))
        return [
            import_tar(store, io.BytesIO(blob(layer["digest"])), diff_id=layer["digest"], digest=layer["digest"])
            for layer in document["layers"][-count:]
        ]


def rewrite(store: Store, layer: Layer, epoch: int | None = None) -> str:
    """Write the layer again from its entries and contents; its diffID."""
    with LayerWriter(store, epoch) as writer:
        for entry in layer.index:
            assert writer.add(entry, layer.span(entry) if entry.size else None) == entry
        return writer.finish().diff_id


@pytest.mark.usefixtures("debian")
@pytest.mark.parametrize("epoch", [None, 1_300_000_000])
def test_layers_of_buildkit_come_out_byte_for_byte(
    engine: Engine, store: Store, tmp_path: Path, epoch: int | None
) -> None:
    archive = engine.build_oci(None, tmp_path / "out.tar", dockerfile=DOCKERFILE, epoch=epoch)
    layers = layers_of(archive, store, 5)
    entries = [entry for layer in layers for entry in layer.index]
    assert {entry.type for entry in entries} == set("0123456")
    assert any(entry.xattrs for entry in entries)
    assert any(entry.is_whiteout and not entry.path.isascii() for entry in entries)
    assert any("\udcff" in entry.path for entry in entries)
    for layer in layers:
        assert rewrite(store, layer, epoch) == layer.diff_id


def test_rewritten_time_stamps_are_buildkits(engine: Engine, store: Store, tmp_path: Path) -> None:
    run = "mkdir /a && touch -d @1700000000 /a/new && touch -d @900000000 /a/old && rm /etc/passwd"
    archive = tmp_path / "out.tar"
    layer = {}
    for epoch in (None, 1_000_000_000):
        engine.build_oci(None, archive, dockerfile=f"FROM busybox\nRUN {run}", epoch=epoch)
        layer[epoch] = layers_of(archive, store, 1)[-1]
    assert rewrite_timestamps(store, layer[None], 1_000_000_000).diff_id == layer[1_000_000_000].diff_id
    theirs = layer[1_000_000_000].index
    assert [theirs.get(path).mtime // 10**9 for path in ("a/new", "a/old")] == [1_000_000_000, 900_000_000]
