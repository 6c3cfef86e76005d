"""The kernels that are found in an image, and the kernelspecs that are written for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.display.service import NeedsKeyError, Service
from pybuild_magic.errors import UsageError
from pybuild_magic.kernels.derive import derived_name, dockerfile_with_ipykernel
from pybuild_magic.kernels.spec import installed
from pybuild_magic.notebook.kernel_commands import kernel, kernel_of, kernels
from pybuild_magic.run import find_image

PNG = b"\x89PNG\r\n\x1a\n and so on"
PYTHON = {
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "metadata": {"debugger": True, "kernel_provisioner": {"provisioner_name": "one-of-the-image"}},
}
R = {
    "argv": ["R", "--args", "{connection_file}", "{resource_dir}/start.R"],
    "display_name": "R",
    "language": "R",
    "interrupt_mode": "message",
    "env": {"R_LIBS": "/opt/r"},
}


@pytest.fixture(autouse=True)
def jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    yield tmp_path / "data/kernels"
    embedded_builder().close()
    builders._embedded = None


def image(files: dict[str, str | bytes], rest: str = "", name: str = "app:1") -> None:
    build(f"FROM scratch\nCOPY . /\nENV PATH=/opt/env/bin:/usr/bin\n{rest}\n", files, tags=[name], progress="quiet")


def spec(document: dict[str, Any], prefix: str = "opt/env", name: str = "python3") -> dict[str, str | bytes]:
    return {f"{prefix}/share/jupyter/kernels/{name}/kernel.json": json.dumps(document)}


def test_each_kernel_of_the_image_gets_a_kernelspec(jupyter: Path) -> None:
    folder = "opt/env/share/jupyter/kernels/python3"
    files = spec(PYTHON) | spec(R, "usr", "ir") | {"opt/env/bin/python": "", f"{folder}/logo-64x64.png": PNG}
    image(files | {f"{folder}/logo-svg.svg": "<svg onload='alert(1)'/>", f"{folder}/logo-32x32.png": "<html>"})
    kernel(["--display-name", "Ours", "-e", "A=1", "-v", "./here:/there", "app:1"])
    assert [(found.name, found.display_name, found.kernel) for found in installed()] == [
        ("app-1", "Ours", "python3"),
        ("app-1-ir", "R in app:1", "ir"),
    ]
    written = json.loads((jupyter / "app-1/kernel.json").read_text())
    assert written["argv"][1:] == ["-m", "pybuild_magic.kernels", "{resource_dir}", "{connection_file}"]
    assert written["env"]["PYBUILD_HOME"] == str(embedded_builder().store.root)
    # Nothing of the image's metadata but what says that there is a debugger: a provisioner would run here.
    assert set(written["metadata"]) == {"debugger", "pybuild_magic"}
    options = written["metadata"]["pybuild_magic"]["options"]
    assert options["env"] == ["A=1"]
    assert options["volumes"][0]["source"] == str(Path("here").absolute())
    # A picture that is a page, or has scripts, would run as one of Jupyter's.
    assert sorted(path.name for path in (jupyter / "app-1").iterdir()) == ["kernel.json", "logo-64x64.png"]
    other = json.loads((jupyter / "app-1-ir/kernel.json").read_text())
    assert (other["interrupt_mode"], other["metadata"]["debugger"]) == ("message", False)


def test_a_program_of_an_environment_is_started_from_there() -> None:
    from pybuild_magic.kernels.find import image_kernels

    image(spec(PYTHON) | spec(R, "usr", "ir") | {"opt/env/bin/python": ""})
    with embedded_builder().store.lease():
        python, r = image_kernels(find_image("app:1"))
    assert python.argv[0] == "/opt/env/bin/python"
    assert r.argv == ("R", "--args", "{connection_file}", "/usr/share/jupyter/kernels/ir/start.R")
    assert r.env == {"R_LIBS": "/opt/r"}


@pytest.mark.parametrize(
    ("programs", "word", "path"),
    [
        (["usr/bin/python3"], "python", "/usr/bin/python3"),  # as Debian's
        (["opt/env/bin/python3", "usr/bin/python"], "python", "/opt/env/bin/python3"),
        (["usr/bin/python", "usr/bin/python3"], "python", "/usr/bin/python"),
        (["usr/bin/python3", "usr/bin/python3.12"], "python3.12", "/usr/bin/python3.12"),
        ([], "python", "python"),
        (["usr/bin/python3"], "pypy", "pypy"),
    ],
)
def test_python_is_the_one_that_jupyter_in_the_image_would_take(programs: list[str], word: str, path: str) -> None:
    from pybuild_magic.kernels.find import image_kernels

    image(spec(PYTHON | {"argv": [word, "{connection_file}"]}) | dict.fromkeys(programs, ""))
    with embedded_builder().store.lease():
        (found,) = image_kernels(find_image("app:1"))
    assert found.argv == (path, "{connection_file}")


@pytest.mark.parametrize(
    "document",
    ["no JSON", "[]", '{"argv": []}', '{"argv": [1]}', '{"argv": ["a\\u0000b"]}', '{"argv": ["a"]}' + " " * 70_000],
)
def test_a_kernelspec_that_cannot_be_read_is_passed_over(document: str) -> None:
    image({"opt/env/share/jupyter/kernels/python3/kernel.json": document})
    with pytest.raises(UsageError, match=r"app:1 has no Jupyter kernel\. Build .* %build kernel --add-ipykernel app:1"):
        kernel(["app:1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "takes one image"),
        (["-t", "app:1"], "Unknown flag -t"),
        (["--commit", "x", "app:1"], "Unknown flag --commit"),
        (["--name", "a b", "app:1"], "cannot be the name of a kernel"),
        (["--remove", "nobody"], "There is no kernel nobody"),
        (["--add-ipykernel", "./layout"], "takes the name of an image"),
        (["--nmae", "x", "app:1"], "Did you mean --name"),
    ],
)
def test_mistakes_are_told(words: list[str], message: str) -> None:
    image(spec(PYTHON))
    with pytest.raises(UsageError, match=message):
        kernel(words)


def test_kernels_are_listed_and_removed(jupyter: Path) -> None:
    image(spec(PYTHON))
    kernel(["--name", "ours", "app:1"])
    assert kernels([]).rows == (("ours", "Python 3 in app:1", "app:1", "python3", "ready"),)
    image(spec(PYTHON), "LABEL version=2")
    assert kernels([]).rows[0][4] == "rebuilt since; the next start uses the new image"
    embedded_builder().store.images.remove("docker.io/library/app:1")
    assert kernels([]).rows[0][4] == "not in the store"
    kernel(["--remove", "ours"])
    assert kernels([]).rows == ()
    assert not (jupyter / "ours").exists()


def test_a_page_with_the_key_gets_a_kernel_of_an_image(jupyter: Path) -> None:
    image(spec(PYTHON))
    service = Service()
    service.add("kernel", kernel_of)
    with pytest.raises(NeedsKeyError):
        service.answer("", "kernel", {"ref": "app:1"})
    assert service.answer("", "kernel", {"ref": "app:1"}, service.key) == ({"name": "app-1"}, [])
    kernel(["--name", "own", "--display-name", "A", "app:1"])
    (jupyter / "app-1/kernel.json").unlink()
    assert service.answer("", "kernel", {"ref": "app:1"}, service.key) == ({"name": "own"}, [])
    with pytest.raises(UsageError, match="needs ref"):
        service.answer("", "kernel", {}, service.key)


@pytest.mark.parametrize(
    ("files", "rest", "command"),
    [
        (
            ("opt/env/bin/python3", "opt/env/bin/pip"),
            "USER 7",
            "/opt/env/bin/python3 -m pip install --no-cache-dir ipykernel",
        ),
        (("usr/bin/python3", "usr/bin/pip3"), "USER 7", "/usr/bin/python3 -m pip install --no-cache-dir ipykernel"),
        (("usr/bin/python3", "usr/bin/apt-get"), "", "apt-get update && apt-get install --yes --no-install-recommends"),
        (
            ("usr/bin/python3", "usr/bin/pip3", "usr/lib/python3.11/EXTERNALLY-MANAGED", "usr/bin/apt-get"),
            "",
            "apt-get update && apt-get install",
        ),
        (("opt/env/bin/python", "opt/env/bin/conda"), "", "/opt/env/bin/conda install --yes ipykernel"),
        (("usr/bin/python3", "usr/bin/apk"), "", "apk add --no-cache py3-ipykernel"),
    ],
)
def test_ipykernel_is_added_by_the_manager_of_the_images_python(
    files: tuple[str, ...], rest: str, command: str
) -> None:
    image(dict.fromkeys(files, ""), rest)
    text = derived()
    assert text.startswith(f"FROM app:1\n{'USER root' if rest else 'RUN'}")
    assert f"RUN {command}" in text
    assert text.endswith("\nUSER 7\n") == bool(rest)


def derived() -> str:
    store = embedded_builder().store
    with store.lease():
        found = find_image("app:1")
        return dockerfile_with_ipykernel("app:1", store.tree(found.snapshot), found.config)


def test_an_image_without_python_gets_no_kernel() -> None:
    image({"bin/sh": ""})
    with pytest.raises(UsageError, match="app:1 has no Python"):
        derived()
    image({"opt/env/bin/python": ""})
    with pytest.raises(UsageError, match="app:1 has no pip"):
        derived()


def test_a_derived_image_keeps_the_name() -> None:
    assert [derived_name(name) for name in ("app", "app:1", "127.0.0.1:5000/team/app:1")] == [
        "app:latest-kernel",
        "app:1-kernel",
        "127.0.0.1:5000/team/app:1-kernel",
    ]
