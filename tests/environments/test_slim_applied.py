"""Each saving that `%build slim` tells of, in a built image: its line is applied, and the image is smaller by it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.slim.opening import slim
from pybuild_magic.environments.slim.rules import RULES
from pybuild_magic.environments.slim.savings import Saving
from pybuild_magic.errors import BuildError
from pybuild_magic.images.load import load_image
from pybuild_magic.result import BuildResult
from tests.places.image import DEBIAN, debian_base
from tests.services import require
from tests.services.baseimages import BaseImage

from .index import LocalIndex

MIB = 1 << 20
SITE = "/srv/env/lib/python3.11/site-packages"
PIP = "pip install --break-system-packages --no-cache-dir"
NOISE = random.Random(14).randbytes(MIB)


def made(*paths: str, size: int = 1) -> str:
    """A command that makes files of so many mebibytes that no compression makes smaller."""
    return " && ".join(
        f"mkdir -p {path.rpartition('/')[0]}/ && dd if=/dev/urandom of={path} bs=1M count={size}" for path in paths
    )


@dataclass(frozen=True)
class Case:
    """A Dockerfile, and the saving that is found in it."""

    what: str
    dockerfile: str
    line: str
    size: int = MIB
    context: dict[str, bytes] = field(default_factory=dict)
    rest: tuple[str, ...] = ()
    """What else is found in it, and still is afterwards."""


def step(command: str, what: str, line: str, size: int = MIB) -> Case:
    """A case of one RUN: `STEP` in its line stands for the command."""
    return Case(what, f"FROM busybox\nRUN {command}\n", line.replace("STEP", command), size)


CASES: dict[str, Case] = {
    "apt-lists": step(made("/var/lib/apt/lists/a"), "lists of apt-get", "RUN STEP && rm -rf /var/lib/apt/lists/*"),
    "apt-cache": step(
        made("/var/cache/apt/archives/a.deb"),
        "cache of apt-get",
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked STEP",
    ),
    "debconf": step(
        made("/var/cache/debconf/templates.dat-old"),
        "backups of debconf",
        "RUN STEP && rm -f /var/cache/debconf/*-old",
    ),
    "logs": step(
        made("/var/log/dpkg.log"), "logs of installations", "RUN STEP && find /var/log -type f -exec rm -f {} +"
    ),
    "pip-cache": step(
        made("/root/.cache/pip/http/a"), "cache of pip", "RUN --mount=type=cache,target=/root/.cache/pip STEP"
    ),
    "pip-cache of a user": Case(
        "cache of pip",
        f"FROM busybox\nRUN mkdir -m 777 -p /home/jovyan\nUSER 1000\nRUN {made('/home/jovyan/.cache/pip/a')}\n",
        f"RUN --mount=type=cache,target=/home/jovyan/.cache/pip,uid=1000 {made('/home/jovyan/.cache/pip/a')}",
    ),
    "uv-cache": step(made("/root/.cache/uv/a"), "cache of uv", "RUN --mount=type=cache,target=/root/.cache/uv STEP"),
    "conda-cache": step(
        made("/root/miniconda3/pkgs/a.conda"),
        "packages of conda that are installed already",
        "RUN STEP && rm -rf /root/miniconda3/pkgs",
    ),
    "npm-cache": step(
        made("/root/.npm/_cacache/a", "/root/.cache/yarn/a"),
        "cache of npm and yarn",
        "RUN --mount=type=cache,target=/root/.cache/yarn --mount=type=cache,target=/root/.npm STEP",
        2 * MIB,
    ),
    "other-cache": step(
        made("/root/.cache/pre-commit/a"), "other caches", "RUN STEP && rm -rf /root/.cache/pre-commit/*"
    ),
    "temporary": step(
        made("/tmp/a", "/var/tmp/b", size=2), "temporary files", "RUN STEP && rm -rf /tmp/* /var/tmp/*", 4 * MIB
    ),
    "git": step(made("/srv/app/.git/objects/pack/a"), "history of Git", "RUN STEP && rm -rf /srv/app/.git"),
    "checkpoints": step(
        made("/srv/.ipynb_checkpoints/a.ipynb"),
        "checkpoints of notebooks",
        "RUN STEP && find /srv -xdev -name .ipynb_checkpoints -prune -exec rm -rf {} +",
    ),
    "cuda": step(
        made(f"{SITE}/nvidia/cublas/lib/libcublas.so.12"),
        "CUDA, used by no package",
        f"RUN STEP && rm -rf {SITE}/nvidia",
    ),
    "bytecode": step(
        made(f"{SITE}/a/__pycache__/b.pyc", "/opt/c/__pycache__/d.pyc"),
        "bytecode of Python",
        f"RUN STEP && find /opt/c {SITE}/a -xdev -name __pycache__ -prune -exec rm -rf {{}} +",
        2 * MIB,
    ),
    "tests": step(
        made(f"{SITE}/pandas/tests/io/a.py", f"{SITE}/tornado/test/b.py", "/usr/lib/python3.11/test/c.py"),
        "tests of packages",
        f"RUN STEP && find {SITE}/pandas {SITE}/tornado /usr/lib/python3.11 "
        "-xdev -type d '(' -name test -o -name tests -o -name idle_test ')' -prune -exec rm -rf {} +",
        3 * MIB,
    ),
    "debug": step(
        made("/usr/lib/debug/.build-id/ab/c.debug", "/srv/app/program.debug", "/srv/app/unit.dwo"),
        "debug symbols",
        "RUN STEP && find /srv/app /usr/lib "
        "-xdev '(' -path /usr/lib/debug -o -name '*.dSYM' -o -name '*.debug' -o -name '*.dwo' ')' "
        "-prune -exec rm -rf {} +",
        3 * MIB,
    ),
    "static": step(
        made("/usr/local/lib/liba.a", "/usr/local/lib/b.la"),
        "static libraries",
        "RUN STEP && find /usr/local/lib -xdev '(' -name '*.a' -o -name '*.la' ')' -exec rm -f {} +",
        2 * MIB,
    ),
    "compilers": step(
        made("/usr/include/a.h", "/usr/lib/gcc/x/cc1", f"{SITE}/result/r.bin"),
        "compilers and headers",
        "COPY --from=build /srv/env /srv/env",
        2 * MIB,
    ),
    "documentation": step(
        made("/usr/share/doc/a/README", "/usr/local/share/man/man1/b.1"),
        "documentation",
        "RUN STEP && rm -rf /usr/local/share/man /usr/share/doc",
        2 * MIB,
    ),
    "translations": step(
        made("/usr/share/locale/de/LC_MESSAGES/a.mo", f"{SITE}/app/locale/fr/LC_MESSAGES/b.mo"),
        "translations",
        f"RUN STEP && find {SITE}/app /usr/share "
        "-xdev '(' -path '*/share/locale' -o -path '*/i18n/locales' -o -name LC_MESSAGES ')' "
        "-prune -exec rm -rf {} +",
        2 * MIB,
    ),
    "source-maps": step(
        made(f"{SITE}/app/static/a.js.map"),
        "source maps of web pages",
        f"RUN STEP && find {SITE}/app/static -xdev '(' -name '*.js.map' -o -name '*.css.map' ')' -exec rm -f {{}} +",
    ),
    "a context's files": Case(
        "history of Git",
        "FROM busybox\nCOPY . /srv/app\n",
        ".dockerignore: **/.git",
        context={".git/objects/pack/a": NOISE, "app.py": b""},
    ),
    "a context's documentation": Case(
        "documentation",
        "FROM busybox\nCOPY rootfs /\n",
        ".dockerignore: **/share/doc, **/share/man",
        2 * MIB,
        context={"rootfs/usr/share/doc/a": NOISE, "rootfs/usr/share/man/b": NOISE[::-1], "rootfs/etc/c": b""},
    ),
    "a stage's files": Case(
        "bytecode of Python",
        f"FROM busybox AS made\nRUN {made('/out/lib/__pycache__/a.pyc', '/out/lib/a.bin')}\n"
        "FROM busybox\nCOPY --from=made /out /opt/env\n",
        "In the stage that /out is copied from: find /out/lib -xdev -name __pycache__ -prune -exec rm -rf {} +",
    ),
    "files that a RUN makes and another removes": Case(
        "files that a later step removes",
        f"FROM busybox\nRUN {made('/scratch', '/kept')}\nRUN rm /scratch\n",
        f"RUN {made('/scratch', '/kept')} && rm /scratch",
    ),
    "an archive that is copied, unpacked and removed": Case(
        "files that a later step removes",
        "FROM busybox\nCOPY data.bin /tmp/data.bin\nRUN cp /tmp/data.bin /data && rm /tmp/data.bin\n",
        "RUN --mount=type=bind,source=data.bin,target=/tmp/data.bin cp /tmp/data.bin /data",
        context={"data.bin": NOISE},
    ),
    "a file of a context that a RUN removes": Case(
        "files that a later step removes",
        "FROM busybox\nCOPY . /srv/app\nRUN rm -r /srv/app/data\n",
        ".dockerignore: data",
        context={"data/a.bin": NOISE, "app.py": b"", "data/b": b""},
    ),
    "steps of several commands": Case(
        "files that a later step removes",
        f"FROM busybox\nRUN mkdir /srv && cd /srv && {made('a')}\nRUN rm -f /srv/a; touch first || true; touch b\n",
        f"RUN (mkdir /srv && cd /srv && {made('a')}) && {{ rm -f /srv/a; touch first || true; touch b; }}",
    ),
    "files that are written again": Case(
        "files that a later step writes again",
        f"FROM busybox\nRUN {made('/data')}\nRUN dd if=/dev/urandom of=/data bs=1M count=1\n",
        f"RUN {made('/data')} && dd if=/dev/urandom of=/data bs=1M count=1",
    ),
    "another owner of what is copied": Case(
        "files whose owner or mode a later step changes",
        "FROM busybox\nCOPY data /srv/data\nRUN chown -R 1000:100 /srv/data\n",
        "COPY --chown=1000:100 data /srv/data",
        context={"data/a": NOISE},
    ),
    "another mode of what is copied": Case(
        "files whose owner or mode a later step changes",
        "FROM busybox\nCOPY data /srv/data\nRUN chmod 750 /srv/data/a\n",
        "COPY --chmod=750 data /srv/data",
        context={"data/a": NOISE},
    ),
    "another owner of what is made": Case(
        "files whose owner or mode a later step changes",
        f"FROM busybox\nRUN {made('/srv/data')}\nRUN chown 1000 /srv/data\n",
        f"RUN {made('/srv/data')} && chown 1000 /srv/data",
    ),
    "a file twice in a layer": step(
        f"{made('/srv/a')} && cp /srv/a /srv/copy", "duplicate files", "RUN STEP && ln -f /srv/a /srv/copy"
    ),
    "a file twice in two layers": Case(
        "duplicate files",
        f"FROM busybox\nRUN {made('/srv/a')}\nRUN cp /srv/a /srv/copy\n",
        "RUN cp /srv/a /srv/copy && ln -sf /srv/a /srv/copy",
    ),
    "a file copied twice": Case(
        "duplicate files",
        "FROM busybox\nCOPY a /srv/a\nCOPY b /srv/b\n",
        "RUN ln -s /srv/a/model.bin /srv/b/model.bin",
        context={"a/model.bin": NOISE, "b/model.bin": NOISE, "b/app.py": b""},
    ),
}


@pytest.fixture(scope="session")
def slim_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slim")


@pytest.fixture
def store(slim_home: Path, monkeypatch: pytest.MonkeyPatch, busybox_layout: BaseImage) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(slim_home / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    if not embedded_builder().store.images.get("docker.io/library/busybox:latest"):
        load_image(embedded_builder().store, busybox_layout.path, "busybox")
    yield
    embedded_builder().close()


def applied(case: Case, saving: Saving) -> tuple[str, dict[str, bytes]]:
    """Do to a Dockerfile and its context what a saving says, as a reader would."""
    dockerfile, line = case.dockerfile, saving.line
    if patterns := line.removeprefix(".dockerignore: ") if line.startswith(".dockerignore: ") else "":
        steps = [
            text for text in dockerfile.splitlines() if not ("not needed then" in saving.note and "RUN rm" in text)
        ]
        return "\n".join(steps), {**case.context, ".dockerignore": patterns.replace(", ", "\n").encode()}
    if stage := re.fullmatch("In the stage that .* is copied from: (.*)", line):
        first, rest = dockerfile.split("\nFROM ", 1)
        return f"{first} && {stage[1]}\nFROM {rest}", case.context
    if line.startswith("COPY --from=build"):
        return f"{dockerfile.replace('busybox', 'busybox AS build')}FROM busybox\n{line}\n", case.context
    if ignored := re.search("with (.*) in .dockerignore", saving.note):
        return f"{dockerfile}{line}\n", {**case.context, ".dockerignore": ignored[1].encode()}
    steps = dockerfile.splitlines()
    number = next(
        number
        for number, text in enumerate(steps)
        if saving.step.split()[-1] in text and text.split()[0] == saving.step.split()[0]
    )
    joined = [text for text in steps[number + 1 :] if not _is_part(text, line)]
    return "\n".join([*steps[:number], line, *joined]) + "\n", case.context


def _is_part(text: str, line: str) -> bool:
    """Whether a step has become a part of another, or what it did is done by a flag."""
    keyword, _, command = text.partition(" ")
    if "--mount=type=bind" in line:
        return command.startswith("cp ")
    return keyword == "RUN" and (command in line or command.startswith(("chown", "chmod")))


def built(name: str, dockerfile: str, context: dict[str, bytes]) -> BuildResult:
    return pybuild_magic.build(dockerfile, context, tags=[name], progress="quiet")


def weighed(name: str, dockerfile: str) -> int:
    """Build an image; the bytes of the files of all its layers, whether or not these are compressed."""
    built(name, dockerfile, {})
    return slim(name).total


def stored_size(result: BuildResult) -> int:
    """The bytes of an image's layers."""
    assert result.image is not None
    return sum(layer.size for layer in result.image.layers)


@pytest.mark.parametrize("name", CASES)
def test_an_image_is_smaller_by_what_a_line_saves(name: str, store: None) -> None:
    case = CASES[name]
    result = built("before", case.dockerfile, case.context)
    found = slim("before")
    saving = next(row for row in found.rows if row.what == case.what)
    assert saving.line == case.line
    assert saving.size == case.size
    assert f"{saving.line}\n" in repr(found)
    after = built("after", *applied(case, saving))
    assert case.what not in [row.what for row in slim("after").rows]
    assert stored_size(result) - stored_size(after) == pytest.approx(case.size, abs=30_000)


def test_a_line_of_several_commands_starts_and_fails_as_its_steps_do(store: None) -> None:
    case = CASES["steps of several commands"]
    head = "FROM busybox\n"
    after = built("after", f"{head}{case.line}\n", {})
    assert after.image is not None
    assert pybuild_magic.run("after", "ls", "/first", "/b").exit_code == 0
    with pytest.raises(BuildError, match="exit code: 1"):
        built("after", f"{head}{case.line.replace('mkdir /srv', 'false')}\n", {})


def test_every_kind_of_file_is_in_an_image_here() -> None:
    assert {rule.key for rule in RULES} <= set(CASES)


def test_an_image_without_anything_to_leave_out_is_a_sentence(store: None) -> None:
    built("clean", "FROM busybox\nCOPY app.py /srv/\n", {"app.py": b"print('hello')\n"})
    found = slim("clean")
    assert found.rows == () and found.size == 0
    assert re.fullmatch(r"clean: nothing significant can be saved in \d.* of files", repr(found))
    assert "nothing significant can be saved" in found._repr_html_() and "<table" not in found._repr_html_()


@pytest.fixture
def debian(store: None) -> None:
    if not embedded_builder().store.images.get(f"docker.io/library/{DEBIAN}:latest"):
        load_image(embedded_builder().store, require(debian_base).path, DEBIAN)


def test_what_apt_get_leaves_is_left_out_line_by_line(debian: None) -> None:
    """All that is found of an installation, one line after the other, until only what is the base's is found."""
    # The library of a wheel, beside which Debian's is not used.
    start = f"FROM {DEBIAN}\nRUN {made('/opt/env/lib/python3.11/site-packages/numpy.libs/libopenblas64.so', size=50)}\n"
    command = "apt-get update && apt-get install --yes --no-install-recommends file libopenblas0-pthread"
    first = result = weighed("before", f"{start}RUN {command}\n")
    told: dict[str, int] = {}
    # A history does not tell mounts, so the line that has one comes last.
    while own := sorted(
        (row for row in slim("before").rows if row.step.startswith("RUN apt-get")),
        key=lambda row: "--mount" in row.line,
    ):
        saving = own[0]
        assert saving.what not in told
        told[saving.what] = saving.size
        after = weighed("before", f"{start}{saving.line}\n")
        # A package takes with it what only it needs, and its row in the cache of apt-get.
        assert result - after > 0.9 * saving.size - MIB, saving
        result = after
    assert {"lists of apt-get", "cache of apt-get", "2 libraries of linear algebra (BLAS)"} <= set(told)
    assert first - result > 0.9 * sum(told.values())
    assert pybuild_magic.run("before", "file", "--version").exit_code == 0


def test_what_pip_leaves_is_left_out_line_by_line(debian: None) -> None:
    dockerfile = f"FROM {DEBIAN}\nRUN {PIP} --quiet toml networkx\n"
    result = weighed("before", dockerfile)
    for what in ("tests of packages", "bytecode of Python"):
        (saving,) = (row for row in slim("before").rows if row.what == what and "networkx" in row.step)
        after = weighed("before", f"FROM {DEBIAN}\n{saving.line}\n")
        assert what not in [row.what for row in slim("before").rows if "networkx" in row.step]
        assert result - after == pytest.approx(saving.size, rel=0.1, abs=MIB)
        result = after
    assert pybuild_magic.run("before", "python3", "-c", "import networkx, toml").exit_code == 0


def test_wheels_of_cuda_that_nothing_uses_are_uninstalled_by_their_names(debian: None, index: LocalIndex) -> None:
    index.add("app", "1.0", ("nvidia-cublas-cu12", "nvidia-nvtx-cu12"))
    noise = "# " + NOISE.hex() + "\n"
    for name in ("cublas", "nvtx"):
        index.add(f"nvidia-{name}-cu12", "12.1", more={f"nvidia/{name}/lib/lib{name}.so.12": noise})
    pip = f"{PIP} --index-url {index.url} app"
    result = weighed("before", f"FROM {DEBIAN}\nRUN {pip}\n")
    (saving,) = (row for row in slim("before").rows if row.what == "CUDA, used by no package")
    assert saving.line.endswith(
        f"{pip} && pip uninstall --yes --break-system-packages nvidia-cublas-cu12 nvidia-nvtx-cu12"
    )
    assert saving.size == pytest.approx(2 * len(noise), rel=0.01)
    after = weighed("after", f"FROM {DEBIAN}\n{saving.line}\n")
    assert "CUDA, used by no package" not in [row.what for row in slim("after").rows]
    assert result - after == pytest.approx(saving.size, rel=0.1)
