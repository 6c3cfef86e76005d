"""Locks and source policies: what was locked is what is built, here and by BuildKit, and nothing else is."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.api.arguments import options_of
from pybuild_magic.errors import BuildError
from pybuild_magic.notebook.lock_command import lock_dockerfile
from pybuild_magic.request.command import equivalent_command
from pybuild_magic.request.lockfile import VARIABLE
from tests.conformance.server import serving
from tests.services.baseimages import BaseImage, push, skopeo
from tests.services.buildkit import Engine
from tests.services.common import tool
from tests.services.registry import Registry

from .lab import Home
from .test_rootless import as_user, place

_ = place  # a fixture


class World:
    """Sources of all kinds that change: an image's tag, a URL, a branch; and a Dockerfile of them."""

    def __init__(self, root: Path, registry: Registry, base: BaseImage) -> None:
        self.repository = root / "repo.git"
        self.pages: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.base = base
        self.ref = push(base, registry.host, f"locked/{uuid.uuid4().hex}:1")
        self.context = root / "context"
        self.context.mkdir()
        self._git("init", "-q", "-b", "main", str(self.repository))
        self.change("first")

    def write(self, url: str) -> None:
        self.dockerfile = (
            f"# syntax=docker/dockerfile:1\nFROM {self.ref}\nADD {url}/page /page\n"
            f"ADD {url}/git/repo.git#main:sub /repo\nCOPY --from={self.ref} /etc/group /group\n"
        )
        (self.context / "Dockerfile").write_text(self.dockerfile)

    def change(self, text: str) -> None:
        """Move the URL and the branch."""
        self.pages["/page"] = (text.encode(), {})
        (self.repository / "sub").mkdir(exist_ok=True)
        (self.repository / "sub/f").write_text(text)
        self._git("-C", str(self.repository), "add", ".")
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        self._git("-C", str(self.repository), *who, "commit", "-qm", text)

    def _git(self, *words: str) -> None:
        subprocess.run([tool("git"), *words], check=True, capture_output=True)


@pytest.fixture
def world(tmp_path: Path, registry: Registry, busybox_layout: BaseImage) -> Iterator[World]:
    world = World(tmp_path, registry, busybox_layout)
    with serving(("127.0.0.1", 0), tmp_path, world.pages) as url:
        world.write(url)
        yield world


def files(result: pybuild_magic.BuildResult, dest: Path) -> dict[str, str]:
    return {name: (dest / name).read_text() for name in ("page", "repo/f")}


def test_what_was_locked_is_what_is_built(home: Home, world: World, tmp_path: Path) -> None:
    lock = pybuild_magic.lock(context=world.context, progress="none")
    assert lock.path == world.context / "Dockerfile.lock"
    kinds = sorted(rule.selector.identifier.partition("://")[0] for rule in lock.rules)
    assert kinds == ["docker-image", "git", "http"]
    dated = {"outputs": "type=image,name=locked,rewrite-timestamp=true", "build_args": {"SOURCE_DATE_EPOCH": "1"}}
    before = home.build(None, world.context, locked=True, **dated)
    world.change("second")
    skopeo("copy", f"oci:{moved(world.base, tmp_path)}", f"docker://{world.ref}")
    home.builder.prune(all=True)
    with pytest.raises(BuildError, match=r"(?s)has the digest.*not sha256"):  # the server has only the new one
        home.build(None, world.context, locked=True, no_cache=True, pull=True)
    world.pages["/page"] = (b"first", {})
    dest = tmp_path / "out"
    result = home.build(None, world.context, locked=True, pull=True, outputs=f"type=local,dest={dest}")
    assert files(result, dest) == {"page": "first", "repo/f": "first"}
    after = home.build(None, world.context, locked=True, pull=True, **dated)
    assert before.image and after.image
    assert after.image.digest == before.image.digest


STEPS = """RUN mkdir -m 2750 /made && echo made >/made/f && chown 3:4 /made/f && ln /made/f /made/g
RUN rm /group && echo "$HOSTNAME" >/dev/null && mkfifo /pipe && touch -d @1900000000 /late
USER 1000:1001
RUN touch /tmp/theirs
"""


def test_a_locked_build_is_one_digest_for_every_store_user_rung_and_builder(
    home: Home, world: World, place: Path, store_template: Path, engine: Engine, tmp_path: Path
) -> None:
    world.dockerfile = f"{world.dockerfile.partition(chr(10))[2]}{STEPS}"
    (world.context / "Dockerfile").write_text(world.dockerfile)
    lock = pybuild_magic.lock(context=world.context, progress="none")
    form = "rewrite-timestamp=true,compression=uncompressed"
    options = {
        "locked": True,
        "no_cache": True,
        "build_args": {"SOURCE_DATE_EPOCH": "1000000000"},
        "outputs": f"type=image,name=locked,{form}",
    }
    digests = {"here": home.build(None, str(world.context), **options).metadata["containerimage.digest"]}
    for rung in range(2, 6):
        other = Home(tmp_path / f"home{rung}")
        shutil.copytree(store_template, other.root)
        answer = other.elsewhere(None, str(world.context), env={"PYBUILD_RUNG": str(rung)}, **options)
        digests[f"rung {rung}"] = answer["metadata"]["containerimage.digest"]
    context = shutil.copytree(world.context, place / "user/context")
    for identity in ("range", "single"):
        answer = as_user(place, identity, "builtin", None, str(context), options)
        digests[identity] = answer["metadata"]["containerimage.digest"]
    metadata = tmp_path / "metadata.json"
    engine.buildx_build(
        world.context,
        *("--no-cache", "--provenance=false", f"--metadata-file={metadata}"),
        f"--output=type=oci,dest={tmp_path}/locked.tar,{form}",
        env={VARIABLE: str(lock.path), "SOURCE_DATE_EPOCH": "1000000000"},
    )
    digests["BuildKit"] = json.loads(metadata.read_bytes())["containerimage.digest"]
    assert digests == dict.fromkeys(digests, digests["here"])


def test_buildkit_is_held_to_the_same_lock(
    home: Home, world: World, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    lock = pybuild_magic.lock(context=world.context, progress="none")
    home.close()
    world.dockerfile = world.dockerfile.replace("# syntax=docker/dockerfile:1\n", "")
    (world.context / "Dockerfile").write_text(world.dockerfile)
    before = world.pages["/page"]
    world.change("second")
    world.pages["/page"] = before
    dest = tmp_path / "out"
    engine.buildx_build(world.context, f"--output={dest}", env={VARIABLE: str(lock.path)})
    assert (dest / "repo/f").read_text() == "first"
    result = pybuild_magic.build(
        None, world.context, locked=True, builder="docker://", outputs=f"type=local,dest={dest}2",
        progress="none",
    )  # fmt: skip
    assert files(result, Path(f"{dest}2")) == {"page": "first", "repo/f": "first"}
    (world.context / "Dockerfile").write_text("FROM busybox\n")
    refused = engine.buildx_build(world.context, env={VARIABLE: str(lock.path)}, check=False)
    ours = home.fails(None, world.context, locked=True)  # type: ignore[arg-type]
    said = 'source "docker-image://docker.io/library/busybox:latest" denied by policy: source denied by policy'
    assert said in refused.stderr
    assert said in ours.message
    assert "Dockerfile.lock is stale" in ours.hint
    with pytest.raises(BuildError, match="denied by policy") as caught:
        pybuild_magic.build(None, world.context, locked=True, builder="docker://", progress="none")
    assert "stale" in caught.value.hint


def test_a_cell_is_locked_beside_its_context(home: Home, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    table = lock_dockerfile(
        ["--progress=none", str(world.context)], world.dockerfile + "RUN apt-get -y install hello\n"
    )
    shown = repr(table)
    assert world.ref in shown
    assert "not locked: apt installs the latest versions" in shown
    assert str(world.context / "Dockerfile.lock") in shown
    document = json.loads((world.context / "Dockerfile.lock").read_bytes())
    assert [step["line"] for step in document["unlocked"]] == [6]
    home.build(world.dockerfile, str(world.context), locked=True)


@pytest.mark.parametrize("platforms", ["linux/arm64", "linux/amd64,linux/arm64"])
def test_other_platforms_are_locked(
    platforms: str, home: Home, registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    """An image's digest is that of its index, so a lock made for one platform holds for all of them."""
    ref = f"{registry.host}/locked/{uuid.uuid4().hex}:1"
    base = "FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY Dockerfile /\n"
    (tmp_path / "Dockerfile").write_text(base)
    engine.buildx_build(tmp_path, "-t", ref, "--platform=linux/amd64,linux/arm64", "--push")
    (tmp_path / "Dockerfile").write_text(f"FROM {ref}\nCOPY Dockerfile /again\n")
    told = engine.docker("buildx", "imagetools", "inspect", "--format={{json .Manifest}}", ref).stdout
    lock = pybuild_magic.lock(context=tmp_path, platforms=platforms, progress="none")
    assert [rule.updates.identifier.partition("@")[2] for rule in lock.rules if rule.updates] == [
        json.loads(told)["digest"]
    ]
    engine.buildx_build(tmp_path, "-t", ref, "--platform=linux/amd64", "--push", dockerfile=base)  # the tag moves
    for builder in ("embedded", f"docker://{engine.socket}"):
        result = home.build(
            None,
            tmp_path,
            locked=True,
            pull=True,
            platforms="linux/amd64,linux/arm64",
            builder=builder,
            outputs=[f"type=oci,dest={tmp_path}/out.tar"],
        )
        assert result.metadata["containerimage.digest"]
        with tarfile.open(tmp_path / "out.tar") as archive:
            blobs = [archive.extractfile(one) for one in archive if one.isfile() and one.size < 10_000]
            texts = [blob.read().decode("utf-8", "replace") for blob in blobs if blob]
        assert ["ARCH=amd64" in text for text in texts if '"ARCH=' in text].count(True) == 1, builder
        assert ["ARCH=arm64" in text for text in texts if '"ARCH=' in text].count(True) == 1, builder


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not a source policy: "),
        ("[]", "is not a source policy: "),
        ('{"rules": "x"}', "is not a source policy: its rules are not a list of objects."),
        ('{"rules": [1]}', "is not a source policy: its rules are not a list of objects."),
        ("{}", "locks nothing: it denies no source."),
        ('{"rules": [{}]}', "it has no 'selector'"),
        ('{"rules": [{"action": "BURN", "selector": {}}]}', "action is 'BURN', not one of ALLOW, DENY, CONVERT"),
        ('{"rules": [{"action": 7, "selector": {}}]}', "action is 7, not one of"),
        ('{"rules": [{"selector": {"identifier": 3}}]}', "Expected `str`, got `int`"),
    ],
)
def test_a_lock_that_is_none_is_refused(home: Home, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    (tmp_path / "Dockerfile.lock").write_text(text)
    assert says in home.fails(None, str(tmp_path), locked=True).message  # type: ignore[arg-type]


def test_a_lock_that_is_not_there_names_the_command(home: Home, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    error = home.fails(None, str(tmp_path), locked=True)  # type: ignore[arg-type]
    assert (error.message, error.hint) == (
        f"The lock {tmp_path}/Dockerfile.lock does not exist.",
        "Write it with %build lock.",
    )


def moved(base: BaseImage, root: Path) -> Path:
    """Another image than `base`, for its tag to move to: the same with a label."""
    layout = root / "moved"
    skopeo("copy", f"oci:{base.path}", f"oci:{layout}:x")
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0].setdefault("annotations", {})
    manifest_path = layout / "blobs/sha256" / index["manifests"][0]["digest"].partition(":")[2]
    manifest = json.loads(manifest_path.read_bytes())
    manifest["annotations"] = {"moved": "yes"}
    data = json.dumps(manifest).encode()
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(data)}
    (layout / "index.json").write_text(json.dumps(index))
    return layout


def test_the_docker_command_names_the_lock(home: Home, tmp_path: Path) -> None:
    options = options_of(None, tmp_path, locked=True)
    assert f"{VARIABLE}={tmp_path}/Dockerfile.lock docker buildx build" in equivalent_command(options)
