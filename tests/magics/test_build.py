"""`%%build` and `%build`: the line, the cell, and what comes back."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import BuildResult
from pybuild_magic.builders import embedded_builder
from pybuild_magic.display.table import Document
from pybuild_magic.images.load import load_image
from tests.services.baseimages import BaseImage
from tests.services.registry import Registry

from .conftest import Shell

HELLO = "FROM scratch\nCOPY . /\n"


def content(archive: str, name: str) -> str:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read().decode()


def test_a_cell_is_built_and_its_result_is_the_cells_value(shell: Shell) -> None:
    shell.names["site"] = {"index.html": "hi", "a/b.bin": b"\x00\x01"}
    result = shell.run("%%build -t hello $site\n" + HELLO)
    assert isinstance(result, BuildResult)
    assert shell.names["_"] is result
    assert result.image is not None
    assert result.image.names == ("docker.io/library/hello:latest",)
    assert [layer.created_by for layer in result.image.layers] == ["COPY . /"]
    assert result.metadata["containerimage.digest"] == result.image.digest
    assert "hello:latest" in shell.out, "a terminal shows the result as text"
    assert "#1 [internal] load build definition" in shell.err, "and the progress as buildx prints it"


def test_the_context_is_the_working_directory_a_directory_none_or_a_dict(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("here")
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "there.txt").write_text("there")
    shell.names.update(files={"dict.txt": "dict"}, folder="sub dir")
    for line, name in (
        ("", "here.txt"),
        (".", "here.txt"),
        ("'sub dir'", "there.txt"),
        ('"$folder"', "there.txt"),
        (str(tmp_path), "here.txt"),
        ("$files", "dict.txt"),
    ):
        result = shell.run(f"%%build -o type=tar,dest=out.tar {line}\nFROM scratch\nCOPY *.txt /\n")
        assert [file.path for file in result.files] == [name]
    shell.run("%%build -\nFROM scratch\nCOPY <<EOF /a\nEOF\n")


def test_the_line_is_expanded_and_the_cell_is_not(shell: Shell) -> None:
    shell.names.update(name="hello", files={"x": "x"}, number=20)
    shell.run(
        "%%build -t $name -o type=tar,dest={name.upper()}-{number + 1}.tar $files\n"
        "FROM scratch\nCOPY <<'EOF' /text\n$name {name} {number + 1} ${HOME}\nEOF\n"
    )
    assert content("HELLO-21.tar", "text") == "$name {name} {number + 1} ${HOME}\n"


def test_names_of_a_function_are_found_in_it(shell: Shell) -> None:
    shell.run(
        "def build():\n"
        "    local = 'from-a-function'\n"
        "    return get_ipython().run_cell_magic('build', '-o type=tar,dest={local}.tar -', 'FROM scratch\\nENV A=1')\n"
        "build()"
    )
    assert Path("from-a-function.tar").exists()


def test_a_line_that_ends_in_a_backslash_goes_on(shell: Shell) -> None:
    shell.names["files"] = {"x": "x"}
    result = shell.run("%%build -t long \\\n  -o type=image \\\n  -o type=tar,dest=long.tar $files\n" + HELLO)
    assert [output.type for output in result.outputs] == ["image", "tar"]
    assert content("long.tar", "x") == "x"


def test_into_binds_the_result_and_quiet_prints_the_id(shell: Shell) -> None:
    result = shell.run("%%build -t hello --into kept -\nFROM scratch\nENV A=1")
    assert shell.names["kept"] is result
    assert shell.run("%%build -q -t hello -\nFROM scratch\nENV A=1") is None
    assert shell.out.strip() == result.image_id
    assert shell.err == ""
    assert isinstance(shell.names["_"], BuildResult)
    assert shell.run("6 * 7") == shell.names["_"] == 42


def test_iidfile_and_metadata_file(shell: Shell) -> None:
    result = shell.run("%%build -t hello --iidfile id --metadata-file meta.json -\nFROM scratch\nENV A=1")
    assert Path("id").read_text() == result.image_id == result.metadata["containerimage.config.digest"]
    assert json.loads(Path("meta.json").read_text()) == result.metadata


def test_a_build_that_fails_leaves_no_image_id_of_an_earlier_one(shell: Shell) -> None:
    Path("id").write_text("sha256:old")
    shell.fail("%%build -t hello --iidfile id -\nFROM scratch\nCOPY nope /\n")
    assert not Path("id").exists()


def test_a_dockerfile_of_the_disk(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "a.txt").write_text("a")
    (tmp_path / "ctx" / "Dockerfile").write_text("FROM scratch\nCOPY a.txt /from-context\n")
    (tmp_path / "Other").write_text("FROM scratch\nCOPY a.txt /from-file\n")
    assert [file.path for file in shell.run("%build -o type=tar,dest=1.tar ctx").files] == ["from-context"]
    assert [file.path for file in shell.run("%build -f Other -o type=tar,dest=2.tar ctx").files] == ["from-file"]


def test_a_dry_run_shows_the_request_and_the_command_and_builds_nothing(shell: Shell) -> None:
    result = shell.run("%%build -t a/b:1 --build-arg X=1 -o type=oci,dest=never.tar --dry-run\n" + HELLO)
    assert isinstance(result, Document)
    (_, request), (_, command) = result.parts
    asked = json.loads(request)
    assert asked["FrontendAttrs"]["build-arg:X"] == "1"
    assert asked["Exporters"] == [{"Type": "oci", "Attrs": {"name": "a/b:1"}, "ID": "0"}]
    assert command.startswith("docker buildx build -t a/b:1 -o type=oci,dest=never.tar --build-arg X=1 -f - .")
    assert not Path("never.tar").exists()


@pytest.mark.parametrize("mode", ["plain", "rawjson", "quiet", "none"])
def test_progress_modes(shell: Shell, mode: str) -> None:
    shell.run(f"%%build --progress={mode} -\nFROM scratch\nENV A=1")
    if mode == "plain":
        assert "#1 [internal] load build definition" in shell.err
    elif mode == "rawjson":
        assert all("vertexes" in json.loads(line) or "statuses" in json.loads(line) for line in shell.err.splitlines())
    else:
        assert shell.err == ""


def test_settings_hold_when_the_flag_is_not_given(shell: Shell) -> None:
    shell.run("%config BuildMagics.progress = 'none'")
    shell.run("%%build -\nFROM scratch\nENV A=1")
    assert shell.err == ""
    shell.run("%%build --progress=plain -\nFROM scratch\nENV A=1")
    assert "#1 " in shell.err
    shell.run("%config BuildMagics.builder = 'elsewhere'")
    assert "elsewhere" in str(shell.fail("%%build -\nFROM scratch"))
    shell.run("%%build --builder embedded -\nFROM scratch\nENV A=1")


def test_a_second_build_is_cached(shell: Shell) -> None:
    source = "%%build -t again -\nFROM scratch\nCOPY <<EOF /once\nonce\nEOF\n"
    shell.run(source)
    assert any(vertex.cached for vertex in shell.run(source).vertexes)
    assert "CACHED" in shell.err


def test_a_layer_is_named_by_its_instruction(shell: Shell, busybox_layout: BaseImage) -> None:
    """Without the shell and the build args that BuildKit writes into the history."""
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    result = shell.run("%%build -t named --build-arg A=b -\nFROM busybox\nARG A\nRUN echo $A > /a\n")
    assert result.image.layers[-1].created_by == "RUN echo $A > /a"


def test_the_function_takes_the_same_path(shell: Shell) -> None:
    result = pybuild_magic.build(
        "FROM scratch\nARG WHO\nLABEL who=$WHO\nCOPY . /\n",
        {"f": "x"},
        tags="fn",
        outputs="type=tar,dest=fn.tar",
        build_args={"WHO": "me"},
        progress="none",
    )
    assert content("fn.tar", "f") == "x"
    assert result.paths == (Path("fn.tar").absolute(),)
    assert result.files is not None
    assert result.files["f"].size == 1


def test_loading_the_extension_imports_nothing_that_a_build_needs() -> None:
    """It has to be felt by nobody: 150 ms beyond IPython's own start are allowed, and it takes a tenth."""
    program = (
        "import sys, time, IPython.core.interactiveshell as i\n"
        "shell = i.InteractiveShell.instance()\n"
        "before = set(sys.modules); began = time.perf_counter()\n"
        "shell.run_line_magic('load_ext', 'pybuild_magic')\n"
        "print(time.perf_counter() - began, *(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    seconds, *loaded = done.stdout.split()
    ours = {name.partition(".")[2] for name in loaded if name.startswith("pybuild_magic")}
    assert ours == {"", "notebook", "notebook.magics", "notebook.completion", "request", "request.progress"}
    assert not {"msgspec", "anywidget", "ipywidgets", "sqlite3", "urllib3"} & set(loaded)
    assert float(seconds) < 0.15


def test_a_cache_for_all_builds_of_a_notebook(shell: Shell, registry: Registry) -> None:
    ref = f"{registry.host}/course-{secrets.token_hex(4)}:cache"
    shell.run(f"%config BuildMagics.cache = '{ref}'")
    try:
        first = shell.run("%%build -o type=cacheonly\nFROM scratch\nWORKDIR /a")
        assert any(vertex.name == "exporting cache to registry" for vertex in first.vertexes)
        again = shell.run("%%build -o type=cacheonly\nFROM scratch\nWORKDIR /a")
        (read,) = [vertex for vertex in again.vertexes if vertex.name.startswith("importing cache manifest")]
        assert ref in read.name
        assert not again.warnings
    finally:
        shell.run("%config BuildMagics.cache = ''")
