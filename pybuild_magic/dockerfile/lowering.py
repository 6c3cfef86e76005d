"""One platform's lowering: what all its stages share while they are lowered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ..errors import SourceRange
from ..llb.ops import Edge
from ..oci.config import History
from ..oci.platform import Platform
from ..oci.timestamp import format_time
from .contexts import LazySources
from .instructions import Instruction
from .lower_options import LowerOptions
from .names import next_prefix
from .shell import Lexer
from .stages import Command, StageGraph, StageState

HISTORY_COMMENT = "buildkit.dockerfile.v0"
_SECOND = 1_000_000_000


class NamesUsed(msgspec.Struct, frozen=True):
    """Variables that an instruction used: for build checks and outlines."""

    location: SourceRange
    stage: str
    matched: frozenset[str]
    unmatched: frozenset[str]
    known: tuple[str, ...]
    """All variables that were set there."""


class Needed(msgspec.Struct, frozen=True):
    """A secret or an SSH agent that a RUN asks for."""

    id: str
    location: SourceRange
    required: bool


@dataclass
class Notes:
    """What was seen on the way that the LLB does not say."""

    names: list[NamesUsed] = field(default_factory=list[NamesUsed])
    secrets: dict[str, Needed] = field(default_factory=dict[str, Needed])
    ssh: dict[str, Needed] = field(default_factory=dict[str, Needed])
    base_platforms: list[tuple[SourceRange, str, Platform, Platform]] = field(
        default_factory=list[tuple[SourceRange, str, Platform, Platform]]
    )
    """(FROM, its image as written, platform wanted, platform that the image says it has)."""


@dataclass
class Lowering:
    """The arguments, options and graph that every instruction is lowered with."""

    options: LowerOptions
    lexer: Lexer
    platform: Platform
    """What is built for."""
    implicit_platform: bool
    """Whether nobody asked for `platform`, so that the base image may correct it."""
    build_args: Mapping[str, str]
    global_args: Mapping[str, str]
    """Platform variables and the ARGs before the first FROM: what FROM sees, and an ARG without default."""
    epoch: int | None
    """SOURCE_DATE_EPOCH, seconds."""
    proxy_env: tuple[str, ...]
    lazy: LazySources
    context: Edge
    graph: StageGraph = field(default_factory=StageGraph)
    notes: Notes = field(default_factory=Notes)

    @property
    def timestamp(self) -> int:
        """The epoch in nanoseconds, or -1: what file actions call "leave times alone"."""
        return -1 if self.epoch is None else self.epoch * _SECOND

    def expand(self, stage: StageState, instruction: Instruction, word: str, lexer: Lexer | None = None) -> str:
        """`word` with the variables of the stage expanded, and the names it used noted. Raises DockerfileError."""
        return self.expand_with(stage, instruction.location, word, stage.state.env, lexer)

    def expand_with(
        self,
        stage: StageState | None,
        location: SourceRange,
        word: str,
        env: Mapping[str, str],
        lexer: Lexer | None = None,
    ) -> str:
        """`word` with the variables of `env` expanded, and the names it used noted. Raises DockerfileError."""
        found = (lexer or self.lexer).expand(word, env)
        if found.matched or found.unmatched:
            declared = frozenset(stage.build_args if stage else ())
            self.notes.names.append(
                NamesUsed(
                    location,
                    stage.label if stage else "",
                    found.matched,
                    found.unmatched - declared,
                    tuple(env),
                )
            )
        return found.text

    def prefix(self, stage: StageState, platform: Platform | None, env: Mapping[str, str]) -> str:
        """The `[stage X/Y] ` of the stage's next vertex."""
        return next_prefix(stage, platform, env, multi_platform=self.options.multi_platform)

    def commit(self, stage: StageState, created_by: str, *, layer: bool = False) -> None:
        """Add an entry to the history of the stage's image. `layer`: the instruction made one."""
        entry = History(
            created="" if self.epoch is None else format_time(self.epoch * _SECOND),
            created_by=created_by,
            comment=HISTORY_COMMENT,
            empty_layer=not layer,
        )
        stage.config = msgspec.structs.replace(stage.config, history=(*stage.config.history, entry))


@dataclass(frozen=True)
class Step:
    """An instruction being lowered: where, in which stage, with what shared."""

    lowering: Lowering
    stage: StageState
    command: Command

    @property
    def location(self) -> SourceRange:
        """The lines of the instruction."""
        return self.command.instruction.location

    def expand(self, word: str) -> str:
        """One word with the stage's variables expanded."""
        return self.lowering.expand(self.stage, self.command.instruction, word)

    def prefix(self, platform: Platform | None) -> str:
        """What the name of its vertex begins with: `[stage X/Y] `, and ONBUILD for a trigger."""
        prefix = self.lowering.prefix(self.stage, platform, self.stage.state.env)
        return prefix + "ONBUILD " if prefix and self.command.onbuild else prefix

    def commit(self, created_by: str, *, layer: bool = False) -> None:
        """Add an entry to the image's history."""
        self.lowering.commit(self.stage, created_by, layer=layer)
