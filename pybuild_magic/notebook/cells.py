"""Cells and files: saving the last cell as a Dockerfile, making a cell of a Dockerfile, writing `.dockerignore`."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from ..display.table import Document
from ..display.words import human_bytes
from ..errors import BuildError, ContextError, ExportError, UsageError, unwritable
from ..portable import kind_of, user_path
from ..request.flags import Flag, Kind, ParsedFlags
from ..store import compression_of
from .command import command

_last: str | None = None


def remember(dockerfile: str) -> None:
    """Remember the Dockerfile of a cell that is run, for `%build export`."""
    global _last
    _last = dockerfile


_ONE_FILE = {"takes": "one file", "hint": "The default is Dockerfile.", "names": ("file",)}


@command(
    "export", "[FILE]", flags=(Flag("force", Kind.BOOL, "", "Overwrite an existing file", short="f"),), **_ONE_FILE
)
def export_cell(flags: ParsedFlags) -> Document:
    """Save the Dockerfile of the last %%build cell."""
    if _last is None:
        raise UsageError("There is no cell to export yet.", hint="Run a %%build cell first.")
    path = user_path(flags.arguments[0] if flags.arguments else "Dockerfile")
    path = path / "Dockerfile" if kind_of(path) == "directory" else path
    if kind_of(path) and not flags.on("force"):
        raise ExportError(f"{path} already exists.", hint="%build export -f overwrites it.")
    text = _last if _last.endswith("\n") else _last + "\n"
    try:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise unwritable(path, error) from None
    return Document((("", f"Saved {path}"),))


@command(
    "ignore",
    "[PATTERN...]",
    flags=(
        Flag("context", Kind.ONE, "DIR", "The context to build in, instead of this directory"),
        Flag("file", Kind.ONE, "PATH", "A Dockerfile with a .dockerignore of its own", short="f"),
    ),
    notes="Without patterns, it proposes some.",
)
def ignore(flags: ParsedFlags) -> Document:
    """Write .dockerignore: what images seldom need of the directory, or the given patterns."""
    from ..session.clutter import leave_out

    context, dockerfile = flags.last("context"), flags.last("file")
    root = user_path(context) if context else Path()
    if kind_of(root) != "directory":
        raise UsageError(
            f"The context {context} is not a directory.", hint="Name the build's directory with --context DIR."
        )
    done = leave_out(root, flags.arguments, user_path(dockerfile) if dockerfile else None)
    lines = [f"Added {pattern}" + (f"   {human_bytes(size)}" if size else "") for pattern, size in done.added]
    lines.append(f"{done.path} leaves out {', '.join(done.patterns) or 'nothing'}.")
    if done.data:
        lines.append("Data, which stays in: " + ", ".join(f"{name} {human_bytes(size)}" for name, size in done.data))
    return Document((("", "\n".join(lines)),))


@command("import", "[FILE]", **_ONE_FILE)
def import_file(flags: ParsedFlags) -> None:
    """Make a %%build cell of a Dockerfile, to build in the file's directory."""
    path = user_path(flags.arguments[0] if flags.arguments else "Dockerfile")
    if _holds_images(path):
        raise UsageError(
            f"{path} holds images, not a Dockerfile.", hint=f"%build load {path} brings them into the store."
        )
    path = path / "Dockerfile" if kind_of(path) == "directory" else path
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise ContextError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ContextError(f"{path} is not a text file.") from None
    if compression_of(data) != "uncompressed":  # the first bytes of a bzip2 stream are letters
        raise ContextError(f"{path} is not a text file.")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    folder = "" if path.parent in (Path(), Path().absolute()) else " " + shlex.quote(str(path.parent))
    next_cell(f"%%build{folder}\n{text}")


def next_cell(text: str) -> None:
    """Put a text into a new cell below the running one; in a terminal, into the next prompt."""
    shell().set_next_input(text, replace=False)


def _holds_images(path: Path) -> bool:
    """Return whether a path is an image layout or an archive of images. Files that begin like neither are not read."""
    from ..images.archive import open_images

    try:
        if path.is_dir():
            return (path / "oci-layout").is_file()
        with path.open("rb") as file:
            start = file.read(512)
        if compression_of(start) == "uncompressed" and start[257:262] != b"ustar":
            return False
        with closing(open_images(path)) as images:
            return bool(images.index().manifests)
    except (OSError, BuildError):
        return False


def shell() -> Any:
    """Return IPython's shell. Raises BuildError where there is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        raise BuildError("There is no notebook to put a cell in.")
    return shell
