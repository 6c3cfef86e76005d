"""The `tar` exporter writes the very bytes that BuildKit writes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.errors import ExportError
from pybuild_magic.exporters import SolveResult
from pybuild_magic.oci.platform import parse
from pybuild_magic.session import FileSink
from tests.exporters.build import SECOND, Lab, directory, file, hardlink, symlink
from tests.services.buildkit import Engine

LONG = "/".join(["n" * 60] * 4)
DOCKERFILE = rf"""FROM busybox
RUN mkdir -p /r/x /a/{LONG} "/caf\303\251" && echo hello > /a/{LONG}/{"f" * 90} && echo x > /a/{"g" * 150} \
 && ln -s {"t" * 120} /a/link && ln /a/{"g" * 150} /a/hard && mkfifo /a/pipe && mknod /a/null c 1 3 \
 && ln /a/pipe /a/pipe2 && ln /a/null /a/null2 \
 && chmod 4755 /a/{"g" * 150} && chown 3000000:7 /a/pipe && printf y > "$(printf '/b\377')" \
 && dd if=/dev/zero of=/big bs=1k count=300 2>/dev/null && echo 1 > "/a b" && echo 1 > /a.b && : > /a/empty
RUN rm /bin/vi && mkdir /c && rm -r /r && mkdir /r
"""


def test_it_is_buildkits_byte_for_byte(lab: Lab, engine: Engine, tmp_path: Path) -> None:
    engine.buildx_build(
        None,
        f"--output=type=tar,dest={tmp_path}/theirs.tar",
        f"--output=type=oci,dest={tmp_path}/x.tar,compression=uncompressed",
        "--provenance=false",
        dockerfile=DOCKERFILE,
        # Without it BuildKit rounds times of its snapshots, which have fractions of seconds that layers do not have.
        env={"SOURCE_DATE_EPOCH": "1000000000"},
    )
    result = msgspec.structs.replace(lab.imported(tmp_path / "x.tar"), epoch=1_000_000_000)
    lab.export("tar", result, {}, FileSink(tmp_path / "ours.tar"))
    ours, theirs = (tmp_path / "ours.tar").read_bytes(), (tmp_path / "theirs.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(ours)) as one, tarfile.open(fileobj=io.BytesIO(theirs)) as other:
        assert [info.get_info() for info in one] == [info.get_info() for info in other]
    assert ours == theirs
    assert lab.steps == ["sending tarball"]
    told = [status for message in lab.messages for status in message.statuses][-1]
    assert 0.9 * len(ours) < told.current <= told.total <= len(ours), "the bar has an end"


def test_an_epoch_is_every_entrys_time_and_hardlinks_stay(lab: Lab) -> None:
    buffer = io.BytesIO()
    result = lab.result(
        directory("d"), file("d/a", b"x", mtime=5 * SECOND), hardlink("d/b", "d/a"), symlink("l", "d"), epoch=10
    )
    lab.export("tar", result, {}, FileSink(buffer))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as archive:
        members = archive.getmembers()
        assert [(one.name, one.mtime) for one in members] == [("d", 10), ("d/a", 10), ("d/b", 10), ("l", 10)]
        assert members[2].islnk()
        assert members[2].linkname == "d/a"
        assert archive.extractfile("d/b").read() == b"x"  # type: ignore[union-attr]


def test_platforms_are_in_directories_of_their_own(lab: Lab) -> None:
    targets = [lab.result(file("a", name.encode()), platform=parse(name)).targets[0] for name in ("amd64", "386")]
    buffer = io.BytesIO()
    lab.export("tar", SolveResult(tuple(targets), multi_platform=True), {}, FileSink(buffer))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as archive:
        assert archive.getnames() == ["linux_386", "linux_386/a", "linux_amd64", "linux_amd64/a"]


def test_an_empty_result_is_an_empty_tar(lab: Lab) -> None:
    buffer = io.BytesIO()
    lab.export("tar", lab.result(), {}, FileSink(buffer))
    assert buffer.getvalue() == bytes(1024)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_a_sentence(lab: Lab) -> None:
    with pytest.raises(ExportError, match="No space left on device"):
        lab.export("tar", lab.result(file("a", b"x" * 300_000)), {}, FileSink("/dev/full"))
