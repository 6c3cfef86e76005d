"""`python -m pybuild_magic`: the `pybuild` command."""

from .cli import entry

if __name__ == "__main__":
    entry()
