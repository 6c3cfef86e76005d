"""The state of a failed step, as `%%build --debug` shows it, and the command lines that open terminals."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..builders import embedded_builder
from ..display.table import Document
from ..errors import RunError, UsageError
from ..oci import platform as platforms
from ..results.opening import bare_manifest, opened_layers
from ..run import find_image
from ..run.image import is_failed_step
from ..store import resolve
from ..summary import Summary

if TYPE_CHECKING:
    from ..display.service import Service

_KEPT = ("PYBUILD_HOME", "PYBUILD_RUNG", "PYBUILD_RUNTIME", "PYTHONPATH")
"""The kernel's variables that a terminal needs to use the same store and the same program."""
_SHELLS = ("bin/bash", "usr/bin/bash", "bin/sh", "usr/bin/sh", "bin/ash")


def show_state(error: RunError) -> None:
    """Show the state that a failed step left: its files, and how to enter it."""
    from IPython import display

    show = cast("Any", display).display
    show(error.files)
    lines = ["%build run @failed COMMAND".ljust(36) + "runs a command in the state of the failed step"]
    lines.append("pybuild run -it @failed".ljust(36) + "opens a shell there, in a terminal")
    show(Document((("State of the failed step", "\n".join(lines)),)))


def terminal_of(_service: object, params: dict[str, Any]) -> dict[str, str]:
    """Answer the page's `{ref}` with `{command, title}` for a terminal: a shell in that image.

    `ref` is the name of an image, or of the state that a failed step left, such as `@failed`.
    """
    ref = params.get("ref")
    if not isinstance(ref, str) or not ref:
        raise UsageError("The request needs ref, the name of an image or @failed.")
    builder = embedded_builder()
    with builder.store.lease():
        image = find_image(ref)
        tree = builder.store.tree(image.snapshot)
        shell = next((path for path in _SHELLS if tree.get(resolve(tree, path)) is not None), "")
    if not shell:
        raise UsageError(f"{ref} has no shell, so no terminal can be opened in it.")
    words = [f"{name}={os.environ[name]}" for name in _KEPT if name in os.environ]
    words = ["env", *words] if words else []
    words += [sys.executable, "-m", "pybuild_magic", "run", "-it"]
    words += [] if is_failed_step(ref) else ["--entrypoint", ""]
    where = "the step that failed" if is_failed_step(ref) else ref
    return {"command": shlex.join([*words, ref, f"/{shell}"]), "title": f"Terminal in {where}"}


def files_of(service: Service, params: dict[str, Any]) -> dict[str, Any]:
    """Answer the page's `{ref}`, such as `@failed`, with a Summary whose last layer is what that step changed."""
    ref = params.get("ref")
    if not is_failed_step(ref):
        raise UsageError("The request needs ref, the name of what a failed step left.")
    store = embedded_builder().store
    with store.lease():
        image = find_image(ref)
        name = image.step.name if image.step else ref
        manifest = bare_manifest(image.snapshot, platforms.host().full)
        *before, own = manifest.layers
        layers = (*before, msgspec.structs.replace(own, created_by=name))
        manifest = msgspec.structs.replace(manifest, layers=layers)
        contents = opened_layers(store, (manifest,), "Where the step failed")
    return service.document(Summary(ref="", builder="", image=contents.image, view="files"), contents)
