"""`pybuild env` and `pybuild test`: an environment as a Dockerfile, and notebooks that verify it."""

from __future__ import annotations

from ..environments.options import freeze_options_of, test_options_of
from ..errors import UsageError
from ..request.flags import ParsedFlags
from .messages import tell


def environment(flags: ParsedFlags) -> int:
    """Print the Dockerfile of this Python's environment, or write it with its files. Raises BuildError."""
    from ..environments.freeze import freeze

    options = freeze_options_of(flags)
    frozen = freeze(options)
    for note in frozen.notes:
        tell(note)
    if options.write:
        print(frozen.command(options.write))
        return 0
    print(frozen.dockerfile, end="")
    tell(f"Its files are {', '.join(sorted(frozen.files))}: write them with --write DIR.")
    return 0


def test(flags: ParsedFlags) -> int:
    """Run notebooks in an image; returns 1 when one does not show what it showed. Raises BuildError."""
    from ..environments.testing import verify_notebooks

    options = test_options_of(flags)
    if not options.image:
        raise UsageError(
            "pybuild test needs an image: --in REF.", hint="For instance: pybuild test analysis.ipynb --in env"
        )
    report = verify_notebooks(flags.arguments, options.image, options)
    print(report)
    return 0 if report else 1
