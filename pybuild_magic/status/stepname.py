"""The parts of a vertex's name: its platform, its stage, its place in the stage, and the instruction."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_STEP = re.compile(
    r"\[ *(?:(?P<platform>[\w.-]+/[\w.]+(?:/[\w.]+)?(?:->[\w./]+)?) +)?"
    r"(?:(?P<stage>[^ \]]+) +)?(?P<number>[0-9]{1,9})/(?P<count>[0-9]{1,9})\] (?P<text>.*)",
    re.DOTALL | re.ASCII,
)
"""Numbers are padded: `[ 9/10]` in a stage without a name. labextension/src/words.ts has the same, and its tests."""
_EXPORT = re.compile(r"(?:export|push|prepar|writ|send|copy|load)ing |importing to ")
_PREPARE = re.compile(
    r"\[(?:internal|auth)\]|resolve image config|importing cache|inferred cache|docker-image://|local://"
)
INTERNAL = "[internal]"
"""How the names of vertices begin that are no step of the Dockerfile."""
_KINDS = {"FROM": "source", "RUN": "exec", "COPY": "file", "ADD": "file", "WORKDIR": "file"}


class StepName(msgspec.Struct, frozen=True):
    """A vertex's name in its parts; of one that is no instruction of the Dockerfile, `text` is all of it."""

    text: str
    """The instruction, as `RUN make`."""
    kind: str = ""
    """`source`, `exec`, `file`, `export`, `internal` (what prepares a build), or ""."""
    stage: str = ""
    """The stage's name, as BuildKit gives it: `build`, `stage-1`; "" in a Dockerfile of one stage."""
    platform: str = ""
    """The platform, where the build is for several."""
    number: int = 0
    """From 1; 0 for what is no instruction."""
    count: int = 0
    """Instructions of the stage that make a step."""


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
