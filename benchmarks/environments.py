"""A large environment: frozen, built cold, then with a changed source file, then with one more requirement.

`large` checks that it works: the same Dockerfile is built by root, by an ordinary user and by BuildKit, and a
notebook with a plot is verified in the image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

import pybuild_magic
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.frozen import Frozen
from pybuild_magic.environments.kernel_dockerfile import PREFIX
from pybuild_magic.environments.wheels import EPOCH
from pybuild_magic.errors import BuildError
from pybuild_magic.images.load import load_image
from tests.places.image import DEBIAN, debian_base

from . import repo2docker
from .buildah import Buildah
from .figure import Figure
from .ladder import build_as
from .peers import BuildKit, Kernel

NAMES = ("environment", "large")
REQUIREMENTS = ("numpy", "pandas", "scikit-learn", "matplotlib", "polars", "jupyterlab")
MORE = "networkx"
"""A distribution that no other distribution needs."""
SOURCE = 1.0
"""The most seconds that a changed source file may cost."""
LEAST = 60
"""The least number of distributions in a large environment."""
_BACKEND = """
import pathlib, zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, info = "mine-1.0-py3-none-any.whl", "mine-1.0.dist-info"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as archive:
        archive.writestr("mine.py", pathlib.Path("mine.py").read_text())
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "mine.py,,\\n")
    return name
"""
_PLOT = """\
import matplotlib.pyplot as plt, numpy as np, pandas as pd, polars as pl
from sklearn.linear_model import LinearRegression
x = np.arange(20.0).reshape(-1, 1)
fit = LinearRegression().fit(x, 3 * x[:, 0] + 1)
figure, axes = plt.subplots()
axes.plot(x[:, 0], fit.predict(x))
figure.canvas.draw()
drawn = np.asarray(figure.canvas.buffer_rgba())
plt.close(figure)
print(pd.Series(x[:, 0]).mean(), pl.Series(x[:, 0]).sum(), round(float(fit.coef_[0]), 6), len(np.unique(drawn)) > 10)
"""


class Environment:
    """Installed distributions, a project of this machine among them, and the context into which they are frozen."""

    def __init__(self, scratch: Path, requirements: Sequence[str] = REQUIREMENTS) -> None:
        self._python = _python_of_base(scratch)
        self.site, self.project, self.context = (scratch / name for name in ("site", "project", "context"))
        self.project.mkdir()
        backend = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        (self.project / "pyproject.toml").write_text(backend)
        (self.project / "backend.py").write_text(_BACKEND)
        self.change("value = 1\n")
        self.install(*requirements, "ipykernel", "--only-binary=:all:", "--python-version", self._python)
        self.install("--no-deps", str(self.project))

    def change(self, code: str) -> None:
        """Change the source of the project."""
        (self.project / "mine.py").write_text(code)

    def install(self, *words: str) -> None:
        """Install distributions."""
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", str(self.site), *words]
        subprocess.run(command, check=True)

    def frozen(self, **arguments: Any) -> tuple[Frozen, float]:
        """Freeze the environment into the context; return the result, and the seconds that it took.

        `arguments` are further ones of `pybuild_magic.freeze`.
        """
        shutil.rmtree(self.context, ignore_errors=True)
        began = time.monotonic()
        frozen = pybuild_magic.freeze(paths=[str(self.site)], base=DEBIAN, name="environment:1", **arguments)
        seconds = time.monotonic() - began
        frozen.write(str(self.context))
        return frozen, seconds


def _python_of_base(scratch: Path) -> str:
    """Return the exact version of the base's Python, since some distributions require a late one of its series."""
    os.environ["PYBUILD_HOME"] = str(scratch / "home")
    load_image(embedded_builder().store, debian_base().path, DEBIAN)
    code = "import platform; print(platform.python_version())"
    return pybuild_magic.run(DEBIAN, "python3", "-c", code).text.strip()


def measure(name: str, kernel: Kernel, engine: BuildKit, third: Buildah | None, scratch: Path) -> Iterator[Figure]:
    """Measure one of `NAMES`. Raises RuntimeError when a build fails or the results differ."""
    place = scratch / name
    place.mkdir()
    try:
        for figure in _steps(kernel, engine, third, place) if name == "environment" else _large(engine, place):
            figure.show()
            yield figure
    except BuildError as error:
        raise RuntimeError("\n".join((str(error), *getattr(error, "logs", ())))) from None


def _steps(kernel: Kernel, engine: BuildKit, third: Buildah | None, scratch: Path) -> Iterator[Figure]:
    environment = Environment(scratch)
    kernel.reset()
    kernel.load(debian_base().path, DEBIAN)
    engine.engine.load_base(debian_base())
    fourth = repo2docker.find(engine, scratch)
    peers: list[Any] = [kernel, engine, fourth]
    if third:
        third.load(debian_base().path, DEBIAN)
        peers.append(third)
    for peer in peers[1:]:
        peer.reset()
    tokens = {peer.name: os.urandom(6).hex() for peer in peers}
    for step, title, target in (
        ("cold", "cold", None),
        ("source", "with a changed source file", SOURCE),
        ("one-more", "with one more requirement", None),
    ):
        if step == "one-more":
            environment.install(MORE)
        if step == "source":
            environment.change("value = 2\n")
        frozen, seconds = environment.frozen()
        flags = [word for word in frozen.flags if word not in ("-o", "type=image,rewrite-timestamp=true")]
        flags = flags[2:]  # without the image's name
        times: dict[str, float] = {}
        for peer in peers:
            more = () if peer is kernel else ("--network=host",)
            more += ("--allow=network.host",) if peer in (engine, fourth) else ()
            text = own(frozen.dockerfile, tokens[peer.name])
            # Debian's buildah does not know --link.
            text = text.replace("COPY --link ", "COPY ") if peer is third else text
            times[peer.name] = peer.build(text, [environment.context], [*flags, *more])
        note = ", ".join(f"{who} {taken:.1f} s" for who, taken in times.items())
        note += f"; frozen in {seconds:.1f} s, {len(frozen.environment)} distributions"
        ours = times[kernel.name]
        yield Figure(f"environment-{step}", f"a large environment, {title}", ours, " s", target, note)
    if reason := fourth.why_not(DEBIAN, REQUIREMENTS):
        print(f"repo2docker builds Dockerfiles; of requirements.txt it makes nothing here: {reason}", flush=True)


def own(dockerfile: str, token: str) -> str:
    """Return a Dockerfile that shares no step and no download with the same one under another token.

    BuildKit and repo2docker have one engine, whose cache either would fill for the other. The token is in the
    environment of every RUN, in a file that is copied from stage to stage, and in the name of the installers' cache.
    """
    text = dockerfile.replace("target=/root/.cache/", f"id={token},target=/root/.cache/")
    text = text.replace("\nUSER root\n", f"\nUSER root\nENV BENCHMARK={token}\n", 1)
    return text.replace("\nFROM base\n", f"RUN echo {token} > {PREFIX}/benchmark\n\nFROM base\n")


def _large(engine: BuildKit, scratch: Path) -> Iterator[Figure]:
    """Build the environment in three ways, and verify a notebook with a plot in the image that root has built."""
    for folder in (scratch.parent, scratch):  # so that an ordinary user can read it
        folder.chmod(0o755)
    environment = Environment(scratch)
    frozen, seconds = environment.frozen()
    count = len(frozen.environment)
    if count < LEAST:
        raise RuntimeError(f"the environment has {count} distributions")
    yield Figure("large-frozen", f"{count} distributions frozen", seconds, " s")
    began = time.monotonic()
    result = pybuild_magic.build(**frozen.arguments, progress="none")
    yield Figure("large-root", "built by root", time.monotonic() - began, " s")
    report = result.test(str(_notebook(scratch)))
    if not report:
        raise RuntimeError(repr(report))
    times = sum(cell.seconds for cell in report.cells)
    yield Figure("large-plot", "started as a kernel, a plot verified", times, " s")
    more = {name: frozen.arguments[name] for name in ("build_args", "tags") if name in frozen.arguments}
    more["secrets"] = list(frozen.arguments.get("secrets", ()))
    job = [[frozen.dockerfile, str(scratch / "context"), ["type=image,rewrite-timestamp=true"], more]]
    answer = build_as("range", [debian_base()], job, {})
    yield Figure("large-user", "built by an ordinary user", answer["times"][0], " s")
    if result.image is None or answer["digests"] != [result.image.digest]:
        raise RuntimeError(f"an ordinary user has built another image: {json.dumps(answer)}")
    engine.engine.load_base(debian_base())
    yield _of_buildkit("large-buildkit", "built by BuildKit, to the same digest", engine, environment, frozen)
    frozen, _ = environment.frozen(lock="pylock.toml")
    yield _of_buildkit("large-pylock", "the same from pylock.toml", engine, environment, frozen)


def _of_buildkit(name: str, title: str, engine: BuildKit, environment: Environment, frozen: Frozen) -> Figure:
    """Build by BuildKit, and then here. Raises RuntimeError if the digests differ."""
    output = "type=oci,dest={},compression=uncompressed,force-compression=true,rewrite-timestamp=true"
    secrets = [f"--secret={secret}" for secret in frozen.arguments.get("secrets", ())]
    flags = ("--network=host", "--allow=network.host", *secrets)
    place = environment.context.with_name(f"{name}.tar")
    began = time.monotonic()
    engine.engine.build_oci(environment.context, place, *flags, epoch=EPOCH)
    seconds = time.monotonic() - began
    with tarfile.open(place) as tar:
        file = tar.extractfile("index.json")
        theirs = json.load(file)["manifests"][0]["digest"] if file else ""
    arguments = {**frozen.arguments, "outputs": output.format(place.with_suffix(".ours.tar"))}
    result = pybuild_magic.build(**arguments, progress="none")
    if result.image is None or result.image.digest != theirs:
        raise RuntimeError(f"BuildKit has built another image: {theirs}, here {result.image and result.image.digest}")
    return Figure(name, title, seconds, " s")


def _notebook(scratch: Path) -> Path:
    cell = nbformat.v4.new_code_cell(_PLOT, execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", text="9.5 190.0 3.0 True\n")]
    path = scratch / "plot.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path
