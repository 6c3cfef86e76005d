"""What of an environment goes into a Dockerfile, and what is said of what cannot."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.pylock import Pylock

from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.environments import kernel_dockerfile
from pybuild_magic.environments.configuration import configuration
from pybuild_magic.environments.freeze import freeze
from pybuild_magic.environments.frozen import Frozen
from pybuild_magic.environments.kernel_dockerfile import is_plain, modules_of
from pybuild_magic.errors import BuildError, ContextError, SourceError, UsageError

from .conftest import Install
from .index import LocalIndex, served, wheel


def frozen(site: Path, **arguments: Any) -> Frozen:
    made = freeze(paths=[str(site)], **arguments)
    parse(made.dockerfile)
    return made


def test_what_was_asked_for_is_told_from_what_came_along(site: Path, install: Install, index: LocalIndex) -> None:
    install("App_One", "1.0", ("helper>=1",))
    install("helper", "1.5", requested=False)
    index.add("app-one", "1.0")
    index.add("helper", "1.5")
    index.add("helper", "1.6")
    made = frozen(site, name="app:1")
    assert list(made.environment) == ["app-one", "comm", "helper", "ipykernel"]
    assert [each.name for each in made.environment.values() if each.requested] == ["app-one"]
    text = str(made.files["requirements.txt"])
    assert "helper==1.5 \\\n    --hash=sha256:" in text
    assert "comm==0.2 " in text  # no pre-release is taken
    assert made.cell().startswith("%%build -t app:1 --build-arg SOURCE_DATE_EPOCH=315532800 -o ")
    assert "#   app-one\nFROM python:3." in made.dockerfile
    assert "--require-hashes" in made.dockerfile
    assert f'ENV PIP_INDEX_URL="{index.url}"' in made.dockerfile
    assert made.notes == ()


def test_without_records_what_nothing_needs_counts_as_asked_for(
    site: Path, install: Install, index: LocalIndex
) -> None:
    install("one", "1", ("two",), requested=False)
    install("two", "2", requested=False)
    index.add("one", "1")
    index.add("two", "2")
    made = frozen(site, hashes=False)
    assert "#   one\n" in made.dockerfile
    assert made.files["requirements.txt"] == "comm==0.2\nipykernel==7.0\none==1\ntwo==2\n"
    assert "--require-hashes" not in made.dockerfile
    assert "digest" not in made.dockerfile


def test_a_notebook_keeps_what_it_imports(site: Path, install: Install, index: LocalIndex, tmp_path: Path) -> None:
    install("used", "1", ("needed[fast]",))
    install("needed", "1", ("quick; extra == 'fast'", "slow; sys_platform == 'win32'"), requested=False)
    install("ipykernel", "7.0")
    for name in ("quick", "slow", "unused", "lazy"):
        install(name, "1")
    for name in ("used", "needed", "quick", "lazy"):
        index.add(name, "1")
    cells = [
        "%matplotlib inline\n!pip list\nimport used.part as u, os",
        "def f(name):\n    import lazy\n    import importlib\n    importlib.import_module(name)",
        "%%bash\nimport nothing",
        "from helpers import tidy",
        "x y",
    ]
    notebook = tmp_path / "work.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "source": [cell]} for cell in cells]}))
    made = frozen(site, notebook=str(notebook))
    assert list(made.environment) == ["ipykernel", "lazy", "needed", "quick", "used"]
    assert [each.name for each in made.environment.values() if each.requested] == ["lazy", "used"]
    assert made.notes == (
        "This import is only known when it runs: work.ipynb, cell 2: importlib.import_module(name).",
        "work.ipynb, cell 5 is not valid Python: its imports are unknown.",
        "No distribution contains helpers, matplotlib: COPY files that are beside the notebook, and install anything "
        "else.",
    )
    again = frozen(site, only_imports=True, code=["import used"])
    assert list(again.environment) == ["ipykernel", "needed", "quick", "used"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("importlib.import_module('used.part')", ""),
        ("importlib.import_module(name='used')", ""),
        ("importlib.import_module('.part', 'used')", ""),
        ("importlib.import_module('.part', package='used')", ""),
        ("from importlib import import_module as load\nload('used')", ""),
        ("builtins.__import__('used')", ""),
        ("importlib.import_module(name)", "importlib.import_module(name)"),
        ("importlib.import_module(f'used.{part}')", "importlib.import_module(f'used.{part}')"),
        ("importlib.import_module('.part', __package__)", "importlib.import_module('.part', __package__)"),
        ("from importlib import import_module as load\nload(name)", "load(name)"),
        ("__import__(name)", "__import__(name)"),
    ],
)
def test_an_import_by_a_call_counts_or_is_told_as_unknown(
    site: Path, install: Install, index: LocalIndex, tmp_path: Path, line: str, told: str
) -> None:
    for name in ("used", "other"):
        install(name, "1")
        index.add(name, "1")
    notebook = tmp_path / "work.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "source": f"import other\n{line}"}]}))
    for place, made in (
        ("cell 1", frozen(site, only_imports=True, code=[f"import other\n{line}"])),
        ("work.ipynb, cell 1", frozen(site, notebook=str(notebook))),
    ):
        assert ("used" in made.environment) == (not told) and "other" in made.environment
        assert made.notes == ((f"This import is only known when it runs: {place}: {told}.",) if told else ())


def test_a_notebook_that_imports_nothing_has_its_kernel(site: Path, install: Install, index: LocalIndex) -> None:
    install("ipykernel", "7.0")
    install("other", "1")
    made = frozen(site, only_imports=True, code=["1 + 1"])
    assert "#   ipykernel\n" in made.dockerfile
    assert [each.name for each in made.environment.values() if each.requested] == ["ipykernel"]


def test_a_project_that_is_only_on_the_path_provides_its_modules(
    site: Path, install: Install, index: LocalIndex, tmp_path: Path
) -> None:
    """The record of an editable wheel of Hatchling, and of others, has a .pth file and no module."""
    project = tmp_path / "project"
    (project / "src" / "harvest").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text(BACKEND)
    origin = {"url": project.as_uri(), "dir_info": {"editable": True}}
    install("mine", "1.0", origin=origin, more={"_mine.pth": f"import mine\n{project / 'src'}\n/gone\n"})
    install("other", "1")
    made = frozen(site, only_imports=True, code=["from harvest import apples"])
    assert [each.name for each in made.environment.values() if each.requested] == ["mine"]
    assert made.notes == (f"mine comes from the directory {project}: a wheel of it is included.",)


def test_projects_of_this_machine_go_in_as_wheels(
    site: Path, install: Install, index: LocalIndex, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    # A build backend of the project's own: nothing is fetched to build it.
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text(BACKEND)
    install("mine", "1.0", origin={"url": project.as_uri(), "dir_info": {"editable": True}})
    install(
        "theirs",
        "2.0",
        origin={"url": "https://git.example/theirs.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
    )
    made = frozen(site)
    name = next(name for name in made.files if name.startswith("wheels/mine-1.0"))
    content = made.files[name]
    assert isinstance(content, bytes)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("mine.py") == b"# code of mine"
    assert made.files[name] == frozen(site).files[name], "the same tree gives the same bytes"
    assert made.files["sources.txt"] == "theirs @ git+https://git.example/theirs.git@abc\n"
    assert "FROM base AS wheels" in made.dockerfile
    assert made.dockerfile.index("COPY --link") < made.dockerfile.index("source=wheels")
    assert made.notes == (f"mine comes from the directory {project}: a wheel of it is included.",)
    (project / "backend.py").write_text("raise RuntimeError('broken')")
    with pytest.raises(ContextError, match="produced no wheel"):
        frozen(site)


BACKEND = """
import zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as archive:
        archive.writestr("mine.py", "# code of mine")
        archive.writestr("mine-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n")
        archive.writestr("mine-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("mine-1.0.dist-info/RECORD", "")
    return name
"""


def test_a_conflict_is_told_and_frozen_as_it_is(site: Path, install: Install, index: LocalIndex) -> None:
    install("old", "1")
    install("new", "1", ("old>=2", "absent"))
    for name in ("old", "new"):
        index.add(name, "1")
    assert frozen(site).notes == (
        "The environment is inconsistent: new 1 needs old>=2, but old 1 is installed.",
        "The environment is inconsistent: new 1 needs absent, which is not installed.",
    )


@pytest.mark.parametrize("html", [False, True])
def test_a_yanked_release_is_told_with_the_reason(
    site: Path, install: Install, index: LocalIndex, *, html: bool
) -> None:
    index.html = html
    install("bad", "1.0")
    index.yanked[index.add("bad", "1.0")] = "It deletes data."
    (note,) = frozen(site).notes
    assert note == (
        "bad==1.0 was yanked from the index: It deletes data. It is used all the same; better install another version."
    )


def test_a_release_for_late_patches_of_python_is_told(site: Path, install: Install, index: LocalIndex) -> None:
    install("late", "1.0")
    index.pythons[index.add("late", "1.0")] = ">=3.13.2"
    assert frozen(site, python="3.13").notes == (
        "late==1.0 needs Python >=3.13.2: use a base with that version or a later one.",
    )
    assert frozen(site, python="3.14").notes == ()


def test_another_platform_is_locked_and_built(site: Path, install: Install, index: LocalIndex) -> None:
    install("native", "1.0")
    for machine in ("x86_64", "aarch64"):
        index.add("native", "1.0", tag=f"py3-none-manylinux_2_17_{machine}", code=f"machine = {machine!r}\n")
    locks = {name: frozen(site, platform=f"linux/{name}") for name in ("amd64", "arm64")}
    assert len({str(made.files["requirements.txt"]) for made in locks.values()}) == 2
    assert "--platform linux/arm64" in locks["arm64"].cell().partition("\n")[0]
    assert locks["arm64"].arguments["platforms"] == ["linux/arm64"]


def test_a_release_for_other_pythons_is_named(site: Path, install: Install, index: LocalIndex) -> None:
    for name in ("new", "newer"):
        install(name, "1.0")
        index.pythons[index.add(name, "1.0")] = ">=3.12"
        index.files[name][f"{name}-1.0.tar.gz"] = b"source"
        index.pythons[f"{name}-1.0.tar.gz"] = ">=3.12"
    with pytest.raises(SourceError) as caught:
        frozen(site, python="3.11")
    assert caught.value.message.splitlines() == [
        "new==1.0 needs Python >=3.12, and not 3.11.",
        "newer==1.0 needs Python >=3.12, and not 3.11.",
    ]
    assert "choose another Python (--python)" in str(caught.value.hint), "once, and not of each"


def test_what_cannot_be_had_again_is_named(site: Path, install: Install, index: LocalIndex) -> None:
    install("gone", "1.0")
    install("other", "1.0")
    install("moved", "1.0", origin={"url": "file:///no/such/directory", "dir_info": {}})
    index.add("other", "1.0", tag="cp27-cp27mu-macosx_10_9_x86_64")
    with pytest.raises(SourceError) as caught:
        frozen(site)
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("gone==1.0 is in none of the configured indexes")
    assert lines[1].startswith("moved==1.0 was installed from /no/such/directory, which no longer exists")
    assert lines[2].startswith("other==1.0 has no wheel for Python 3.")


def test_a_pylock_has_a_digest_or_a_commit_of_everything(site: Path, install: Install, index: LocalIndex) -> None:
    install("app", "1.0")
    for tag in ("py3-none-any", "py3-none-manylinux_2_17_x86_64", "cp27-cp27m-win32"):
        index.add("app", "1.0", tag=tag)
    install("mine", "1.0")
    index.files["mine"] = {"mine-1.0.tar.gz": b"source"}
    commit = {"vcs": "git", "commit_id": "abc"}
    place = {"url": "https://git.example/theirs.git", "vcs_info": commit, "subdirectory": "part"}
    install("theirs", "2.0", origin=place)
    sums = {"hashes": {"sha256": "0" * 64}}
    secret = "https://me:hunter2@files.example/linked-3.0.tar.gz"
    install("linked", "3.0", origin={"url": secret, "archive_info": sums, "subdirectory": "part"})
    index.add("pip", "26.3")
    made = frozen(site, lock="pylock.toml", platform="linux/amd64")
    assert sorted(made.files) == ["pip.txt", "pylock.sources.toml", "pylock.toml"]
    assert "hunter2" not in str(made.files)
    locks = [Pylock.from_dict(tomllib.loads(str(made.files[f"pylock{name}.toml"]))) for name in ("", ".sources")]
    packages = {str(package.name): package for lock in locks for package in lock.packages}
    assert sorted(packages) == ["app", "comm", "ipykernel", "linked", "mine", "theirs"]
    wheels = packages["app"].wheels or ()
    assert [wheel.name for wheel in wheels] == [name for name in index.files["app"] if "win32" not in name]
    for wheel_file in wheels:
        content = index.files["app"][str(wheel_file.name)]
        assert wheel_file.hashes == {"sha256": hashlib.sha256(content).hexdigest()}
        assert wheel_file.url == index.url.replace("simple", f"files/{wheel_file.name}")
    assert packages["mine"].sdist and packages["mine"].sdist.name == "mine-1.0.tar.gz"
    vcs, archive = packages["theirs"].vcs, packages["linked"].archive
    assert vcs and (vcs.commit_id, vcs.subdirectory) == ("abc", "part") and packages["theirs"].version is None
    assert archive and archive.url == secret.replace("me:hunter2@", "") and archive.subdirectory == "part"
    assert [str(marker) for marker in locks[0].environments or ()] == [
        'sys_platform == "linux" and platform_machine == "x86_64" and implementation_name == "cpython"'
    ]
    assert "--require-hashes -r pylock.toml" in made.dockerfile
    assert "--no-require-hashes --wheel-dir /wheels -r pylock.sources.toml" in made.dockerfile
    assert frozen(site).files["sources.txt"].count("#subdirectory=part\n") == 2
    with pytest.raises(SourceError, match=r"No index has a wheel of pip>=26.3 for Python 3.9"):
        index.pythons["pip-26.3-py3-none-any.whl"] = ">=3.10"
        frozen(site, lock="pylock.toml", python="3.9")


def test_a_repository_is_fetched_by_its_own_program(site: Path, install: Install, index: LocalIndex) -> None:
    for name, vcs in (("one", "git"), ("two", "hg")):
        place = {"url": f"https://{vcs}.example/{name}", "vcs_info": {"vcs": vcs, "commit_id": "abc"}}
        install(name, "1.0", origin=place)
    made = frozen(site)
    assert "install -y --no-install-recommends build-essential git mercurial" in made.dockerfile
    assert made.files["sources.txt"] == "one @ git+https://git.example/one@abc\ntwo @ hg+https://hg.example/two@abc\n"
    install("three", "1.0", origin={"url": "cvs://a", "vcs_info": {"vcs": "cvs", "commit_id": "1"}})
    with pytest.raises(SourceError, match=r"three==1.0 is from a repository of 'cvs', from which pip cannot install"):
        frozen(site)


def test_a_wheel_on_this_machine_goes_in_itself(
    site: Path, install: Install, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content = wheel("linked", "1.0")
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    install("linked", "1.0")
    assert frozen(site).files[f"wheels/{name}"] == content


@pytest.mark.parametrize(
    ("more", "plain"),
    [
        ({}, True),
        ({"tool-1.0.dist-info/entry_points.txt": "[tool.plugins]\na = tool\n"}, True),
        ({"tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n"}, False),
        ({"tool-1.0.data/scripts/tool": "#!python\n"}, False),
    ],
)
def test_a_wheel_without_programs_is_unpacked_and_another_installed_by_pip(
    more: dict[str, str], *, plain: bool
) -> None:
    assert is_plain(wheel("tool", "1.0", more=more)[1]) is plain


def test_bytecode_is_only_made_of_modules_that_are_there(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/compiled\n')
    python.chmod(0o755)
    (tmp_path / "lib").mkdir()
    command = kernel_dockerfile._COMPILE.format(python=python, places=tmp_path / "lib")
    subprocess.run(["sh", "-c", command], check=True)
    assert not (tmp_path / "compiled").exists(), "without arguments, compileall compiles the whole of sys.path"
    (tmp_path / "lib/a.py").write_text("")
    subprocess.run(["sh", "-c", command], check=True)
    assert (tmp_path / "compiled").read_text().endswith(f" {tmp_path}/lib/a.py\n")


def test_only_names_of_modules_are_words_of_a_command() -> None:
    odd = {"a$(id).py": "", "b\nUSER root/c.py": "", "d/__init__.py": "", "e.data/scripts/f.py": ""}
    assert modules_of(wheel("tool", "1.0", more=odd)[1]) == ["d", "tool.py"]


def test_a_password_of_an_index_is_written_nowhere(
    site: Path, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("app", "1")
    with served(LocalIndex(login="me:hunter2")) as private:
        private.add("app", "1")
        private.add("ipykernel", "7.0")
        url = private.url.replace("http://", "http://me:hunter2@")
        monkeypatch.setenv("PIP_INDEX_URL", url)
        made = frozen(site)
        assert "--mount=type=secret,id=pip-index-url,required=true,env=PIP_INDEX_URL" in made.dockerfile
        assert "--secret id=pip-index-url,env=PIP_INDEX_URL" in made.cell()
        monkeypatch.delenv("PIP_INDEX_URL")
        config = tmp_path / "home-of-configuration/pip.conf"
        config.write_text(f"[global]\nindex-url = {url}\n")
        from_file = frozen(site)
        assert f"--secret id=pip-config,src={config}" in from_file.cell()
        config.write_text(f"[global]\nindex-url = {private.url}\n")
        netrc = tmp_path / "home-of-configuration/netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
        netrc.chmod(0o600)
        from_netrc = frozen(site)
        assert f"--secret id=netrc,src={netrc}" in from_netrc.cell()
        for each in (made, from_file, from_netrc):
            assert "hunter2" not in each.cell() + "".join(map(str, each.files.values()))
        netrc.unlink()
        with pytest.raises(SourceError, match=r"127\.0\.0\.1 refuses these credentials"):
            frozen(site)


def test_uv_is_configured_by_its_own_settings(
    site: Path, install: Install, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("app", "1", installer="uv")
    index.add("app", "1")
    index.add("uv", "0.9")
    (tmp_path / "home-of-configuration/uv.toml").write_text(
        f'[[index]]\nurl = "{index.url}"\ndefault = true\n[[index]]\nurl = "{index.url}/more"\n'
    )
    assert [each.url for each in configuration(uv=True).indexes] == [index.url, f"{index.url}/more"]
    made = frozen(site)
    assert "/opt/install/bin/uv pip install --python /opt/env/bin/python --no-deps" in made.dockerfile
    assert str(made.files["uv.txt"]).startswith("uv==0.9 \\\n")
    assert f'ENV UV_DEFAULT_INDEX="{index.url}"' in made.dockerfile


def test_an_index_that_is_not_there_is_a_sentence(
    site: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("app", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SourceError, match="The package index cannot be reached"):
        frozen(site)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"python": "four"}, "--python four is not a valid version"),
        ({"platform": "windows/amd64"}, "Environments are made for Linux, not for windows"),
        ({"apt": ("a b; rm",)}, "is not the name of a Debian package"),
        ({"apt": ("file=1;id",)}, "file=1;id is not the name of a Debian package"),
        ({"notebook": "no-such.ipynb"}, "The notebook no-such.ipynb cannot be read: No such file"),
        ({"only_imports": True}, "--only-imports needs the code of a notebook"),
        ({"installer": "npm"}, "'npm' is not a supported installer"),
        ({"installer": "conda"}, "This Python does not belong to a conda environment"),
        ({"name": "Not A Name"}, "Not A Name"),
        ({"lock": "poetry.lock"}, "'poetry.lock' is not a supported lock"),
        ({"lock": "pylock.toml", "hashes": False}, "always has digests, so --no-hashes excludes it"),
        ({"lock": "pylock.toml", "installer": "conda"}, "pylock.toml cannot lock what conda installs"),
        ({"colour": "red"}, "has no argument 'colour'"),
    ],
)
def test_what_cannot_be_asked_for_is_a_sentence(
    site: Path, index: LocalIndex, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BuildError, match=sentence):
        frozen(site, **arguments)


def test_what_is_no_notebook_is_a_sentence(site: Path, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"cells": 3}'):
        path = tmp_path / "broken.ipynb"
        path.write_text(text)
        with pytest.raises(UsageError, match="is not a notebook"):
            frozen(site, notebook=str(path))


def notebook_in(language: str, folder: Path) -> str:
    path = folder / "work.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": {"kernelspec": {"language": language, "name": "other"}}}))
    return str(path)


def test_a_notebook_in_r_takes_the_lock_beside_it(site: Path, tmp_path: Path) -> None:
    name = notebook_in("R", tmp_path)
    with pytest.raises(
        UsageError, match=r"work.ipynb is a notebook in R, but renv.lock is missing beside it"
    ) as caught:
        frozen(site, notebook=name)
    assert caught.value.hint == "renv::snapshot() writes it."
    (tmp_path / "renv.lock").write_text('{"R": {"Version": "4.3.1"}, "Packages": {}}')
    made = frozen(site, notebook=name, name="in-r:1")
    assert "FROM rocker/r-ver:4.3.1" in made.dockerfile and "renv::restore(" in made.dockerfile
    assert "IRkernel::installspec" in made.dockerfile
    assert list(made.files) == ["renv.lock"]
    assert made.arguments["tags"] == ["in-r:1"]
    assert made.notes == ("renv.lock: the locked versions are installed by renv, in R 4.3.1.",)


def test_a_notebook_in_julia_takes_its_project_and_manifest(site: Path, tmp_path: Path) -> None:
    name = notebook_in("julia", tmp_path)
    (tmp_path / "Project.toml").write_text("")
    with pytest.raises(UsageError, match=r"work.ipynb is a notebook in Julia, but Manifest.toml is missing beside it"):
        frozen(site, notebook=name)
    (tmp_path / "Manifest.toml").write_text('julia_version = "1.10.4"\n')
    made = frozen(site, notebook=name)
    assert "FROM julia:1.10.4 AS julia" in made.dockerfile and "Pkg.instantiate()" in made.dockerfile
    assert sorted(made.files) == ["Manifest.toml", "Project.toml"]


def test_a_notebook_of_a_language_that_is_not_known_is_a_sentence(site: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a notebook in scala, which is not supported"):
        frozen(site, notebook=notebook_in("scala", tmp_path))
    with pytest.raises(UsageError, match="another language than Python"):
        frozen(site, notebook=(notebook_in("R", tmp_path), "other.py"))


def test_files_are_written_where_they_are_wanted(
    site: Path, install: Install, index: LocalIndex, tmp_path: Path
) -> None:
    install("app", "1")
    index.add("app", "1")
    made = frozen(site, write=str(tmp_path / "out"))
    assert (tmp_path / "out/Dockerfile").read_text() == made.dockerfile
    assert (tmp_path / "out/requirements.txt").read_text() == made.files["requirements.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot be written"):
        made.write(str(tmp_path / "file"))
