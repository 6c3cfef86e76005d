"""Bake builds: in parallel, with shared steps, from remote definitions, and with the flags of buildx."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.api.bake import Source, plan
from pybuild_magic.api.bakefiles import Origin
from pybuild_magic.api.baking import bake
from pybuild_magic.builders import embedded_builder
from pybuild_magic.cli import main
from pybuild_magic.errors import BuildError, ContextError, UsageError
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.bake_command import BakeAnswers, bake_line
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.trace import Trace
from tests.integration.lab import close_builder
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine


class Seen:
    """A display that keeps everything that it is shown."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.error: BuildError | None = None

    def update(self, status: SolveStatus) -> None:
        """Do nothing, since `tick` gets the whole trace."""

    def tick(self, trace: Trace) -> None:
        self.trace = trace

    def finish(self, trace: Trace, error: BuildError | None, result: Any = None) -> None:
        self.trace, self.error = trace, error

    def steps(self, word: str) -> list[str]:
        return [step.name for step in self.trace.visible() if word in step.name]


@pytest.fixture
def place(tmp_path: Path, busybox_layout: BaseImage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    close_builder()
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    yield work
    close_builder()


LINKED = """
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = <<EOT
FROM base
ARG WHO
RUN echo "$GREETING $WHO" > /said
EOT
  args = { WHO = "world" }
  output = ["out"]
}
target "base" {
  dockerfile-inline = <<EOT
FROM busybox
ENV GREETING=hello
EOT
}
"""


def test_targets_are_built_after_those_that_they_need(place: Path) -> None:
    results = bake(plan(["app"], Source(text=LINKED), overrides=["app.args.WHO=you"]))
    assert list(results) == ["base", "app"]
    assert (place / "out/said").read_text() == "hello you\n"
    shown = repr(bake_line(["--list=targets"], LINKED))
    assert "app" in shown and "base" in shown
    with pytest.raises(BuildError) as caught:
        bake(plan(["base"], Source(text=LINKED.replace("ENV", "RUN false\nENV"))))
    assert caught.value.__notes__ == ["while the target base was built"]


SHARED = """
group "default" { targets = ["a", "b"] }
target "_common" {
  dockerfile-inline = <<EOT
FROM busybox AS shared
RUN date +%N > /stamp
FROM shared AS a
RUN --mount=type=cache,target=/gate,id=GATE touch /gate/a; while ! [ -e /gate/b ]; do sleep 0.1; done
FROM shared AS b
RUN --mount=type=cache,target=/gate,id=GATE touch /gate/b; while ! [ -e /gate/a ]; do sleep 0.1; done
EOT
}
target "a" {
  inherits = ["_common"]
  target = "a"
  output = ["out/a"]
}
target "b" {
  inherits = ["_common"]
  target = "b"
  output = ["out/b"]
}
"""


def test_targets_are_built_at_the_same_time_and_what_they_share_is_built_once(place: Path) -> None:
    """Each of the two targets waits for the other, so the test would never end if one were built after the other."""
    seen = Seen()
    results = bake(plan([], Source(text=SHARED)), progress=seen)
    assert set(results) == {"a", "b"}
    assert (place / "out/a/stamp").read_text() == (place / "out/b/stamp").read_text()
    assert len(seen.steps("date +%N > /stamp")) == 1
    assert [step.state for step in seen.trace.visible() if "RUN date" in step.name] == ["done"]
    assert len(seen.steps("load build definition")) == 2
    assert all(step.name.startswith(("[a", "[b")) for step in seen.trace.visible())
    assert sorted(name[:2] for name in seen.steps("exporting")) == ["[a", "[b"]


FAILING = """
group "default" { targets = ["bad", "long"] }
target "bad" { dockerfile-inline = "FROM busybox\\nRUN exit 3" }
target "long" { dockerfile-inline = "FROM busybox\\nRUN sleep 600" }
"""


def test_a_target_that_fails_ends_the_others_and_is_the_one_that_is_told_of(place: Path) -> None:
    seen = Seen()
    with pytest.raises(BuildError, match="exit code: 3") as caught:
        bake(plan([], Source(text=FAILING)), progress=seen)
    assert caught.value.__notes__ == ["while the target bad was built"]
    assert seen.error is caught.value


CALLED = """
group "default" { targets = ["app", "tool"] }
target "app" {
  description = "the app"
  dockerfile-inline = "FROM scratch\\nMAINTAINER me\\nARG WHO=you\\nCOPY x /"
}
target "tool" { dockerfile-inline = "FROM scratch AS tool\\nCOPY x /" }
"""


def test_targets_are_asked_as_buildx_asks_them(place: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "docker-bake.hcl").write_text(CALLED)
    for call in ("check", "outline", "targets"):
        answers = bake_line([f"--call={call}"])
        assert isinstance(answers, BakeAnswers) and list(answers) == ["app", "tool"]
        assert answers.good == (call != "check")
        theirs = engine.docker("buildx", "bake", f"--call={call}", cwd=place, check=False)
        assert words(repr(answers)) == words(theirs.stdout)
        ours = json.loads(repr(bake_line([f"--call={call},format=json"])))
        document = json.loads(
            engine.docker("buildx", "bake", f"--call={call},format=json", cwd=place, check=False).stdout
        )
        assert ours["group"] == document["group"]
        assert {name: (target["build"], set(target)) for name, target in ours["target"].items()} == {
            name: (target["build"], set(target)) for name, target in document["target"].items()
        }
    assert main(["bake", "--check"]) == 1
    assert main(["bake", "--check", "tool"]) == 0
    for call in ("check", "check,format=json", "check,ignorestatus=true", "outline"):
        line = ["bake", f"--call={call}"]
        assert main(line) == engine.docker("buildx", *line, cwd=place, check=False).returncode
    assert "MaintainerDeprecated" in capsys.readouterr().out
    html = bake_line(["--check"])._repr_mimebundle_()["text/html"]
    assert "the app" in html and "MaintainerDeprecated" in html


@pytest.mark.parametrize("builder", ["embedded", "docker://"])
def test_a_target_that_uses_another_one_is_asked_as_buildx_asks_it(
    place: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, builder: str
) -> None:
    """Nothing is built that could be handed over, and nothing is exported."""
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    (place / "docker-bake.hcl").write_text(LINKED.replace("ARG WHO", "MAINTAINER me"))
    answers = bake_line(["--check", "app", f"--builder={builder}", "--progress=none"])
    theirs = engine.docker("buildx", "bake", "--check", "app", cwd=place, check=False)
    assert words(repr(answers)) == words(theirs.stdout.replace("\nerror:", "\nERROR:"))
    assert "unsupported context source target for base" in theirs.stdout
    assert answers.exit_code == theirs.returncode == 1
    assert not list(place.glob("out/*/*"))


def words(text: str) -> list[str]:
    return text.replace("inline:", "Dockerfile:").split()


def test_metadata_has_a_part_for_each_target(place: Path) -> None:
    text = LINKED.replace('output = ["out"]', 'output = ["type=image,name=app"]')
    results = bake_line(["--metadata-file=meta.json", "app"], text)
    metadata = json.loads((place / "meta.json").read_text())
    assert sorted(metadata) == ["app", "base"]
    assert metadata["app"]["containerimage.digest"] == results["app"].image.digest


FORM = "rewrite-timestamp=true,compression=uncompressed"
WHOLE = """
group "default" { targets = ["app", "tool"] }
target "_common" {
  contexts = { busybox = "oci-layout://BUSYBOX" }
  args = { SOURCE_DATE_EPOCH = "1000000000" }
  attest = ["type=provenance,disabled=true"]
}
target "base" {
  inherits = ["_common"]
  dockerfile-inline = "FROM busybox\\nENV GREETING=hello\\nWORKDIR /w\\nRUN echo $GREETING >/made"
}
target "app" {
  inherits = ["_common"]
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nARG WHO\\nCOPY f /\\nRUN echo $GREETING $WHO >said"
  args = { WHO = "world" }
  annotations = ["manifest:who=me"]
  output = ["type=oci,dest=OUT/app.tar,FORM", "type=local,dest=OUT/app", "type=tar,dest=OUT/files.tar"]
}
target "tool" {
  name = "tool-${v}-${replace(w, ".", "-")}"
  matrix = { v = ["a", "b"], w = ["1.0", "2.0"] }
  inherits = ["_common"]
  contexts = { app = "target:app" }
  dockerfile-inline = "FROM busybox\\nCOPY --from=app /w/said /said-${v}\\nRUN echo ${w} >/v"
  output = ["type=oci,dest=OUT/${v}-${w}.tar,FORM"]
}
"""


def test_images_are_those_of_buildx(
    place: Path, busybox_layout: BaseImage, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups, a matrix, targets as contexts and several outputs, on both builders."""
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    (place / "f").write_text(uuid.uuid4().hex)  # or the engine has another file with this content, and its time
    seen: dict[str, Any] = {}
    for builder in ("buildx", "embedded", "docker://"):
        out = Path("out-" + builder.rstrip(":/"))
        text = WHOLE.replace("BUSYBOX", str(busybox_layout.path)).replace("OUT", str(out)).replace("FORM", FORM)
        (place / "docker-bake.hcl").write_text(text)
        out.mkdir()
        line = [f"--allow=fs.read={busybox_layout.path}", "--metadata-file=metadata.json"]
        if builder == "buildx":
            engine.docker("buildx", "bake", *line, cwd=place)
        else:
            bake_line([*line, f"--builder={builder}", "--progress=none"])
        metadata = json.loads((place / "metadata.json").read_bytes())
        images = {name: image(out / name) for name in ("app.tar", "a-1.0.tar", "a-2.0.tar", "b-1.0.tar", "b-2.0.tar")}
        assert metadata["app"]["containerimage.digest"] == images["app.tar"].pop("digest")
        with tarfile.open(out / "files.tar") as archive:
            files = [(member.name, member.mode, member.uid, member.size, member.mtime) for member in archive]
        local = sorted(path.relative_to(out).as_posix() for path in (out / "app").rglob("*"))
        told = {name: {*part} for name, part in metadata.items()}
        seen[builder] = images, sorted(files), local, told
    assert seen["embedded"] == seen["buildx"]
    assert seen["docker://"] == seen["buildx"]


def image(path: Path) -> dict[str, Any]:
    """Return what a manifest says of an image, without BuildKit's notes on layers, which no hand-over keeps."""
    with tarfile.open(path) as archive:

        def read(name: str) -> Any:
            return json.load(archive.extractfile(name) or pytest.fail())

        digest = read("index.json")["manifests"][0]["digest"]
        manifest = read(f"blobs/{digest.replace(':', '/')}")
    for layer in manifest["layers"]:
        layer.pop("annotations", None)
    return {**manifest, **({"digest": digest} if path.name == "app.tar" else {})}


def test_a_target_that_another_one_uses_keeps_its_own_outputs(place: Path) -> None:
    text = LINKED.replace('target "base" {', 'target "base" {\n  tags = ["linked:1"]')
    results = bake_line(["--metadata-file=meta.json", "app", "base"], text)
    assert results["base"].image.names == ("docker.io/library/linked:1",)
    bake_line(["--progress=none"], 'target "default" { dockerfile-inline = "FROM linked:1" }')
    bake_line(["--metadata-file=meta.json", "app"], text)
    assert not any(key.startswith("containerimage") for key in json.loads((place / "meta.json").read_text())["base"])


OUTSIDE: dict[str, tuple[str, str]] = {
    "fs.read": ('contexts = { x = "../other" }', "--allow=fs.read={up}/other"),
    "a secret": ('secret = ["id=a,src=/etc/hostname"]', "--allow=fs.read=/etc/hostname"),
    "a Dockerfile": ('dockerfile = "../../Dockerfile"', ""),
    "fs.write": ('output = ["../out"]', "--allow=fs.write={up}/out"),
    "a cache": ('cache-to = ["type=local,dest=/nowhere/c"]', "--allow=fs.write=/nowhere/c"),
    "network.host": ('network = "host"', "--allow=network.host"),
    "security.insecure": ('entitlements = ["security.insecure"]', "--allow=security.insecure"),
    "ssh": ('ssh = ["default"]', "--allow=ssh"),
    "mode=delete": ('output = ["type=local,dest=out,mode=delete"]', "--allow=buildx.local.delete"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_a_file_does_not_grant_itself_what_is_outside(case: str, place: Path) -> None:
    field, flag = OUTSIDE[case]
    flag = flag.format(up=os.path.realpath(place.parent))
    inline = "" if case == "a Dockerfile" else 'dockerfile-inline = "FROM scratch\\nCOPY docker-bake.hcl /"\n'
    (place / "docker-bake.hcl").write_text(f'target "default" {{\n {inline} {field}\n}}\n')
    with pytest.raises(UsageError, match="needs privileges that were not granted") as caught:
        bake_line([])
    assert flag in caught.value.hint
    if case in ("fs.write", "mode=delete", "network.host"):
        bake_line([flag])
        bake_line(["--allow=fs=/", flag])


GRANTS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "anything is read": ('context = ".."', ["--allow=fs.read=*"], {}),
    "anything is read and written": ('context = ".."\noutput = ["../out"]', ["--allow=fs=*"], {}),
    "what is written is not read": ('context = ".."', ["--allow=fs.write=*"], {}),
    "what is read is not written": ('output = ["type=local,dest=../out"]', ["--allow=fs.read=.."], {}),
    "a directory beside it": ('context = ".."', ["--allow=fs.read=../sub"], {}),
    "paths are not checked": ('context = ".."', [], {"BUILDX_BAKE_ENTITLEMENTS_FS": "false"}),
    "a privilege of the environment": ('entitlements = ["network.host"]', [], {"BAKE_ALLOW_NETWORK_HOST": "1"}),
    "a privilege whatever the paths": ('entitlements = ["network.host"]', [], {"BUILDX_BAKE_ENTITLEMENTS_FS": "0"}),
    "a flag that is not known": ("", ["--allow=nonsense"], {}),
    "a privilege that is not known": ('entitlements = ["nonsense"]', [], {}),
    "a file is written here": ('output = ["type=local,dest=out"]', [], {}),
    "asked": ('context = ".."', ["--call=outline"], {}),
    "printed": ('context = ".."', ["--print"], {}),
}


@pytest.mark.parametrize("case", GRANTS)
def test_what_is_granted_is_what_buildx_grants(
    case: str, place: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, flags, environ = GRANTS[case]
    inline = 'dockerfile-inline = "FROM scratch\\nENV A=b"\n'
    (place / "docker-bake.hcl").write_text(f'target "default" {{\n{inline}{field}\n}}\n')
    theirs = engine.docker("buildx", "bake", *flags, cwd=place, env=environ, check=False).returncode
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["bake", *flags]) == theirs


TIMES = r"""
group "default" { targets = ["a", "b", "c"] }
target "shared" { dockerfile-inline = "FROM scratch\nCOPY docker-bake.hcl /" }
target "_user" {
  contexts = { shared = "target:shared" }
  dockerfile-inline = "FROM shared\nCOPY docker-bake.hcl /again"
}
target "a" {
  inherits = ["_user"]
  args = { SOURCE_DATE_EPOCH = "1000000000" }
  output = ["type=oci,dest=OUT/a.tar,FORM"]
}
target "b" {
  inherits = ["_user"]
  args = { SOURCE_DATE_EPOCH = "1100000000" }
  output = ["type=oci,dest=OUT/b.tar,FORM"]
}
target "c" {
  inherits = ["_user"]
  output = ["type=local,dest=OUT/c"]
}
"""


def test_each_user_of_a_target_has_the_layers_cut_to_its_own_time(place: Path, engine: Engine) -> None:
    seen: dict[str, Any] = {}
    for who in ("buildx", "ours"):
        text = TIMES.replace("OUT", who).replace("FORM", FORM)
        (place / who).mkdir()
        (place / "docker-bake.hcl").write_text(TIMES)  # the same for both
        (place / "bake.hcl").write_text(text)
        os.utime(place / "docker-bake.hcl", (1_500_000_000, 1_500_000_000))
        line = ["-f", "bake.hcl", "--provenance=false"]
        if who == "buildx":
            engine.docker("buildx", "bake", *line, cwd=place)
        else:
            bake_line([*line, "--progress=none"])
        seen[who] = [image(place / who / name) for name in ("a.tar", "b.tar")]
        assert (place / who / "c/again").stat().st_mtime == 1_500_000_000
    assert seen["ours"] == seen["buildx"]
    first, second = seen["ours"]
    assert [layer["digest"] for layer in first["layers"]] != [layer["digest"] for layer in second["layers"]]


def test_what_set_names_is_granted(place: Path) -> None:
    (place / "docker-bake.hcl").write_text('target "default" { dockerfile-inline = "FROM scratch\\nCOPY . /" }\n')
    bake_line(["--set", "default.output=type=local,dest=../out"])
    assert (place.parent / "out/docker-bake.hcl").exists()


# Definitions from elsewhere

REMOTE = """
variable "CONTEXT" { default = BAKE_CMD_CONTEXT }
group "default" { targets = ["app", "part"] }
target "app" { output = ["out/app"] }
target "part" {
  context = "sub"
  output = ["out/part"]
  contexts = { more = "more" }
}
target "local" {
  context = "cwd://mine"
  dockerfile = "cwd://mine/Dockerfile"
  output = ["out/local"]
}
target "given" {
  context = BAKE_CMD_CONTEXT
  dockerfile-inline = "FROM scratch\\nCOPY . /"
  output = ["out/given"]
}
"""
FILES = {
    "docker-bake.hcl": REMOTE,
    "other.hcl": REMOTE.replace('"out/app"', '"out/other"'),
    "Dockerfile": "FROM scratch\nCOPY Dockerfile app.txt /\n",
    "app.txt": "the app",
    "sub/Dockerfile": "FROM scratch\nCOPY part.txt /\nCOPY --from=more more.txt /\n",
    "sub/part.txt": "a part",
    "more/more.txt": "more",
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder over HTTP; returns its URL and its path."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        pass


@pytest.fixture
def repository(tmp_path: Path, served: tuple[str, Path]) -> str:
    """Serve a Git repository with FILES over HTTP; returns its URL."""
    work = tmp_path / "repository"
    for name, text in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    git: Callable[..., Any] = functools.partial(subprocess.run, check=True, capture_output=True)
    person = ["-c", "user.name=a", "-c", "user.email=a@b"]
    git(["git", "init", "-qb", "main", work])
    git(["git", "add", "-A"], cwd=work)
    git(["git", *person, "commit", "-qm", "m"], cwd=work)
    bare = served[1] / "repository.git"
    git(["git", "clone", "-q", "--bare", work, bare])
    git(["git", "update-server-info"], cwd=bare)
    return f"{served[0]}/repository.git"


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_repository_is_the_definition_and_the_context(place: Path, repository: str, engine: Engine) -> None:
    bake_line([repository])
    expected = {"app/Dockerfile": FILES["Dockerfile"], "app/app.txt": "the app"}
    expected |= {"part/part.txt": "a part", "part/more.txt": "more"}
    assert tree(place / "out") == expected
    bake_line([f"{repository}#main", "-f", "other.hcl", "app"])
    assert (place / "out/other/app.txt").exists()
    printed = json.loads(repr(bake_line([repository, "--print"])))
    theirs = json.loads(engine.docker("buildx", "bake", repository, "--print", cwd=place).stdout)
    # buildx 0.29 prints `sub`; later versions print this.
    assert printed["target"]["part"].pop("context") == f"{repository}#:sub"
    theirs["target"]["part"].pop("context")
    assert printed == theirs


def test_a_remote_definition_uses_what_is_here_where_it_says_so(place: Path, repository: str) -> None:
    (place / "mine").mkdir()
    (place / "mine/Dockerfile").write_text("FROM scratch\nCOPY here.txt /\n")
    (place / "mine/here.txt").write_text("here")
    (place / "own.hcl").write_text('target "app" { output = ["out/own"] }\n')
    bake_line([repository, "local"])
    assert tree(place / "out") == {"local/here.txt": "here"}
    bake_line([repository, f"{repository}#main:sub", "given"])
    assert sorted(tree(place / "out/given")) == ["Dockerfile", "part.txt"]
    bake_line([repository, "-f", "docker-bake.hcl", "-f", "cwd://own.hcl", "app"])
    assert (place / "out/own/app.txt").exists()
    with pytest.raises(UsageError, match=r"combines a Dockerfile from .* with a context on this machine"):
        bake_line([repository, "local", "--set", "local.dockerfile=Dockerfile"])


def test_an_archive_and_a_file_are_definitions_too(place: Path, served: tuple[str, Path]) -> None:
    url, folder = served
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    (folder / "all.tar.gz").write_bytes(buffer.getvalue())
    bake_line([f"{url}/all.tar.gz", "app"])
    assert sorted(tree(place / "out")) == ["app/Dockerfile", "app/app.txt"]
    with pytest.raises(UsageError, match="An archive is a context only as a whole: sub in it"):
        bake_line([f"{url}/all.tar.gz", "part"])
    (folder / "one.hcl").write_text('target "default" { output = ["out/one"] }\n')
    (place / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    bake_line([f"{url}/one.hcl"])
    assert (place / "out/one/Dockerfile").exists()
    (folder / "large.hcl").write_text("#" * (3 << 20))
    with pytest.raises(ContextError, match="too large: a definition has at most"):
        bake_line([f"{url}/large.hcl"])


def test_a_repository_without_a_definition_is_told(place: Path, repository: str) -> None:
    with pytest.raises(ContextError, match="There is no Bake file in"):
        bake_line([f"{repository}#main:sub"])
    with pytest.raises(BuildError, match=r"nothing\.hcl"):
        bake_line([repository, "-f", "nothing.hcl"])


def test_a_remote_definition_may_not_read_what_is_here(place: Path, served: tuple[str, Path]) -> None:
    url, folder = served
    (folder / "bad.hcl").write_text('target "default" { secret = ["id=k,src=/etc/passwd"] }\n')
    (place / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(UsageError, match=r"fs\.read=/etc/passwd"):
        bake_line([f"{url}/bad.hcl"])


def test_credentials_of_a_repository_are_those_of_the_environment() -> None:
    ssh = Origin("git@example.org:me/it.git")
    assert ssh.credentials({}) == []
    assert ssh.credentials({"SSH_AUTH_SOCK": "/s"}) == ["--ssh=default"]
    assert ssh.credentials({"BUILDX_BAKE_GIT_SSH": "/a,/b"}) == ["--ssh=default=/a,/b"]
    token = Origin("https://example.org/it.git").credentials({"BUILDX_BAKE_GIT_AUTH_TOKEN": "t"})
    assert token == ["--secret=id=GIT_AUTH_TOKEN,env=BUILDX_BAKE_GIT_AUTH_TOKEN"]
    assert Origin("https://example.org/it.git#v1:a").context("../b/c") == "https://example.org/it.git#v1:b/c"
