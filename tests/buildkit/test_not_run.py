"""What a failed build never ran is told as BuildKit's stream tells it: announced, and neither begun nor failed."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.builders import embedded_builder
from pybuild_magic.display import fold
from pybuild_magic.display.plain import Plain
from pybuild_magic.errors import BuildError
from pybuild_magic.images.load import load_image
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.trace import Trace
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

DOCKERFILE = """FROM busybox AS first
RUN echo {word} && echo two && exit 3
RUN echo never
FROM busybox
COPY --from=first /etc /etc
RUN echo nor this
"""


def stream(builder: str, dockerfile: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Trace, str, BuildError]:
    """A failed build: its trace, what plain progress printed, and the error."""
    lines: list[str] = []
    seen = Trace()
    lock = threading.Lock()

    class Both(Plain):
        def tick(self, trace: Trace) -> None:
            nonlocal seen
            seen = trace
            super().tick(trace)

        def update(self, status: SolveStatus) -> None:
            with lock:
                super().update(status)

    monkeypatch.setattr("pybuild_magic.display.open_progress", lambda *_: Both(lines.append))
    with pytest.raises(BuildError) as caught:
        pybuild_magic.build(dockerfile, "-", builder=builder, no_cache=True)
    return seen, "".join(lines), caught.value


def test_steps_behind_the_one_that_failed_were_not_run(
    engine: Engine, busybox_layout: BaseImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    dockerfile = DOCKERFILE.format(word=secrets.token_hex(4))
    states: dict[str, dict[str, str]] = {}
    for builder in ("embedded", "docker://"):
        trace, printed, error = stream(builder, dockerfile, monkeypatch)
        states[builder] = {
            step.name: step.state for step in trace.steps.values() if step.name.startswith("[") and "RUN" in step.name
        }
        assert printed.count("ERROR: ") == 1, printed
        assert "echo never" not in printed
        page = str(fold.render(trace, error))
        assert page.count(">ERROR<") == 1
        assert page.count(">not run<") == 3
        assert page.count(">✕<") == 2  # that of the build, and that of the step
    assert states["embedded"] == states["docker://"]
    assert sorted(states["embedded"].values()) == ["error", "waiting", "waiting"]
