"""Devices of the machine, and GPUs: by CDI specifications of our own, by paths, and as a GPU's driver leaves them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.embedded.sandbox import cdi
from pybuild_magic.builders.embedded.sandbox.cdi import Machine
from pybuild_magic.errors import BuildError, RunError, UsageError
from pybuild_magic.run import run

pytestmark = pytest.mark.usefixtures("store")

SPEC = """
cdiVersion: 0.6.0
kind: tests.example/gpu
containerEdits:
  env: [DRIVER=ours]
  mounts:
    - {hostPath: %(library)s, containerPath: /usr/lib/libtests.so.1, options: [ro, nosuid, nodev, bind]}
devices:
  - name: 0
    containerEdits:
      env: [VISIBLE=first]
      deviceNodes: [{path: /dev/tests/zero0, hostPath: /dev/zero}]
      hooks:
        - {hookName: createContainer, path: %(hook)s, args: [hook, linked]}
  - name: "1"
    containerEdits:
      deviceNodes: [{path: /dev/tests/zero1, hostPath: /dev/zero}]
"""
HOOK = """#!/bin/sh
root=$(sed 's/.*"path":"\\([^"]*\\)".*/\\1/' config.json)
ln -s /usr/lib/libtests.so.1 "$root/usr/lib/libtests.so" && echo "$1" > "$root/told"
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with a specification for two devices, and nothing else."""
    directory = tmp_path / "cdi"
    directory.mkdir()
    library, hook = tmp_path / "libtests.so.1", tmp_path / "hook"
    library.write_text("library\n")
    hook.write_text(HOOK)
    hook.chmod(0o755)
    (directory / "tests.yaml").write_text(SPEC % {"library": library, "hook": hook})
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(directory),))
    return Machine(tmp_path)


LOOK = "head -c 3 /dev/tests/zero0 | wc -c; cat /usr/lib/libtests.so /told; echo $VISIBLE $DRIVER; ls /dev/tests"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("arguments", [{"devices": ["tests.example/gpu=0"]}, {"gpus": "1"}, {"gpus": "device=0"}])
def test_a_device_comes_with_its_library_variables_and_hooks(arguments: dict[str, object]) -> None:
    done = run("busybox", "sh", "-c", LOOK, **arguments)
    assert done.text.splitlines() == ["3", "library", "linked", "first ours", "zero0"], done.error_text


@pytest.mark.usefixtures("machine")
def test_all_gpus_are_those_that_there_are() -> None:
    script = "ls /dev/tests; grep -c libtests /proc/self/mountinfo; cat /told"
    assert run("busybox", "sh", "-c", script, gpus="all").text == "zero0\nzero1\n1\nlinked\n"
    with pytest.raises(UsageError, match="asks for 3 GPUs, but there are only 2"):
        run("busybox", "true", gpus="3")


@pytest.mark.usefixtures("machine")
def test_a_build_gives_a_run_the_devices_that_it_allows() -> None:
    text = f"# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --device=tests.example/gpu=0,required {LOOK}; exit 3"
    with pytest.raises(BuildError, match=r"device tests\.example/gpu=0 is requested by the build but not allowed"):
        build(text, "-", progress="quiet")
    with pytest.raises(RunError) as caught:
        build(text, "-", progress="quiet", allow=["device"])
    assert list(caught.value.logs) == ["3", "library", "linked", "first ours", "zero0"]
    missing = "FROM busybox\nRUN --device=tests.example/gpu=9%s true"
    build(missing % "", "-", progress="quiet", allow=["device"])
    with pytest.raises(BuildError, match=r"There is no device tests\.example/gpu=9"):
        build(missing % ",required", "-", progress="quiet", allow=["device"])


def test_a_hook_need_not_read_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = {"hookName": "createContainer", "path": "/bin/sh", "args": ["sh", "-c", "exec <&-; sleep 0.01"]}
    device = {"name": "hooked", "containerEdits": {"hooks": [hook] * 10}}
    (tmp_path / "tests.json").write_text(json.dumps({"kind": "tests.example/gpu", "devices": [device]}))
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(tmp_path),))
    assert run("busybox", "echo", "begun", devices=["tests.example/gpu=hooked"]).text == "begun\n"


@pytest.mark.parametrize("runtime", ["builtin", "runc"])
def test_a_hook_of_the_image_runs_just_before_its_process(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYBUILD_RUNTIME", runtime)
    script = (
        "echo hidden; sed 's/.*status.:.\\([a-z]*\\).*/\\1/' > /dev/shm/hooked; id -u >> /dev/shm/hooked; exit $CODE"
    )
    hook = {"hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", script]}
    devices = [{"name": code, "containerEdits": {"hooks": [{**hook, "env": [f"CODE={code}"]}]}} for code in ("0", "3")]
    (tmp_path / "tests.json").write_text(json.dumps({"kind": "tests.example/gpu", "devices": devices}))
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(tmp_path),))
    embedded_builder().close()
    monkeypatch.setattr(builders, "_embedded", None)
    assert run("busybox", "cat", "/dev/shm/hooked", devices=["tests.example/gpu=0"], user="7").text == "created7\n"
    if runtime == "runc":  # which does not say that it was no process that failed
        assert run("busybox", "true", devices=["tests.example/gpu=3"], user="7").exit_code == 1
        return
    with pytest.raises(BuildError, match="ended with 3: hidden"):
        run("busybox", "true", devices=["tests.example/gpu=3"], user="7")


@pytest.mark.parametrize("point", ["poststart", "poststop"])
def test_a_hook_that_nothing_would_run_is_told(point: str, tmp_path: Path) -> None:
    hooks = [{"hookName": "createContainer", "path": "/bin/true"}, {"hookName": point, "path": "/bin/hook"}]
    device = {"name": "hooked", "containerEdits": {"hooks": hooks}}
    (tmp_path / "tests.json").write_text(json.dumps({"kind": "tests.example/gpu", "devices": [device]}))
    machine = Machine(tmp_path, (str(tmp_path),))
    with pytest.raises(UsageError, match=rf"gpu=hooked has a hook that is not run here \({point} /bin/hook\)"):
        machine.resolve(["tests.example/gpu=hooked"])


def test_a_path_is_a_device() -> None:
    script = "head -c 2 /dev/ours | wc -c; test -c /dev/ours"
    assert run("busybox", "sh", "-c", script, devices=["/dev/zero:/dev/ours"]).text == "2\n"
    for value, said in (("/etc/passwd", "is not a device"), ("/dev/zero:/dev/x:r", "cannot be restricted")):
        with pytest.raises(UsageError, match=said):
            run("busybox", "true", devices=[value])


def test_a_pod_with_a_gpu_and_no_specification(tmp_path: Path) -> None:
    for name in ("dev/nvidia0", "dev/nvidia1", "dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-caps"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    library = tmp_path / "usr/lib/x86_64-linux-gnu/libcuda.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    given = Machine(tmp_path, ("/nowhere",)).resolve((), "device=1")
    assert [(mount.dest, mount.device) for mount in given.mounts] == [
        ("/dev/nvidia-uvm", True),
        ("/dev/nvidia1", True),
        ("/dev/nvidiactl", True),
        ("/usr/local/nvidia/lib64/libcuda.so.1", False),
    ]
    assert given.env == ("LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64",)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_where_there_is_nothing_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="but this machine has none"):
        Machine(tmp_path, ("/nowhere",)).resolve((), "all")


@pytest.mark.usefixtures("machine")
def test_a_bad_specification_spoils_no_other(tmp_path: Path) -> None:
    spec = {"kind": "tests.example/gpu", "devices": [{"name": "1", "containerEdits": {}}]}
    (tmp_path / "cdi/again.json").write_text(json.dumps(spec))
    (tmp_path / "cdi/bad.json").write_text(json.dumps({"kind": 3}))
    machine = Machine(tmp_path)
    assert machine.resolve(["tests.example/gpu=0"]).env == ("DRIVER=ours", "VISIBLE=first")
    with pytest.raises(
        UsageError, match=r"bad\.json cannot be read.* tests\.example/gpu=1 is defined by both .*again.json and "
    ):
        machine.resolve(["tests.example/gpu=1"])


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", ["tests.example/gpu", "tests.example/gpu=*", "tests.example/gpu=10"])
def test_run_takes_whole_names_as_docker_does(name: str) -> None:
    with pytest.raises(UsageError, match="There is no device"):
        run("busybox", "true", devices=[name])
