"""The scope at a line of a draft Dockerfile: stages, build args and variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from ..dockerfile.instructions import Arg, Env, From, Instruction
from ..dockerfile.platform_args import platform_args
from ..oci.platform import host
from .draft import Statement

ReadConfig = Callable[[str], dict[str, Any] | None]
"""Returns the config of a locally available image, by its name."""


class Scope:
    """The instructions before the cursor's, as far as they are understood."""

    def __init__(self, before: Sequence[Statement], config: ReadConfig) -> None:
        self._before = [statement.instruction for statement in before if statement.instruction]
        self._config = config

    @property
    def stages(self) -> list[str]:
        """The names of the stages so far."""
        return [instruction.name for instruction in self._before if isinstance(instruction, From) and instruction.name]

    @property
    def platform_names(self) -> list[str]:
        """The variables that describe platforms."""
        return list(platform_args(host(), host(), "", {}))

    @property
    def global_args(self) -> list[str]:
        """The ARGs before the first FROM."""
        declared: list[Instruction] = []
        for instruction in self._before:
            if isinstance(instruction, From):
                break
            declared.append(instruction)
        return _names(declared)

    @property
    def variables(self) -> list[str]:
        """The names that may follow `$`, the latest first."""
        return list(dict.fromkeys(reversed(self._of_stage(len(self._before), set()))))

    def _of_stage(self, end: int, seen: set[int]) -> list[str]:
        """Return the variables of the stage that ends before the instruction `end`, including those of its base."""
        start = max((n for n in range(end) if isinstance(self._before[n], From)), default=-1)
        if start < 0 or start in seen:
            return [*self.platform_names, *self.global_args]
        base = cast("From", self._before[start]).base
        below = next(
            (n for n in range(start) if isinstance(stage := self._before[n], From) and stage.name == base.lower()),
            None,
        )
        if below is None:
            inherited = [pair.partition("=")[0] for pair in self._environ(base)]
        else:
            inherited = self._of_stage(self._end_of(below), seen | {start})
        return [*inherited, *_names(self._before[start + 1 : end])]

    def _end_of(self, start: int) -> int:
        later = (n for n in range(start + 1, len(self._before)) if isinstance(self._before[n], From))
        return next(later, len(self._before))

    def _environ(self, image: str) -> list[str]:
        config = self._config(image) if image != "scratch" else None
        document = (config or {}).get("config")
        variables = cast("dict[str, Any]", document).get("Env") if isinstance(document, dict) else None
        return [str(pair) for pair in cast("list[object]", variables)] if isinstance(variables, list) else ["PATH="]


def _names(instructions: Sequence[Instruction]) -> list[str]:
    names: list[str] = []
    for instruction in instructions:
        if isinstance(instruction, Arg):
            names += [arg.key for arg in instruction.args]
        elif isinstance(instruction, Env):
            names += [pair.key for pair in instruction.env]
    return names


def build_args(statements: Sequence[Statement]) -> list[str]:
    """Return all ARGs of a Dockerfile."""
    args = [statement.instruction for statement in statements if isinstance(statement.instruction, Arg)]
    return list(dict.fromkeys(_names(args)))


def stage_names(statements: Sequence[Statement]) -> list[str]:
    """Return the named stages of a Dockerfile."""
    return [
        statement.instruction.name
        for statement in statements
        if isinstance(statement.instruction, From) and statement.instruction.name
    ]


def secret_ids(statements: Sequence[Statement]) -> list[str]:
    """Return the ids of the secrets that RUNs mount."""
    import re

    ids: list[str] = []
    for statement in statements:
        for mount in re.findall(r"--mount=(\S+)", statement.text):
            fields = dict(field.partition("=")[::2] for field in mount.split(","))
            if fields.get("type") == "secret" and fields.get("id"):
                ids.append(fields["id"])
    return list(dict.fromkeys(ids))
