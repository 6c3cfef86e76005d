"""Plain progress reads like buildx's own, of which `data` holds recordings.

`NAME.jsonl` and `NAME.txt` are what `docker buildx history logs` (buildx 0.29.1) printed of one build with
`--progress=rawjson` and with `--progress=plain`.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.display.plain import Plain, RawJson
from pybuild_magic.status.messages import SolveStatus, Vertex, VertexLog, VertexStatus, now
from pybuild_magic.status.trace import Trace

DATA = Path(__file__).parent / "data"


def messages(name: str) -> list[SolveStatus]:
    return [msgspec.json.decode(line, type=SolveStatus) for line in (DATA / f"{name}.jsonl").read_bytes().splitlines()]


def plain(stream: list[SolveStatus]) -> str:
    out: list[str] = []
    display, trace = Plain(out.append), Trace()
    for message in stream:
        trace.update(message)
        display.update(message)
        display.tick(trace)
    trace.flush()
    display.finish(trace, None)
    return "".join(out)


def blocks(printed: str) -> list[str]:
    """The paragraphs, one a step, without their numbers: steps of one message have no order."""
    steps = printed.partition("------\n")[0]
    return sorted(re.sub(r"(?m)^#\d+ ", "", block).strip() for block in steps.split("\n\n"))


@pytest.mark.parametrize("name", ["ok", "failed"])
def test_a_recorded_stream_prints_as_buildx_printed_it(name: str) -> None:
    assert blocks(plain(messages(name))) == blocks((DATA / f"{name}.txt").read_text())


def test_steps_are_numbered_in_the_order_in_which_they_begin() -> None:
    numbers = re.findall(r"(?m)^#(\d+) \[", plain(messages("ok")))
    assert numbers == sorted(numbers, key=int)


def test_a_step_that_prints_keeps_the_screen_until_it_ends() -> None:
    at = now()
    first, second = (Vertex(f"sha256:{n}", f"step {n}", started=at) for n in (1, 2))
    done = msgspec.structs.replace(first, completed=at)
    printed = plain(
        [
            SolveStatus(vertexes=(first,)),
            SolveStatus(vertexes=(second,), logs=(VertexLog("sha256:2", 1, b"waits\n", at),)),
            SolveStatus(logs=(VertexLog("sha256:1", 1, b"goes first\n", at),)),
            SolveStatus(vertexes=(done,)),
        ]
    )
    assert printed.index("goes first") < printed.index("DONE") < printed.index("waits")


def test_a_counter_prints_when_it_moved_and_when_it_is_done() -> None:
    at = now()
    step = Vertex("sha256:1", "step", started=at)
    moves = [
        SolveStatus(statuses=(VertexStatus("blob", "sha256:1", current=n, total=1000, timestamp=at, started=at),))
        for n in range(1000)
    ]
    done = VertexStatus("blob", "sha256:1", current=1000, total=1000, timestamp=at, started=at, completed=at)
    printed = plain([SolveStatus(vertexes=(step,)), *moves, SolveStatus(statuses=(done,))])
    lines = [line for line in printed.splitlines() if "blob" in line]
    assert lines[-1] == "#1 blob 1.00kB / 1.00kB done"
    assert 10 <= len(lines) <= 25


def test_rawjson_is_the_stream() -> None:
    out: list[str] = []
    display = RawJson(out.append)
    for message in messages("ok"):
        display.update(message)
    again = [msgspec.json.decode(line, type=SolveStatus) for line in "".join(out).splitlines()]
    assert again == messages("ok")
