"""The process of a build that tests interrupt, kill and measure: `python -m tests.integration.other JOB`."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import pybuild_magic.api as api
from pybuild_magic.errors import BuildError
from pybuild_magic.options import BuildOptions
from pybuild_magic.status import SolveStatus
from pybuild_magic.trace import Trace


def tell(**message: Any) -> None:
    print(json.dumps(message), flush=True)


class Watch:
    """A progress display that tells when it sees a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def update(self, status: SolveStatus) -> None:
        if self._text and self._text in str(status):
            self._text = ""
            tell(seen=True)

    def tick(self, *_: object) -> None:
        """Nothing to draw."""

    def finish(self, trace: Trace, error: BuildError | None) -> None:
        """Nothing to draw."""


def main(job: dict[str, Any]) -> None:
    import pybuild_magic.display as display

    watch = Watch(job["when"])

    def open_progress(_: BuildOptions) -> Any:
        return watch

    display.open_progress = open_progress
    interrupted: list[float] = []
    stop = api._Solve._stop

    def timed(*arguments: Any) -> None:
        interrupted.append(time.monotonic())
        stop(*arguments)

    api._Solve._stop = timed  # type: ignore[method-assign]
    count = job["options"].pop("count", 1)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        for _ in range(count):
            result = api.build(job["dockerfile"], job["context"], **job["options"])
    except BuildError as error:
        ended = time.monotonic()
        where = str(error.location) if error.location else ""
        seconds = ended - interrupted[0] if interrupted else None
        tell(error=error.message, kind=error.kind, hint=error.hint, where=where, seconds=seconds)
        return
    tell(
        id=result.image_id,
        metadata=result.metadata,
        cached=[vertex.name for vertex in result.vertexes if vertex.cached],
        ran=[vertex.name for vertex in result.vertexes if not vertex.cached],
        logs=result.logs,
        base_kb=base,
        peak_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
