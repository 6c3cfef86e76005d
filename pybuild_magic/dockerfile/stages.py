"""The stages of a Dockerfile as a graph: their bases, and the stages from which they copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..errors import DockerfileError, SourceRange
from ..oci.config import ImageConfig
from ..oci.platform import Platform
from ..untrusted.foreign import integer
from .contexts import NamedContext
from .instructions import Add, Copy, From, Instruction, Onbuild, Run, Stage, Workdir
from .mount import mount_from
from .outline import StageOutline
from .shell import Lexer
from .state import State

SCRATCH = "scratch"


@dataclass(eq=False)
class Command:
    """An instruction of a stage, and the stages that it reads: one for `COPY --from`, one per mount for RUN."""

    instruction: Instruction
    sources: tuple[StageState, ...] = ()
    onbuild: bool = False
    """Whether it is a trigger of the base image."""


@dataclass(eq=False)
class StageState:
    """A stage while it is lowered. An `implicit` one stands for an image that only a COPY or a mount names."""

    base_from: From
    base_name: str
    """The expanded name in FROM; once resolved, the pinned reference."""
    name: str = ""
    label: str = ""
    """The name in vertex names: `stage-1` for an unnamed stage, "" when there is only one stage."""
    instructions: tuple[Instruction, ...] = ()
    implicit: bool = False
    ignore_cache: bool = False
    base: StageState | None = None
    """The stage on which it is based; None for an image, a context or scratch."""
    named_context: NamedContext | None = None
    """The `--build-context` that replaces it."""
    platform: Platform | None = None
    state: State = field(default_factory=State)
    config: ImageConfig = field(default_factory=ImageConfig)
    base_config: ImageConfig | None = None
    """The unchanged config of its base image."""
    resolved: bool = False
    dispatched: bool = False
    triggers_read: bool = False
    commands: list[Command] = field(default_factory=list[Command])
    reads: dict[StageState, Instruction] = field(default_factory=dict["StageState", Instruction])
    build_args: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    """The ARGs declared so far, in order of declaration, with their values or None."""
    context_paths: set[str] = field(default_factory=set[str])
    """Paths of the build context read by its COPY, ADD and mounts; absolute, "/" for everything."""
    paths: set[str] = field(default_factory=set[str])
    """Paths of this stage that others read; shared with the stages based on it."""
    locations: dict[type[Instruction], SourceRange] = field(default_factory=dict[type[Instruction], SourceRange])
    """The position of CMD, ENTRYPOINT and HEALTHCHECK in the stage itself; of each the last."""
    workdir_given: bool = False
    """Whether the stage, or one below it, has a WORKDIR."""
    outline: StageOutline = field(default_factory=StageOutline)
    steps: int = 0
    """The number of instructions that make a vertex: the Y of `[name X/Y]`."""
    step: int = 0

    def configure(self, **changes: Any) -> None:
        """Change fields in the `config` of its config."""
        self.config = msgspec.structs.replace(
            self.config, config=msgspec.structs.replace(self.config.config, **changes)
        )

    def inherit(self) -> None:
        """Start from the state of the stage below, which must have been lowered already."""
        if self.base is None:
            return
        self.state = self.base.state
        self.platform = self.base.platform
        self.config = self.base.config
        self.configure(on_build=())  # triggers apply to the first stage based on an image
        self.base_config = self.base.base_config
        self.paths = self.base.paths
        self.workdir_given = self.base.workdir_given
        self.build_args = {**self.base.build_args, **self.build_args}


class StageGraph:
    """All stages by name and by number; implicit ones come last."""

    def __init__(self) -> None:
        self.stages: list[StageState] = []
        self._by_name: dict[str, StageState] = {}

    def add(self, stage: StageState) -> None:
        """Add a stage, based on the earlier one that its FROM names, if any."""
        stage.base = self._by_name.get(stage.base_name)
        if stage.base:
            stage.outline = stage.base.outline.copy()
        self.stages.append(stage)
        if stage.name:
            self._by_name[stage.name.lower()] = stage

    def find(self, name: str) -> StageState | None:
        """Return the last stage of that name."""
        return self._by_name.get(name.lower())

    def names(self) -> list[str]:
        """Return the labels of all stages, for suggestions."""
        return [stage.label for stage in self.stages if stage.label]

    def source(self, name: str, reader: Instruction) -> StageState:
        """Return the stage for `--from=name`: by number, by name, else an image. Raises DockerfileError."""
        if isinstance(reader, Copy) and name.isascii() and name.removeprefix("-").isdecimal():
            number = integer(name)
            if number is None or not 0 <= number < len(self.stages):
                label = name if number is None else number
                raise DockerfileError(f"invalid stage index {label}", location=reader.location)
            return self.stages[number]
        stage = self.find(name)
        if stage is not None:
            return stage
        origin = From(keyword="FROM", original=reader.original, location=reader.location, base=name)
        return StageState(origin, name, implicit=True)

    def link(self, stage: StageState, instruction: Instruction, lexer: Lexer, *, onbuild: bool = False) -> Command:
        """Return the command of `instruction` in `stage`, after adding the stages that it reads to the graph."""
        sources: tuple[StageState, ...] = ()
        if isinstance(instruction, Copy) and instruction.from_:
            if lexer.process_word(instruction.from_, {}) != instruction.from_:
                raise DockerfileError(
                    "variable expansion is not supported for --from, define a new stage with FROM using ARG"
                    " from global scope as a workaround",
                    location=instruction.location,
                )
            sources = (self.source(instruction.from_, instruction),)
        elif isinstance(instruction, Run):
            # A mount without `from` counts as one of scratch, as in BuildKit; this affects stage labels.
            sources = tuple(self.source(mount_from(text) or SCRATCH, instruction) for text in instruction.mounts)
        for source in sources:
            stage.reads[source] = instruction
            if source.implicit and source not in self.stages:
                self.add(source)
        return Command(instruction, sources, onbuild)

    def check_cycles(self) -> None:
        """Raise DockerfileError when stages read each other in a cycle."""
        visited: set[StageState] = set()
        for stage in self.stages:
            if circle := _circle(stage, visited, ()):
                label, instruction = circle
                raise DockerfileError(f"circular dependency detected on stage: {label}", location=instruction.location)


def _circle(
    stage: StageState, visited: set[StageState], path: tuple[StageState, ...]
) -> tuple[str, Instruction] | None:
    """Return (label of the stage where the search began, instruction that closes the cycle), if there is one."""
    if stage in visited:
        return None
    visited.add(stage)
    path = (*path, stage)
    for source, instruction in stage.reads.items():
        if source in path:
            return path[0].label, instruction
        if circle := _circle(source, visited, path):
            return circle
    return None


def reachable(target: StageState) -> set[StageState]:
    """Return the target and every stage that it needs."""
    reached: set[StageState] = set()
    waiting = [target]
    while waiting:
        stage = waiting.pop()
        if stage not in reached:
            reached.add(stage)
            waiting.extend(stage.reads)
            if stage.base:
                waiting.append(stage.base)
    return reached


def triggers(stage: StageState) -> list[str]:
    """Return the ONBUILD expressions that the stage must run, from its base image or base stage.

    Each is returned only once: at the next call, the stage has none.
    """
    expressions = list(stage.config.config.on_build)
    stage.configure(on_build=())
    if stage.base is not None and not stage.triggers_read:
        stage.triggers_read = True
        instructions = (command.instruction for command in stage.base.commands)
        expressions += [instruction.expression for instruction in instructions if isinstance(instruction, Onbuild)]
    return expressions


def count_steps(instructions: Iterable[Instruction]) -> int:
    """Return how many of the instructions are numbered in vertex names: ADD, COPY, RUN and WORKDIR."""
    return sum(isinstance(instruction, (Add, Copy, Run, Workdir)) for instruction in instructions)


def stage_of(stage: Stage, base_name: str, number: int) -> StageState:
    """Return a stage of the Dockerfile, with the label of its position."""
    return StageState(
        stage.base,
        base_name,
        name=stage.name,
        label=stage.name or f"stage-{number}",
        instructions=stage.instructions,
    )
