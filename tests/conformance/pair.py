"""What a pair of builds is: a build, a change, and the build after it; several are built as one Dockerfile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .case import TIME, Node, Tar, Tree, fingerprint

LATER = TIME + 100
"""The time of files that the second build finds changed, when they are not given another."""


@dataclass(frozen=True)
class State:
    """What one of the two builds is made of. Placeholders are explained at `pair`."""

    steps: str = ""
    """What follows FROM and WORKDIR in the pair's stage."""
    before: str = ""
    """Stages that come before it."""
    head: str = ""
    """What comes before all stages."""
    flags: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    """Images that are built first: name -> Dockerfile."""
    pages: Mapping[str, tuple[str | Tar, Mapping[str, str]]] = field(default_factory=dict)
    """What the HTTP server answers: path -> (body, headers)."""
    commit: Tree = field(default_factory=dict)
    """What is committed to `main` of the pair's repository."""
    source: str = "{context}"
    """The context argument."""


@dataclass(frozen=True)
class Pair:
    """A build, and another after a change. Several pairs are built at once, each a stage of one Dockerfile."""

    name: str
    first: State
    second: State
    tree: Tree = field(default_factory=dict)
    """The files of the context, below a directory of the pair's name; when `alone`, of the context itself."""
    changes: Mapping[str, Node | None] = field(default_factory=dict)
    """The files that the second build finds changed; None is removed."""
    beside: Tree = field(default_factory=dict)
    beside_changes: Mapping[str, Node | None] = field(default_factory=dict)
    alone: bool = False
    """Not built with others, as what changes would change them too."""
    whole: bool = False
    """`steps` are a whole Dockerfile."""
    note: str = ""
    """Why the two builders differ, if they do."""


PAIRS: dict[str, Pair] = {}


def pair(name: str, steps: str, then: str | None = None, **more: Any) -> None:
    """Declare a pair: `steps` of the first build, and `then` those of the second when they change.

    Further arguments are fields of `Pair`, or of `State`: with `_then` at the end, those of the second build.
    In texts `{name}` is the pair's name, also the name of its directory in the context; `{base}` an image, `{http}`
    and `{git}` the server and the pair's repository, `{context}` and `{beside}` directories, `{token}` letters that
    no other run has.
    """
    given = {key: more.pop(key) for key in [field.name for field in fields(State)] if key in more}
    changed = {key.removesuffix("_then"): more.pop(key) for key in list(more) if key.endswith("_then")}
    first = State(steps=steps, **given)
    second = State(**{**vars(first), **changed, "steps": steps if then is None else then})
    assert name not in PAIRS, f"two pairs are called {name}"
    whole = more.get("whole", False)
    PAIRS[name] = Pair(name, first, second, **{"alone": whole, **more})


@dataclass(frozen=True)
class Batch:
    """Pairs that are built at once."""

    pairs: tuple[Pair, ...]

    @property
    def digest(self) -> str:
        """Changes with everything that an answer depends on."""
        return fingerprint([vars(pair) for pair in self.pairs])

    def dockerfile(self, states: Sequence[State]) -> str:
        """One stage for each pair, and one that needs them all."""
        if self.pairs[0].whole:
            return fill(states[0].steps, self.pairs[0])
        named = list(zip(self.pairs, states, strict=True))
        parts = [fill(state.head, pair) for pair, state in named]
        for pair, state in named:
            stage = f"{state.before}\nFROM {{base}} AS {{name}}\nWORKDIR /{{name}}\n{state.steps}\n"
            parts.append(fill(stage, pair))
        mounts = [f"--mount=from={pair.name},source=/token,target=/m/{pair.name}" for pair in self.pairs]
        return "\n".join([*parts, f"FROM {{base}} AS all\nRUN {' '.join(mounts)} true\n"])

    def flags(self, states: Sequence[State]) -> str:
        """The flags of all pairs."""
        return " ".join(fill(state.flags, pair) for pair, state in zip(self.pairs, states, strict=True))


def fill(text: str, pair: Pair) -> str:
    return text.replace("{name}", pair.name).replace("{git}", f"{{git}}/{pair.name}.git")


def batches(size: int = 24) -> list[Batch]:
    """All pairs, those that can be built together in batches."""
    together = [pair for pair in PAIRS.values() if not pair.alone]
    found = [Batch(tuple(together[start : start + size])) for start in range(0, len(together), size)]
    return found + [Batch((pair,)) for pair in PAIRS.values() if pair.alone]
