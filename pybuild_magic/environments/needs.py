"""Dependencies between distributions: their closure, and inconsistencies of an environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from .installed import Distribution, Environment, normalised
from .target import TargetPython


def requirements(distribution: Distribution, target: TargetPython, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Return the dependencies of a distribution on the target, with the requested extras."""
    all_extras = ("", *extras)
    for text in distribution.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # a distribution from before this syntax
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**target.markers, "extra": extra}) for extra in all_extras):
            yield requirement


def closure(names: Iterable[str], environment: Environment, target: TargetPython) -> Environment:
    """Return the distributions `names` and all their dependencies, as far as the environment has them."""
    extras: dict[str, set[str]] = {name: set() for name in names if name in environment}
    todo = list(extras)
    while todo:
        name = todo.pop()
        for requirement in requirements(environment[name], target, extras[name]):
            dependency = normalised(requirement.name)
            if dependency not in environment:
                continue
            known = extras.get(dependency)
            if known is None or not requirement.extras <= known:
                extras[dependency] = (known or set()) | requirement.extras
                todo.append(dependency)
    return {name: environment[name] for name in sorted(extras)}


def missing(
    some: Environment, environment: Environment, target: TargetPython
) -> Iterator[tuple[Distribution, Requirement]]:
    """Return the unmet dependencies of distributions, each with the distribution that has it."""
    for distribution in some.values():
        for requirement in requirements(distribution, target):
            if normalised(requirement.name) not in environment:
                yield distribution, requirement


def conflicts(environment: Environment, target: TargetPython) -> list[str]:
    """Return a sentence for each dependency that the environment does not meet."""
    sentences: list[str] = []
    for distribution in environment.values():
        subject = f"{distribution.name} {distribution.version}"
        for requirement in requirements(distribution, target):
            other = environment.get(normalised(requirement.name))
            needed = f"{requirement.name}{requirement.specifier}"
            if other is None:
                sentences.append(f"{subject} needs {needed}, which is not installed.")
            elif not _meets(other.version, requirement):
                sentences.append(f"{subject} needs {needed}, but {other.name} {other.version} is installed.")
    return sentences


def _meets(version: str, requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True  # versions that cannot be compared
