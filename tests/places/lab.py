"""A place in which tasks can be done: a container of the product, kept for as long as it is needed."""

from __future__ import annotations

import contextlib
import json
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.services import baseimages
from tests.services.buildkit import Engine
from tests.services.common import ServiceError, tail
from tests.services.registry import Registry

from . import image
from .inside import members
from .place import Place
from .task import Task

INSIDE = Path(__file__).with_name("inside.py").read_text()
SECONDS = 400
"""That a task may take."""
_PROMISED = {"doctor": 1.0, "cancel": 1.0}
"""Seconds that tasks of a kind may take."""
_COPYING = 4
"""How many times longer they may take where a process is traced by another program, `proot`."""
_TRIES = 5
"""How often such a task is done before it counts as late: other tests take turns with it on the same cores."""


@dataclass(frozen=True)
class Outcome:
    """How a task went in a place."""

    fault: str
    """What is wrong, as one line; "" when the task did what it should."""
    seconds: float
    answer: dict[str, Any]


class Lab:
    """A running container of a place."""

    def __init__(self, engine: Engine, place: Place, container: str, registry: Registry) -> None:
        self.engine = engine
        self.place = place
        self.container = container
        self.registry = registry

    def do(self, task: Task) -> Outcome:
        """Do a task with the product in the container; again, if it was late."""
        promised = _PROMISED.get(task.kind, float("inf")) * (_COPYING if self.place.copies else 1)
        best = self._do(task)
        for _ in range(_TRIES - 1):
            if best.fault or best.seconds <= promised:
                return best
            best = min(best, self._do(task), key=lambda outcome: (not outcome.fault, outcome.seconds))
        if best.fault or best.seconds <= promised:
            return best
        return replace(best, fault=f"it took {best.seconds:.1f} s, and {promised:.0f} s are promised")

    def _do(self, task: Task) -> Outcome:
        names = (image.DEBIAN, image.TOOLS)
        dockerfile = task.dockerfile
        for name in names:
            dockerfile = dockerfile.replace(f"FROM {name}", f"FROM {self.registry.host}/{name}")
        request = json.dumps({**asdict(task), "dockerfile": dockerfile})
        command = ("exec", "--interactive", self.container, "python3", "-c", INSIDE)
        try:
            done = self.engine.docker(*command, input=request, check=False, timeout=SECONDS)
        except ServiceError as late:
            return Outcome(f"the task did not end: {late}", SECONDS, {})
        try:
            answer = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            last = tail(done.stderr, 1) or f"exit code {done.returncode}"
            return Outcome(f"the task ended without an answer: {last}", 0, {"stderr": done.stderr})
        fault = judge(task, answer)
        if not fault and task.kind == "doctor" and answer["rung"] != self.place.rung:
            fault = f"rung {answer['rung']} is taken, not {self.place.rung}"
        return Outcome(fault, answer["seconds"], answer)


def judge(task: Task, answer: dict[str, Any]) -> str:
    """What is wrong with an answer; "" when nothing is."""
    if task.kind == "fail":
        if answer.get("code") == 3 and "exit code: 3" in answer["error"]:
            return ""
        return said(answer) if "error" in answer else "the build did not fail"
    if task.kind == "told" and "error" in answer:
        early = answer["kind"] == "unsupported" and answer["hint"] and not answer["pulled"]
        return "" if early else f"{said(answer)} Pulled before: {answer['pulled']}. Hint: {answer['hint']!r}"
    if "error" in answer:
        return said(answer)
    if task.ran:
        ran: dict[str, str] = answer["ran"]
        fits = str.__contains__ if task.kind in ("advice", "home") else str.__eq__
        return "; ".join(f"{n} is {ran[n]!r}, not {text!r}" for n, text in task.ran.items() if not fits(ran[n], text))
    if task.kind == "doctor":
        if answer["works"] != answer["said"]:
            return f"RUN {'works' if answer['works'] else 'does not work'}, and the doctor says:\n{answer['text']}"
        offered = any(title.startswith("docker run") for title in answer["lines"])
        return "" if answer["works"] or offered else f"there is nothing to paste:\n{answer['text']}"
    if task.kind == "cancel" and not answer["seen"]:
        return "the process was never seen"
    if left := answer.get("left"):
        return f"left behind: {'; '.join(left)}"
    made: dict[str, list[str | None]] = answer["made"]
    for path in sorted({*made, *task.makes}):
        wanted, there = task.makes.get(path), made.get(path)
        if wanted is None or there is None:
            return f"{path} is {'missing' if there is None else 'too much'}"
        if there[0] != wanted[0] or (wanted[1] is not None and there[1] != wanted[1]):
            return f"{path} is {there}, and should be {list(wanted)}"
    return ""


def said(answer: dict[str, Any]) -> str:
    """An error of a build as one line, with the last line of the log."""
    last = f" [{answer['logs'][-1].strip()}]" if answer["logs"] else ""
    return f"{answer['kind']}: {answer['error']}{last}"


def reference(engine: Engine, task: Task) -> dict[str, Any]:
    """What BuildKit makes of a task's Dockerfile, as an answer to be judged."""
    with tempfile.TemporaryDirectory(prefix="pybuild-place-") as scratch:
        context, dest = Path(scratch, "context"), Path(scratch, "made.tar")
        context.mkdir()
        for name, content in task.files.items():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            (context / name).write_text(content)
        flags = ["--network=host", "--allow=network.host", f"--output=type=tar,dest={dest}"]
        for name, value in task.secrets.items():
            Path(scratch, name).write_text(value)
            flags.append(f"--secret=id={name},src={scratch}/{name}")
        engine.load_base(image.debian_base())
        # Times go into the result, so that a cache mount of an earlier run is not the same one.
        dockerfile = task.dockerfile.replace("target=/cache", f"target=/cache,id={uuid.uuid4().hex}")
        engine.buildx_build(context, *flags, dockerfile=dockerfile)
        return {"made": members(dest)}


def share(engine: Engine, registry: Registry) -> None:
    """Put the base images into a registry."""
    baseimages.push(image.debian_base(), registry.host)
    baseimages.skopeo("copy", f"oci-archive:{image.tools_base(engine)}", f"docker://{registry.host}/{image.TOOLS}")


@contextlib.contextmanager
def lab(engine: Engine, registry: Registry, place: Place, product: str = "") -> Iterator[Lab]:
    """Run the container of a place, of the image `product` or that of the place, until the end of the block.

    Its network is the machine's.
    """
    name = f"pybuild-place-{place.name}-{uuid.uuid4().hex[:8]}"
    product = product or image.product_image(engine, place.variant)
    flags = ["--detach", "--init", f"--name={name}", "--network=host", f"--env=PYBUILD_HOME={place.store}"]
    flags.append("--ulimit=nofile=1024")
    if place.store.startswith("/store/") and not any(flag.startswith("--tmpfs=/store") for flag in place.flags):
        flags.append("--volume=/store")
    engine.docker("run", *flags, *place.flags, product, "sleep", "infinity")
    try:
        yield Lab(engine, place, name, registry)
    finally:
        engine.docker("rm", "--force", "--volumes", name)
