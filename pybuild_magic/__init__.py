"""Build, export and explore container images from a notebook, with or without Docker.

In IPython: `%load_ext pybuild_magic`, then a `%%build` cell holds a Dockerfile. In Python: `build` and `check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.functions import build, check, lock
    from .diagnosis import doctor
    from .environments.freeze import freeze
    from .environments.repository.opening import open_repository
    from .environments.slim.opening import slim
    from .errors import BuildError
    from .result import BuildResult
    from .run import RunResult, run

__all__ = [
    "BuildError",
    "BuildResult",
    "RunResult",
    "build",
    "check",
    "doctor",
    "freeze",
    "load_ipython_extension",
    "lock",
    "open_repository",
    "run",
    "slim",
]
__version__ = "0.1.0"

_HOMES = {
    "build": "api.functions",
    "check": "api.functions",
    "lock": "api.functions",
    "doctor": "diagnosis",
    "open_repository": "environments.repository.opening",
    "slim": "environments.slim.opening",
    "freeze": "environments.freeze",
    "BuildResult": "result",
    "RunResult": "run.result",
    "BuildError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import each public name when it is first used, so that `%load_ext` pays for none of them."""
    import importlib

    if name == "run":  # the package itself can be called
        return importlib.import_module(".run", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def load_ipython_extension(shell: Any) -> None:
    """Register `%%build` and `%build`. IPython calls this for `%load_ext pybuild_magic`."""
    from .notebook.magics import load_ipython_extension as load

    load(shell)
