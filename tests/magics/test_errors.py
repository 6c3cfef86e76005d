"""A mistake is told in a line or a short report, with what to do next, and never as a traceback of ours."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from pybuild_magic import BuildError
from pybuild_magic.builders import embedded_builder
from pybuild_magic.errors import Interrupted, RunError
from pybuild_magic.images.load import load_image
from tests.services.baseimages import BaseImage

from .conftest import Shell

SCRATCH = "\nFROM scratch\nENV A=1\n"

LINES = [
    ("%%build --tga x" + SCRATCH, "Unknown flag --tga. Did you mean --tag?"),
    ("%%build -z" + SCRATCH, "Unknown flag -z."),
    ("%%build --tag" + SCRATCH, "--tag needs a value"),
    ("%%build --progress=loud" + SCRATCH, "--progress 'loud' is not known"),
    ("%%build --push=maybe" + SCRATCH, "true or false"),
    ("%%build -o type=ocy,dest=x" + SCRATCH, "Did you mean type=oci?"),
    ("%%build -o type=oci" + SCRATCH, "dest is required"),
    ("%%build -o type=oci,dest=x,compresion=gzip" + SCRATCH, 'Did you mean "compression"?'),
    ("%%build -o -" + SCRATCH, "cannot write an archive to standard output"),
    ("%%build -o dest=x" + SCRATCH, "has no type"),
    ("%%build --push" + SCRATCH, "Add -t NAME."),
    ("%%build --into 1x" + SCRATCH, "not the name of a variable"),
    ("%%build -f other" + SCRATCH, "The cell is the Dockerfile"),
    ("%%build a b" + SCRATCH, "takes one context"),
    ("%%build $site b" + SCRATCH, "takes one context"),
    ("%%build $site $other" + SCRATCH, "takes one context"),
    ("%%build nowhere" + SCRATCH, "The context nowhere does not exist."),
    ("%%build $numbers" + SCRATCH, "'n' of the context is a int, not text or bytes."),
    ("%%build -o type=tar,dest=$name.tar -" + SCRATCH, "$name.tar cannot be expanded. Write {name}"),
    ("%%build 'open" + SCRATCH, "Check its quotes."),
    ("%%build --builder other" + SCRATCH, "There is no builder 'other'"),
    ("%%build --ulimit nofil=1" + SCRATCH, "Did you mean nofile?"),
    ("%%build --secret src=x" + SCRATCH, "has no id"),
    ("%%build -t UPPER" + SCRATCH, "lowercase"),
    ("%build imags", "Did you mean %build images?"),
    ("%build inspect", "takes one image"),
    ("%build inspect nothing", "The image nothing is not in the store."),
    ("%build rm", "takes the names of images"),
    ("%build rm nothing", "The image nothing is not in the store."),
    ("%build du extra", "does not take extra"),
    ("%build prune --untl 24h", "Did you mean --until?"),
    ("%build prune --until soon", "not a duration"),
    ("%build history nothing", "no builds 'nothing'"),
    ("%build fsck --fix", "It takes --repair."),
]


@pytest.mark.parametrize(("source", "message"), LINES, ids=[line.splitlines()[0] for line, _ in LINES])
def test_a_mistake_in_the_line_is_one_line(shell: Shell, source: str, message: str) -> None:
    shell.names.update(site={"a": "a"}, other={"b": "b"}, name="x", numbers={"n": 1})
    error = shell.fail(source)
    assert isinstance(error, BuildError)
    assert message in str(error)
    printed = (shell.out + shell.err).strip()
    assert "Traceback" not in printed
    assert len(printed.splitlines()) == 1
    assert message in printed


def test_a_syntax_error_shows_its_line(shell: Shell) -> None:
    shell.fail("%%build -\nFROM scratch\nFRMO scratch\n")
    assert ">>> FRMO scratch" in shell.out + shell.err
    assert "did you mean FROM?" in shell.out + shell.err
    assert "Traceback" not in shell.out + shell.err


def test_a_missing_file_says_so_where_it_is_copied(shell: Shell) -> None:
    shell.fail("%%build -\nFROM scratch\nCOPY missing /\n")
    printed = shell.out + shell.err
    assert ">>> COPY missing /" in printed
    assert '"/missing": not found' in printed
    assert "Traceback" not in printed


def test_a_failing_command_shows_its_last_lines_its_place_and_its_exit_code(
    shell: Shell, busybox_layout: BaseImage
) -> None:
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    error = shell.fail("%%build -\nFROM busybox\nRUN echo what it said; exit 7\n")
    assert isinstance(error, RunError)
    assert error.exit_code == 7
    printed = shell.out + shell.err
    assert "what it said" in printed
    assert ">>> RUN echo what it said; exit 7" in printed
    assert "exit code: 7" in printed
    assert "Traceback" not in printed


def test_an_interrupt_stops_the_build_at_once_and_says_where(shell: Shell, busybox_layout: BaseImage) -> None:
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(2.0, lambda: (press(), None))
    timer.start()
    # What begins tests in the background may leave the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        error = shell.fail("%%build -\nFROM busybox\nRUN echo begun; sleep 100\n")
    finally:
        signal.signal(signal.SIGINT, before)
    took = time.monotonic() - pressed[0]
    timer.join()
    assert isinstance(error, Interrupted)
    assert "RUN echo begun; sleep 100" in str(error)
    assert took < 30, "of the 100 that the step would take"
    assert "CANCELED" in shell.err
    assert "Traceback" not in shell.out + shell.err
    assert shell.run("%%build -\nFROM busybox\nRUN echo again\n").logs
    deadline = time.monotonic() + 30
    while any(b"sleep\x00100\x00" in _read(path) for path in Path("/proc").glob("[0-9]*/cmdline")):
        assert time.monotonic() < deadline, "the step's process is left"
        time.sleep(0.05)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


LONG = "x" * 300


@pytest.mark.parametrize(
    "cell",
    [
        "%build {}",
        "%build -f {} .",
        "%build import {}",
        "%build export {}",
        "%%build -o type=tar,dest={} -" + SCRATCH,
        "%%build -o type=local,dest={} -" + SCRATCH,
        "%%build --build-context c={} -" + SCRATCH + "COPY --from=c . /\n",
        "%%build --build-context c=oci-layout://{} -\nFROM c\n",
        "%%build --secret id=s,src={} -" + SCRATCH,
        "%%build --ssh default={} -" + SCRATCH,
        "%%build --iidfile {} -t x -" + SCRATCH,
        "%bake -f {}",
        "%build ignore -f {}",
        "%build ignore --context {}",
        "%build kernel -v {}:/x nosuch",
        "%build load {}",
        "%build lock -f {} -",
        "%build lock {}",
        "%build repo {}",
        "%build run -v {}:/x busybox true",
        "%build run --mount type=bind,source={},target=/x busybox true",
        "%build run --env-file {} busybox true",
        "%build run {} true",
        "%build save busybox {}",
        "%build test {} --in busybox",
        "%build test nb.ipynb --in busybox --sanitize-with {}",
    ],
)
@pytest.mark.parametrize("word", ["~nosuchuser", "~nosuchuser/x", LONG, f"{LONG}/x", "/dev/null/x"])
def test_a_path_that_cannot_be_is_no_traceback_of_ours(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = shell.ip.run_cell(cell.format(word))
    error = result.error_in_exec or result.error_before_exec
    # A shell, too, takes ~nosuchuser for the name of a file that can be written.
    is_possible = (word.startswith("~") and "COPY" not in cell) or "ignore -f" in cell
    assert isinstance(error, BuildError) or (error is None and is_possible)


@pytest.mark.parametrize("is_page", [False, True])
def test_a_program_that_runs_a_notebook_reads_the_whole_error_and_a_page_one_line(
    is_page: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The page has a card above the line; who executes a notebook, as nbconvert does, may have text alone."""
    import nbformat
    from nbclient import NotebookClient

    source = "import pybuild_magic\npybuild_magic.build('FROM scratch\\nRUN [\"/none\"]\\n', '-', progress='auto')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path))
    client = NotebookClient(notebook, kernel_name="python3", allow_errors=True)
    with client.setup_kernel():
        assert client.kc is not None
        if is_page:
            compose = client.kc.session.msg
            client.kc.session.msg = lambda *args, **more: compose(*args, **({"metadata": {"cellId": "a"}} | more))
        client.execute_cell(notebook.cells[0], 0)
    *shown, error = notebook.cells[0].outputs
    assert [output.output_type for output in shown] == ["display_data"] * len(shown)
    (card,) = (output for output in shown if "text/html" in output.data)
    assert "/none" in card.data["text/html"]
    told = "\n".join(error.traceback)
    if is_page:
        assert told == "Run error at Dockerfile:2: see above."
    else:
        assert "Dockerfile:2" in told and ">>> RUN" in told and "ERROR:" in told
