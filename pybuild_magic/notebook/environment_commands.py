"""The commands of `%build` for environments: `env` freezes the kernel's, `test` runs notebooks in an image's."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..display.table import Document, Table
from ..environments.options import FREEZE_FLAGS, TEST_FLAGS, freeze_options_of, test_options_of
from ..errors import UsageError
from ..oci import reference
from ..request.flags import ParsedFlags
from .cells import next_cell, shell
from .command import command

if TYPE_CHECKING:
    from ..environments.frozen import Frozen
    from ..environments.installed import Environment
    from ..environments.testing import TestReport
    from ..result import BuildResult

_frozen: dict[str, Environment] = {}
"""The environments that were frozen in this kernel, by the names of their images."""
_TEST = "%build test analysis.ipynb --in env"
_own_variables: set[str] = set()
"""Variables of the notebook that `%build env` has made."""


@command(
    "env",
    "[NAME]",
    takes="one name, that of the image",
    hint="For instance: %build env analysis:1",
    names=("image",),
    flags=FREEZE_FLAGS,
)
def environment(flags: ParsedFlags) -> Document:
    """Freeze this kernel's environment: the next cell is the Dockerfile of an image that has it."""
    from ..environments.freeze import freeze

    options = freeze_options_of(flags)
    names: dict[str, Any] = shell().user_ns
    # `In` has the text of a magic, and with it what a cell of %%time imports, as a string.
    cells: list[str] = shell().history_manager.input_hist_raw
    frozen = freeze(options, code=[cell for cell in cells if cell])
    variable = _variable(names)
    names[variable] = dict(frozen.files)
    next_cell(frozen.cell(variable))
    _frozen[str(reference.parse(frozen.name).tagged())] = frozen.environment
    return describe(frozen, options.write, f"The next cell builds it; ${variable} are its files.")


def describe(frozen: Frozen, directory: str, what_next: str) -> Document:
    """Return the report on a frozen environment."""
    requested = [distribution.name for distribution in frozen.environment.values() if distribution.requested]
    count = f"{len(frozen.environment)} distributions, {len(requested)} of them requested directly"
    if not frozen.environment:
        count = "The packages that the notebook's language locked"
    files = ", ".join(sorted(frozen.files))
    lines = [f"{count}. {what_next}", f"Files: {files}"]
    if directory:
        lines.append(f"Written to {directory}; in a terminal: {frozen.command(directory)}")
    parts = [("", "\n".join(lines))]
    if frozen.notes:
        parts.append(("Notes", "\n".join(frozen.notes)))
    return Document(tuple(parts))


def _variable(names: Mapping[str, Any]) -> str:
    """Return a name for the variable with the files, other than those of the user's own variables."""
    number, name = 1, "files"
    while name in names and name not in _own_variables:
        number += 1
        name = f"files{number}"
    _own_variables.add(name)
    return name


def compared(result: BuildResult, tags: Sequence[str]) -> Table | None:
    """Return how an image that was just built compares with the environment that was frozen for it, if one was."""
    here = next((frozen for tag in tags if (frozen := _frozen.get(str(reference.parse(tag).tagged())))), None)
    contents = result.image.contents if result.image else None
    if here is None or contents is None:
        return None
    from ..environments.base import release_of
    from ..environments.installed import installed_in
    from ..environments.kernel_dockerfile import PREFIX
    from ..environments.versions import compare, shown

    tree = contents.tree(contents.manifest(""))
    rows = compare(here, installed_in(tree, PREFIX.lstrip("/")))
    return shown(rows, platform.python_version(), release_of(tree, (f"{PREFIX}/bin",)))


def show_comparison(result: BuildResult, tags: Sequence[str]) -> None:
    """Show how the image of a build compares with the frozen environment, below the build."""
    if not _frozen:
        return
    table = compared(result, tags)
    if table is not None:
        display = cast("Any", sys.modules["IPython"]).display.display
        display(table)


@command("test", "NB.ipynb...", takes="notebooks", hint=_TEST, names=("file",), flags=TEST_FLAGS)
def test(flags: ParsedFlags) -> TestReport:
    """Run notebooks on the own kernel of the image that --in names; compare what they show with what they showed."""
    from ..environments.testing import verify_notebooks

    options = test_options_of(flags)
    if not options.image:
        raise UsageError("%build test takes --in REF, an image.", hint=_TEST)
    return verify_notebooks(flags.arguments, options.image, options)
