"""The instructions of a Dockerfile as typed data, one struct each, with variables not yet expanded.

BuildKit expands variables while it lowers a stage, because the meaning of `$x` depends on the ARG and ENV before it. So
a value here is text of the Dockerfile, and `Instruction.expand` returns the instruction with exactly those fields
expanded that BuildKit expands; others (CMD, HEALTHCHECK, `COPY --from`, `--exclude`, …) stay as they are. `expand`
skips fields in which one word does not become one word: `Expose.ports` (a word may become several), `From.base` and
`From.platform` (which only see the ARGs before the first FROM) and `Run.heredocs` (expanded by the shell).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

import msgspec

from ..errors import SourceRange

Expander = Callable[[str], str]
"""One word in, the word with its variables expanded out (see `shell.Lexer.process_word`)."""

_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document: `<<NAME` (`expand`), `<<"NAME"` (not `expand`), `<<-NAME` (`chomp`), `3<<NAME` (`fd`).

    `data` is as it stands in the Dockerfile, with the final newline and with leading tabs.
    """

    name: str
    data: str = ""
    expand: bool = True
    chomp: bool = False
    fd: int = 0

    @property
    def text(self) -> str:
        """Return the content of the resulting file, before expansion: `data`, without leading tabs when `chomp`."""
        return _LEADING_TABS.sub("", self.data) if self.chomp else self.data


class KeyValue(msgspec.Struct, frozen=True):
    """One pair of an ENV or LABEL. `delimited` is false in the old form `ENV key value`."""

    key: str
    value: str
    delimited: bool = True


class ArgValue(msgspec.Struct, frozen=True):
    """One variable of an ARG; `value` is None when no default is given, `doc` its comment (`# key text`)."""

    key: str
    value: str | None = None
    doc: str = ""


class Device(msgspec.Struct, frozen=True):
    """A CDI device of `RUN --device`."""

    name: str
    required: bool = False


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of every instruction.

    `keyword` is as written (`RUN`, `run`); `original` the whole instruction on one line, continuations
    joined and comments dropped as BuildKit shows it in vertex names (without here-documents' contents);
    `comments` the comment lines directly above.
    """

    keyword: str
    original: str
    location: SourceRange
    comments: tuple[str, ...] = ()

    def expand(self, expander: Expander) -> Self:  # noqa: ARG002 - most instructions expand nothing
        """Return the instruction with the variables of its expandable fields expanded."""
        return self


class From(Instruction, frozen=True, kw_only=True):
    """FROM: the start of a stage. `name` is lower case, "" when the stage has none."""

    base: str
    name: str = ""
    platform: str = ""
    alias: str = ""
    """The stage's name as written."""
    as_keyword: str = ""
    """`AS` as written, or ""."""
    doc: str = ""
    """The stage's comment: what follows `# name ` directly above."""


class Arg(Instruction, frozen=True, kw_only=True):
    """ARG name[=default] …"""

    args: tuple[ArgValue, ...]

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with names and defaults expanded."""
        args = tuple(
            msgspec.structs.replace(
                arg, key=expander(arg.key), value=None if arg.value is None else expander(arg.value)
            )
            for arg in self.args
        )
        return msgspec.structs.replace(self, args=args)


class Env(Instruction, frozen=True, kw_only=True):
    """ENV name=value … or ENV name value."""

    env: tuple[KeyValue, ...]

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with names and values expanded."""
        return msgspec.structs.replace(self, env=_expand_pairs(self.env, expander))


class Label(Instruction, frozen=True, kw_only=True):
    """LABEL name=value … or LABEL name value."""

    labels: tuple[KeyValue, ...]

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with names and values expanded."""
        return msgspec.structs.replace(self, labels=_expand_pairs(self.labels, expander))


class Maintainer(Instruction, frozen=True, kw_only=True):
    """MAINTAINER, deprecated."""

    maintainer: str


class CommandLine(Instruction, frozen=True, kw_only=True):
    """The fields that RUN, CMD and ENTRYPOINT share.

    Exec form: `args` are the JSON array's strings and `shell` is false. Shell form: `args` is one string
    to be given to the stage's shell, or () when there is none.
    """

    args: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


class Run(CommandLine, frozen=True, kw_only=True):
    """RUN. `mounts` are the values of `--mount`, to be read by `mount.parse_mount` after expansion."""

    mounts: tuple[str, ...] = ()
    network: str = "default"
    """default, none or host."""
    security: str = "sandbox"
    """sandbox or insecure."""
    devices: tuple[Device, ...] = ()


class Cmd(CommandLine, frozen=True, kw_only=True):
    """CMD. `CMD []` has no args and is not `shell`: BuildKit writes an empty array."""


class Entrypoint(CommandLine, frozen=True, kw_only=True):
    """ENTRYPOINT. Without args BuildKit writes null."""


class Files(Instruction, frozen=True, kw_only=True):
    """The fields that COPY and ADD share. Here-documents among the sources are in `heredocs`, in order."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()

    def expand_heredocs(self, expander: Expander) -> Self:
        """Expand the contents of the unquoted here-documents; `expander` must keep quotes as they are."""
        heredocs = tuple(
            Heredoc(name=h.name, data=expander(h.text), expand=False, fd=h.fd) if h.expand else h for h in self.heredocs
        )
        return msgspec.structs.replace(self, heredocs=heredocs)


class Copy(Files, frozen=True, kw_only=True):
    """COPY. `from_` is "" when the source is the context."""

    from_: str = ""
    parents: bool = False

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with owner, mode, sources and destination expanded."""
        return msgspec.structs.replace(
            self,
            chown=expander(self.chown),
            chmod=expander(self.chmod),
            sources=tuple(expander(s) for s in self.sources),
            destination=expander(self.destination),
        )


class Add(Files, frozen=True, kw_only=True):
    """ADD. `keep_git_dir` and `unpack` are None when not given."""

    keep_git_dir: bool | None = None
    checksum: str = ""
    unpack: bool | None = None

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with owner, mode, checksum, sources and destination expanded."""
        return msgspec.structs.replace(
            self,
            chown=expander(self.chown),
            chmod=expander(self.chmod),
            checksum=expander(self.checksum),
            sources=tuple(expander(s) for s in self.sources),
            destination=expander(self.destination),
        )


class Workdir(Instruction, frozen=True, kw_only=True):
    """WORKDIR."""

    path: str

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with its path expanded."""
        return msgspec.structs.replace(self, path=expander(self.path))


class User(Instruction, frozen=True, kw_only=True):
    """USER name[:group]."""

    user: str

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with its user expanded."""
        return msgspec.structs.replace(self, user=expander(self.user))


class Expose(Instruction, frozen=True, kw_only=True):
    """EXPOSE: the words as written, sorted as BuildKit sorts them; each may expand to several."""

    ports: tuple[str, ...]


class Volume(Instruction, frozen=True, kw_only=True):
    """VOLUME."""

    volumes: tuple[str, ...]

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with its paths expanded."""
        return msgspec.structs.replace(self, volumes=tuple(expander(v) for v in self.volumes))


class Shell(Instruction, frozen=True, kw_only=True):
    """SHELL: the words that the shell forms after it are given to."""

    shell: tuple[str, ...]


class StopSignal(Instruction, frozen=True, kw_only=True):
    """STOPSIGNAL."""

    signal: str

    def expand(self, expander: Expander) -> Self:
        """Return the instruction with its signal expanded."""
        return msgspec.structs.replace(self, signal=expander(self.signal))


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """HEALTHCHECK, as the image config holds it: `test` starts with NONE, CMD or CMD-SHELL; times in ns."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Onbuild(Instruction, frozen=True, kw_only=True):
    """ONBUILD: `expression` is the trigger's text, here-documents included, as the image config holds it."""

    expression: str


class Stage(msgspec.Struct, frozen=True):
    """A FROM and the instructions up to the next. `name` is "" when the stage has none."""

    base: From
    instructions: tuple[Instruction, ...]
    name: str = ""


def _expand_pairs(pairs: tuple[KeyValue, ...], expander: Expander) -> tuple[KeyValue, ...]:
    return tuple(msgspec.structs.replace(pair, key=expander(pair.key), value=expander(pair.value)) for pair in pairs)
