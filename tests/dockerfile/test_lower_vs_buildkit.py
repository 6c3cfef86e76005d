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
from pybuild_magic.dockerfile.lower import Target
from pybuild_magic.dockerfile.lower_options import parse_options
from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.errors import BuildError
from pybuild_magic.llb.ops import walk
from pybuild_magic.options import parse_options as parse_flags
from pybuild_magic.request import compile_request

from .buildkit_llb import EngineImages, build
from .provenance import Line, differing, graph

FILES = {"a.txt": "a", "b.txt": "b", "dir/c.txt": "c", "dir/sub/d.txt": "d", "f.sh": "#!/bin/sh\n"}

CASES: dict[str, str] = {
    "config": r"""
        FROM busybox
        LABEL org.example.a=b "c d"="e f" multi="line \
          two"
        MAINTAINER Some One <a@b.c>
        ENV A=1 B="two words" PATH=/opt:$PATH
        ENV legacy some value
        EXPOSE 80 443/tcp 8000-8003/UDP $A
        VOLUME /data /more
        VOLUME ["/x", "/with space"]
        STOPSIGNAL SIGTERM
        HEALTHCHECK --interval=1m30s --timeout=1500ms --start-period=2h --retries=3 CMD wget -q localhost
        USER 1000:1000
        CMD echo $A
        SHELL ["/bin/sh", "-ec"]
        ENTRYPOINT exec top -b
        CMD ["--help", "a\"b", "tab\there"]
        ONBUILD RUN echo later
        ONBUILD COPY a.txt /
        """,
    "entrypoint_resets_cmd": """
        FROM busybox AS base
        CMD ["inherited"]
        HEALTHCHECK CMD true
        LABEL x=1
        FROM base
        ENTRYPOINT ["sh"]
        HEALTHCHECK NONE
        LABEL y=2
        """,
    "args": """
        ARG GLOBAL=g
        ARG DERIVED=${GLOBAL}-d
        ARG UNDEFAULTED
        ARG IMAGE=busybox
        FROM ${IMAGE} AS base
        ARG GLOBAL
        ARG DERIVED
        ARG LOCAL=${GLOBAL:-none}x OTHER
        ARG GIVEN=default
        ENV FROM_ARG=$GIVEN
        RUN true $GLOBAL
        ARG TARGETPLATFORM
        ARG TARGETARCH
        RUN true "$TARGETARCH"
        FROM base
        RUN true ${LOCAL} $MISSING
        ARG LOCAL=again
        ENV GIVEN=env
        RUN true 'quoted $LOCAL'
        """,
    "workdirs": """
        FROM busybox
        WORKDIR /a//b/
        WORKDIR c/../d
        USER 1000:100
        WORKDIR /owned
        WORKDIR /
        RUN pwd
        USER root:nobody
        WORKDIR named
        ENV D=/from/env
        WORKDIR $D
        COPY a.txt .
        """,
    "copies": """
        FROM busybox AS src
        RUN mkdir /out && touch /out/x
        FROM busybox
        WORKDIR /w
        COPY a.txt b.txt ./
        COPY dir sub/dir/
        COPY --chown=daemon:staff --chmod=0644 *.txt /owned/
        COPY --chown=1000 --chmod=u+x,go-w f.sh /bin/f
        COPY --chown=:10 a.txt /g
        COPY --exclude=*.sh --exclude=b* . /excluded/
        COPY --from=src /out/. /copied/.
        COPY --from=0 /out /copied2
        COPY --from=busybox:latest /bin/sh /image/
        COPY ["a.txt", "/with space/"]
        COPY --link dir/c.txt /linked/
        COPY --link --chmod=600 --chown=1:1 a.txt /linked2
        COPY . "."
        """,
    "adds": """
        FROM scratch
        ADD archive.tar /a/
        ADD --unpack=false archive.tar /b/
        ADD --unpack archive.tar a.txt /c/
        ADD --chown=1:2 --link a.txt /d
        WORKDIR /e
        """,
    "heredocs": """
        FROM busybox
        ARG NAME=you
        COPY <<EOF <<-"RAW" /etc/
        hello $NAME "quoted" 'single' \\$escaped
        EOF
        \traw $NAME
        RAW
        COPY --chown=1:1 --chmod=700 <<script.sh a.txt /bin/
        #!/bin/sh
        script.sh
        RUN <<EOF
        echo one
        echo $NAME
        EOF
        RUN <<EOF
        #!/bin/sh
        echo shebang
        EOF
        RUN cat <<A - <<-B
        in a
        A
        \tin b
        B
        RUN <<EOF sh
        echo sh
        EOF
        """,
    "mounts": """
        FROM busybox AS tools
        RUN touch /tool
        FROM busybox
        WORKDIR /src
        RUN --mount=type=bind,source=dir,target=/ctx cat /ctx/c.txt
        RUN --mount=from=tools,source=/tool,target=tool,rw true
        RUN --mount=type=cache,target=/root/.cache --mount=type=cache,id=x,sharing=locked,target=y,uid=5,mode=0700 true
        RUN --mount=type=cache,target=/c,from=tools,source=/bin,ro,sharing=private true
        RUN --mount=type=tmpfs,target=/t,size=10m --mount=target=. true
        RUN --mount=type=secret,id=s,target=/s,mode=0440,uid=1 --mount=type=secret,id=t,env=T true $T
        RUN --mount=type=secret,id=u --mount=type=secret,target=/etc/v --mount=type=ssh true
        RUN --mount=type=ssh,id=k,target=/agent,gid=3 --network=none ["true"]
        """,
    "onbuild_of_a_stage": """
        FROM busybox AS base
        ONBUILD ARG V=1
        ONBUILD WORKDIR /onbuild
        ONBUILD COPY a.txt b.txt ./
        ONBUILD RUN echo $V
        FROM base AS next
        RUN echo own
        FROM next
        RUN true
        """,
    "unused_stages": """
        FROM busybox AS unused
        RUN false
        FROM busybox AS left
        RUN touch /left
        FROM busybox AS right
        RUN touch /right
        FROM scratch
        COPY --from=left /left /
        COPY --from=right /right /
        """,
    "scratch_only": "FROM scratch\nCOPY a.txt /\n",
    "nothing": "FROM scratch\nLABEL a=b\n",
    "base_alone": "FROM busybox\n",
    "escape": "# escape=`\nFROM busybox\nWORKDIR C`:x\nRUN echo `\n  two\n",
    "many_steps": "FROM busybox\n" + "".join(f"RUN true {i}\n" for i in range(10)),
    "comments_and_continuations": """
        from busybox as Build
        # a comment
        run echo one && \\
          # inside
          echo two \\

          && echo three
        copy \\
          a.txt \\
          /
        """,
    "platforms": """
        FROM --platform=$BUILDPLATFORM busybox AS build
        ARG TARGETOS TARGETARCH
        RUN true $TARGETOS/$TARGETARCH
        FROM --platform=linux/amd64 busybox
        COPY --from=build /bin/true /
        """,
    "scratch_run_mount": "FROM busybox AS b\nFROM scratch\nCOPY --from=b / /\nRUN --mount=type=cache,target=/c true\n",
}  # fmt: skip


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


def lower(images: EngineImages, context: Path, dockerfile: str, flags: str = "", epoch: str = "") -> list[Target]:
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


def assert_same_names(targets: list[Target], images: EngineImages, theirs: set[str]) -> None:
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


FLAGGED: dict[str, tuple[str, str, dict[str, str]]] = {
    "epoch": (
        "FROM busybox\nARG SOURCE_DATE_EPOCH\nWORKDIR /x\nCOPY a.txt .\nRUN true\nLABEL a=b\n",
        "",
        {"SOURCE_DATE_EPOCH": "1700000000"},
    ),
    "build_args_and_labels": (
        "ARG BASE\nFROM ${BASE:-scratch} AS out\nARG A=1\nARG B\nARG C\nLABEL l=file k=$A\nRUN true $A$B\n",
        "--build-arg BASE=busybox --build-arg A=2 --build-arg B=3 --build-arg UNUSED=4 --label l=flag --label m=n",
        {},
    ),
    "proxies": (
        "FROM busybox\nRUN true\nARG HTTPS_PROXY\nRUN true $HTTPS_PROXY\n",
        "--build-arg http_proxy=http://p:1 --build-arg HTTPS_PROXY=http://p:2 --build-arg no_proxy=a,b",
        {},
    ),
    "process_settings": (
        "FROM busybox\nRUN true\nRUN --mount=type=cache,target=/c true\n",
        "--add-host Some.Host:1.2.3.4 --add-host six:::1 --ulimit nofile=1000:2000 --shm-size 8m --network none"
        " --build-arg BUILDKIT_SANDBOX_HOSTNAME=box --build-arg BUILDKIT_CACHE_MOUNT_NS=ns",
        {},
    ),
    "target": (
        "FROM busybox AS one\nRUN true 1\nFROM one AS Two\nARG TARGETSTAGE\nRUN true $TARGETSTAGE\nFROM two\n",
        "--target two",
        {},
    ),
    "one_platform": ("FROM busybox\nARG TARGETPLATFORM\nRUN true $TARGETPLATFORM\n", "--platform linux/amd64", {}),
    "named_directory": (
        "FROM busybox\nCOPY --from=more /c.txt /x/\nRUN --mount=from=more,target=/m true\nCOPY --from=more sub /y/\n",
        "--build-context more={context}/dir",
        {},
    ),
    "named_stage": (
        "FROM busybox AS replaced\nRUN false\nFROM busybox\nCOPY --from=replaced c.txt /x/\n",
        "--build-context replaced={context}/dir",
        {},
    ),
    "resolved_names": (
        "FROM busybox:1.0\nRUN true\n",
        "--build-context busybox:1.0=docker-image://busybox:latest",
        {},
    ),
}


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


REFUSED = [
    ("FROM busybox AS base\n", "--target bse"),
    ("FROM busybox AS base\n", "--target 0"),
    ("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nRUN true\nCOPY --from=a / /\n", ""),
    ("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\n", "--target a"),
    ("FROM busybox\nCOPY --from=3 / /\n", ""),
    ("FROM busybox\nCOPY --from=0 / /\n", ""),
    ("FROM busybox\nCOPY --from=$X / /\n", ""),
    ("FROM busybox\nFROM ${NOPE}\n", ""),
    ("FROM --platform=${TARGETPLATFROM} busybox\n", ""),
    ("FROM UPPER\n", ""),
    ("FROM busybox\nSTOPSIGNAL SIGFOO\n", ""),
    ("FROM busybox\nEXPOSE 80/foo\n", ""),
    ("FROM busybox\nEXPOSE 99999\n", ""),
    ("FROM busybox\nEXPOSE 1:2:3:4\n", ""),
    ("FROM busybox\nEXPOSE 8000-8001:1-9\n", ""),
    ("FROM busybox\nCOPY --chmod=9999 a.txt /\n", ""),
    ("FROM busybox\nCOPY https://example.com/x /\n", ""),
    ("FROM busybox\nCOPY git@example.com:x.git /\n", ""),
    ("FROM busybox\nADD --checksum=sha256:1 a.txt /\n", ""),
    ("FROM busybox\nADD https://example.com/x.git?nope=1 /\n", ""),
    ("FROM busybox\nRUN --mount=target=/ true\n", ""),
    ("FROM busybox\nRUN --mount=type=ssh,source=x true\n", ""),
    ("FROM busybox\nRUN --mount=type=cahe,target=/x true\n", ""),
    ("FROM busybox AS a\nRUN --mount=from=b,target=/b true\nFROM busybox AS b\n", "--target a"),
    ("FROM busybox\nENV A=${B:?no}\n", ""),
    ('FROM busybox\nARG A="b\n', ""),
    ("FROM busybox\nADD --keep-git-dir=true https://a.b/c.git?keep-git-dir=false /\n", ""),
]


@pytest.mark.parametrize(("dockerfile", "flags"), REFUSED)
def test_what_buildkit_refuses_is_refused_in_its_words_and_at_its_line(engine, context, dockerfile, flags):
    theirs = engine.buildx_build(context, *shlex.split(flags), dockerfile=dockerfile, check=False).stderr
    message = theirs.rpartition("failed to solve: ")[2].strip()
    with pytest.raises(BuildError) as caught:
        lower(EngineImages(engine), context, dockerfile, flags)
    assert caught.value.message == message
    lines = [int(line) for line in re.findall(r"^Dockerfile:(\d+)$", theirs, re.MULTILINE)]
    if lines:
        assert caught.value.location
        assert caught.value.location.start in lines
