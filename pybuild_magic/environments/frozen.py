"""A frozen environment: its Dockerfile, and what a build of it needs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import unwritable
from ..portable import user_path
from ..request.flags import parse_flags
from ..request.table import OPTIONS
from .installed import Environment


class Frozen(msgspec.Struct, frozen=True):
    """An environment as a Dockerfile, with the files and flags for its build."""

    name: str
    dockerfile: str
    files: Mapping[str, str | bytes]
    flags: tuple[str, ...]
    environment: Environment
    """The contents of the image."""
    notes: tuple[str, ...] = ()
    """Notes for the user, in sentences."""

    def cell(self, variable: str = "files") -> str:
        """Return the text of a `%%build` cell; `variable` is the notebook's variable with the files."""
        return f"%%build {shlex.join(self.flags)} ${variable}\n{self.dockerfile}"

    def command(self, directory: str) -> str:
        """Return the command that builds it in a terminal, from the directory to which it was written."""
        return shlex.join(("pybuild", "build", *self.flags, directory))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments with which `pybuild_magic.build` builds it: `build(**frozen.arguments)`."""
        names = {option.name: option.argument for option in OPTIONS}
        values: dict[str, Any] = {names[flag]: words for flag, words in parse_flags(self.flags, OPTIONS).values.items()}
        values["build_args"] = dict(pair.split("=", 1) for pair in values["build_args"])
        return {"dockerfile": self.dockerfile, "context": dict(self.files), **values}

    def write(self, directory: str) -> Path:
        """Write the Dockerfile and the files to a directory. Raises ExportError."""
        root = user_path(directory)
        try:
            for name, content in {**self.files, "Dockerfile": self.dockerfile}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise unwritable(root, error) from None
        return root
