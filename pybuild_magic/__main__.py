"""The `pybuild` command, as `python -m pybuild_magic` runs it."""

from .cli import entry

if __name__ == "__main__":
    entry()
