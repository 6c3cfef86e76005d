"""A repository in Julia, built by a real Julia from a server of packages that the tests make.

Julia is that of Debian 11, the last to have one; installing it takes a minute, so PYBUILD_JULIA=all asks for it. IJulia
needs programs that are in no registry of packages here: one that only writes the kernelspec takes its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from tests.places.image import DEBIAN

from .index import LocalIndex, served, wheel
from .pkg_server import make_server
from .test_image import enter, leave

pytestmark = pytest.mark.skipif(
    os.environ.get("PYBUILD_JULIA") != "all", reason="PYBUILD_JULIA=all runs it, in minutes"
)

_JULIA = f"""\
FROM {DEBIAN}
RUN sed 's/ [a-z]* main$/ bullseye main/' /etc/apt/mirror.list >> /etc/apt/mirror.list && apt-get update \\
 && apt-get install -y --no-install-recommends julia && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 julia /usr/local/julia/bin/
COPY links /opt/links
RUN printf '[install]\\nno-compile = no\\nfind-links = /opt/links\\n' >> /etc/pip.conf
ENV JULIA_PKG_SERVER=$SERVER
"""
# Machine code that Debian's Julia makes of Pkg.instantiate crashes; interpreted, it works.
_PROGRAM = '#!/bin/sh\nexec /usr/bin/julia --compile=min "$@"\n'
_MODULES = {
    "IJulia": """module IJulia
export installkernel
function installkernel(name, options...)
    folder = joinpath(ENV["JUPYTER_DATA_DIR"], "kernels", "julia")
    mkpath(folder)
    words = join(("\\"$word\\"" for word in ("julia", options..., "{connection_file}")), ", ")
    write(joinpath(folder, "kernel.json"), "{\\"argv\\": [$words], \\"display_name\\": \\"$name\\"}")
end
end
""",
    "Mine": "module Mine\nexport answer\nanswer() = 42\nend\n",
}
_PROJECT = '[deps]\nMine = "00000000-0000-4000-8000-000000000002"\n\n[compat]\njulia = "=1.5.3"\n'


@pytest.fixture
def julia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make a base with Julia, which is also the image that Julia is copied from."""
    enter(tmp_path / "place", monkeypatch)
    make_server(tmp_path / "pkg", _MODULES)
    name, content = wheel("jupyterlab", "99.0", ["jupyter-core", "jupyter-client"])
    with served(LocalIndex(folder=tmp_path)) as running:
        server = running.url.replace("/simple", "/folder/pkg")
        files: dict[str, str | bytes] = {f"links/{name}": content, "julia": _PROGRAM}
        pybuild_magic.build(_JULIA.replace("$SERVER", server), files, tags=["julia:1.5.3"], progress="quiet")
        yield "julia:1.5.3"
    leave()


def test_a_project_and_its_lock_are_instantiated_for_a_kernel(julia: str, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "Project.toml").write_text(_PROJECT)
    project = built(root, julia, "of-a-project")
    specs = json.loads(pybuild_magic.run(project, "jupyter", "kernelspec", "list", "--json").text)["kernelspecs"]
    spec = specs["julia"]["spec"]
    assert (spec["argv"][:2], spec["display_name"]) == (["julia", "--project=/home/jovyan"], "Julia")
    lock = pybuild_magic.run(project, "cat", "Manifest.toml").text
    (root / "Manifest.toml").write_text(lock)
    assert pybuild_magic.run(built(root, julia, "of-a-lock"), "cat", "Manifest.toml").text == lock


def built(root: Path, julia: str, name: str) -> str:
    """Build a repository; return the name of the image, in which its package is there."""
    found = pybuild_magic.open_repository(str(root), base=julia, name=name)
    pybuild_magic.build(found.dockerfile, found.context, tags=[name], progress="quiet")
    code = 'using Mine; println(answer(), " ", Base.active_project())'
    shown = pybuild_magic.run(name, "julia", "-e", code)
    assert shown.text == "42 /home/jovyan/Project.toml\n", shown
    return name
