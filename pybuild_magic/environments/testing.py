"""Verification that notebooks run in an image: nbval runs them on the image's own kernel, and compares outputs."""

from __future__ import annotations

import glob
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ..builders import embedded_builder
from ..display.table import Document, Table
from ..display.words import human_bytes, seconds
from ..errors import UnsupportedError, UsageError, unwritable
from ..kernels.spec import InstalledKernel, install
from ..portable import kind_of, user_path
from ..run import RunOptions, find_image
from ..temporary import temporary_directory
from .imports import notebook_of
from .options import TestOptions

_LOG_LINES = 6
"""Of what a kernel said that could not be started; a traceback ends with the reason."""
_WORDS = {"passed": "same", "failed": "error", "skipped": "skipped"}
_REPLACEMENT = re.compile(r"^regex: (.*)\nreplace: .*$", re.MULTILINE)
"""A replacement in a file of nbval's."""


class CellReport(msgspec.Struct, frozen=True):
    """The outcome of a code cell. `number` is its number among the notebook's code cells, from 1."""

    notebook: str
    number: int
    source: str
    verdict: str
    """`same`, `differs`, `ran` (without being compared), `error` or `skipped`."""
    seconds: float
    memory: int
    """The peak memory of the kernel while the cell ran, in bytes."""
    text: str = ""
    """The difference, or the error."""


class TestReport(msgspec.Struct, frozen=True):
    """The outcome of notebooks in an image; true when all ran with the same outputs."""

    __test__ = False

    image: str
    cells: tuple[CellReport, ...]
    output: str = ""
    """The output of pytest."""

    def __bool__(self) -> bool:
        return bool(self.cells) and all(cell.verdict in ("same", "ran", "skipped") for cell in self.cells)

    @property
    def failures(self) -> tuple[CellReport, ...]:
        """The cells that failed, or whose output differs."""
        return tuple(cell for cell in self.cells if cell.verdict in ("differs", "error"))

    def table(self) -> Table:
        """Return a row for each cell."""
        several = len({cell.notebook for cell in self.cells}) > 1
        rows = tuple(
            (
                f"{cell.notebook} [{cell.number}]" if several else f"[{cell.number}]",
                cell.verdict,
                _first_line(cell.source),
                seconds(cell.seconds),
                human_bytes(cell.memory) if cell.memory else "",
            )
            for cell in self.cells
        )
        verdicts = [cell.verdict for cell in self.cells]
        counts = ", ".join(_counted(verdicts.count(verdict), verdict) for verdict in dict.fromkeys(sorted(verdicts)))
        cells = f"{len(rows)} cells" if len(rows) > 1 else "1 cell"
        note = f"{cells} in {self.image}: {counts}." if rows else "There is no code to run."
        if rows and not {"same", "differs"} & {*verdicts}:
            note += " No output was compared."
        return Table(("CELL", "RESULT", "CODE", "TIME", "MEMORY"), rows, note, frozenset({"TIME", "MEMORY"}))

    def _differences(self) -> Document:
        return Document(tuple((f"{cell.notebook}, cell {cell.number}", cell.text) for cell in self.failures))

    def __repr__(self) -> str:
        return "\n\n".join([repr(self.table()), *([repr(self._differences())] if self.failures else [])])

    def _repr_html_(self) -> str:
        parts: list[Any] = [self.table(), *([self._differences()] if self.failures else [])]
        return "".join(part._repr_html_() for part in parts)


def _check_patterns(name: str) -> None:
    """Raise UsageError when a file of replacements has none, or one that is no regular expression."""
    patterns = _REPLACEMENT.findall(user_path(name).read_text("utf-8", "replace"))
    if not patterns:
        raise UsageError(
            f"--sanitize-with {name} has no replacements.", hint="Write pairs of lines: `regex: …` and `replace: …`."
        )
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--sanitize-with {name} has {pattern!r}, no regular expression: {error}.") from error


def _counted(count: int, verdict: str) -> str:
    several = {"differs": "differ", "error": "errors"} if count > 1 else {}
    return f"{count} {several.get(verdict, verdict)}"


def verify_notebooks(
    notebooks: Sequence[str | Path], image: Any, options: TestOptions | None = None, **arguments: Any
) -> TestReport:
    """Run notebooks on the kernel of an image, and return how each cell compares with its stored output.

    The kernel sees nothing of this machine except the notebooks, and the mounts of `run`. Arguments are the fields of
    TestOptions. Raises UsageError for a file that is not a notebook and for an image without a kernel, UnsupportedError
    without nbval.
    """
    options = options or TestOptions(**arguments)
    if not notebooks:
        raise UsageError("No notebook was named.", hint="For instance: analysis.ipynb --in env")
    if options.junit:
        _check_writable(user_path(options.junit).absolute())
    if options.sanitize_with and kind_of(user_path(options.sanitize_with)) != "file":
        raise UsageError(f"--sanitize-with {options.sanitize_with} is not a file.")
    missing = [name for name in ("pytest", "nbval") if find_spec(name) is None]
    if missing:
        raise UnsupportedError(f"Testing notebooks needs {' and '.join(missing)}.", hint="pip install nbval")
    if options.sanitize_with:
        _check_patterns(options.sanitize_with)
    documents = {name: _document(user_path(name)) for pattern in notebooks for name in _matching(str(pattern))}
    reference = image if isinstance(image, str) else _name_of(image)
    with temporary_directory("pybuild-test-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        kernels = install(reference, _by_its_user(reference, options.run), "in-image", prefix=str(root / "prefix"))
        paths = {_place(root / "notebooks", number, str(name)): name for number, name in enumerate(documents)}
        for path, name in paths.items():
            _write(path, documents[name], kernels)
        log = root / "kernel.log"
        for kernel in kernels:
            _log_errors(Path(kernel.path, "kernel.json"), log)
        lines, output = _run(root, paths, options)
        cells = tuple(_cell(line, _end_of(log)) for line in lines)
    stored = (cell for document in documents.values() for cell in document["cells"])
    if not cells and any(cell.get("cell_type") == "code" for cell in stored):
        raise UsageError("The notebooks could not be run.", hint=output.strip()[-2000:])
    return TestReport(reference, cells, output)


def _by_its_user(reference: str, options: RunOptions) -> RunOptions:
    """Return the options with the image's own user, as `docker run` has it, and not the one who owns the notebooks."""
    with embedded_builder().store.lease():
        image = find_image(reference, options.platform)
    return msgspec.structs.replace(options, user=image.config.config.user)


def _check_writable(path: Path) -> None:
    """Raise ExportError if a file cannot be written, which pytest would say with a traceback, after the tests."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise unwritable(f"--junit {path}", error) from None


def _name_of(image: Any) -> str:
    image = getattr(image, "image", image)
    names: tuple[str, ...] = getattr(image, "names", ())
    if not names:
        raise UsageError("Only an image with a name can be tested.", hint="Build it with -t NAME.")
    return names[0]


def _matching(name: str) -> list[str]:
    """Return the notebooks that a pattern such as `*.ipynb` means; a name as it is. Raises UsageError for none."""
    if not glob.has_magic(name) or kind_of(user_path(name)):
        return [name]
    path = user_path(name)
    names = sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    if not names:
        raise UsageError(f"No notebook matches {name}.")
    return names


def _document(path: Path) -> dict[str, Any]:
    # The types of its functions are partly unknown.
    nbformat: Any = importlib.import_module("nbformat")
    try:
        text = path.read_text("utf-8")
        document = notebook_of(text, path, hint="Give an .ipynb file of format 4.")
        nbformat.reader.reads(text)  # as nbval does
        return document
    except nbformat.ValidationError as error:
        raise UsageError(f"{path} is not a valid notebook: {error.message}.", hint="Save it in Jupyter.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UsageError(f"The notebook {path} cannot be read: {reason}.") from None


def _place(root: Path, number: int, name: str) -> Path:
    """Return the directory in which a notebook is run: a separate one, so that it sees only itself."""
    folder = root / str(number)
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    return folder / Path(name).name


def _write(path: Path, document: dict[str, Any], kernels: tuple[InstalledKernel, ...]) -> None:
    """Write a notebook that requests the image's kernel: that of its own name or language, or the first."""
    metadata: dict[str, Any] = document.setdefault("metadata", {})
    kernelspec: dict[str, Any] = metadata.get("kernelspec") or {}
    chosen = next((kernel for kernel in kernels if kernel.kernel == kernelspec.get("name")), kernels[0])
    metadata["kernelspec"] = {**kernelspec, "name": chosen.name, "display_name": chosen.display_name}
    path.write_text(json.dumps(document), "utf-8")


def _log_errors(spec: Path, log: Path) -> None:
    """Make the kernel of a kernelspec write its errors to a file: nbval discards them."""
    document: dict[str, Any] = json.loads(spec.read_text("utf-8"))
    document["argv"] = ["sh", "-c", f'exec "$@" 2>>{shlex.quote(str(log))}', "sh", *document["argv"]]
    spec.write_text(json.dumps(document), "utf-8")


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    return "\n".join(["The image's kernel ended before it answered.", *lines[-_LOG_LINES:]])


def _run(root: Path, paths: Mapping[Path, str], options: TestOptions) -> tuple[list[dict[str, Any]], str]:
    """Run pytest with nbval alone on notebooks, whose names it tells; return its lines of the report, and output."""
    report = root / "report"
    command = [
        *(sys.executable, "-m", "pytest", "-p", "nbval.plugin", "-p", "pybuild_magic.environments.nbval_report"),
        *("-p", "no:cacheprovider", "--color=no", "-q", f"--rootdir={root}"),
        # Above its own directory, pytest would run a conftest.py of anybody, and list what it may not list.
        *(f"--confcutdir={root}", "-c", os.devnull),
        "--nbval-lax" if options.lax else "--nbval",
        *(f"--nbval-cell-timeout={options.timeout}", "--nbval-kernel-startup-timeout=120"),
        *(f"--pybuild-report={report}", f"--pybuild-names={json.dumps({str(path): paths[path] for path in paths})}"),
    ]
    if options.sanitize_with:
        command.append(f"--nbval-sanitize-with={user_path(options.sanitize_with).absolute()}")
    if options.junit:
        command.append(f"--junitxml={user_path(options.junit).absolute()}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    search = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), environment.get("PYTHONPATH", ""))))
    places = os.pathsep.join(filter(None, (str(root / "prefix/share/jupyter"), environment.get("JUPYTER_PATH", ""))))
    environment |= {
        "PYTHONPATH": search,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "JUPYTER_PATH": places,
    }
    done = subprocess.run(
        [*command, *map(str, paths)],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace")
    lines = report.read_text("utf-8").splitlines() if report.is_file() else []
    return [json.loads(line) for line in lines], output


def _cell(line: dict[str, Any], why_not_started: str) -> CellReport:
    verdict = _WORDS[line["outcome"]]
    if line["differs"]:
        verdict = "differs"
    elif verdict == "same" and not line["compared"]:
        verdict = "ran"
    return CellReport(
        line["notebook"],
        line["cell"],
        line["source"],
        verdict,
        line["seconds"],
        line["memory"],
        line["text"] if line["started"] or not line["text"] else why_not_started,
    )


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return (lines[0][:60] + ("…" if len(lines[0]) > 60 or len(lines) > 1 else "")) if lines else ""
