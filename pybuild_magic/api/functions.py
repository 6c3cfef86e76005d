"""The functions that the package offers to Python: `build`, `check` and `lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, overload

import msgspec

from ..cancel import Cancel
from ..request.options import Context
from ..request.values import Call
from ..result import BuildResult
from .arguments import BuildArguments, documented, options_of
from .run import run

if TYPE_CHECKING:
    from ..display.calls import CheckResult
    from .background import BuildHandle
    from .lock import Lock


@overload
def build(
    dockerfile: str | None = None,
    context: Context | Path = None,
    *,
    background: Literal[False] = False,
    **arguments: Unpack[BuildArguments],
) -> BuildResult: ...


@overload
def build(
    dockerfile: str | None = None,
    context: Context | Path = None,
    *,
    background: Literal[True],
    **arguments: Unpack[BuildArguments],
) -> BuildHandle: ...


@documented
def build(
    dockerfile: str | None = None,
    context: Context | Path = None,
    *,
    background: bool = False,
    **arguments: Unpack[BuildArguments],
) -> BuildResult | BuildHandle:
    """Build `dockerfile` (its text; None: the `file`, or the context's Dockerfile) and return the result.

    Arguments mean the same as the flags of `docker buildx build`, and strings have the same syntax: `outputs`,
    `secrets`, `ssh`, `ulimits` (`nofile=1024:2048`), `cache_from`, `attests`, `provenance` (`mode=max`) and the like;
    `context` is a directory, a URL, `-` for none, or a dict of files. With `background`, a handle is returned at once:
    its `wait()` returns the result, its `cancel()` stops the build. Raises `BuildError` with the place in the
    Dockerfile, the last log lines and the next step; `Interrupted` on KeyboardInterrupt.
    """
    from ..display import open_progress
    from ..display.console import in_kernel

    cancel = Cancel()
    options = options_of(dockerfile, context, **arguments)
    if background:
        from .background import BuildHandle

        # Outside of a notebook nobody watches, and progress lines would mix with the output of other work.
        progress = open_progress(options, cancel, background=True) if in_kernel() else None
        return BuildHandle(options, progress, cancel)
    return run(options, open_progress(options, cancel), cancel)


@documented
def check(
    dockerfile: str | None = None, context: Context | Path = None, **arguments: Unpack[BuildArguments]
) -> CheckResult:
    """Check a Dockerfile without building it: `warnings`, by line, and the `error` that ended the check.

    Arguments are those of `build`; those that concern the result have no effect.
    """
    from ..display.calls import CheckResult

    quiet: BuildArguments = {**arguments, "progress": "quiet", "outputs": (), "tags": ()}
    options = msgspec.structs.replace(options_of(dockerfile, context, **quiet), call=Call("check"))
    return msgspec.json.decode(run(options).metadata["result.json"], type=CheckResult)


@documented
def lock(dockerfile: str | None = None, context: Context | Path = None, **arguments: Unpack[BuildArguments]) -> Lock:
    """Write the present digests of a Dockerfile's sources to the `.lock` beside it; `build(locked=True)` accepts only
    those.

    Arguments are those of `build`. The returned lock has its `path`, the `rules` written (those of a BuildKit source
    policy), and the steps that stay `unlocked`. Raises BuildError.
    """
    from ..display import open_progress
    from .lock import lock as write_lock

    cancel = Cancel()
    options = options_of(dockerfile, context, **arguments)
    return write_lock(options, open_progress(options, cancel), cancel)
