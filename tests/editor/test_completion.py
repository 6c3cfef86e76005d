"""What is offered at each place of a cell: `|` is the cursor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders, exporters
from pybuild_magic.builders import embedded_builder
from pybuild_magic.dockerfile import interpret
from pybuild_magic.editor.completion import complete
from pybuild_magic.editor.diagnostics import diagnostics
from pybuild_magic.editor.help import FLAGS as FLAG_HELP
from pybuild_magic.editor.help import INSTRUCTIONS, help_at
from pybuild_magic.editor.offer import Offer
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.commands import COMMANDS
from pybuild_magic.notebook.operands import complete_command
from pybuild_magic.request.outputs import EXPORTERS
from tests.services.baseimages import BaseImage


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, busybox_layout: BaseImage) -> Path:
    root = tmp_path_factory.mktemp("home")
    (root / "src/deep").mkdir(parents=True)
    for name in ("app.py", "secret.env", "src/main.py", ".hidden"):
        (root / name).write_text("")
    (root / ".dockerignore").write_text("*.env\n")
    return root


@pytest.fixture(autouse=True)
def in_home(home: Path, monkeypatch: pytest.MonkeyPatch, busybox_layout: BaseImage) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(home / ".store"))
    monkeypatch.setattr(builders, "_embedded", None)
    monkeypatch.chdir(home)
    store = embedded_builder().store
    if not store.images.list():
        load_image(store, busybox_layout.path, "busybox:latest")
    yield
    embedded_builder().close()


def offered(marked: str, names: dict[str, object] | None = None) -> Offer:
    offset = marked.index("|")
    commands = {name: command.about for name, command in COMMANDS.items()}
    found = complete(marked.replace("|", "", 1), offset, names, commands, complete_command)
    assert found is not None
    assert marked[:offset].endswith(found.fragment)
    return found


def texts(marked: str, names: dict[str, object] | None = None) -> list[str]:
    return [item.text for item in offered(marked, names).items]


STAGES = "%%build\nARG VERSION=1\nFROM busybox AS base\nARG NAME\nENV HOME_DIR=/h\nFROM base AS app\nENV MODE=x\n"


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("%%build\n|", [*INSTRUCTIONS]),
        ("%%build\nFROM a\nCO|", ["COPY"]),
        ("%%build\nFROM a\nco|", ["copy"]),
        ("%%build\nFROM a\nONBUILD RU|", ["RUN"]),
        ("%%build\nFROM a\nCOPY --ch|", ["--chown=", "--chmod="]),
        ("%%build\nFROM a\nRUN \\\n  --ne|", ["--network="]),
        ("%%build\nFROM a\nRUN --network=n|", ["none"]),
        ("%%build\nFROM a\nRUN --mount=|", ["type=", "target=", "source=", "from=", "rw"]),
        ("%%build\nFROM a\nRUN --mount=type=ca|", ["cache"]),
        ("%%build\nFROM a\nRUN --mount=type=cache,sh|", ["sharing="]),
        ("%%build\nFROM a\nRUN --mount=type=cache,sharing=l|", ["locked"]),
        ("%%build\nFROM a\nRUN --mount=type=bind,source=s|", ["src/"]),
        ("%%build\nFROM b|", ["busybox:latest"]),
        ("%%build\nFROM busybox A|", ["AS"]),
        (STAGES + "FROM |", ["base", "app", "busybox:latest", "scratch"]),
        (STAGES + "COPY --from=|", ["base", "app", "busybox:latest"]),
        (STAGES + "RUN --mount=type=cache,from=a|", ["app"]),
        (STAGES + "LABEL x=$M|", ["MODE"]),
        (STAGES + "LABEL x=${|", ["MODE}", "HOME_DIR}", "NAME}", "PATH}"]),
        ("%%build\nARG VERSION=1\nFROM a:$V|", ["VERSION"]),
        ("%%build\nARG VERSION=1\nFROM a\nARG V|", ["VERSION"]),
        (
            "%%build\nFROM --platform=$BUILD|",
            ["BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT"],
        ),
        ("%%build\nFROM a\nCOPY |", ["app.py", "src/"]),
        ("%%build\nFROM a\nCOPY --link src/|", ["deep/", "main.py"]),
        ("%%build src\nFROM a\nCOPY m|", ["main.py"]),
        ("%%build\nFROM a\nCOPY ../|", []),
        ("%%build\nFROM a\nCOPY --from=x ap|", []),
        ("%%build\nFROM a\nRUN <<E\nCO|", []),
        ("%%build\nFROM a\nRUN <<E\necho\nE\nCO|", ["COPY"]),
        ("%%build\nFROM a\nRUN echo ap|", []),
        ("%%build\n# check=skip=Work|", ["WorkdirRelativePath"]),
        ("%%build\nFROM a\nHEALTHCHECK |", ["CMD", "NONE"]),
        ("%%build\nFROM a\nSTOPSIGNAL SIGI|", ["SIGINT"]),
        ("%build save bus|", ["busybox:latest"]),
        ("%build save busybox:latest ap|", ["app.py"]),
        ("%build load ap|", ["app.py"]),
        ("%build load src/|", ["deep/", "main.py"]),
        ("%build rm ap|", []),
        ("%build run bus|", ["busybox:latest"]),
        ("%build run @f|", ["@failed"]),
        ("%build run --entry|", ["--entrypoint"]),
        ("%build run -it --network n|", ["none"]),
        ("%build run -e A busy|", ["busybox:latest"]),
        ("%build run busybox -|", []),
        ("%%build run --wor|\necho", ["--workdir"]),
        ("%%build run busybox\nFR|", []),
        ("%build exec --ti|", []),
        ("%build volumes p|", ["prune"]),
        ("%build kernel --add-i|", ["--add-ipykernel"]),
        ("%build kernel --tt|", []),
        ("%build imagetools cr|", ["create"]),
        ("%build imagetools create --ap|", ["--append"]),
        ("%build imagetools create -t bus|", ["busybox:latest"]),
        ("%build sbom --format s|", ["spdx"]),
        ("%build test --in=bus|", ["busybox:latest"]),
        ("%build test --junit ap|", ["app.py"]),
        ("%build repo sr|", ["src/"]),
        ("%build use emb|", ["embedded"]),
        ("%build lock --no-c|", ["--no-cache", "--no-cache-filter"]),
        ("%build prune --re|", ["--reserved-space"]),
        ("%build lock --target |", []),
        ("%%build --no-c|", ["--no-cache", "--no-cache-filter"]),
        ("%%build --network n|", ["none"]),
        ("%%build --target |\nFROM a AS one\nRUN x\nFROM one AS two", ["one", "two"]),
        ("%%build --build-arg V|\nARG VERSION=1\nFROM a", ["VERSION="]),
        ("%%build -t x \\\n --progress=ra|\nFROM a", ["rawjson"]),
        ("%%build -o ty|", ["type="]),
        ("%%build -o type=o|", ["oci"]),
        ("%%build --output=type=local,mo|", ["mode="]),
        ("%%build --output type=oci,compression=z|", ["zstd"]),
        ("%%build --secret id=|\nFROM a\nRUN --mount=type=secret,id=token x", ["token"]),
        ("%%build --call ch|", ["check"]),
        ("%%build s|", ["src/"]),
        ("%build images|", ["images"]),
        ("%build inspect b|", ["busybox:latest"]),
        ("%build -f ap|", ["app.py"]),
    ],
)
def test_what_fits_is_offered(marked: str, expected: list[str]) -> None:
    assert texts(marked) == expected


def test_a_dict_is_a_context() -> None:
    names: dict[str, object] = {"files": {"a.txt": "a", "d/b.txt": "b"}, "number": 1}
    assert texts("%%build $f|", names) == ["$files"]
    assert texts("%%build $files\nFROM a\nCOPY |", names) == ["a.txt", "d/"]


@pytest.mark.parametrize("kind", EXPORTERS)
def test_every_attribute_of_an_exporter_is_offered_with_its_type_and_doc(kind: str) -> None:
    items = {item.text.removesuffix("="): item.doc for item in offered(f"%%build -o type={kind},|").items}
    for attribute in exporters.get(kind).attributes:
        if attribute.kind != "annotation":
            assert items[attribute.name].startswith(attribute.kind)
            assert items[attribute.name].endswith(attribute.doc)


def test_a_cell_that_is_no_build_is_not_ours() -> None:
    assert complete("x = 1\nCO", 8) is None
    assert complete("%%builder\nCO", 12) is None


def test_every_instruction_and_flag_has_help() -> None:
    assert {name.lower() for name in INSTRUCTIONS} == set(interpret.KEYWORDS)
    assert {name: set(flags) for name, flags in FLAG_HELP.items()} == {n: set(f) for n, f in interpret.FLAGS.items()}


@pytest.mark.parametrize(
    ("marked", "usage"),
    [
        ("%%build\nFROM x\nCO|PY a b", "COPY [flags] SOURCE… DEST"),
        ("%%build\nFROM x\nONBUILD R|UN a", "RUN [flags] command"),
        ("%%build\nFROM x\nCOPY --li|nk a b", "COPY --link=…"),
        ("%%build\nFROM x\nRUN \\\n  --mou|nt=type=cache,target=/x make", "RUN --mount=…"),
        ("%%build -t x --pu|sh\nFROM x", "--push"),
        ("%%build --targ|et=x\nFROM x", "--target STAGE"),
        ("%%build -o type=oci,des|t=x\nFROM x", "type=oci,dest=…"),
        ("%%build --output=type=image,push=tr|ue\nFROM x", "type=image,push=…"),
        ("%build -o| type=oci", "--output type=TYPE,dest=PATH,..."),
    ],
)
def test_help_is_about_the_word_at_the_cursor(marked: str, usage: str) -> None:
    found = help_at(marked.replace("|", ""), marked.index("|"))
    assert found is not None
    assert found.usage == usage


@pytest.mark.parametrize(
    "marked", ["%%build\nRUN ec|ho", "%%build\nRUN co|py", "x = 1|", "%%build -t x|\nFROM a", "%%build|"]
)
def test_other_words_have_no_help(marked: str) -> None:
    assert help_at(marked.replace("|", ""), marked.index("|")) is None


def test_nothing_that_is_typed_breaks_it() -> None:
    text = (
        '%%build -t "x \\\n --o\ud800 $é {\n# escape=`\n# check=skip=\n\\\n`\nFROM 𝒳$ AS\nARG =\nRUN <<"E F"\n'
        "\x00\r\nE F\nONBUILD \nCOPY --from= --x=\\\n  ../.. [\nRUN --mount=type=,=,\nENV ${\nCMD [\n"
    )
    for end in range(len(text) + 1):
        prefix = text[:end]
        found = complete(prefix, end)
        assert found is None or prefix.endswith(found.fragment)
        help_at(prefix, end)
        assert all(1 <= one.line <= prefix.count("\n") + 1 for one in diagnostics(prefix))
