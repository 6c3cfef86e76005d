"""The steps of an image, one a layer: as its history tells them, or as the Dockerfile has them where that is known."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence

import msgspec

from ...dockerfile.instructions import Add, Copy, Instruction, Run

_LONGEST = 2000
"""The most characters of a command that is repeated; nobody pastes a longer one."""
_BUILDKIT = re.compile(r"^(?:/bin/sh -c #\(nop\)\s*|RUN /bin/sh -c |/bin/sh -c )|\s*# buildkit$")
_SHELL = re.compile(r"^RUN (?:\|\d+ .*?)?/(?:\S*/)?(?:ba|da|a|z|k)?sh (?:-\S+ |pipefail )*?-\w*c ", re.DOTALL)
"""The build args of a RUN, and the shell that a SHELL instruction set."""
_RUN = re.compile(r"RUN\s+((?:--\S+\s+)*)(.*)", re.DOTALL | re.IGNORECASE)
_COPY = re.compile(r"(COPY|ADD)\s+((?:--\S+\s+)*)(.*)", re.DOTALL | re.IGNORECASE)
_SCRIPT = re.compile(r"\n|(?:^|\s)#|(?<![&>])&\s*$|\\$|^\|\d+ |…$|(?:^|[;&|({]\s*)(?:exec|exit|return)\b")
"""What no other command can follow on its line, or be told to: a script, a comment, `&`, `exit`."""
_ENDS = re.compile(r"(?<![\\;])\s*;?\s*$")
_HARMLESS = ("CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "STOPSIGNAL", "VOLUME")
"""The instructions that change nothing for a RUN below them."""


class Source(msgspec.Struct, frozen=True):
    """An instruction of the Dockerfile that the image was built from."""

    instruction: Instruction
    stages: tuple[str, ...] = ()
    """The names and numbers of the stages that it can copy from."""


class Step(msgspec.Struct, frozen=True):
    """An instruction that made a layer: RUN with its `command`, or COPY and ADD with `sources` and `dest`."""

    text: str
    command: str = ""
    flags: str = ""
    """The flags of RUN, each with a space after it."""
    words: str = ""
    """What follows the flags of RUN in the Dockerfile; "" if that is unknown."""
    documents: tuple[str, ...] = ()
    """The here-documents of RUN, each with the name that ends it."""
    sources: tuple[str, ...] = ()
    dest: str = ""
    origin: str | None = None
    """The stage or image that is copied from, "" for the context; None if unknown: a history does not tell --from."""
    is_of_stage: bool = False
    """Whether `origin` is a stage of the Dockerfile."""
    is_exec: bool = False
    """Whether its command is in the exec form, of which a history does not tell the words."""
    is_known: bool = False
    """Whether it is as the Dockerfile has it."""
    is_base: bool = False
    """Whether it is no instruction of the Dockerfile, but the base's."""

    @property
    def is_script(self) -> bool:
        """Whether no command can be appended to its own on its line."""
        return self.is_exec or bool(self.documents) or _SCRIPT.search(self.command) is not None

    @property
    def of_stage(self) -> bool:
        """Whether it does not copy from the context; if that is unknown, few write `COPY /app` of a context."""
        return self.origin != "" if self.origin is not None else "".join(self.sources[:1]).startswith("/")

    @property
    def of_base(self) -> bool:
        """Whether it is the base's, or no instruction of a Dockerfile: that of a base which was imported."""
        return self.is_base or not (self.command or self.sources)

    def mounted(self, mounts: str) -> str:
        """Return its RUN with more flags; "" if it cannot be written so."""
        if self.words:
            return "\n".join((f"RUN {self.flags}{mounts} {self.words}", *self.documents))
        return "" if self.is_script else f"RUN {self.flags}{mounts} {self.command}"

    def then(self, command: str) -> str:
        """Return its RUN with a command that runs if it succeeds; "" if it cannot be written so."""
        if self.documents and not self.is_exec:
            return self._with_document(command)
        return "" if self.is_script else f"RUN {self.flags}{self.command} && {command}"

    def _with_document(self, command: str) -> str:
        script, first = self.documents[0].rpartition("\n")[0].rstrip("\n"), self.command
        last = script.rpartition("\n")[2].strip()
        if not re.fullmatch(r"<<-?\S+", first):  # the input of a command
            return (
                "" if _SCRIPT.search(first) else "\n".join((f"RUN {self.flags}{first} && {command}", *self.documents))
            )
        if script.startswith("#!") or "<<" in script or not last or _SCRIPT.search(last):
            return ""
        name = self.documents[0].rpartition("\n")[2]
        return f"RUN {self.flags}{first}\n{script} && {command}\n{name}"

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


def between(steps: Sequence[str]) -> list[str]:
    """Return those of the instructions that matter for what runs after them."""
    return [step for step in map(short_step, steps) if step.partition(" ")[0].upper() not in _HARMLESS]


def _plain(created_by: str) -> str:
    text = _SHELL.sub("RUN ", _BUILDKIT.sub("", created_by))
    if created_by.startswith(("RUN /bin/sh -c ", "/bin/sh -c ")) and "#(nop)" not in created_by:
        text = f"RUN {text}"
    return text.strip()


def parse_step(created_by: str, source: Source | None = None, *, is_base: bool = False) -> Step:
    """Return the parts of the instruction that made a layer, of the image's history or of its Dockerfile."""
    if source is not None and isinstance(source.instruction, Run):
        return _of_run(source.instruction)
    step = _of_history(created_by)
    if is_base:
        return msgspec.structs.replace(step, is_base=True)
    if source is not None and isinstance(source.instruction, Copy | Add):
        return _of_copy(source.instruction, source.stages, step)
    return step


def _of_history(created_by: str) -> Step:
    plain = _plain(created_by)
    text = " ".join(plain.split())
    if run := _RUN.fullmatch(plain if re.search(r"[\n\"']", plain) else text):
        is_exec = created_by.endswith("# buildkit") and plain == _BUILDKIT.sub("", created_by).strip()
        return Step(text, cut(_ENDS.sub("", run[2]), _LONGEST), run[1], is_exec=is_exec)
    copy = _COPY.fullmatch(text)
    words = copy[3].split() if copy else []
    if len(words) < 2 or words[0].startswith(("[", "<<", "file:", "dir:", "multi:")):
        return Step(text)
    return Step(text, sources=tuple(words[:-1]), dest=words[-1])


def _of_run(run: Run) -> Step:
    match = _RUN.fullmatch(run.original)
    flags, words = match.groups() if match else ("", "")
    command = run.args[0] if run.shell and run.args else shlex.join(run.args)
    documents = tuple(f"{document.data}{document.name}" for document in run.heredocs)
    return Step(run.original, cut(_ENDS.sub("", command), _LONGEST), flags, words, documents, is_known=True)


def _of_copy(copy: Copy | Add, stages: tuple[str, ...], told: Step) -> Step:
    """Return the parts of a COPY; its history has its variables expanded, but neither its --from nor its quotes."""
    is_expanded = "$" not in f"{copy.sources}{copy.destination}"
    origin = copy.from_ if isinstance(copy, Copy) else ""
    return Step(
        copy.original,
        sources=copy.sources if is_expanded or not told.sources else told.sources,
        dest=copy.destination if is_expanded or not told.dest else told.dest,
        origin=origin,
        is_of_stage=origin.lower() in stages,
        is_known=True,
    )


def cut(text: str, most: int = 80) -> str:
    """Return a text that has at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
