"""What `%%build --debug` shows of a step that failed, and the command lines by which terminals are opened."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any, cast

from ..builders import embedded_builder
from ..display.table import Document
from ..errors import RunError, UsageError
from ..run import find_image
from ..run.image import FAILED
from ..store import resolve

_KEPT = ("PYBUILD_HOME", "PYBUILD_RUNG", "PYBUILD_RUNTIME", "PYTHONPATH")
"""Variables of the kernel without which a terminal would have another store, or another program."""
_SHELLS = ("bin/bash", "usr/bin/bash", "bin/sh", "usr/bin/sh", "bin/ash")


def show_state(error: RunError) -> None:
    """Show what a failed step left: its files, and how one gets into it."""
    from IPython import display

    show = cast("Any", display).display
    show(error.files)
    lines = ["%build run @failed COMMAND".ljust(36) + "runs a command in the state of the failed step"]
    lines.append("pybuild run -it @failed".ljust(36) + "opens a shell there, in a terminal")
    show(Document((("State of the failed step", "\n".join(lines)),)))


def terminal_of(_service: object, params: dict[str, Any]) -> dict[str, str]:
    """Answer the page's `{ref}` with what a terminal is to be given, `{command, title}`: a shell in that image.

    `ref` is the name of an image, or `@failed` for what the last failed step left.
    """
    ref = params.get("ref")
    if not isinstance(ref, str) or not ref:
        raise UsageError("The question needs ref, the name of an image or @failed.")
    builder = embedded_builder()
    with builder.store.lease():
        image = find_image(ref)
        tree = builder.store.tree(image.snapshot)
        shell = next((path for path in _SHELLS if tree.get(resolve(tree, path)) is not None), "")
    if not shell:
        raise UsageError(f"{ref} has no shell, so that no terminal can be opened in it.")
    words = [f"{name}={os.environ[name]}" for name in _KEPT if name in os.environ]
    words = ["env", *words] if words else []
    words += [sys.executable, "-m", "pybuild_magic", "run", "-it"]
    words += [] if ref == FAILED else ["--entrypoint", ""]
    return {"command": shlex.join([*words, ref, f"/{shell}"]), "title": f"Terminal in {ref}"}
