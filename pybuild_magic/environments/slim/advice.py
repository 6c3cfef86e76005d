"""The lines of a Dockerfile that leave files out: a changed version of the step that makes them.

A later step cannot: the layer that has the files first keeps them.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Collection, Iterable, Sequence

import msgspec

from .rules import Rule

_LONGEST = 2000
"""The most characters of a command that is repeated; nobody pastes a longer one."""
_MOST = 8
"""The most directories in a command."""
_BUILDKIT = re.compile(r"^(?:/bin/sh -c #\(nop\)\s*|RUN /bin/sh -c |/bin/sh -c )|\s*# buildkit$")
_SHELL = re.compile(r"^RUN (?:\|\d+ .*?)?/(?:\S*/)?(?:ba|da|a|z|k)?sh (?:-\S+ |pipefail )*?-\w*c ", re.DOTALL)
"""The build args of a RUN, and the shell that a SHELL instruction set."""
_RUN = re.compile(r"RUN\s+((?:--\S+\s+)*)(.*)", re.DOTALL)
_COPY = re.compile(r"(COPY|ADD)\s+((?:--\S+\s+)*)(.*)", re.DOTALL)
_REMOVAL = re.compile(r"(?<![^\s&;|])(?:rm|rmdir|unlink)\s[^&;|]*")
_NOTHING = re.compile(r"\s*&& true(?=\s*(?:$|&&|;))|^true(?:\s+(?:&&|;)\s*|$)")
"""A `true` in place of a removal, where the shell does the same without it."""
_SCRIPT = re.compile(r"\n|(?:^|\s)#|(?<![&>])&\s*$|^\|\d+ |…$")
"""What no other command can follow on its line, or be told to: a here-document, a comment, `&` or an exec form."""
_LIST = re.compile(r";|\|\||(?<![&>])&(?![&>])")
_ENDS = re.compile(r"(?<![\\;])\s*;?\s*$")
_MOVES = re.compile(r"(?:^|[\s;&|({])(?:cd|pushd)\s")
_SETS = re.compile(r"(?:^|[\s;&|({])set\s")
_PIP = re.compile(r"((?:\S*python[\d.]*\s+-m\s+)?\S*\bpip[\d.]*)\s+install\b")
_NVIDIA = re.compile(r"((?:nvidia_\w+|triton|cupy_\w+|tensorrt\w*)-[^/]+)\.dist-info")
_OF_BASE = "Use a FROM image without them: this layer is the base's"


class Step(msgspec.Struct, frozen=True):
    """An instruction of a history: RUN with its `command`, or COPY and ADD with `sources` and `dest`."""

    text: str
    command: str = ""
    mounts: str = ""
    sources: tuple[str, ...] = ()
    dest: str = ""

    @property
    def is_script(self) -> bool:
        """Whether no command can be appended to its own."""
        return _SCRIPT.search(self.command) is not None

    @property
    def of_stage(self) -> bool:
        """Whether it copies from a stage: a history does not tell --from, but few write `COPY /app` of a context."""
        return bool(self.sources) and self.sources[0].startswith("/")

    @property
    def of_base(self) -> bool:
        """Whether it is no instruction of a Dockerfile: that of a base which was imported."""
        return not (self.command or self.sources)

    def source(self, path: str) -> str:
        """Return the place of a copied file in what it was copied from; "" if that cannot be told."""
        dest = posixpath.normpath(self.dest)
        if len(self.sources) != 1 or not dest.startswith("/"):
            return ""
        source = posixpath.normpath(self.sources[0])
        if path == dest:
            return source
        inside = posixpath.join(dest, "")
        return posixpath.normpath(posixpath.join(source, path.removeprefix(inside))) if path.startswith(inside) else ""


def short_step(created_by: str) -> str:
    """Return an instruction in its Dockerfile form, on one line."""
    return " ".join(_plain(created_by).split())


def _plain(created_by: str) -> str:
    text = _SHELL.sub("RUN ", _BUILDKIT.sub("", created_by))
    if created_by.startswith(("RUN /bin/sh -c ", "/bin/sh -c ")) and "#(nop)" not in created_by:
        text = f"RUN {text}"
    return text.strip()


def parse_step(created_by: str) -> Step:
    """Return the parts of an instruction, of a history."""
    plain = _plain(created_by)
    text = " ".join(plain.split())
    if run := _RUN.fullmatch(plain if re.search(r"[\n\"']", plain) else text):
        return Step(text, cut(_ENDS.sub("", run[2]), _LONGEST), run[1])
    copy = _COPY.fullmatch(text)
    words = copy[3].split() if copy else []
    if len(words) < 2 or words[0].startswith(("[", "<<", "file:", "dir:", "multi:")):
        return Step(text)
    return Step(text, sources=tuple(words[:-1]), dest=words[-1])


def of_kind(rule: Rule, step: Step, places: Sequence[str], roots: Iterable[str], owner: int) -> str:
    """Return the line that leaves out the files of a rule, which are in `places`, below `roots`."""
    if rule.key == "compilers":
        return f"COPY --from=build {places[0]} {places[0]}"
    places = places[:_MOST]
    if step.sources and not step.of_stage:
        return f".dockerignore: {rule.ignore or ', '.join(f'**/{_end(place)}' for place in places)}"
    inside = "{places}/*" in rule.remove
    shown = " ".join(f"{place}/*" if inside else place for place in places)
    removal = rule.remove.replace("{places}/*" if inside else "{places}", shown).replace("{root}", common(roots))
    if step.sources:
        return f"In the stage that {step.sources[0]} is copied from: {_moved(removal, step)}"
    if not step.command:
        return _OF_BASE
    if rule.mount:
        user = f",uid={owner}" if owner else ""
        caches = " ".join(f"--mount={rule.mount.replace('{place}', place)}{user}" for place in places)
        return f"To this RUN: {caches}" if step.is_script else f"RUN {step.mounts}{caches} {step.command}"
    return _then(step, removal)


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
    if not step.command:
        return _OF_BASE
    return _then(step, f"apt-get purge --yes --auto-remove {' '.join(names)}")


def of_removed(step: Step, later: Step, places: Sequence[str], paths: Sequence[str]) -> str:
    """Return the line without files that the step `later` removes."""
    if step.command:
        return _both(step, later) if later.command else _then(step, f"rm -rf {' '.join(places[:_MOST])}")
    if not step.sources:
        return _OF_BASE
    rest = "" if later.is_script else _without(later.command, paths[0])
    source = step.source(paths[0]) if len(paths) == 1 else ""
    if source and rest:
        of_stage = "from=STAGE," if step.of_stage else ""
        return f"RUN --mount=type=bind,{of_stage}source={source},target={paths[0]} {rest}"
    left_out = [step.source(path) or posixpath.basename(path) for path in paths[:_MOST]]
    if step.of_stage:
        return f"In the stage that {step.sources[0]} is copied from: rm -rf {' '.join(left_out)}"
    return f".dockerignore: {', '.join(left_out)}"


def of_replaced(step: Step, later: Step) -> str:
    """Return the line that writes files only once."""
    if step.command and later.command:
        return _both(step, later)
    dest = step.dest.rstrip("/")
    return f"In a stage named build: {cut(step.text)} and {cut(later.text)}; then COPY --from=build {dest} {dest}"


def of_owner(step: Step, later: Step, owners: Collection[str], modes: Collection[str]) -> str:
    """Return the line that gives files at once the owners and modes which a later step gives them."""
    if step.command:
        return of_replaced(step, later)
    flags = f"--chown={'|'.join(sorted(owners)[:3])} " if owners else ""
    flags += f"--chmod={'|'.join(sorted(modes)[:3])} " if modes else ""
    return re.sub(r"^(COPY|ADD)\s+", rf"\1 {flags}", cut(step.text, _LONGEST)) if step.sources else _OF_BASE


def of_duplicates(step: Step, pairs: Sequence[tuple[str, str]], *, same_layer: bool) -> str:
    """Return the line that links duplicates, given as (original, duplicate), which `step` makes.

    A hard link to a file of a layer below would be a copy of it.
    """
    if step.command:
        links = " && ".join(f"ln -{'f' if same_layer else 'sf'} {first} {second}" for first, second in pairs)
        return _then(step, links)
    if not step.sources:
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
    if step.is_script:
        return f"In this RUN, as its last command: {command}"
    return f"RUN {step.mounts}{step.command} && {command}"


def _both(step: Step, later: Step) -> str:
    """Return the RUN of two steps, in which the second starts only if the first succeeds, and where that started."""
    moves = _MOVES.search(step.command) is not None
    # On the left of `&&` a subshell would ignore `set -e`.
    if step.is_script or later.is_script or (moves and _SETS.search(step.command)):
        return f"In a single RUN: {cut(step.text)}, then {cut(later.text)}"
    first = f"({step.command})" if moves else step.command
    then = f"{{ {later.command}; }}" if _LIST.search(later.command) else later.command
    return f"RUN {step.mounts}{first} && {then}"


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


def cut(text: str, most: int = 80) -> str:
    """Return a text that has at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _end(place: str) -> str:
    """Return the last two components of a path, or the only one."""
    return "/".join(place.strip("/").split("/")[-2:])


def _moved(command: str, step: Step) -> str:
    """Return a command on copied files as one on those that they were copied from."""
    dest, source = (posixpath.normpath(path) for path in (step.dest, step.sources[0]))
    if dest == source or not dest.startswith("/") or dest == "/":
        return command
    return re.sub(rf"(?<=\s){re.escape(dest)}(?=[/\s]|$)", lambda _: source, command)
