"""`python -m pybuild_magic`: the `pybuild` command."""

from .cli import entry

entry()
