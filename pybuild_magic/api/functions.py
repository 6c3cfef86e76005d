"""The functions that the package offers to Python: `build` and `check`."""

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
    """Build `dockerfile` (its text; None: the `file`, or the context's Dockerfile) and return what was made.

    Arguments mean what the flags of `docker buildx build` mean, and strings are what those take: `outputs`,
    `secrets`, `ssh`, `ulimits` (`nofile=1024:2048`), `cache_from`, `attests`, `provenance` (`mode=max`) and the like;
    `context` is a directory, a URL, `-` for none or a dict of files. With `background` the answer is a handle, at
    once: its `wait()` gives the result, its `cancel()` stops the build. Raises `BuildError` with
    the place in the Dockerfile, the last log lines and the next step; `Interrupted` on KeyboardInterrupt.
    """
    from ..display import in_kernel, open_progress

    cancel = Cancel()
    options = options_of(dockerfile, context, **arguments)
    if background:
        from .background import BuildHandle

        # Outside a notebook nobody watches, and lines would come in between those of what goes on meanwhile.
        progress = open_progress(options, cancel, background=True) if in_kernel() else None
        return BuildHandle(options, progress, cancel)
    return run(options, open_progress(options, cancel), cancel)


@documented
def check(
    dockerfile: str | None = None, context: Context | Path = None, **arguments: Unpack[BuildArguments]
) -> CheckResult:
    """Check a Dockerfile without building it: `warnings`, by line, and the `error` that ended the check.

    Arguments are those of `build`; what is about the result has no effect.
    """
    from ..display.calls import CheckResult

    quiet: BuildArguments = {**arguments, "progress": "quiet", "outputs": (), "tags": ()}
    options = msgspec.structs.replace(options_of(dockerfile, context, **quiet), call=Call("check"))
    return msgspec.json.decode(run(options).metadata["result.json"], type=CheckResult)


@documented
def lock(dockerfile: str | None = None, context: Context | Path = None, **arguments: Unpack[BuildArguments]) -> Lock:
    """Write what the sources of a Dockerfile are now to the `.lock` beside it; `build(locked=True)` takes no others.

    Arguments are those of `build`. The answer has the `path`, the `rules` of BuildKit's source policy that were
    written, and the steps that are `unlocked`. Raises BuildError.
    """
    from ..display import open_progress
    from .lock import lock as write_lock

    cancel = Cancel()
    options = options_of(dockerfile, context, **arguments)
    return write_lock(options, open_progress(options, cancel), cancel)
