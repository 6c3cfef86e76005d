"""Each service is real and does what the other tests rely on."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services import ServiceError, ServiceMissingError, baseimages, daemon, install, require, tool
from tests.services.baseimages import BaseImage, skopeo
from tests.services.buildkit import Engine
from tests.services.registry import PASSWORD, USERNAME, Registry, registry

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCKERFILE = 'FROM busybox\nRUN echo hello > /hello.txt\nCMD ["cat", "/hello.txt"]\n'


@pytest.fixture
def name() -> str:
    """An image name that no other test has."""
    return f"services-{uuid.uuid4().hex}"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary directory with a name short enough for Unix sockets, which `tmp_path` has not."""
    with tempfile.TemporaryDirectory(prefix="pybuild-") as path:
        yield Path(path)


def unpack(archive: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The index and the blobs of an OCI archive."""
    with tarfile.open(archive) as tar:
        files = {m.name: f.read() for m in tar if (f := tar.extractfile(m)) is not None}
    blobs = {n.removeprefix("blobs/sha256/"): data for n, data in files.items() if n.startswith("blobs/sha256/")}
    return json.loads(files["index.json"]), blobs


class TestEngine:
    def test_tells_its_versions(self, engine: Engine) -> None:
        assert int(engine.version.engine.split(".")[0]) >= 26
        assert engine.version.suite in daemon.SUITES

    def test_is_not_the_machines_own_docker(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
        monkeypatch.setenv("BUILDX_BUILDER", "nobody")
        assert engine.docker("info", "--format", "{{.DockerRootDir}}").stdout == "/engine/data\n"
        assert engine.buildx_build(None, dockerfile="FROM busybox\n").returncode == 0

    def test_builds_an_oci_archive_with_one_digest_every_time(self, engine: Engine, tmp_path: Path) -> None:
        first, second = (unpack(engine.build_oci(None, tmp_path / f"{i}.tar", dockerfile=DOCKERFILE)) for i in range(2))
        assert first == second
        index, blobs = first
        manifest = json.loads(blobs[index["manifests"][0]["digest"].removeprefix("sha256:")])
        layer = blobs[manifest["layers"][-1]["digest"].removeprefix("sha256:")]
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            member = tar.getmember("hello.txt")
            file = tar.extractfile(member)
            assert file is not None
            assert (file.read(), member.mtime) == (b"hello\n", 0)

    def test_runs_an_image_that_was_loaded(self, engine: Engine, tmp_path: Path, name: str) -> None:
        dest = tmp_path / "image.tar"
        engine.buildx_build(None, "-t", name, f"--output=type=oci,dest={dest}", dockerfile=DOCKERFILE)
        try:
            assert engine.load(dest) == [f"{name}:latest"]
            assert engine.run(name) == "hello\n"
            with tarfile.open(engine.export(name, tmp_path / "files.tar")) as tar:
                assert "hello.txt" in tar.getnames()
        finally:
            engine.remove(name)

    def test_a_failed_build_raises_with_its_log(self, engine: Engine) -> None:
        with pytest.raises(ServiceError, match="exit code: 3"):
            engine.buildx_build(None, dockerfile="FROM busybox\nRUN exit 3\n")

    def test_gives_solve_status_metadata_and_llb(self, engine: Engine) -> None:
        statuses = engine.build_status(None, "--no-cache", dockerfile=DOCKERFILE)
        names = {vertex["name"] for status in statuses for vertex in status.get("vertexes", ())}
        assert any("RUN echo hello" in vertex for vertex in names)
        assert "buildx.build.ref" in engine.build_metadata(None, dockerfile=DOCKERFILE)
        provenance = json.dumps(engine.build_provenance(None, dockerfile=DOCKERFILE))
        assert "llbDefinition" in provenance
        assert "echo hello > /hello.txt" in provenance

    def test_its_dockerfile_text_leaves_the_contexts_dockerignore_in_force(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        for file in ("keep", "drop"):
            (tmp_path / file).write_text(file)
        (tmp_path / ".dockerignore").write_text("drop\n")
        out = tmp_path / "out"
        engine.buildx_build(tmp_path, f"--output={out}", dockerfile="FROM scratch\nCOPY keep dro[p] /\n")
        assert [path.name for path in out.iterdir()] == ["keep"]

    def test_pushes_and_pulls(self, engine: Engine, registry: Registry, name: str) -> None:
        reference = f"{registry.host}/{name}:1"
        engine.buildx_build(None, "-t", reference, "--push", dockerfile=DOCKERFILE)
        try:
            engine.docker("pull", reference)
            assert engine.run(reference) == "hello\n"
        finally:
            engine.remove(reference)

    def test_is_shared_and_stops_with_its_last_user(self, engine: Engine, short_path: Path) -> None:
        # In a cache directory of its own, as nobody may stop the engine of other workers.
        cache = short_path / "pybuild-magic-services"
        cache.mkdir()
        (cache / engine.daemon.root.name).symlink_to(engine.daemon.root)
        env = {**os.environ, "XDG_CACHE_HOME": str(short_path)}
        user = [sys.executable, "-c", "from tests.services.buildkit import engine; print(engine().socket); input()"]
        first, second = (
            subprocess.Popen(user, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        )
        assert first.stdout and second.stdout
        assert first.stdout.readline() == second.stdout.readline() == f"{cache / 'engine/docker.sock'}\n"
        first.communicate("\n")
        status = [sys.executable, "-m", "tests.services.buildkit", "status"]
        assert subprocess.run(status, env=env, check=False, capture_output=True).returncode == 0
        second.communicate("\n")
        assert subprocess.run(status, env=env, check=False, capture_output=True).returncode == 1
        assert not (cache / "engine").exists()


class TestRegistry:
    def test_keeps_what_skopeo_pushes(self, registry: Registry, busybox_layout: BaseImage, tmp_path: Path) -> None:
        reference = baseimages.push(busybox_layout, registry.host)
        skopeo("copy", f"docker://{reference}", f"oci:{tmp_path / 'back'}:latest")
        back = BaseImage("busybox", tmp_path / "back")
        assert back.digest == busybox_layout.digest
        layer = busybox_layout.manifest["layers"][0]["digest"]
        assert back.blob(layer) == busybox_layout.blob(layer) == registry.blob_path(layer).read_bytes()
        assert any(r.method == "PUT" and r.status == 201 for r in registry.requests())

    @pytest.mark.parametrize("kind", ["basic_registry", "token_registry"])
    def test_with_auth_wants_credentials(
        self, kind: str, busybox_layout: BaseImage, request: pytest.FixtureRequest
    ) -> None:
        registry: Registry = request.getfixturevalue(kind)
        for wrong in (None, f"{USERNAME}:wrong"):
            with pytest.raises(ServiceError, match=r"authentication required|unauthorized|denied"):
                baseimages.push(busybox_layout, registry.host, credentials=wrong)
        reference = baseimages.push(busybox_layout, registry.host, credentials=registry.credentials)
        with pytest.raises(ServiceError, match=r"authentication required|unauthorized|denied"):
            skopeo("inspect", f"docker://{reference}")
        found = json.loads(skopeo("inspect", f"docker://{reference}", credentials=registry.credentials))
        assert found["Digest"] == busybox_layout.digest

    def test_tokens_say_what_they_allow(self, token_registry: Registry, busybox_layout: BaseImage) -> None:
        baseimages.push(busybox_layout, token_registry.host, credentials=token_registry.credentials)
        assert token_registry.tokens is not None
        pushed = {"type": "repository", "name": "busybox", "actions": ["pull", "push"]}
        assert [pushed] in [[{**a, "actions": sorted(a["actions"])} for a in g] for g in token_registry.tokens.granted]

    def test_gives_anonymous_tokens_to_pull(self, busybox_layout: BaseImage) -> None:
        with registry("token", anonymous_pull=True) as hub:
            reference = baseimages.push(busybox_layout, hub.host, credentials=hub.credentials)
            assert json.loads(skopeo("inspect", f"docker://{reference}"))["Digest"] == busybox_layout.digest
            with pytest.raises(ServiceError):
                baseimages.push(busybox_layout, hub.host, "other:1")

    @pytest.mark.parametrize("kind", ["basic_registry", "token_registry"])
    def test_with_auth_serves_the_engine(
        self, kind: str, engine: Engine, name: str, request: pytest.FixtureRequest
    ) -> None:
        registry: Registry = request.getfixturevalue(kind)
        reference = f"{registry.host}/{name}:1"
        with engine.logged_in(registry.host, USERNAME, PASSWORD) as env:
            engine.buildx_build(None, "-t", reference, "--push", dockerfile=DOCKERFILE, env=env)
            engine.docker("pull", reference, env=env)
        engine.remove(reference)
        with pytest.raises(ServiceError):
            engine.docker("pull", reference)


class TestBaseImages:
    def test_busybox_is_the_same_each_time(
        self, busybox_layout: BaseImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        again = baseimages.busybox()
        assert again.path != busybox_layout.path
        assert again.archive() == busybox_layout.archive()

    def test_umoci_unpacks_busybox(self, busybox_layout: BaseImage, tmp_path: Path) -> None:
        umoci = require(lambda: tool("umoci"))
        image = f"{busybox_layout.path}:latest"
        command = [umoci, "raw", "unpack", "--rootless", "--image", image, tmp_path / "root"]
        subprocess.run(command, check=True, capture_output=True)
        shell = subprocess.run([tmp_path / "root/bin/busybox", "sh", "-c", "echo hi"], capture_output=True, check=True)
        assert shell.stdout == b"hi\n"
        assert (tmp_path / "root/bin/ls").readlink() == Path("busybox")

    def test_debian_runs_python(self, engine: Engine, debian_layout: BaseImage) -> None:
        engine.load_base(debian_layout)
        assert engine.run("debian", "python3", "-c", "print(6 * 7)") == "42\n"

    def test_debian_has_no_time_of_its_making(self, debian_layout: BaseImage) -> None:
        # Younger than an hour before the layout was made would be a file that debootstrap wrote.
        made = debian_layout.path.stat().st_mtime
        layer = debian_layout.blob(debian_layout.manifest["layers"][0]["digest"])
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            assert max(member.mtime for member in tar) < made - 3600


class TestChromium:
    def test_opens_a_page(self, browser: Browser) -> None:
        page = browser.new_page()
        page.set_content("<h1>Hello</h1><script>document.title = 6 * 7</script>")
        assert (page.title(), page.text_content("h1")) == ("42", "Hello")


class TestMissing:
    @pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
    def test_skips_on_a_laptop_and_fails_in_ci(
        self, ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CI", ci)

        def start() -> None:
            raise ServiceMissingError("no engine here: run the tests with sudo")

        with pytest.raises(outcome, match="run the tests with sudo"):
            require(start)

    def test_the_engine_tells_an_ordinary_user_to_be_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(ServiceMissingError, match="needs root"):
            daemon.acquire()

    def test_installing_again_takes_no_time(self) -> None:
        if install.missing():
            pytest.skip("not all packages are installed here")
        begin = time.monotonic()
        assert install.main() == 0
        assert time.monotonic() - begin < 10
