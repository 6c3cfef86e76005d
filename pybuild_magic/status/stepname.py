"""The parts of a vertex's name: its platform, its stage, its number within the stage, and its instruction."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_STEP = re.compile(
    r"\[ *(?:(?P<platform>[\w.-]+/[\w.]+(?:/[\w.]+)?(?:->[\w./]+)?) +)?"
    r"(?:(?P<stage>[^ \]]+) +)?(?P<number>[0-9]{1,9})/(?P<count>[0-9]{1,9})\] (?P<text>.*)",
    re.DOTALL | re.ASCII,
)
"""Numbers are padded, as in `[ 9/10]`. labextension/src/words.ts has the same expression and is tested with it."""
_EXPORT = re.compile(r"(?:export|push|prepar|writ|send|copy|load)ing |importing to ")
_PREPARE = re.compile(
    r"\[(?:internal|auth)\]|resolve image config|importing cache|inferred cache|docker-image://|local://"
)
INTERNAL = "[internal]"
"""The beginning of the names of vertices that are not steps of the Dockerfile."""
_KINDS = {"FROM": "source", "RUN": "exec", "COPY": "file", "ADD": "file", "WORKDIR": "file"}


class StepName(msgspec.Struct, frozen=True):
    """The parts of a vertex's name. If it is not an instruction of the Dockerfile, `text` is the whole name."""

    text: str
    """The instruction, such as `RUN make`."""
    kind: str = ""
    """`source`, `exec`, `file`, `export`, `internal` (which prepares a build), or ""."""
    stage: str = ""
    """BuildKit's name of the stage, such as `build` or `stage-1`; "" in a Dockerfile with a single stage."""
    platform: str = ""
    """The platform, if the build has several."""
    number: int = 0
    """The number of the step within the stage, from 1; 0 if it is not an instruction."""
    count: int = 0
    """How many steps the stage has."""


def is_counted(name: str) -> bool:
    """Return whether a vertex is a step that people count: it neither prepares the build nor exports its result."""
    return parse_name(name).kind not in ("internal", "export")


@lru_cache(maxsize=4096)
def parse_name(name: str) -> StepName:
    """Return the parts of `name`, which BuildKit writes as `[linux/amd64 build 2/4] RUN make`."""
    if match := _STEP.fullmatch(name):
        text = match["text"]
        kind = _KINDS.get(text.partition(" ")[0].upper(), "")
        stage, platform = match["stage"] or "", match["platform"] or ""
        return StepName(text, kind, stage, platform, int(match["number"]), int(match["count"]))
    if _PREPARE.match(name):
        return StepName(name, "internal")
    if name.startswith("[context "):
        return StepName(name, "source")
    return StepName(name, "export" if _EXPORT.match(name) else "")
