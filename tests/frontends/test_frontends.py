"""A front end of another image does the same on the embedded builder as on BuildKit, and a hostile one no harm."""

from __future__ import annotations

import json
import os
import secrets
import tarfile
from pathlib import Path
from typing import Any

import pytest

import pybuild_magic
from pybuild_magic.builders.embedded.frontends import process
from pybuild_magic.errors import RunError
from tests.integration.lab import Home, leave_nothing
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

from .conftest import Front

pytestmark = pytest.mark.xdist_group("frontends")

FILES = {"a.txt": "a\n", "dir/b.txt": "b\n", "dir/run": "#!/bin/sh\n"}
OUTPUT = "type=oci,compression=uncompressed,rewrite-timestamp=true,oci-artifact=false"
BASE = "from docker.io/library/busybox:latest\n"

SAME = {
    "an empty image": "",
    "files without a base image": "write /x 0123456789\nread /x 3 4\nmissing /y/z\nwarn mind the gap\n",
    "a base image, the context and a process": BASE
    + "copy / /src/\nread /src/dir/b.txt 0 100\nlist /src\nstat /src/dir\nrun echo hi > /hi\nevaluate\n"
    + "options filename target build-arg:X source cmdline label:a\nping\nmetadata\n",
}

SCRIPTS = {
    "a process": "start p echo out && echo err >&2; eof p; end p",
    "input": "start p read a && echo got $a && exit 3; type p words; eof p; end p",
    "no program": "start p exec /nowhere/at/all; eof p; end p",
    "its surroundings": "start p cat /x /kept/x && hostname && pwd && echo $A $PATH && id -u && "
    "ls -A /scratch /tmpfs && echo w > /scratch/y && echo w > /x && (echo w > /kept/x) 2>/dev/null || echo no; "
    "eof p; end p",
    "two at once": "start p echo up && touch /scratch/f && read a && exit 4; see p up; "
    "start q ls /scratch; eof q; end q; type p x; eof p; end p",
    "one of two fails": "start p echo up && exec tail -f /dev/null; see p up; "
    "start q exit 5; eof q; end q; eof p; end p",
    "a signal": "start p trap 'echo caught && exit 9' TERM && echo up && read a; see p up; "
    "kill p TERM; see p caught; eof p; end p",
}
SAME |= {f"a container: {name}": f"{BASE}write /x base\ncontainer {SCRIPTS[name]}\n" for name in SCRIPTS}


@pytest.mark.parametrize("name", SAME)
def test_it_makes_the_image_that_it_makes_on_buildkit(
    name: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    text = f"# syntax={front.ref} and more\n{SAME[name]}"
    context = context_of(tmp_path)
    flags = ("--build-arg=X=y z", "--label=a=b")
    theirs = engine.build_oci(context, tmp_path / "theirs.tar", *flags, dockerfile=text)
    home.build(
        text,
        context,
        build_args={"X": "y z", "SOURCE_DATE_EPOCH": "0"},
        labels={"a": "b"},
        outputs=[f"{OUTPUT},dest={tmp_path / 'ours.tar'}"],
        no_cache=True,
    )
    # How times in a base image's own layer are changed is no matter of a front end: see the conformance cases.
    base = SAME[name].startswith(BASE)
    assert image_of(tmp_path / "ours.tar", skip=base) == image_of(theirs, skip=base)


def test_processes_run_side_by_side_in_a_container(front: Front, home: Home, tmp_path: Path) -> None:
    script = (
        "start p echo up && touch /scratch/f && read a && echo $a; see p up; "
        "start q ls /scratch && id -u; eof q; end q; type p x; eof p; end p"
    )
    home.build(f"# syntax={front.ref}\n{BASE}container {script}\n", outputs=[str(tmp_path)])
    told = (tmp_path / "container").read_text()
    assert told.count("('exit', '0 0 ')") == 2
    assert "1: b'up\\nx\\n'" in told
    assert "1: b'f\\n0\\n'" in told


def test_a_layout_is_a_context_as_on_buildkit(
    front: Front, home: Home, engine: Engine, busybox_layout: BaseImage, tmp_path: Path
) -> None:
    text = f"# syntax={front.ref}\ncontext base\nrun echo hi > /hi\nevaluate\n"
    place = f"oci-layout://{busybox_layout.path}"
    theirs = engine.build_oci(
        context_of(tmp_path), tmp_path / "theirs.tar", f"--build-context=base={place}", dockerfile=text
    )
    output = f"{OUTPUT},dest={tmp_path / 'ours.tar'}"
    home.build(text, build_contexts={"base": place}, build_args={"SOURCE_DATE_EPOCH": "0"}, outputs=[output])
    assert image_of(tmp_path / "ours.tar", skip=True) == image_of(theirs, skip=True)
    inner = "FROM base; RUN echo hi > /hi; ENV A=b"
    images: list[dict[str, Any]] = []
    for number, dockerfile in enumerate((f"# syntax={front.ref}\ndockerfile {inner}\n", inner.replace("; ", "\n"))):
        archive = tmp_path / f"{number}.tar"
        outputs = [f"{OUTPUT},dest={archive}"]
        home.build(dockerfile, build_contexts={"base": place}, build_args={"SOURCE_DATE_EPOCH": "0"}, outputs=outputs)
        images.append(image_of(archive))
    assert images[0] == images[1]


def test_it_may_ask_the_front_end_that_is_built_in(front: Front, home: Home, tmp_path: Path) -> None:
    text = "FROM busybox; COPY a.txt /; RUN echo hi > /hi; ENV A=b"
    context = context_of(tmp_path)
    images: list[dict[str, Any]] = []
    for number, dockerfile in enumerate((f"# syntax={front.ref}\ndockerfile {text}\n", text.replace("; ", "\n"))):
        archive = tmp_path / f"{number}.tar"
        home.build(dockerfile, context, build_args={"SOURCE_DATE_EPOCH": "0"}, outputs=[f"{OUTPUT},dest={archive}"])
        images.append(image_of(archive))
    assert images[0] == images[1]


def test_its_answer_to_a_question_is_shown(front: Front, home: Home) -> None:
    result = pybuild_magic.check(f"# syntax={front.ref}\n", progress="none")
    assert "WARNING: Asked\na question" in str(result)


def test_it_may_be_named_by_a_build_arg(front: Front, home: Home, tmp_path: Path) -> None:
    home.build("write /x hello\n", build_args={"BUILDKIT_SYNTAX": f"{front.ref} word"}, outputs=[str(tmp_path)])
    assert (tmp_path / "x").read_text() == "hello\n"


def test_a_warning_is_one_of_the_build(front: Front, home: Home) -> None:
    result = home.build(f"# syntax={front.ref}\nwrite /x y\nwarn mind the gap\n")
    assert [warning.short for warning in result.warnings] == ["mind the gap"]


def test_a_failing_process_is_told_as_its_own_error(front: Front, home: Home) -> None:
    error = home.fails(f"# syntax={front.ref}\n{BASE}run echo so; exit 3\nevaluate\n")
    assert isinstance(error, RunError)
    assert error.exit_code == 3
    assert error.logs == ("so",)


FAILS = {
    "fail no such thing": "no such thing",
    "exit 3": "failed: exit code: 3",
    "garbage": "frontend grpc server closed unexpectedly: what it sends is not HTTP/2",
    "huge 17000000": "closed unexpectedly: a message has 17000005 bytes, which is more than 16777216",
    "compressed": "closed unexpectedly: a message is compressed, which was not offered",
    "silent": "frontend grpc server closed unexpectedly",
    "layout /etc": "may not read oci-layout:///etc",
    "steal /etc": "may not read oci-layout:///etc",
    "nest /etc": "may not read oci-layout:///etc",
    "gap": "invalid missing input digest sha256:000",
    "numbers": "invalid input index 7",
    "stranger": "no such ref: nobody",
    "call NewContainer": "a container of a front end has no root file system",
    "call ReleaseContainer": "container details for x not found",
    "call ExecProcess": 'IO for process "x" not found',
    "call Nonsense": "there is no /moby.buildkit.v1.frontend.LLBBridge/Nonsense",
    "write /x {}\nattest 0 /x https://slsa.dev/provenance/v1": "may not set provenance attestations",
    "write /x {}\nattest 0 /y t": "/y is not a regular file",
    "write /x {\nattest 0 /x t": "/x is not JSON",
    "write /x {}\nattest 0 - t": "attestation does not have set path",
    "attest 0 /x t lost": "attestation does not have available content",
    "write /x {}\nattest 1 / -": "x has no predicateType",
    "write /x {}\nattest 0 /x t raw=a@b": "has a digest that is none",
    "flood 33": "frontend grpc server closed unexpectedly: more calls at once than are allowed",
    "leave Solve": "no result for incomplete build",
    "leave ExecProcess": "no result for incomplete build",
    "write /x {}\nread /../../../../etc/passwd 0 10": "open /../../../../etc/passwd: no such file or directory",
    "write /x {}\nread /x -1 10": "/x cannot be read from -1 on",
    "write /x {}\npattern *a{0,900}a{0,900}a{0,900}a{0,900}b": "has too many wildcards",
    "write /x {}\npattern [": "syntax error in pattern",
    f"{BASE}run mkfifo /pipe\nread /pipe 0 10": "/pipe is not a regular file",
    f"{BASE}run mknod /full c 1 7\nread /full 0 10": "/full is not a regular file",
    f"{BASE}run ln -s b /a; ln -s a /b\nread /a 0 1": "leads through too many symbolic links",
    f"{BASE}run ln -s ../../../etc/passwd /a; rm /etc/passwd\nread /a 0 1": "open /a: no such file or directory",
    f"{BASE}run dd if=/dev/zero of=/large bs=1M count=17\nread /large 0 17000000": "more than a message holds",
    "chain 50000\nevaluate": "the LLB of the front end has more than 50000 vertices",
    "write /x y\nmany 10001": "a front end has more than 10000 results",
    f"{BASE}host true": "network.host is not allowed",
    f"{BASE}hosts": "network.host is not allowed",
    f"{BASE}unsafe": "security.insecure is not allowed",
}


@pytest.mark.parametrize("name", FAILS)
def test_what_it_must_not_do_is_a_sentence(
    name: str, front: Front, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    error = home.fails(f"# syntax={front.ref}\n{name}\n")
    assert FAILS[name] in error.message
    assert error.location is not None
    assert error.location.start == 1


def test_a_part_of_a_large_file_is_read(front: Front, home: Home, tmp_path: Path) -> None:
    text = f"# syntax={front.ref}\n{BASE}run dd if=/dev/zero of=/large bs=1M count=17\nread /large 17825790 99999999\n"
    home.build(text, outputs=[str(tmp_path)])
    assert (tmp_path / "read").read_bytes() == bytes(2)


def test_nothing_of_one_that_did_what_it_must_not_is_kept(front: Front, home: Home) -> None:
    for name in ("flood 33", "leave Solve", "garbage", "exit 3"):
        home.fails(f"# syntax={front.ref}\n{name}\n")
    home.check()


def test_one_that_stays_after_its_result_is_ended(
    front: Front, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    home.build(f"# syntax={front.ref}\nwrite /x y\nlinger\n", outputs=[str(tmp_path)])
    assert (tmp_path / "x").read_text() == "y\n"


def test_one_that_hangs_ends_with_its_user_s_interrupt(front: Front, home: Home) -> None:
    with home.start(f"# syntax={front.ref}\nhang\n", when="the front end hangs") as other:
        other.wait()
        other.interrupt()
        assert other.answer()["kind"] == "interrupted"
    home.close()
    leave_nothing(front.store)


def context_of(folder: Path) -> str:
    # BuildKit keeps contexts by the names of their directories: see the caches outside.
    context = folder / f"context-{secrets.token_hex(6)}"
    for name, text in FILES.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.endswith("run") else 0o644)
    for path in sorted(context.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return str(context)


def image_of(archive: Path, skip: int = 0) -> dict[str, Any]:
    """The config of the image in an archive, which has the digests of its layers, without the first `skip`."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> dict[str, Any]:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        def blob(descriptor: dict[str, Any]) -> dict[str, Any]:
            return read("blobs/" + descriptor["digest"].replace(":", "/"))

        config = blob(blob(read("index.json")["manifests"][0])["config"])
    config["rootfs"]["diff_ids"] = (config["rootfs"]["diff_ids"] or [])[skip:]
    return config
