"""No text of a build reaches a terminal but as text: with its colours, and with nothing that commands a terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pybuild_magic
from pybuild_magic.api.run import run
from pybuild_magic.builders import use
from pybuild_magic.cancel import Cancel
from pybuild_magic.display.calls import call_result
from pybuild_magic.errors import BuildError
from pybuild_magic.notebook import commands
from pybuild_magic.request.parse import parse_options
from pybuild_magic.result import FileTree
from tests.services.buildkit import Engine

from .lab import Home

# The clipboard, a title, a question to the terminal, the screen, the cursor, a C1 command, a bell and a hidden word.
ATTACK = "\x1b]52;c;aGk=\x07\x1b]0;owned\x1b\\\x1b[6n\x1b[c\x1b[2J\x1b[H\x9b2J\x1bP$q\x1b\\\x07\x1b[8mhidden"
SHELL = ATTACK.replace("\\", "\\134").replace("\x1b", "\\033").replace("\x07", "\\007").replace("\x9b", "\\302\\233")
COMMANDS = re.compile(r"\x1b(?!\[[0-9;:]*m)|\x1b\[[0-9;:]*\b8m|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
"""All that no terminal may be given; what is left are colours, tabs and line ends."""

DOCKERFILE = f"""FROM busybox
ARG bad
LABEL "name $bad"="value $bad"
ENV A="$bad"
COPY ["na*", "/in/"]
RUN printf '\\033[31mred \\033[1mbold\\n{SHELL} plain\\nlast\\033[0m\\n'
RUN cd /in && touch "$(printf 'made{SHELL}')"
"""
OPTIONS: dict[str, Any] = {"build_args": {"bad": ATTACK}, "labels": {f"na{ATTACK}me": ATTACK}}
FILES = {f"na{ATTACK}me": b"content"}


@pytest.fixture(params=["embedded", "docker://"])
def builder(request: pytest.FixtureRequest, engine: Engine, home: Home, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{engine.env['DOCKER_CONFIG']}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("pybuild_magic.builders._used", "", raising=False)
    return request.param


def printed(call: Callable[[], object]) -> tuple[str, object]:
    """What is written to the terminal, and what is returned."""
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        answer = call()
        return sys.stderr.getvalue(), answer
    finally:
        sys.stderr = before


def harmless(text: str) -> str:
    assert not (found := COMMANDS.search(text)), ascii(text[max(0, found.start() - 80) : found.end() + 80])
    return text


@pytest.mark.parametrize("progress", ["plain", "rawjson"])
def test_what_a_build_prints(builder: str, progress: str) -> None:
    shown, _ = printed(
        lambda: pybuild_magic.build(DOCKERFILE, FILES, builder=builder, progress=progress, no_cache=True, **OPTIONS)
    )
    harmless(shown)
    if progress == "plain":
        assert re.search(r"#\d+ [\d.]+ \x1b\[31mred \x1b\[1mbold\x1b\[0m\n", shown)
        assert re.search(r"#\d+ [\d.]+ \x1b\[31m\x1b\[1m2Jhidden plain\x1b\[0m\n", shown)  # the colours go on


def test_what_a_result_says(builder: str, home: Home, tmp_path: Path) -> None:
    options: dict[str, Any] = OPTIONS | {"builder": builder, "progress": "none"}
    name = "pybuild-terminal"
    output = "type=image" if builder == "embedded" else f"type=oci,dest={tmp_path}/out.tar"
    result = pybuild_magic.build(DOCKERFILE, FILES, outputs=[output], tags=[name], **options)
    assert result.image is not None
    for thing in (result, result.image, result.image.layers, result.image.config, result.image.files):
        harmless(repr(thing))
    assert "made" in harmless(repr(FileTree([file for file in result.image.files if file.path.startswith("in")])))
    other = pybuild_magic.build(DOCKERFILE + "RUN rm -r /in\n", FILES, outputs=[output], tags=[name], **options)
    assert "/in/made" in harmless(repr(other.diff(result)))
    for media, text in result.mime_bundle().items():
        if media == "text/plain":
            harmless(text)


def test_what_an_error_says(builder: str) -> None:
    for last in (f"RUN printf '{SHELL}\\n' && exit 3", 'COPY ["' + ATTACK + '", "/"]', f'FOO "{ATTACK}"'):
        shown, error = printed(lambda last=last: fails(DOCKERFILE + last + "\n", builder))
        harmless(shown)
        assert isinstance(error, BuildError)
        for text in (str(error), error.render(), *error._render_traceback_()):
            harmless(text)
    assert "ERROR" in shown or "FOO" in str(error)


def fails(dockerfile: str, builder: str) -> BuildError:
    with pytest.raises(BuildError) as caught:
        pybuild_magic.build(dockerfile, FILES, builder=builder, progress="plain", **OPTIONS)
    return caught.value


def test_what_the_builder_keeps(home: Home) -> None:
    home.build(DOCKERFILE, FILES, tags=["kept"], **OPTIONS)
    home.fails(DOCKERFILE + f"RUN printf '{SHELL}\\n' && exit 3\n", FILES, **OPTIONS)
    use("embedded")
    ref = home.builder.history()[0].ref
    for command in (["images"], ["du"], ["history"], ["history", ref], ["inspect", "kept"], ["prune", "-a"]):
        answer = commands.COMMANDS[command[0]](command[1:])
        assert harmless(repr(answer))


@pytest.mark.parametrize("call", ["check", "outline", "targets", "check,format=json", "targets,format=json"])
def test_what_a_call_answers(builder: str, call: str) -> None:
    dockerfile = f"# {ATTACK}\nFROM scratch AS a\nARG x{ATTACK}\nCOPY {ATTACK} /\nMAINTAINER {ATTACK}\n"
    method, _, form = call.partition(",")
    options = parse_options([f"--call={call}", f"--builder={builder}"], dockerfile=dockerfile)
    try:
        answer = run(options, None, Cancel())
    except BuildError as error:
        harmless(str(error))
    else:
        harmless(repr(call_result(method, form.removeprefix("format="), answer.metadata["result.json"])))


def test_a_build_in_the_background(home: Home) -> None:
    handle = pybuild_magic.build(DOCKERFILE + f"RUN printf '{SHELL}\\n' && exit 3\n", FILES, background=True, **OPTIONS)
    harmless(repr(handle))
    with pytest.raises(BuildError):
        handle.wait()
    assert "\n" in harmless(repr(handle))  # its report has lines
