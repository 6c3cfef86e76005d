"""A point in the lowering of a stage: a root file system, and the settings for the next RUN."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import SourceRange
from ..llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    Chown,
    Edge,
    FileAction,
    FileCopy,
    FileMkdir,
    FileMkfile,
    FileOp,
    NetMode,
    Node,
)
from ..oci.platform import Platform
from ..untrusted.foreign import integer

Action = FileCopy | FileMkfile | FileMkdir


class State(msgspec.Struct, frozen=True):
    """The state before or after an instruction. An `edge` of None is scratch."""

    edge: Edge | None = None
    platform: Platform | None = None
    """None until an image names one: until then it runs on the target platform."""
    env: dict[str, str] = {}
    """ENV and ARG together, in the order in which they were last set. Never modified in place."""
    directory: str = "/"
    user: str = ""
    hostname: str = ""
    network: NetMode = NetMode.SANDBOX

    def with_edge(self, edge: Edge | None) -> State:
        """Return the same settings on another file system."""
        return msgspec.structs.replace(self, edge=edge)

    def with_env(self, name: str, value: str) -> State:
        """Return the state with `name` set to `value`, which is then last in the order."""
        env = {key: old for key, old in self.env.items() if key != name}
        env[name] = value
        return msgspec.structs.replace(self, env=env)

    def with_environ(self, pairs: Sequence[str]) -> State:
        """Return the state with each `NAME=value` of an image's config set."""
        state = self
        for pair in pairs:
            name, _, value = pair.partition("=")
            state = state.with_env(name, value)
        return state


class Inputs:
    """The inputs of a node, as they are collected; duplicates are one input."""

    def __init__(self) -> None:
        self.edges: list[Edge] = []
        self._numbers: dict[tuple[str, int], int] = {}

    def number(self, edge: Edge | None) -> int:
        """Return the number of the input `edge`, adding it if necessary; NO_INPUT for scratch."""
        if edge is None:
            return NO_INPUT
        key = (edge.node.digest, edge.output)
        if key not in self._numbers:
            self._numbers[key] = len(self.edges)
            self.edges.append(edge)
        return self._numbers[key]


def file_node(
    base: Edge | None,
    actions: Sequence[tuple[Action, Edge | None]],
    *,
    name: str,
    location: SourceRange | None = None,
    ignore_cache: bool = False,
) -> Node:
    """Return a FileOp with `actions` in sequence on `base`, each with the file system from which it copies.

    Owners given by name are looked up in `base`.
    """
    inputs = Inputs()
    base_number = inputs.number(base)
    sources = [inputs.number(source) for _, source in actions]
    steps: list[FileAction] = []
    for number, (action, _) in enumerate(actions):
        owner = action.owner
        if owner and (isinstance(owner.user, str) or isinstance(owner.group, str)):
            action = msgspec.structs.replace(action, owner=msgspec.structs.replace(owner, input=base_number))
        steps.append(
            FileAction(
                action,
                input=len(inputs.edges) + number - 1 if number else base_number,
                secondary_input=sources[number],
                output=0 if number == len(actions) - 1 else NO_OUTPUT,
            )
        )
    return Node(
        FileOp(tuple(steps)),
        tuple(inputs.edges),
        name=name,
        ignore_cache=ignore_cache,
        location=location,
    )


def parse_owner(text: str) -> Chown:
    """Parse the `user[:group]` of USER or `--chown`: each a number, or a name to look up; "root" and "" are 0."""
    user, colon, group = text.partition(":")
    return Chown(_principal(user), _principal(group) if colon else None)


def _principal(text: str) -> str | int:
    if text in ("", "root"):
        return 0
    value = integer(text, -(2**31), 2**31 - 1)
    return text if value is None else value & 0xFFFFFFFF
