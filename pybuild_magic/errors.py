"""The errors that a build can end with: each is a sentence, with its place in the Dockerfile and the next step."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from .untrusted.printable import colored, visible_lines
from .untrusted.redaction import redact


class SourceRange(msgspec.Struct, frozen=True):
    """Lines of a Dockerfile: first and last, 1-based and inclusive, with the text they were read from."""

    filename: str
    start: int
    end: int
    text: str = ""
    """The whole Dockerfile, so that an error can show the lines around its own."""

    def __str__(self) -> str:
        return f"{self.filename}:{self.start}"

    def excerpt(self) -> str:
        """Return the marked lines and their surroundings in BuildKit's layout: two lines of context around one, one
        around more.
        """
        lines = [line.removesuffix("\r") for line in self.text.split("\n")]
        context = 2 if self.end <= self.start else 1
        if not 1 <= self.start <= len(lines):
            return ""
        first = max(1, self.start - context)
        last = min(len(lines), max(self.start, self.end) + context)
        rows = [
            f"{number:4d} | {'>>> ' if self.start <= number <= self.end else '    '}{redact(lines[number - 1])}"
            for number in range(first, last + 1)
        ]
        rule = "--------------------"
        return "\n".join([f"{self.filename}:{self.start}", rule, *rows, rule])


class BuildError(Exception):
    """A build, or a request for one, that failed for a reason the user can act on.

    `message` is one sentence; `location` the Dockerfile lines it comes from; `hint` the next step;
    `logs` the last lines that the failing step printed.
    """

    kind: ClassVar[str] = "build error"

    def __init__(
        self,
        message: str,
        *,
        location: SourceRange | None = None,
        hint: str = "",
        logs: Sequence[str] = (),
    ) -> None:
        message = redact(message)
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = redact(hint)
        self.logs = tuple(map(redact, logs))
        self.rest = ""
        """The text shown in place of the report where a page already shows the report."""

    def at(self, location: SourceRange | None) -> BuildError:
        """Set the error's location, unless it already has one."""
        if self.location is None:
            self.location = location
        return self

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        hint = f" {self.hint}" if self.hint else ""
        return visible_lines(f"{where}{self.message}{hint}")

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython prints instead of a traceback: the report, or one line where a page shows the
        report.
        """
        return (self.rest or self.render()).splitlines()

    def render(self) -> str:
        """Return the whole report for a terminal: last log lines, marked source, message, next step."""
        return self._render("ERROR: ")

    def _render(self, lead: str) -> str:
        parts: list[str] = []
        if self.logs:
            parts.append("\n".join(f" > {line}" for line in self._colored_logs()))
        if self.location and (excerpt := self.location.excerpt()):
            parts.append(visible_lines(excerpt))
        hint = ("\n" if parts else " ") + self.hint if self.hint else ""
        return "\n".join([*parts, visible_lines(f"{lead}{self.message}{hint}")])

    def _colored_logs(self) -> list[str]:
        lines, colors = list[str](), ""
        for line in self.logs:
            text, colors = colored(line, colors)
            lines.append(text)
        return lines


class UsageError(BuildError):
    """A flag, an option or an attribute that is unknown or malformed."""

    kind = "usage error"


class DockerfileError(BuildError):
    """A Dockerfile that cannot be parsed or compiled."""

    kind = "Dockerfile error"


class ContextError(BuildError):
    """A build context that is missing, or a path that is not in it or leaves it."""

    kind = "context error"


class SourceError(BuildError):
    """An image, URL or repository that could not be fetched."""

    kind = "source error"


FAILED = "@failed"
"""The name of the state that the last failed step left; with `:` and an id, that of a particular step."""


class StepState(Protocol):
    """The file system that a failed step left behind."""

    @property
    def files(self) -> Any:
        """The files as the step left them."""
        ...

    def run(self, *command: str, **arguments: Any) -> Any:
        """Run a process on that file system, with the step's variables, user, directory and mounts."""
        ...

    def diff(self) -> Any:
        """Return the changes that the step made before it failed."""
        ...


class RunError(BuildError):
    """A RUN whose process failed: `exit_code` is the process's own, 128+n for signal n.

    Its file system is kept until the next build: `files` and `diff()` show it, `run` starts a process in it.
    """

    kind = "run error"

    def __init__(
        self,
        message: str,
        exit_code: int,
        *,
        location: SourceRange | None = None,
        hint: str = "",
        logs: Sequence[str] = (),
    ) -> None:
        super().__init__(message, location=location, hint=hint, logs=logs)
        self.exit_code = exit_code
        self.step_ref = ""
        """The key under which the embedded builder keeps the step's file system; "" when it is not kept."""
        self.state: StepState | None = None
        """The kept file system for callers in Python, when the build was started by the package's own functions."""

    @property
    def files(self) -> Any:
        """The files as the step left them: a `FileTree`. Raises BuildError when they are not kept."""
        return self._kept_state().files

    def diff(self) -> Any:
        """Return the changes that the step made before it failed: a `Difference`."""
        return self._kept_state().diff()

    def run(self, *command: str, **arguments: Any) -> Any:
        """Run a process in the state that the step left, as `pybuild_magic.run` does, with the step's own settings."""
        return self._kept_state().run(*command, **arguments)

    @property
    def state_name(self) -> str:
        """The name of the kept state, usable wherever an image name is; "" when it was not kept."""
        return f"@{self.step_ref}" if self.step_ref else ""

    @property
    def look(self) -> str:
        """A sentence on how to look into the kept state; "" when it was not kept."""
        return "`%build run @failed COMMAND` runs a command in the state of the failed step." if self.step_ref else ""

    def render(self) -> str:
        """Return the whole report, including how to look into the failed step."""
        return "\n".join(filter(None, (super().render(), self.look)))

    def not_kept(self) -> UnsupportedError:
        """Return the error for a request to look into a state that was not kept."""
        return UnsupportedError(
            "The state of this step was not kept.",
            hint="The embedded builder keeps up to 2 GB of a failed step; BuildKit keeps nothing.",
        )

    def _kept_state(self) -> StepState:
        if self.state is None:
            raise self.not_kept()
        return self.state


class ExportError(BuildError):
    """A result that could not be written or sent where it was meant to go."""

    kind = "export error"


FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a disk, or of a quota, without room."""


def unwritable(what: object, error: OSError) -> ExportError:
    """Return the error that a file or directory `what` cannot be written."""
    hint = ""
    if error.errno in FULL:
        hint = "Free some space, or write to another disk."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "Write to a directory that is yours."
    return ExportError(f"{what} cannot be written: {error.strerror or error}.", hint=hint)


class StoreError(BuildError):
    """The local store cannot be read or written, or does not hold what was asked for."""

    kind = "store error"


class DaemonError(BuildError):
    """A daemon that cannot be reached, or whose connection was lost."""

    kind = "builder error"


class UnsupportedError(BuildError):
    """An operation that this builder, or this machine, does not support."""

    kind = "unsupported"


class Interrupted(BuildError):  # noqa: N818 - as KeyboardInterrupt: an outcome, not a fault
    """The build was stopped by its user; `message` names the steps that were running."""

    kind = "interrupted"

    def render(self) -> str:
        """Return the message and the next step: what was asked for is not an error."""
        return self._render("")


def nearest(word: str, choices: Sequence[str]) -> str | None:
    """Return the choice most like `word`, for "did you mean" hints, or None when nothing is near."""
    import difflib

    matches = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return matches[0] if matches else None
