"""The process of a build that tests interrupt, kill and measure: `python -m tests.integration.other JOB`."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from pybuild_magic import display
from pybuild_magic.api import functions
from pybuild_magic.errors import BuildError
from pybuild_magic.request.options import BuildOptions
from pybuild_magic.result import BuildResult
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.trace import Trace
from tests.memory import peak_kb

from .lab import running


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

    def finish(self, trace: Trace, error: BuildError | None, result: object = None) -> None:
        """Nothing to draw."""


def main(job: dict[str, Any]) -> None:
    watch = Watch(job["when"])
    interrupted: list[float] = []

    def open_progress(_: BuildOptions, *__: object) -> Any:
        return watch

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.append(time.monotonic())
        signal.default_int_handler(number, frame)

    display.open_progress = open_progress
    signal.signal(signal.SIGINT, interrupt)
    options = job["options"]
    marker = options.pop("marker", "")
    changing = options.pop("changing", "")
    earlier: list[tuple[int, BuildResult]] = []
    """The peak of memory after each, and the result, kept as a kernel keeps what its cells have shown."""
    for number in range(options.pop("before", 0)):
        if changing:
            Path(changing).write_text(str(number))
        result = functions.build(job["dockerfile"], job["context"], **options)
        earlier.append((peak_kb(), result))
    try:
        result = functions.build(job["dockerfile"], job["context"], **options)
    except BuildError as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        seconds = time.monotonic() - interrupted[0] if interrupted else None
        tell(
            error=error.message,
            kind=error.kind,
            hint=error.hint,
            where=str(error.location or ""),
            shown=error.render(),
            seconds=seconds,
            alive=running(marker) if marker else [],
        )
        return
    tell(
        id=result.image_id,
        metadata=result.metadata,
        cached=[vertex.name for vertex in result.vertexes if vertex.cached],
        ran=[vertex.name for vertex in result.vertexes if not vertex.cached],
        logs=result.logs,
        peak_kb=peak_kb(),
        earlier_kb=[peak for peak, _ in earlier],
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
