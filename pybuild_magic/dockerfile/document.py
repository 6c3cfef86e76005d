"""A parsed Dockerfile: its parser directives, its instructions, and the stages that they form."""

from __future__ import annotations

from functools import cached_property

import msgspec

from ..errors import DockerfileError, SourceRange
from .instructions import Arg, From, Instruction, Stage


class Directive(msgspec.Struct, frozen=True):
    """A parser directive (`# name=value`) and its line."""

    name: str
    value: str
    location: SourceRange


class Directives(msgspec.Struct, frozen=True):
    """The parser directives at the start of a Dockerfile. `syntax` and `check` are "" when absent."""

    syntax: str = ""
    """The front-end image: the directive's value up to its first space."""
    escape: str = "\\"
    check: str = ""
    """In the written form: `skip=Rule,Rule;error=true;experimental=…`."""
    entries: tuple[Directive, ...] = ()


class Dockerfile(msgspec.Struct, frozen=True, dict=True):
    """A parsed Dockerfile."""

    directives: Directives
    instructions: tuple[Instruction, ...]
    text: str
    filename: str = "Dockerfile"

    @cached_property
    def meta_args(self) -> tuple[Arg, ...]:
        """The ARGs before the first FROM, whose variables a FROM may use."""
        return self._split[0]

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; names may repeat (later references mean the last one).

        Raises DockerfileError for an instruction other than ARG before the first FROM.
        """
        return self._split[1]

    @cached_property
    def _split(self) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
        meta: list[Arg] = []
        stages: list[tuple[From, list[Instruction]]] = []
        for instruction in self.instructions:
            if isinstance(instruction, From):
                stages.append((instruction, []))
            elif stages:
                stages[-1][1].append(instruction)
            elif isinstance(instruction, Arg):
                meta.append(instruction)
            else:
                raise DockerfileError("no build stage in current context", location=instruction.location)
        return tuple(meta), tuple(Stage(base, tuple(rest), base.name) for base, rest in stages)
