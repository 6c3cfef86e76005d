"""Repositories in R, built from a CRAN of the tests' own, and a notebook that runs on their kernel.

R and the packages of its kernel are Debian's; installing them takes a minute or two, so PYBUILD_R=all asks for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import pybuild_magic
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.repository import r
from pybuild_magic.images.load import load_image
from tests.places.image import DEBIAN
from tests.sandbox.test_unprivileged import run_as_user, user_place

from .index import LocalIndex, served, wheel
from .test_image import enter, leave

_READY = "PYBUILD_TEST_R"
"""Names the directory with the base and the CRAN, for the tests that are run as an ordinary user."""
pytestmark = pytest.mark.skipif(
    os.environ.get("PYBUILD_R") != "all" and _READY not in os.environ, reason="PYBUILD_R=all runs it, in minutes"
)

# Debian's packages of R were built already, and R installs such archives as those of sources, as from Posit's mirrors.
_DAY = "2025-06-01"
_CRAN = """\
FROM r-base AS all
RUN apt-get update && apt-get install -y --no-install-recommends r-cran-irkernel r-cran-remotes
COPY cran /cran/src/contrib/
RUN cd /usr/lib/R/site-library && for package in *; do \\
    tar -czf /cran/src/contrib/${package}_$(sed -n 's/^Version: //p' $package/DESCRIPTION).tar.gz $package; done
RUN cd /cran/src/contrib/mine && R CMD build . && mv *.tar.gz .. && rm -r ../mine
RUN . /etc/os-release && mkdir -p /cran/__linux__/$VERSION_CODENAME \\
 && ln -s ../.. /cran/__linux__/$VERSION_CODENAME/{day}
RUN Rscript -e 'tools::write_PACKAGES("/cran/src/contrib", type = "source")'
FROM scratch
COPY --from=all /cran /
""".replace("{day}", _DAY)
_BASE = f"""\
FROM {DEBIAN}
RUN apt-get update && apt-get install -y --no-install-recommends r-base-core && rm -rf /var/lib/apt/lists/*
COPY links /opt/links
RUN printf '[install]\\nno-compile = no\\nfind-links = /opt/links\\n' >> /etc/pip.conf
"""
_MINE = {
    "DESCRIPTION": "Package: mine\nVersion: 1.2\nTitle: Mine\nDescription: Mine.\nLicense: GPL-3\nAuthor: A\n"
    "Maintainer: A <a@example.org>\n",
    "NAMESPACE": "export(answer)\n",
    "R/answer.R": "answer <- function() 42\n",
}
_KERNEL = {"name": "ir", "display_name": "R", "language": "R"}
_PACKAGE = {
    "DESCRIPTION": _MINE["DESCRIPTION"].replace("mine", "theirs") + "Imports: mine (>= 1.0)\n",
    "NAMESPACE": "export(twice)\nimportFrom(mine, answer)\n",
    "R/twice.R": "twice <- function() 2 * answer()\n",
}


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the base with R, and the CRAN, in a directory that an ordinary user can read, or find them there."""
    if _READY in os.environ:
        leave()
        monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
        yield Path(os.environ[_READY])
        leave()
        return
    enter(tmp_path / "place", monkeypatch)
    # It has the programs of Jupyter that the installation of a kernel calls.
    name, content = wheel("jupyterlab", "99.0", ["jupyter-core", "jupyter-client"])
    base: dict[str, str | bytes] = {f"links/{name}": content}
    place = tmp_path / "ready"
    pybuild_magic.build(_BASE, base, tags=["r-base"], outputs=[f"type=oci,dest={place}/base.tar"], progress="quiet")
    load_image(embedded_builder().store, place / "base.tar", "r-base")
    sources = {f"cran/mine/{path}": text for path, text in _MINE.items()}
    pybuild_magic.build(_CRAN, sources, outputs=[f"type=local,dest={place}/cran"], progress="quiet")
    yield place
    leave()


def test_a_repository_of_r_is_an_image_on_whose_kernel_a_notebook_runs(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_image(embedded_builder().store, ready / "base.tar", "r-base")
    day = {"runtime.txt": f"r-{_DAY}\n"}
    scripts = {**day, "install.R": 'install.packages("mine")\n'}
    with served(LocalIndex(folder=ready)) as running:
        monkeypatch.setattr(r, "_SNAPSHOTS", running.url.replace("/simple", "/folder/cran"))
        for name, files, code, shown in (
            ("scripts", scripts, "cat(mine::answer())", "42"),
            ("package", {**_PACKAGE, **day}, "library(theirs)\ncat(twice())", "84"),
        ):
            root = tmp_path / name
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            found = pybuild_magic.open_repository(str(root), base="r-base", name=f"r-{name}")
            result = pybuild_magic.build(found.dockerfile, found.context, tags=[found.name], progress="quiet")
            cell = nbformat.v4.new_code_cell(code, execution_count=1)
            cell.outputs = [nbformat.v4.new_output("stream", text=shown)]
            notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": _KERNEL})
            nbformat.write(notebook, tmp_path / f"{name}.ipynb")
            report = result.test(str(tmp_path / f"{name}.ipynb"))
            assert [cell.verdict for cell in report.cells] == ["same"], report


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
def test_an_ordinary_user_builds_it_and_starts_its_kernel(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with user_place() as (state, home):
        shutil.copytree(ready, home / "ready", symlinks=True)
        monkeypatch.setenv(_READY, str(home / "ready"))
        this = f"{Path(__file__)}::{test_a_repository_of_r_is_an_image_on_whose_kernel_a_notebook_runs.__name__}"
        done = run_as_user("range", state, home, this)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-10_000:]
