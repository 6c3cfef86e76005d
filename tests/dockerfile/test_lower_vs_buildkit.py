"""The front end says what BuildKit's says: the same vertices, the same LLB, the same image config."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pybuild_magic.dockerfile import lower as front_end
from pybuild_magic.dockerfile.lower import LoweredTarget
from pybuild_magic.dockerfile.lower_options import parse_options
from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.errors import BuildError
from pybuild_magic.llb.ops import walk
from pybuild_magic.request.parse import parse_options as parse_flags
from pybuild_magic.request.solve_request import compile_request

from .buildkit_llb import EngineImages, build
from .lower_cases import CASES, FLAGGED, REFUSED
from .provenance import Line, differing, graph

FILES = {"a.txt": "a", "b.txt": "b", "dir/c.txt": "c", "dir/sub/d.txt": "d", "f.sh": "#!/bin/sh\n"}


def dedent(text: str) -> str:
    lines = [line.removeprefix("        ") for line in text.strip("\n").split("\n")]
    return "\n".join(lines) if text.startswith("\n") else text


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with tarfile.open(root / "archive.tar", "w") as tar:
        entry = tarfile.TarInfo("inner")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"inner"))
    return root


@dataclass(frozen=True)
class Served:
    """Remote sources that the engine can reach."""

    http: str
    checksum: str
    git: str
    commit: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    site = tmp_path / "site"
    (site / "files").mkdir(parents=True)
    (site / "files/a b.bin").write_bytes(b"binary")
    (site / "index.html").write_text("root")
    with tarfile.open(site / "files/data.tar", "w"):
        pass
    checksum = "sha256:" + hashlib.sha256((site / "files/data.tar").read_bytes()).hexdigest()
    repository = tmp_path / "git/repo"
    (repository / "sub").mkdir(parents=True)
    (repository / "sub/file").write_text("in git")

    def git(*words: str) -> str:
        named = ("-c", "user.name=T", "-c", "user.email=t@example.com")
        return subprocess.run(
            ["git", *named, *words], cwd=repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "-m", "first")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "daemon", f"--base-path={repository.parent}", "--export-all", "--listen=127.0.0.1", f"--port={port}"],
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    yield Served(
        f"http://127.0.0.1:{server.server_port}", checksum, f"git://127.0.0.1:{port}/repo", git("rev-parse", "HEAD")
    )
    server.shutdown()
    server.server_close()
    os.killpg(daemon.pid, signal.SIGTERM)
    daemon.wait()


def lower(
    images: EngineImages, context: Path, dockerfile: str, flags: str = "", epoch: str = ""
) -> list[LoweredTarget]:
    """Our targets for the flags that the engine is given."""
    request = compile_request(parse_flags(shlex.split(flags), dockerfile=dockerfile, environ={}), "docker")
    attrs = dict(request.frontend_attrs)
    if epoch:
        attrs["build-arg:SOURCE_DATE_EPOCH"] = epoch

    def read_ignore(directory: str, vertex: str) -> list[str]:
        images.names.add(vertex)
        file = context / ".dockerignore"
        return file.read_text().split() if directory == "context" and file.exists() else []

    options = msgspec.structs.replace(parse_options(attrs), read_ignore=read_ignore)
    return front_end.compile(parse(dockerfile), options, images)


@pytest.fixture(scope="module")
def base(engine: Any) -> Iterator[str]:
    """`busybox` with a file that no other image has: builds that run at once share what is the same in them, and
    BuildKit shows it under the name that it has in the first of them.
    """
    name = f"pybuild-lower-{secrets.token_hex(6)}"
    engine.buildx_build(None, "--load", "--tag", name, dockerfile=f"FROM busybox\nCOPY <<EOF /own\n{name}\nEOF\n")
    yield name
    engine.remove(name)


def check(
    engine: Any, base: str, context: Path, dockerfile: str, flags: str = "", env: dict[str, str] | None = None
) -> None:
    """Compile and build one Dockerfile, and compare everything. `busybox` in it stands for `base`."""
    dockerfile, flags = (re.sub(r"\bbusybox\b", base, text) for text in (dockerfile, flags))
    out, epoch = context.parent / "out.tar", (env or {}).get("SOURCE_DATE_EPOCH", "")
    theirs = build(engine, context, out, *shlex.split(flags), dockerfile=dockerfile, env=env or {})
    images = EngineImages(engine)
    (target,) = lower(images, context, dockerfile, flags, epoch)
    assert_same_names([target], images, theirs.names)
    ours = graph(target.edge)
    if "=docker-image://" in flags:
        # BuildKit asks again for a named context's image when it builds; we build the one whose config we read.
        pinned = "@" + images.digests[f"docker.io/library/{base}:latest"]
        ours = [Line(line.text.replace(pinned, ""), line.place) for line in ours]
    assert differing(theirs.graph, ours) == []
    mine = _timeless(msgspec.json.decode(target.config.encode()), keep=bool(epoch))
    config = _timeless(theirs.config, keep=bool(epoch))
    assert mine.pop("history", []) == config.pop("history", [])
    assert mine == config


def assert_same_names(targets: list[LoweredTarget], images: EngineImages, theirs: set[str]) -> None:
    """Ours are theirs, but for the exporter's and the one that comes before all lowering."""
    ours = {node.name for target in targets for node in walk(target.edge)}
    ours |= images.names | {"[internal] load .dockerignore"}
    shown = {name for name in theirs if not name.startswith(("exporting", "[internal] load build definition"))}
    assert ours ^ shown == set()


def _timeless(config: dict[str, Any], *, keep: bool) -> dict[str, Any]:
    """The config without what the exporter adds: layers, and times unless an epoch fixes them."""
    config = {key: value for key, value in config.items() if key not in ("rootfs", "created")}
    for entry in config.get("history") or []:
        if not keep:
            entry.pop("created", None)
    return {key: value for key, value in config.items() if value is not None}


@pytest.mark.parametrize("name", CASES)
def test_a_dockerfile_becomes_what_buildkit_makes_of_it(engine, base, context, name):
    check(engine, base, context, dedent(CASES[name]))


@pytest.mark.parametrize("name", FLAGGED)
def test_flags_change_what_buildkit_lets_them_change(engine, base, context, name):
    dockerfile, flags, env = FLAGGED[name]
    check(engine, base, context, dockerfile, flags.format(context=context), env)


def test_the_context_is_asked_for_what_is_read_and_not_ignored(engine, base, context):
    (context / ".dockerignore").write_text("b.txt\n!dir/c.txt\n")
    check(engine, base, context, "FROM scratch\nCOPY a.txt dir/../b* /x/\nCOPY dir/c.txt /y\n")


def test_downloads_and_repositories(engine, base, context, served):
    check(
        engine,
        base,
        context,
        f"FROM busybox\nADD {served.http}/files/a%20b.bin?x=1 {served.http}/ /d/\n"
        f"ADD --checksum={served.checksum} --chmod=600 --unpack {served.http}/files/data.tar /e/\n"
        f"ADD {served.git}#main:sub /repo\n"
        f"ADD --keep-git-dir=true --checksum={served.commit} {served.git}?branch=main /repo2/\n",
    )


def test_triggers_of_an_image_come_first_and_may_need_more_images(engine, base, context):
    image = f"pybuild-onbuild-{os.getpid()}"
    triggers = f"FROM {base}\nONBUILD ARG V=1\nONBUILD COPY --from={base} /bin/true /t\nONBUILD RUN echo $V\n"
    engine.buildx_build(None, "--load", "--tag", image, dockerfile=triggers)
    try:
        check(engine, base, context, f"FROM {image}\nUSER 5\nRUN true own\n")
    finally:
        engine.remove(image)


def test_several_platforms_are_lowered_each_and_named_in_the_vertices(engine, base, context):
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {base} AS tools\nARG TARGETARCH\nRUN true $TARGETARCH\n"
        "FROM scratch\nARG TARGETPLATFORM\nCOPY --from=tools /bin/true a$TARGETPLATFORM\nCOPY a.txt .\n"
    )
    flags = "--platform linux/amd64,linux/arm64"
    status = engine.build_status(context, "--no-cache", *shlex.split(flags), dockerfile=dockerfile)
    theirs = {vertex["name"] for message in status for vertex in message.get("vertexes", ())}
    images = EngineImages(engine)
    targets = lower(images, context, dockerfile, flags)
    assert_same_names(targets, images, theirs)
    assert [(str(target.platform), target.config.architecture) for target in targets] == [
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
    ]


@pytest.mark.parametrize(("dockerfile", "flags"), REFUSED)
def test_what_buildkit_refuses_is_refused_in_its_words_and_at_its_line(engine, context, dockerfile, flags):
    theirs = engine.buildx_build(context, *shlex.split(flags), dockerfile=dockerfile, check=False).stderr
    # Which of the two wraps it depends on whether the solve or the session hears of it first.
    message = re.split("failed to (?:solve|run Build function): ", theirs)[-1].strip()
    with pytest.raises(BuildError) as caught:
        lower(EngineImages(engine), context, dockerfile, flags)
    assert caught.value.message == message
    lines = [int(line) for line in re.findall(r"^Dockerfile:(\d+)$", theirs, re.MULTILINE)]
    if lines:
        assert caught.value.location
        assert caught.value.location.start in lines
