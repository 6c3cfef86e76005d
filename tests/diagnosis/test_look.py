"""The facts of the machine that the tests run on: real ones, in time, and without a trace."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from pybuild_magic.diagnosis import look as looking
from pybuild_magic.diagnosis import network
from pybuild_magic.diagnosis.look import look, look_at_limits, look_at_store
from pybuild_magic.errors import StoreError
from pybuild_magic.store import Store
from pybuild_magic.store.fsck import fsck
from tests.services.registry import Registry

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is about Linux")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of whoever runs the tests."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@linux
def test_what_works_is_found_to_work_and_nothing_is_left(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        found = look(lambda: store)
        assert found.sandbox.works, found.sandbox.problem
        assert found.sandbox.abilities["chroot"] in ("", "Operation not permitted")
        assert found.store.kind
        assert found.store.free
        assert found.system.kernel
        assert {version.name: version.version for version in found.versions}["pybuild_magic"]
        left = [path for path in store.root.iterdir() if path.name.startswith(".doctor")]
        assert not left
        assert fsck(store) == []


def test_a_store_that_cannot_be_opened_is_told_and_not_raised() -> None:
    def open_store() -> Store:
        raise StoreError("The store is locked.", hint="Wait.")

    found = look(open_store)
    assert found.store.problem == "The store is locked. Wait."
    assert not found.sandbox.works


def test_a_registry_that_answers_and_a_mirror_that_is_silent(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("PYBUILD_REGISTRY_MIRRORS", f"{registry.host}=http://{host}")
        started = time.monotonic()
        answers = {reach.host: reach for reach in network.ask()()}
        took = time.monotonic() - started
    assert not answers[registry.host].problem
    assert answers[registry.host].domain == registry.host
    assert answers[host].domain == registry.host
    assert answers[host].problem
    assert took < 10  # it is given 0.7 s; a machine that is busy takes longer


def test_registries_of_dockers_configuration_are_asked(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "docker" / "config.json"
    config.parent.mkdir()
    config.write_text(f'{{"auths": {{"http://{registry.host}/v1/": {{}}}}, "credHelpers": {{}}}}')
    assert registry.host in {reach.domain for reach in network.ask()()}


def test_settings_that_are_wrong_are_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_REGISTRY_MIRRORS", "nonsense")
    [reach] = network.ask()()
    assert "nonsense" in reach.problem


def test_a_proxy_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:secret@proxy.test:3128")
    assert network.proxy() == "proxy.test:3128"


@linux
def test_limits_are_those_of_the_process(tmp_path: Path) -> None:
    import resource

    limits = look_at_limits()
    assert limits.files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert limits.memory > 0
    assert limits.cpus > 0


@linux
def test_a_tmpfs_is_told_from_other_file_systems(tmp_path: Path) -> None:
    if "tmpfs /dev/shm " not in Path("/proc/mounts").read_text():
        pytest.skip("/dev/shm is no tmpfs here")
    place = Path("/dev/shm") / f"pybuild-doctor-{time.monotonic_ns()}"
    place.mkdir()
    try:
        assert look_at_store(place).kind == "tmpfs"
    finally:
        place.rmdir()


@linux
def test_a_volume_is_known_to_be_regrouped_when_this_container_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tmp_path / "rootfs" / "layer"
    layer.mkdir(parents=True)
    layer.chmod(0o755)
    assert looking.regrouped(tmp_path) == -1
    monkeypatch.setattr(os, "getgroups", lambda: [os.getgid()])
    layer.chmod(0o2775)
    assert looking.regrouped(tmp_path) == os.getgid()
    monkeypatch.setattr(looking, "_PULL", -1e9)  # as if it were long ago
    assert looking.regrouped(tmp_path) == -1
