"""The lines of a Dockerfile that leave files out: a changed version of the step that makes them.

A later step cannot: the layer that has the files first keeps them. A line does what the steps did that it replaces;
where none can be written, there are words instead.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Sequence

import msgspec

from .owners import Given
from .rules import Rule
from .steps import Step, cut

_MOST = 8
"""The most directories in a command."""
_REMOVAL = re.compile(r"(?<![^\s&;|])(?:rm|rmdir|unlink)\s[^&;|]*")
_NOTHING = re.compile(r"\s*&& true(?=\s*(?:$|&&|;))|^true(?:\s+(?:&&|;)\s*|$)")
"""A `true` in place of a removal, where the shell does the same without it."""
_LIST = re.compile(r";|\|\||(?<![&>])&(?![&>])")
_MOVES = re.compile(
    r"(?:^|[\s;&|({])(?:cd|pushd|export|umask|ulimit|trap|unset|alias)(?:\s|;|&|$)|(?:^|[;&|({]\s*)[A-Za-z_]\w*="
)
"""What a shell remembers for the commands after it."""
_SETS = re.compile(r"(?:^|[\s;&|({])set\s")
_PIP = re.compile(r"((?:\S*python[\d.]*\s+-m\s+)?\S*\bpip[\d.]*)\s+install\b")
_APT = re.compile(r"\bapt(?:-get|itude)?\s")
_NVIDIA = re.compile(r"((?:nvidia_\w+|triton|cupy_\w+|tensorrt\w*)-[^/]+)\.dist-info")
_OF_BASE = "Use a FROM image without them: this layer is the base's"


class Later(msgspec.Struct, frozen=True):
    """A step above another, and the instructions between the two that matter for what it runs."""

    step: Step
    gap: tuple[str, ...] = ()


def of_kind(
    rule: Rule, step: Step, places: Sequence[str], roots: Iterable[str], owner: int, users: Sequence[Later] = ()
) -> str:
    """Return the line that leaves out the files of a rule in `places`, below `roots`, which `users` seem to need."""
    if rule.key == "compilers":
        return f"COPY --from=build {places[0]} {places[0]}"
    if step.of_base:
        return _OF_BASE
    places = places[:_MOST]
    if step.sources and not step.of_stage:
        return f".dockerignore: {rule.ignore or ', '.join(f'**/{_end(place)}' for place in places)}"
    inside = "{places}/*" in rule.remove
    shown = " ".join(f"{place}/*" if inside else place for place in places)
    removal = rule.remove.replace("{places}/*" if inside else "{places}", shown).replace("{root}", common(roots))
    if step.sources:
        return _in_stage(step, removal)
    if users:
        return _used(step, users, removal)
    if rule.mount:
        user = f",uid={owner}" if owner else ""
        caches = " ".join(f"--mount={rule.mount.replace('{place}', place)}{user}" for place in places)
        return step.mounted(caches) or f"To this RUN: {caches}"
    return _then(step, removal)


def uses(rule: Rule, places: Iterable[str], later: Step) -> bool:
    """Return whether a later step seems to need the files of a rule."""
    if rule.key == "apt-lists" and _APT.search(later.command):
        return not re.search(r"\bapt(?:-get|itude)?\s+update\b", later.command)
    return any(place in later.command for place in places)


def of_cuda_wheels(step: Step, packages: Iterable[str]) -> str:
    """Return the line that leaves out the distributions of CUDA that pip installed; "" if it installed none."""
    pip = _PIP.search(step.command)
    names = sorted(
        {match[1].rpartition("-")[0].replace("_", "-") for name in packages if (match := _NVIDIA.match(name))}
    )
    if pip is None or not names:
        return ""
    flags = "--yes --break-system-packages" if "--break-system-packages" in step.command else "--yes"
    return _then(step, f"{pip[1]} uninstall {flags} {' '.join(names)}")


def of_packages(step: Step, names: Sequence[str]) -> str:
    """Return the line that leaves out packages of Debian."""
    if step.of_base or not step.command:
        return _OF_BASE
    return _then(step, f"apt-get purge --yes --auto-remove {' '.join(names)}")


def of_removed(step: Step, later: Later, places: Sequence[str], paths: Sequence[str]) -> str:
    """Return the line without files that a later step removes."""
    if step.of_base:
        return _OF_BASE
    if step.command:
        if later.step.command:
            return _both(step, later)
        removal = f"rm -rf {' '.join(places[:_MOST])}"
        return _used(step, [later], removal) if later.gap else _then(step, removal)
    rest = "" if later.step.is_script else _without(later.step.command, paths[0])
    source = step.source(paths[0]) if len(paths) == 1 else ""
    if source and rest and not any(between.startswith("RUN") for between in later.gap):
        origin = f"from={step.origin or 'STAGE'}," if step.of_stage else ""
        return f"RUN {later.step.flags}--mount=type=bind,{origin}source={source},target={paths[0]} {rest}"
    left_out = [step.source(path) or posixpath.basename(path) for path in paths[:_MOST]]
    if step.of_stage:
        return _in_stage(step, f"rm -rf {' '.join(paths[:_MOST])}")
    return f".dockerignore: {', '.join(left_out)}"


def of_replaced(step: Step, later: Later) -> str:
    """Return the line that writes files only once."""
    if step.of_base:
        return _OF_BASE
    if step.command and later.step.command:
        return _both(step, later)
    dest = (step.dest or later.step.dest).rstrip("/")
    return f"In a stage named build: {cut(step.text)} and {cut(later.step.text)}; then COPY --from=build {dest} {dest}"


def of_owner(step: Step, later: Later, given: Given) -> str:
    """Return the line that gives files at once the owner and mode which a later step gives them."""
    if step.of_base or step.command or not (given.owner or given.mode):
        rest = f" and RUN {given.directories}" if step.sources and given.directories else ""
        return of_replaced(step, later) + rest
    flags = (f"--chown={given.owner} " if given.owner else "") + (f"--chmod={given.mode} " if given.mode else "")
    return re.sub(r"^(COPY|ADD)\s+", rf"\1 {flags}", step.text, flags=re.IGNORECASE)


def of_duplicates(step: Step, pairs: Sequence[tuple[str, str]], *, same_layer: bool) -> str:
    """Return the line that links duplicates, given as (original, duplicate), which `step` makes.

    A hard link to a file of a layer below would be a copy of it.
    """
    if step.command and not step.of_base:
        links = " && ".join(f"ln -{'f' if same_layer else 'sf'} {first} {second}" for first, second in pairs)
        return _then(step, links)
    if step.of_base:
        return _OF_BASE
    return "RUN " + " && ".join(f"ln -s {first} {second}" for first, second in pairs)


def left_out(step: Step, paths: Sequence[str]) -> str:
    """Return what to do so that a COPY does not bring duplicates, which are linked instead."""
    names = [step.source(path) for path in paths]
    if step.of_stage:
        return f"after the stage has removed {', '.join(paths)}"
    if not all(names) or step.sources == tuple(names):
        return f"instead of {cut(step.text)}"
    return f"with {', '.join(names)} in .dockerignore"


def _then(step: Step, command: str) -> str:
    """Return the RUN of a step, with a command that runs if it succeeds."""
    place = "after its command" if step.is_exec else "as its last command"
    return step.then(command) or f"In this RUN, {place}: {command}"


def _used(step: Step, users: Sequence[Later], removal: str) -> str:
    """Return the RUN of a step and of the steps that use its files, which are then removed."""
    steps = [step, *(user.step for user in users)]
    joined = _joined(step, users[0]) if len(users) == 1 and users[0].step.command else ""
    return f"{joined} && {removal}" if joined else f"In a single RUN: {_in_words(steps)}, then {removal}"


def _both(step: Step, later: Later) -> str:
    """Return the RUN of two steps, in which the second starts only if the first succeeds, and where that started."""
    if joined := _joined(step, later):
        return joined
    more = f" and {len(later.gap) - 1} more" if len(later.gap) > 1 else ""
    gap = f"; mind {cut(later.gap[0])}{more} between them" if later.gap else ""
    return f"In a single RUN: {_in_words([step, later.step])}{gap}"


def _in_words(steps: Iterable[Step]) -> str:
    return ", then ".join(cut(step.text) for step in steps)


def _joined(step: Step, later: Later) -> str:
    """Return the RUN of two steps; "" where it might do something else than they do."""
    command, other = step.command, later.step.command
    if later.gap or step.is_script or later.step.is_script or step.flags != later.step.flags:
        return ""
    if re.search(r"type=tmpfs|[,=](?:rw|readwrite)\b", step.flags):  # whose files the next step does not see
        return ""
    moves = _MOVES.search(command) is not None
    # On the left of `&&` a subshell would ignore `set -e`; beyond it, the next commands would not.
    if _SETS.search(command) and (moves or _LIST.search(other) or re.search(r"[$|]", other)):
        return ""
    first = f"({command})" if moves else command
    then = f"{{ {other}; }}" if _LIST.search(other) else other
    return f"RUN {step.flags}{first} && {then}"


def _in_stage(step: Step, command: str) -> str:
    """Return where to run a command on copied files, so that it runs on those that they were copied from."""
    source, *others = step.sources
    if others:
        return f"In the stage that {', '.join(step.sources)} are copied from: {command}, where these are"
    moved = _moved(command, step)
    if step.is_of_stage:
        return f"At the end of the stage {step.origin}: RUN {moved}"
    if step.origin:
        return f"In a stage FROM {step.origin}, to copy from instead: RUN {moved}"
    return f"In the stage that {source} is copied from: {moved}"


def _without(command: str, path: str) -> str:
    """Return a command without its removal of a file; "" if it does nothing else."""
    name = posixpath.basename(path)

    def kept(match: re.Match[str]) -> str:
        words = match[0].split()
        rest = [word for word in words[1:] if not fnmatch.fnmatchcase(name, posixpath.basename(word) or word)]
        if len(rest) == len(words) - 1:
            return match[0]
        if all(word.startswith("-") for word in rest):
            rest, words = [], ["true"]
        return " ".join([words[0], *rest]) + match[0][len(match[0].rstrip()) :]

    return _NOTHING.sub("", _REMOVAL.sub(kept, command)).strip()


def common(paths: Iterable[str]) -> str:
    """Return the directories that have all paths, or the deepest one that does if they are many."""
    tops: list[str] = []
    for path in sorted(paths):
        if not tops or not path.startswith(posixpath.join(tops[-1], "")):
            tops.append(path)
    return " ".join(tops) if len(tops) <= _MOST else posixpath.commonpath(tops)


def _end(place: str) -> str:
    """Return the last two components of a path, or the only one."""
    return "/".join(place.strip("/").split("/")[-2:])


def _moved(command: str, step: Step) -> str:
    """Return a command on copied files as one on those that they were copied from."""
    dest, source = posixpath.normpath(step.dest), posixpath.join("/", posixpath.normpath(step.sources[0]))
    if dest == source or not dest.startswith("/") or dest == "/":
        return command
    return re.sub(rf"(?<=\s){re.escape(dest)}(?=[/\s]|$)", lambda _: source, command)
