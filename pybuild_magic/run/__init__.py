"""Running a process on an image as `docker run` does, in the sandbox that runs RUN.

The package can also be called like a function: `pybuild_magic.run("busybox", "true")`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .container import Container, Show, image_for, run, run_with
from .flags import FLAGS
from .image import RunImage, find_image
from .options import RunOptions, options_from
from .result import RunResult

if TYPE_CHECKING:
    from .background import BackgroundRun, start, start_with

__all__ = [
    "FLAGS",
    "BackgroundRun",
    "Container",
    "RunImage",
    "RunOptions",
    "RunResult",
    "Show",
    "find_image",
    "image_for",
    "options_from",
    "run",
    "run_with",
    "start",
    "start_with",
]


def __getattr__(name: str) -> Any:
    """Import runs in the background when they are first used, so that the start of a kernel does not pay for them."""
    if name not in ("BackgroundRun", "start", "start_with"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import background

    return getattr(background, name)


class _Callable(ModuleType):
    """A module that can be called: `pybuild_magic.run` is both this package and the function that users call."""

    __doc__ = run.__doc__

    def __call__(self, ref: Any, *command: str, **arguments: Any) -> RunResult:
        return run(ref, *command, **arguments)


sys.modules[__name__].__class__ = _Callable
