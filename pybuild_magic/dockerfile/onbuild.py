"""ONBUILD triggers: instructions of a base image that run first in a stage on top of it."""

from __future__ import annotations

from .lowering import Lowering
from .parser import parse_trigger
from .stages import Command, StageState, triggers


def read_triggers(lowering: Lowering, stage: StageState) -> bool:
    """Insert the triggers of `stage`'s base before its own instructions.

    Return whether they read other stages or images, which must then be resolved too. Raises DockerfileError, at the
    FROM, for a trigger that is not a single instruction.
    """
    expressions = triggers(stage)
    location = stage.base_from.location
    commands: list[Command] = []
    for expression in expressions:
        instruction = parse_trigger(expression, location)
        commands.append(lowering.graph.link(stage, instruction, lowering.lexer, onbuild=True))
    stage.commands = commands + stage.commands
    stage.steps += len(commands)
    return any(command.sources for command in commands)
