"""The instruction of a Dockerfile that a vertex carries out, and the vertex that made a layer.

All of this is inferred from the names of vertices (see `stepname`), since the status stream has nothing else that
says it; so it works for every builder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..dockerfile.instructions import Instruction, Stage
from ..dockerfile.parser import parse
from ..dockerfile.stages import count_steps
from ..errors import BuildError, UsageError
from ..oci import reference
from ..status.stepname import StepName, parse_name
from ..untrusted import foreign

_LONGEST = 1 << 20
"""The most characters of a Dockerfile that is parsed; nobody writes a longer one by hand."""
_LINK = "LINK "
"""The beginning of the text of the vertex that puts the layer of a `COPY --link` on top of the others."""

_LAYERS = ("exec", "file", "merge")


class Place(msgspec.Struct, frozen=True):
    """The origin of a vertex: see `VertexSummary` for `kind`, `stage` and `line`."""

    name: StepName
    kind: str = ""
    stage: str = ""
    line: int = 0


class Maker(msgspec.Struct, frozen=True):
    """The maker of a layer: a vertex, and the line and keyword of its instruction. Empty for layers of the base."""

    digest: str = ""
    line: int = 0
    keyword: str = ""
    is_base: bool = False
    """Whether the layer is certainly the base's: each step has its layer above."""


class Attribution:
    """The stages of a Dockerfile. Without one that can be parsed, only the names of vertices are used."""

    def __init__(self, text: str = "", target: str = "") -> None:
        self._stages: Sequence[Stage] = ()
        try:
            if text and len(text) < _LONGEST:
                self._stages = parse(text).stages
        except BuildError:
            pass
        self._target = target.lower()
        self._steps: dict[str, list[Instruction]] = {}

    def place(self, name: str) -> Place:
        """Return the origin of the vertex that has this name."""
        step = parse_name(name)
        if not step.number:
            return Place(step, step.kind)
        kind = "merge" if step.text.startswith(_LINK) else step.kind
        stage = step.stage or self._label(0)
        return Place(step, kind, stage, self._line(stage, step))

    def layers(self, places: Iterable[tuple[str, Place]], platform: str, made_by: Sequence[str]) -> list[Maker]:
        """Return the maker of each layer of an image, bottom first.

        `places` are (digest, place) in the order of the build, `made_by` the instructions of the layers. The topmost
        layers are matched, from the top down, with the steps of the target stage and of the stages below it.
        """
        order = {label: number for number, label in enumerate(self._chain())}
        originals = {
            instruction.location.start: instruction.original
            for stage in self._stages
            for instruction in stage.instructions
        }
        steps: dict[tuple[int, int], Maker] = {}
        counts: dict[str, int] = {}
        alike: dict[str, Maker] = {}
        for digest, place in places:
            step = place.name
            target = step.platform.rpartition("->")[2]
            if place.kind not in _LAYERS or not f"/{platform}".endswith(f"/{target}" * bool(target)):
                continue
            keyword = step.text.removeprefix(_LINK).removeprefix("ONBUILD ").partition(" ")[0]
            maker = Maker(digest, place.line, keyword)
            alike[originals.get(place.line, "")] = maker  # COPY --link has several vertices, and the merge comes last
            if place.stage in order:
                steps[order[place.stage], step.number] = maker
                counts[place.stage] = step.count
        for label, number in order.items():
            own = self._own(label)
            before = counts.get(label, len(own)) - len(own)  # FROM and its triggers
            for position, instruction in enumerate(own, before + 1):
                # Stages that share a step share its vertex, which is named after one of them only.
                if (number, position) not in steps and (maker := alike.get(instruction.original)):
                    steps[number, position] = msgspec.structs.replace(maker, line=instruction.location.start)
        makers = [Maker()] * len(made_by)
        for position, key in zip(reversed(range(len(made_by))), sorted(steps, reverse=True), strict=False):
            if made_by[position].partition(" ")[0].upper() != steps[key].keyword.upper():
                break  # a layer without a step, or a step without a layer: the layers below cannot be attributed
            makers[position] = steps[key]
        else:
            below = max(0, len(made_by) - len(steps))
            makers[:below] = [Maker(is_base=True)] * below
        return makers

    def base(self, places: Iterable[Place]) -> str:
        """Return the familiar name of the target's base image; "" for scratch."""
        lowest = self._chain()[0]
        for place in places:
            if place.kind == "source" and place.name.number == 1 and self._is_same_base(place.stage, lowest):
                name = place.name.text.removeprefix("FROM ").partition("@")[0]
                try:
                    return reference.parse(name).familiar
                except UsageError:
                    return name
        return ""

    def _is_same_base(self, label: str, lowest: str) -> bool:
        """Whether two stages have one FROM: they share its vertex, which is named after one of them only."""
        one, other = self._stage(label), self._stage(lowest)
        if label == lowest or one is None or other is None:
            return label == lowest
        return (one.base.base, one.base.platform) == (other.base.base, other.base.platform)

    def _chain(self) -> list[str]:
        """Return the labels of the target stage and of the stages that it is built on, the lowest first."""
        if not self._stages:
            return [self._target or self._label(0)]
        names = {stage.name.lower(): number for number, stage in enumerate(self._stages) if stage.name}
        number: int | None = len(self._stages) - 1
        if self._target:
            number = foreign.number(self._target) if self._target.isdecimal() else names.get(self._target)
        chain: list[str] = []
        while number is not None and number < len(self._stages):
            chain.insert(0, self._label(number))
            below = names.get(self._stages[number].base.base.lower())
            number = below if below is not None and below < number else None
        return chain

    def _label(self, number: int) -> str:
        name = self._stages[number].name if number < len(self._stages) else ""
        return name or f"stage-{number}"

    def _line(self, label: str, step: StepName) -> int:
        """Return the line of a stage's step. The first steps have no instruction: they are FROM and its triggers."""
        stage, own = self._stage(label), self._own(label)
        before = step.count - len(own)
        if stage is None or before < 0 or step.number > step.count:
            return 0
        return (own[step.number - before - 1] if step.number > before else stage.base).location.start

    def _own(self, label: str) -> list[Instruction]:
        """Return the instructions of a stage that make steps."""
        if label not in self._steps:
            stage = self._stage(label)
            instructions = stage.instructions if stage else ()
            self._steps[label] = [instruction for instruction in instructions if count_steps([instruction])]
        return self._steps[label]

    def _stage(self, label: str) -> Stage | None:
        """Return the last stage with this label."""
        numbers = reversed(range(len(self._stages)))
        return next((self._stages[number] for number in numbers if self._label(number) == label), None)
