"""Each saving that `%build slim` tells of, in a built image: its line is applied, and the image is smaller by it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.slim.opening import slim
from pybuild_magic.environments.slim.rules import RULES
from pybuild_magic.environments.slim.savings import Saving
from pybuild_magic.environments.slim.steps import cut
from pybuild_magic.errors import BuildError
from pybuild_magic.images.load import load_image
from pybuild_magic.result import BuildResult
from tests.places.image import DEBIAN, debian_base
from tests.services import require
from tests.services.baseimages import BaseImage

from .index import LocalIndex
from .slim_cases import CASES, MIB, NOISE, PIP, Case, made


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
    if stage := re.fullmatch(r"At the end of the stage \w+: (.*)", line):
        return dockerfile.replace("\nFROM ", f"\n{stage[1]}\nFROM "), case.context
    if stage := re.fullmatch(r"In a stage FROM (\w+), to copy from instead: (.*)", line):
        copied = dockerfile.replace(f"--from={stage[1]}", "--from=stage")
        return f"FROM {stage[1]} AS stage\n{stage[2]}\n{copied}", case.context
    if stage := re.fullmatch("In a stage named build: (.*) and (.*); then (COPY .*)", line):
        rest = stage[3].replace(" and RUN ", "\nRUN ")
        return f"FROM busybox AS build\n{stage[1]}\n{stage[2]}\nFROM busybox\n{rest}\n", case.context
    if line.startswith("COPY --from=build"):
        return f"{dockerfile.replace('busybox', 'busybox AS build')}FROM busybox\n{line}\n", case.context
    if ignored := re.search("with (.*) in .dockerignore", saving.note):
        return f"{dockerfile}{line}\n", {**case.context, ".dockerignore": ignored[1].encode()}
    if "<<" in dockerfile:
        return f"FROM busybox\n{line}\n", case.context
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
    keyword, command = text.partition(" ")[0], re.sub(r"^\w+ (?:--\S+ )*", "", text)
    if "--mount=type=bind" in line:
        return command.startswith("cp ")
    return keyword == "RUN" and (command in line or command.startswith(("chown", "chmod")))


def contents(result: BuildResult) -> dict[str, tuple[str, int, int, int, int, str]]:
    """What an image consists of, by path; its files have the size of their content, which is random."""
    assert result.image is not None and result.image.contents is not None
    tree = result.image.contents.tree(result.image.summary.manifests[0])
    return {entry.path: (entry.type, entry.mode, entry.uid, entry.gid, entry.size, entry.link) for entry in tree.walk()}


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
    if "documented" in case.dockerfile:
        built("documented", f"FROM busybox\nRUN {made('/usr/share/doc/a')}\n", {})
    result = built("before", case.dockerfile, case.context)
    found = slim("before")
    saving = next(row for row in found.rows if row.what == case.what)
    assert saving.line == case.line
    assert saving.size == case.size
    assert f"{saving.line}\n" in repr(found)
    assert "\n" not in saving.line or f'<code class="pb-lines">{html.escape(saving.line)}' in found._repr_html_()
    after = built("after", *applied(case, saving))
    assert case.what not in [row.what for row in slim("after").rows]
    assert stored_size(result) - stored_size(after) == pytest.approx(case.size, abs=30_000)
    before, rest = contents(result), contents(after)
    rest = {path: entry for path, entry in rest.items() if not path.endswith(".dockerignore")}
    assert set(rest) <= set(before)
    # The finding names what is gone; a duplicate becomes a link.
    gone = set(before) - set(rest)
    changed = {path for path in rest if rest[path] != before[path]}
    if case.what.startswith("files"):
        assert not changed and (not gone or ".dockerignore" in saving.line)
    else:
        is_twice = case.what == "duplicate files"
        assert len(changed) <= is_twice
        assert is_twice or sum(before[path][4] for path in gone) == case.size


A_B = made("/a/b")


@pytest.mark.parametrize(
    ("dockerfile", "line"),
    [
        (
            f"RUN mkdir -m 777 /a && {A_B}\nUSER 1000\nRUN rm /a/b\n",
            "In a single RUN: STEP, then RUN rm /a/b; mind USER 1000 between them",
        ),
        (
            f"RUN {A_B}\nENV file=/a/b\nARG other\nRUN rm $file\n",
            "In a single RUN: STEP, then RUN rm $file; mind ENV file=/a/b and 1 more between them",
        ),
        (
            f"RUN {A_B}\nWORKDIR /a\nRUN rm b\n",
            "In a single RUN: STEP, then RUN rm b; mind WORKDIR /a between them",
        ),
        (
            f"RUN {A_B}\nRUN head -c 9 /a/b > /c\nRUN rm /a/b\n",
            "In a single RUN: STEP, then RUN rm /a/b; mind RUN head -c 9 /a/b > /c between them",
        ),
        (
            f'RUN {A_B}\nSHELL ["/bin/sh", "-ec"]\nRUN rm /a/b\n',
            "In a single RUN: STEP, then RUN rm /a/b; mind SHELL [/bin/sh -ec] between them",
        ),
        (f"RUN {A_B}\nRUN --network=none rm /a/b\n", "In a single RUN: STEP, then RUN --network=none rm /a/b"),
        (
            f"RUN --mount=type=tmpfs,target=/c {A_B}\nRUN --mount=type=tmpfs,target=/c rm /a/b\n",
            "In a single RUN: STEP, then RUN --mount=type=tmpfs,target=/c rm /a/b",
        ),
        (f"RUN set -u; {A_B}\nRUN rm /a/b $none\n", "In a single RUN: STEP, then RUN rm /a/b $none"),
        (f"RUN {A_B} || exit 0\nRUN rm /a/b\n", "In a single RUN: STEP, then RUN rm /a/b"),
        (f"RUN <<EOF\n{A_B}\nEOF\nRUN rm /a/b\n", "In a single RUN: STEP, then RUN rm /a/b"),
    ],
)
def test_there_is_no_line_where_it_would_do_something_else(dockerfile: str, line: str, store: None) -> None:
    built("before", f"FROM busybox\n{dockerfile}", {})
    (saving,) = slim("before").rows
    assert saving.line == line.replace("STEP", cut(dockerfile.partition("\n")[0]))


def test_what_is_the_bases_is_told_of_the_base(store: None) -> None:
    built("base", f"FROM busybox\nRUN {made('/tmp/a')}\n", {})
    built("before", f"FROM base\nRUN {made('/tmp/b')}\n", {})
    assert {saving.step: saving.line for saving in slim("before").rows} == {
        f"RUN {made('/tmp/b')}": f"RUN {made('/tmp/b')} && rm -rf /tmp/*",
        f"RUN {made('/tmp/a')}": "Use a FROM image without them: this layer is the base's",
    }


def test_of_a_build_that_the_store_has_forgotten_only_the_history_is_told(store: None) -> None:
    built("before", CASES["a step with flags"].dockerfile, {})
    assert "does not remember" not in repr(slim("before"))
    history = embedded_builder().store.history
    for record in history.list(500):
        history.remove(record.ref)
    (saving,) = slim("before").rows
    assert saving.line == f"RUN {made('/tmp/a', '/mnt/b')} && rm -rf /tmp/*"
    assert repr(slim("before")).endswith("keep those that yours have.")
    assert "The store does not remember this build" in slim("before")._repr_html_()


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
    # The line with the mount comes first: then the packages are downloaded only once more.
    while own := sorted(
        (row for row in slim("before").rows if "apt-get update" in row.step), key=lambda row: "--mount" not in row.line
    ):
        saving = own[0]
        assert saving.what not in told, saving.line
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
