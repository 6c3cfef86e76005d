"""The lowering of one platform: the state that all its stages share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ..errors import DockerfileError, SourceRange
from ..golang.patternmatcher import PatternMatcher
from ..golang.text import nearest
from ..llb.ops import Edge
from ..oci.config import History
from ..oci.platform import Platform
from ..oci.timestamp import format_time
from ..untrusted.redaction import redact
from .checks import Checks
from .contexts import LazySources
from .instructions import Arg, From, Instruction
from .lower_options import LowerOptions
from .names import next_prefix
from .outline import DeclaredArg
from .rules import UNDEFINED_VAR
from .shell import Expansion, ExpansionError, Lexer
from .stages import Command, StageGraph, StageState

HISTORY_COMMENT = "buildkit.dockerfile.v0"
SCAN_CONTEXT = "BUILDKIT_SBOM_SCAN_CONTEXT"
SCAN_STAGE = "BUILDKIT_SBOM_SCAN_STAGE"
NOT_IN_ENV = frozenset({SCAN_CONTEXT, SCAN_STAGE})
"""ARGs that are meant for BuildKit and that no process sees."""

_SECOND = 1_000_000_000


@dataclass
class Lowering:
    """The arguments, options and graph with which every instruction is lowered."""

    options: LowerOptions
    lexer: Lexer
    platform: Platform
    """The platform that is built for."""
    implicit_platform: bool
    """Whether `platform` was not requested, so that the base image may correct it."""
    build_args: Mapping[str, str]
    global_args: Mapping[str, str]
    """Platform variables and the ARGs before the first FROM: what FROM sees, and an ARG without default."""
    epoch: int | None
    """SOURCE_DATE_EPOCH, seconds."""
    proxy_env: tuple[str, ...]
    lazy: LazySources
    context: Edge
    graph: StageGraph = field(default_factory=StageGraph)
    meta_args: dict[str, DeclaredArg] = field(default_factory=dict[str, DeclaredArg])
    """The ARGs before the first FROM, including those without a value."""
    checks: Checks = field(default_factory=Checks)
    ignored: PatternMatcher | None = None
    """The matcher of the context's .dockerignore; None when it excludes nothing."""

    @property
    def timestamp(self) -> int:
        """The epoch in nanoseconds, or -1, which tells file actions to keep times."""
        return -1 if self.epoch is None else self.epoch * _SECOND

    def expand(self, stage: StageState, instruction: Instruction, word: str, lexer: Lexer | None = None) -> str:
        """Return `word` with the variables of the stage expanded. Raises DockerfileError."""
        try:
            expansion = (lexer or self.lexer).expand(word, stage.state.env)
        except ExpansionError as error:
            self._check_names(stage, instruction, error.unmatched)
            raise
        if expansion.unmatched:
            self._check_names(stage, instruction, expansion.unmatched)
        return expansion.text

    def _check_names(self, stage: StageState, instruction: Instruction, unmatched: frozenset[str]) -> None:
        for name in sorted(unmatched - stage.build_args.keys() - NOT_IN_ENV):
            suggestion = nearest(name, stage.state.env, case_sensitive=True)
            hint = f" (did you mean ${suggestion}?)" if suggestion else ""
            self.checks.under(instruction.comments).report(UNDEFINED_VAR, instruction.location, name, hint)

    def expand_global(self, instruction: Arg | From, word: str, env: Mapping[str, str]) -> Expansion:
        """Expand `word` of an ARG before the first FROM, or of a FROM. Raises DockerfileError at the instruction."""
        try:
            return self.lexer.expand(word, env)
        except DockerfileError as error:
            raise error.at(instruction.location) from None

    def prefix(self, stage: StageState, platform: Platform | None, env: Mapping[str, str]) -> str:
        """Return the prefix `[stage X/Y] ` of the stage's next vertex."""
        return next_prefix(stage, platform, env, multi_platform=self.options.multi_platform)

    def commit(self, stage: StageState, created_by: str, *, layer: bool = False) -> None:
        """Add an entry to the history of the stage's image. `layer` says whether the instruction made a layer.

        A history is pushed with its image. BuildKit keeps the credentials of URLs in it; this removes them.
        """
        entry = History(
            created="" if self.epoch is None else format_time(self.epoch * _SECOND),
            created_by=redact(created_by),
            comment=HISTORY_COMMENT,
            empty_layer=not layer,
        )
        stage.config = msgspec.structs.replace(stage.config, history=(*stage.config.history, entry))


@dataclass(frozen=True)
class Step:
    """An instruction that is being lowered: its place, its stage, and the shared state."""

    lowering: Lowering
    stage: StageState
    command: Command

    @property
    def location(self) -> SourceRange:
        """The lines of the instruction."""
        return self.command.instruction.location

    @property
    def checks(self) -> Checks:
        """The checks for this instruction."""
        return self.lowering.checks.under(self.command.instruction.comments)

    def expand(self, word: str) -> str:
        """Return a word with the stage's variables expanded."""
        return self.lowering.expand(self.stage, self.command.instruction, word)

    def prefix(self, platform: Platform | None) -> str:
        """Return the prefix of its vertex's name: `[stage X/Y] `, with ONBUILD for a trigger."""
        prefix = self.lowering.prefix(self.stage, platform, self.stage.state.env)
        return prefix + "ONBUILD " if prefix and self.command.onbuild else prefix

    def commit(self, created_by: str, *, layer: bool = False) -> None:
        """Add an entry to the image's history."""
        self.lowering.commit(self.stage, created_by, layer=layer)
