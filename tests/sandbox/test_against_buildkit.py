"""RUN for RUN, the layers are those of BuildKit: the same bytes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import RunSpec, SandboxMount
from pybuild_magic.cancel import Cancel
from pybuild_magic.llb.ops import MountType
from pybuild_magic.store import Store, import_tar, rewrite_timestamps
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

from .conftest import ROOTLESS, make_sandbox

TMPFS, SECRET, CACHE, BIND = MountType.TMPFS, MountType.SECRET, MountType.CACHE, MountType.BIND

STEPS: list[tuple[str, str, tuple[SandboxMount, ...]]] = [
    ("true", "", ()),
    ("true", "", ()),
    ("mkdir -p /a/b/c /z; echo 1 > /a/b/c/f; echo 2 > /z/f; chmod 1777 /z", "", ()),
    ("ln /a/b/c/f /a/hard; ln -s nowhere /a/soft; mkfifo /a/pipe; mknod /a/dev c 1 3; mknod /a/blk b 7 1", "", ()),
    ("rm /a/hard; rm -r /z; touch /a/b/c", "", ()),
    ("rm -r /a/b; mkdir /a/b; echo n > /a/b/new; ln /a/b/new /a/b/new2; mkdir -p /a/b/c; echo f > /a/b/c/g", "", ()),
    ("chmod 755 /bin; chmod 644 /etc/passwd; chmod 600 /etc/group; chown 3:4 /etc/group", "", ()),
    ("mv /etc /etc2 2>/dev/null; cp -a /bin /bin2; rm -r /bin2; mv /a/b /a/moved", "", ()),
    ("ln /etc/passwd /etc/00; ln /etc/passwd /etc/zz; ln /bin/busybox /bb", "", ()),
    ("rm -rf /a; echo file > /a", "", ()),
    ("rm /a; mkdir /a; touch /a/x; mkdir /a/é; touch '/a/with space'; touch /a/.wh", "", ()),
    ("umask 0; mkdir /w; touch /w/f; chmod 6755 /w/f; chmod 2775 /w; chmod 700 /", "", ()),
    ("touch -d '2001-02-03 04:05:06' /w/f; n=$(printf 'x%.0s' $(seq 130)); mkdir /$n; touch /$n/$n", "", ()),
    ("dd if=/dev/zero of=/sparse bs=1 count=0 seek=100000; cat /dev/null > /none", "", ()),
    ("cd /w && rm f && mkdir f && rmdir f && echo again > f", "", ()),
    (
        "touch /kept/x",
        "--mount=type=tmpfs,target=/kept/t --mount=type=secret,id=s,target=/run/secrets/a/s "
        "--mount=type=cache,target=/c/d,id=sandboxtest --mount=type=bind,from=busybox,target=/m,rw ",
        (
            SandboxMount("/kept/t", TMPFS),
            SandboxMount("/run/secrets/a/s", SECRET, data=b"x"),
            SandboxMount("/c/d", CACHE),
            SandboxMount("/m", BIND),
        ),
    ),
    ("touch /etc/hosts2; echo x > /dev/null; echo > /tmp/t", "", ()),
]


@pytest.fixture(scope="module")
def theirs(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The layers that BuildKit makes of the steps."""
    place = tmp_path_factory.mktemp("buildkit")
    lines = ["FROM busybox"]
    for command, flags, _ in STEPS:
        heredoc = f"RUN {flags}<<EOT\n{command}\nEOT"
        lines.append(heredoc if flags else f"RUN {command}")
    (place / "secret").write_text("x")
    secret = f"--secret=id=s,src={place / 'secret'}"
    archive = engine.build_oci(None, place / "out.tar", secret, dockerfile="\n".join(lines))
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            member = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            return member.read()

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.loads(index.read())["manifests"][0]["digest"]))
        return [blob(layer["digest"]) for layer in manifest["layers"]][1:]


def listing(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [
            f"{m.type.decode()} {m.name} {m.mode:o} {m.uid}:{m.gid} {m.size} {m.mtime} {m.linkname} "
            f"{m.devmajor},{m.devminor} {m.pax_headers}"
            for m in tar
        ]


@pytest.mark.skipif(ROOTLESS, reason="devices need root")
@pytest.mark.parametrize("way", ["builtin", "runc"])
def test_layers_are_buildkit_s_to_the_byte(
    theirs: list[bytes], busybox_layout: BaseImage, store: Store, tmp_path: Path, way: str
) -> None:
    base = import_tar(store, io.BytesIO(busybox_layout.blob(busybox_layout.manifest["layers"][0]["digest"])))
    snapshot = (base.diff_id,)
    printed: list[bytes] = []
    with make_sandbox(store, way) as sandbox:
        for (command, _, mounts), expected in zip(STEPS, theirs, strict=True):
            cache = tmp_path / "cache"
            fixed = tuple(
                SandboxMount(
                    m.dest, m.kind, snapshot=(base.diff_id,) if m.kind == BIND else (), source=cache, data=m.data
                )
                for m in mounts
            )
            spec = RunSpec(("/bin/sh", "-c", command), snapshot, mounts=fixed)
            outcome = sandbox.run(spec, lambda _, data: printed.append(data), Cancel())
            assert outcome.exit_code == 0, b"".join(printed)
            layer = sandbox.commit(outcome)
            snapshot = (*snapshot, layer.diff_id)
            ours = store.blobs.read(rewrite_timestamps(store, layer, 0).diff_id)
            assert listing(ours) == listing(expected), command
            assert ours == expected, command
