"""What could be saved in an image: of layers made by hand, and of images that are built."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.slim.covering import REMOVED, REPLACED, SlimLayer, layer_files
from pybuild_magic.environments.slim.opening import ShownSavings, slim
from pybuild_magic.environments.slim.rules import RULES
from pybuild_magic.environments.slim.savings import Saving, find_savings
from pybuild_magic.environments.slim.steps import short_step
from pybuild_magic.errors import StoreError
from pybuild_magic.images.load import load_image
from pybuild_magic.store import DIR, Entry, opaque, whiteout
from tests.services.baseimages import BaseImage

MB = 1_000_000


def file(path: str, size: int = MB, digest: bytes = b"") -> Entry:
    return Entry(path, size=size, digest=digest and digest.ljust(32, b"."))


def covered(*layers: list[Entry]) -> dict[tuple[str, int], tuple[str, int, bool]]:
    files = layer_files([SlimLayer("", layer) for layer in layers])
    return {(one.entry.path, one.layer): (one.covered, one.above, one.same) for one in files}


def test_a_file_is_covered_by_what_a_layer_above_does_to_it_or_to_a_directory_above_it() -> None:
    found = covered(
        [Entry("a", DIR), file("a/removed"), file("a/written"), file("a/kept"), file("b/in"), file("c/in"), file("d")],
        [Entry("a", DIR), whiteout("a/removed"), file("a/written"), whiteout("b"), opaque("c"), file("c/new")],
        [Entry("d", DIR), file("d/in"), file("b/again")],
    )
    assert found == {
        ("a/removed", 0): (REMOVED, 1, False),
        ("a/written", 0): (REPLACED, 1, False),
        ("a/kept", 0): ("", -1, False),
        ("b/in", 0): (REMOVED, 1, False),
        ("c/in", 0): (REMOVED, 1, False),
        ("d", 0): (REPLACED, 2, False),
        ("a/written", 1): ("", -1, False),
        ("c/new", 1): ("", -1, False),
        ("d/in", 2): ("", -1, False),
        ("b/again", 2): ("", -1, False),
    }


def test_a_layer_that_removes_a_file_and_writes_it_again_covers_the_one_below() -> None:
    found = covered([file("a", digest=b"1")], [file("a", digest=b"1")], [whiteout("a")], [file("a", digest=b"2")])
    assert found[("a", 0)][:2] == (REPLACED, 1) and found[("a", 0)][2]
    assert found[("a", 1)] == (REMOVED, 2, False)
    assert found[("a", 3)] == ("", -1, False)


def rows(*layers: tuple[str, list[Entry]]) -> dict[str, Saving]:
    found = find_savings([SlimLayer(step, entries) for step, entries in layers])
    return {row.what: row for row in found.rows}


SITE = "srv/env/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("step", "path", "what", "line"),
    [
        (
            "RUN apt-get update && apt-get install -y gcc",
            "var/lib/apt/lists/a",
            "lists of apt-get",
            "RUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*",
        ),
        (
            "RUN apt-get install -y gcc",
            "var/cache/apt/archives/gcc.deb",
            "cache of apt-get",
            "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked apt-get install -y gcc",
        ),
        (
            "RUN /bin/sh -c pip install numpy # buildkit",
            "root/.cache/pip/http/a",
            "cache of pip",
            "RUN --mount=type=cache,target=/root/.cache/pip pip install numpy",
        ),
        (
            "RUN pip install numpy",
            f"{SITE}/numpy/__pycache__/a.pyc",
            "bytecode of Python",
            f"RUN pip install numpy && find /{SITE}/numpy -xdev -name __pycache__ -prune -exec rm -rf {{}} +",
        ),
        (
            "RUN python app.py",
            "srv/app/__pycache__/a.pyc",
            "bytecode of Python",
            "RUN python app.py && find /srv/app -xdev -name __pycache__ -prune -exec rm -rf {} +",
        ),
        ("COPY . . # buildkit", "srv/app/__pycache__/a.pyc", "bytecode of Python", ".dockerignore: **/__pycache__"),
        ("COPY . .", "srv/app/.git/objects/pack/a", "history of Git", ".dockerignore: **/.git"),
        (
            "RUN pip install pandas",
            f"{SITE}/pandas/tests/io/a.py",
            "tests of packages",
            f"RUN pip install pandas && find /{SITE}/pandas "
            "-xdev -type d '(' -name test -o -name tests -o -name idle_test ')' -prune -exec rm -rf {} +",
        ),
        (
            "RUN make install",
            "usr/local/lib/liba.a",
            "static libraries",
            "RUN make install && find /usr/local/lib -xdev '(' -name '*.a' -o -name '*.la' ')' -exec rm -f {} +",
        ),
        (
            "RUN apt-get install -y libc6-dbg",
            "usr/lib/debug/.build-id/ab/c.debug",
            "debug symbols",
            "RUN apt-get install -y libc6-dbg && find /usr/lib -xdev '(' -path /usr/lib/debug -o -name '*.dSYM' "
            "-o -name '*.debug' -o -name '*.dwo' ')' -prune -exec rm -rf {} +",
        ),
        (
            "/bin/sh -c #(nop) ADD file:abc in / ",
            "usr/share/doc/a/README",
            "documentation",
            "Use a FROM image without them: this layer is the base's",
        ),
        (
            "COPY --chmod=755 rootfs /",
            f"{SITE}/tornado/test/a.py",
            "tests of packages",
            ".dockerignore: **/*-packages/**/test, **/*-packages/**/tests",
        ),
        (
            "COPY /opt/env /opt/env # buildkit",
            "opt/env/lib/python3.11/site-packages/debugpy/__pycache__/a.pyc",
            "bytecode of Python",
            "In the stage that /opt/env is copied from: find /opt/env/lib/python3.11/site-packages/debugpy "
            "-xdev -name __pycache__ -prune -exec rm -rf {} +",
        ),
        (
            "COPY --link --chown=1000 /root/.cache /root/.cache",
            "root/.cache/pip/http/a",
            "cache of pip",
            "In the stage that /root/.cache is copied from: rm -rf /root/.cache/pip",
        ),
        (
            "RUN jupyter nbconvert a.ipynb",
            "srv/.ipynb_checkpoints/a.ipynb",
            "checkpoints of notebooks",
            "RUN jupyter nbconvert a.ipynb && find /srv -xdev -name .ipynb_checkpoints -prune -exec rm -rf {} +",
        ),
        (
            "a base made by hand",
            "usr/share/man/man1/a",
            "documentation",
            "Use a FROM image without them: this layer is the base's",
        ),
        (
            "RUN pip install x",
            f"{SITE}/nvidia/cublas/lib/libcublas.so.12",
            "CUDA, used by no package",
            f"RUN pip install x && rm -rf /{SITE}/nvidia",
        ),
    ],
)
def test_files_of_a_kind_are_told_with_the_line_that_leaves_them_out(
    step: str, path: str, what: str, line: str
) -> None:
    found = rows((step, [file(path)]))
    assert {name: row.line for name, row in found.items()} == {what: line}
    assert found[what].size == MB
    assert found[what].step == short_step(step)


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("RUN make; strip a;", "RUN make; strip a && rm -rf /tmp/*"),
        ("RUN find . -exec strip {} \\;", "RUN find . -exec strip {} \\; && rm -rf /tmp/*"),
        ("RUN |1 V=a b /bin/bash -o pipefail -c a | b # buildkit", "RUN a | b && rm -rf /tmp/*"),
        ("RUN /bin/sh -c echo 'a  b'   c # buildkit", "RUN echo 'a  b'   c && rm -rf /tmp/*"),
        ("RUN make # all of it", "In this RUN, as its last command: rm -rf /tmp/*"),
        ("RUN make\nmake install", "In this RUN, as its last command: rm -rf /tmp/*"),
        ("RUN serve &", "In this RUN, as its last command: rm -rf /tmp/*"),
        ("RUN |1 V=a make install", "In this RUN, as its last command: rm -rf /tmp/*"),
        ("RUN make install # buildkit", "In this RUN, after its command: rm -rf /tmp/*"),
        ("RUN make; exit", "In this RUN, as its last command: rm -rf /tmp/*"),
    ],
)
def test_a_line_is_made_only_of_a_command_that_another_can_follow(step: str, line: str) -> None:
    assert rows((step, [file("tmp/a")]))["temporary files"].line == line
    mounted = rows((step, [file("root/.cache/pip/a")]))["cache of pip"].line
    of_step = line.removesuffix(" && rm -rf /tmp/*").removeprefix("RUN ")
    is_whole = line.startswith("RUN")
    mount = "--mount=type=cache,target=/root/.cache/pip"
    assert mounted == (f"RUN {mount} {of_step}" if is_whole else f"To this RUN: {mount}")


@pytest.mark.parametrize(
    ("later", "rest"),
    [
        ("tar xf /a.tar && rm /a.tar", "tar xf /a.tar"),
        ("tar xf /a.tar; rm /a.tar", "tar xf /a.tar; true"),
        ("tar xf /a.tar && rm -f /a.tar && make", "tar xf /a.tar && make"),
        ("tar xf /a.tar; rm -f *.tar && make", "tar xf /a.tar; true && make"),
        ("tar xf /a.tar && rm /a.tar /other", "tar xf /a.tar && rm /other"),
        ("cd / && tar xf a.tar && rm a.tar; rm b", "cd / && tar xf a.tar; rm b"),
        ("confirm a && tar xf /a.tar && rm /a.tar", "confirm a && tar xf /a.tar"),
    ],
)
def test_a_command_without_a_removal_succeeds_and_fails_as_before(later: str, rest: str) -> None:
    found = rows(("COPY a.tar /a.tar", [file("a.tar")]), (f"RUN {later}", [whiteout("a.tar")]))
    line = found["files that a later step removes"].line
    assert line == f"RUN --mount=type=bind,source=a.tar,target=/a.tar {rest}"


def test_every_kind_but_compilers_can_be_removed_in_its_step() -> None:
    assert [rule.key for rule in RULES if not rule.remove] == ["compilers"]


def test_cuda_that_a_package_uses_is_told_with_the_package() -> None:
    found = rows(
        ("RUN pip install torch", [file(f"{SITE}/nvidia/cublas/lib/libcublas.so.12"), file(f"{SITE}/torch/a.py", 10)])
    )
    assert found["CUDA"].note.startswith("torch can use it")
    assert found["CUDA"].line == "RUN pip install --index-url https://download.pytorch.org/whl/cpu torch"


def test_two_libraries_of_linear_algebra_are_told_without_the_largest() -> None:
    found = rows(
        ("RUN pip install scipy", [file(f"{SITE}/numpy.libs/libscipy_openblas64_-1.so", 30 * MB)]),
        ("RUN apt-get install -y libopenblas0", [file("usr/lib/x86_64-linux-gnu/openblas/libopenblas.so.0", 20 * MB)]),
    )
    assert found["2 libraries of linear algebra (BLAS)"].size == 20 * MB


def test_what_is_there_twice_is_known_by_its_content_and_else_only_likely() -> None:
    found = rows(
        ("COPY a /a", [file("a/one", digest=b"1"), file("a/model.bin", 3 * MB)]),
        ("COPY b /b", [file("b/two", digest=b"1"), file("b/three", digest=b"1"), file("b/model.bin", 3 * MB)]),
    )
    assert found["duplicate files"].size == 2 * MB
    assert found["duplicate files"].line == "RUN ln -s /a/one /b/three && ln -s /a/one /b/two"
    assert found["files that are probably duplicates"].size == 3 * MB
    assert found["files that are probably duplicates"].note == (
        "their names and sizes are equal; with b/model.bin in .dockerignore"
    )


def test_an_image_of_a_gigabyte_takes_less_than_a_second() -> None:
    """Of the processor's time, which does not depend on what else the machine does."""
    layers = [
        SlimLayer(
            f"RUN step {layer}",
            [
                file(
                    f"{SITE}/package{number % 300}/{'tests' if number % 9 else 'core'}/module{layer}-{number}.py",
                    20_000,
                )
                for number in range(10_000)
            ],
        )
        for layer in range(5)
    ]
    before = time.process_time()
    found = find_savings(layers)
    assert time.process_time() - before < 1
    assert found.total == 1_000 * MB


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busybox_layout: BaseImage) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    yield
    embedded_builder().close()


BEFORE = """
FROM busybox
RUN mkdir -p /root/.cache/pip && dd if=/dev/urandom of=/root/.cache/pip/a bs=1M count=3
COPY big /data/big
RUN chown -R 1000 /data
RUN dd if=/dev/urandom of=/scratch bs=1M count=4
RUN rm /scratch
RUN echo <b>bold</b> > /x
"""
AFTER = """
FROM busybox
RUN --mount=type=cache,target=/root/.cache/pip dd if=/dev/urandom of=/root/.cache/pip/a bs=1M count=3
COPY --chown=1000 big /data/big
RUN dd if=/dev/urandom of=/scratch bs=1M count=4 && rm /scratch
RUN echo '<b>bold</b>' > /x
"""


def test_what_is_told_of_a_built_image_is_what_its_lines_save(store: None) -> None:
    context = {"big": bytes(range(256)) * 8192}
    pybuild_magic.build(BEFORE.replace("<b>bold</b>", "'<b>bold</b>'"), context, tags=["before"], progress="quiet")
    pybuild_magic.build(AFTER, context, tags=["after"], progress="quiet")
    before, after = slim("before"), slim("after")
    assert isinstance(before, ShownSavings)
    assert [(row.what, row.size) for row in before.rows] == [
        ("files that a later step removes", 4 << 20),
        ("cache of pip", 3 << 20),
        ("files whose owner or mode a later step changes", 2 << 20),
    ]
    assert after.rows == ()
    assert before.total - after.total == before.size
    text = repr(before)
    assert "instead  RUN dd if=/dev/urandom of=/scratch bs=1M count=4 && rm /scratch" in text
    assert "before: 9.44 MB of " in text
    assert "does not tell --mount" not in text
    page = before._repr_html_()
    assert "COPY --chown=1000:0 big /data/big" in page
    assert "<b>bold" not in page
    with pytest.raises(StoreError, match="The image befor is not in the store"):
        slim("befor")
