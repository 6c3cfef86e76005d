"""The parameters of a target: the build args, secrets and SSH agents that its stages use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from ..errors import SourceRange

if TYPE_CHECKING:
    from .stages import StageState


class DeclaredArg(msgspec.Struct, frozen=True):
    """A variable declared by an ARG, with its value in this build."""

    name: str
    value: str
    doc: str
    location: SourceRange
    uses: frozenset[str] = frozenset()
    """The variables in its default value, for an ARG before the first FROM."""


class Needed(msgspec.Struct, frozen=True):
    """A secret or an SSH agent that a RUN uses."""

    name: str
    location: SourceRange
    required: bool


@dataclass
class StageOutline:
    """The declarations and needs of a stage; of the ARGs before the first FROM only those in `used` count."""

    args: dict[str, DeclaredArg] = field(default_factory=dict[str, DeclaredArg])
    used: set[str] = field(default_factory=set[str])
    secrets: dict[str, Needed] = field(default_factory=dict[str, Needed])
    ssh: dict[str, Needed] = field(default_factory=dict[str, Needed])

    def copy(self) -> StageOutline:
        """Return an independent copy."""
        return StageOutline(dict(self.args), set(self.used), dict(self.secrets), dict(self.ssh))

    def used_args(self) -> Iterator[DeclaredArg]:
        """Yield the ARGs that the stage uses, and those that their defaults use."""
        waiting, seen = sorted(self.used), set[str]()
        while waiting:
            name = waiting.pop(0)
            if name not in seen and (arg := self.args.get(name)):
                yield arg
                waiting += sorted(arg.uses)
            seen.add(name)


class Outline(msgspec.Struct, frozen=True):
    """The target, and the parameters of it and of the stages that it needs, by line."""

    name: str
    doc: str
    args: tuple[DeclaredArg, ...]
    secrets: tuple[Needed, ...]
    ssh: tuple[Needed, ...]


def outline_of(target: StageState) -> Outline:
    """Return the outline of a target whose stages have been lowered. Of equal names, the first one found counts."""
    args: dict[str, DeclaredArg] = {}
    secrets: dict[str, Needed] = {}
    ssh: dict[str, Needed] = {}
    for stage in _needed(target):
        for arg in stage.outline.used_args():
            args.setdefault(arg.name, arg)
        secrets = stage.outline.secrets | secrets
        ssh = stage.outline.ssh | ssh
    return Outline(
        target.name,
        target.base_from.doc,
        tuple(sorted(args.values(), key=lambda arg: (arg.location.start, arg.name))),
        _by_line(secrets),
        _by_line(ssh),
    )


def _needed(target: StageState) -> list[StageState]:
    """Return the target and the stages that it needs, depth first: its base, then the stages that it reads."""
    needed: list[StageState] = []
    waiting = [target]
    while waiting:
        stage = waiting.pop()
        if stage not in needed:
            needed.append(stage)
            waiting += [*reversed(stage.reads), *([stage.base] if stage.base else [])]
    return needed


def _by_line(arguments: dict[str, Needed]) -> tuple[Needed, ...]:
    return tuple(sorted(arguments.values(), key=lambda argument: (argument.location.start, argument.name)))
