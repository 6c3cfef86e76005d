"""The table of flags: `docker buildx build`'s own, and the few that only a notebook has; and their syntax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import cast

import msgspec

from ..errors import UsageError, nearest
from ..golang.parsebool import parse_bool


class Kind(StrEnum):
    """How often a flag is given, and whether it takes a value."""

    BOOL = "bool"
    ONE = "one"
    MANY = "many"


class Flag(msgspec.Struct, frozen=True):
    """One flag: its long name, one-letter form, kind, the shape of its value, and one line of help."""

    name: str
    kind: Kind
    metavar: str
    doc: str
    short: str = ""
    choices: tuple[str, ...] = ()
    notebook: bool = False
    """True for a flag of ours that `docker buildx build` does not have."""
    field: str = ""
    """The keyword argument of the same meaning, where it is not the name with underscores."""

    @property
    def argument(self) -> str:
        """Return the name of the flag as a keyword argument of `pybuild_magic.build`."""
        return self.field or self.name.replace("-", "_")

    def check(self, value: str, shown: str) -> None:
        """Raise `UsageError` naming `shown` for a value that the flag does not take."""
        if self.kind is Kind.BOOL:
            truth(value, shown)
        if self.choices and value not in self.choices:
            near = nearest(value, self.choices)
            raise UsageError(
                f"{shown} {value!r} is not known; it takes {', '.join(self.choices)}.",
                hint=f"Did you mean {near}?" if near else "",
            )


_BOOL, _ONE, _MANY = Kind.BOOL, Kind.ONE, Kind.MANY

FLAGS: tuple[Flag, ...] = (
    Flag("add-host", _MANY, "HOST:IP", "Add a custom host-to-IP mapping", field="add_hosts"),
    Flag("allow", _MANY, "ENTITLEMENT", "Allow an extra privileged entitlement, such as network.host"),
    Flag("annotation", _MANY, "KEY=VALUE", "Add an annotation to the image", field="annotations"),
    Flag("attest", _MANY, "type=TYPE,...", "Attestation parameters", field="attests"),
    Flag(
        "build-arg",
        _MANY,
        "KEY[=VALUE]",
        "Set a build-time variable; without a value, from the environment",
        field="build_args",
    ),
    Flag(
        "build-context",
        _MANY,
        "NAME=PATH",
        "Additional build context: path, URL, docker-image://, oci-layout://",
        field="build_contexts",
    ),
    Flag("builder", _ONE, "NAME", "The builder to use: embedded, or a BuildKit"),
    Flag("cache-from", _MANY, "SOURCE", "External cache source"),
    Flag("cache-to", _MANY, "DEST", "Cache export destination"),
    Flag(
        "call",
        _ONE,
        "METHOD",
        "What to do: build, check, outline or targets, or METHOD,format=json",
    ),
    Flag("cgroup-parent", _ONE, "CGROUP", "Parent cgroup of RUN instructions"),
    Flag("check", _BOOL, "", "Shorthand for --call=check"),
    Flag("file", _ONE, "PATH", "Name of the Dockerfile", short="f"),
    Flag("iidfile", _ONE, "PATH", "Write the image ID to a file"),
    Flag("label", _MANY, "KEY=VALUE", "Set metadata of the image", field="labels"),
    Flag("load", _BOOL, "", "Shorthand for --output=type=docker"),
    Flag("metadata-file", _ONE, "PATH", "Write the build result's metadata to a file"),
    Flag("network", _ONE, "MODE", "Network of RUN instructions", choices=("default", "none", "host")),
    Flag("no-cache", _BOOL, "", "Do not use the cache"),
    Flag("no-cache-filter", _MANY, "STAGE", "Do not use the cache for these stages"),
    Flag(
        "output",
        _MANY,
        "type=TYPE,dest=PATH,...",
        "Where the result goes; a bare path means local",
        short="o",
        field="outputs",
    ),
    Flag("platform", _MANY, "OS/ARCH", "Target platform", field="platforms"),
    Flag("policy", _MANY, "filename=PATH,...", "Source policy", field="policies"),
    Flag(
        "progress",
        _ONE,
        "MODE",
        "How progress is shown",
        choices=("auto", "widget", "plain", "rawjson", "quiet", "none"),
    ),
    Flag("provenance", _ONE, "MODE", "Shorthand for --attest=type=provenance"),
    Flag("pull", _BOOL, "", "Always look for newer versions of the images"),
    Flag("push", _BOOL, "", "Shorthand for --output=type=registry"),
    Flag("quiet", _BOOL, "", "Show no progress, and only the image ID on success", short="q"),
    Flag("resource", _MANY, "KEY=VALUE", "Resource limits of RUN instructions", field="resources"),
    Flag("sbom", _ONE, "MODE", "Shorthand for --attest=type=sbom"),
    Flag("secret", _MANY, "id=ID[,src=PATH|env=VAR]", "Secret to show to the build", field="secrets"),
    Flag("shm-size", _ONE, "BYTES", "Size of /dev/shm of RUN instructions"),
    Flag("ssh", _MANY, "default|ID[=SOCKET]", "SSH agent to show to the build"),
    Flag("tag", _MANY, "NAME[:TAG]", "Name of the image", short="t", field="tags"),
    Flag("target", _ONE, "STAGE", "The stage to build"),
    Flag("ulimit", _MANY, "NAME=SOFT[:HARD]", "Limits of RUN instructions", field="ulimits"),
    Flag("background", _BOOL, "", "Return at once, with a handle that waits, cancels and shows", notebook=True),
    Flag("dry-run", _BOOL, "", "Show the request and the same docker command; build nothing", notebook=True),
    Flag("into", _ONE, "NAME", "Bind the BuildResult, or the handle of --background, to this variable", notebook=True),
)


def truth(value: str, what: str) -> bool:
    """Return the boolean that `value` spells. Raises `UsageError` naming `what`."""
    answer = parse_bool(value)
    if answer is None:
        raise UsageError(f"{what} is true or false, not {value!r}.")
    return answer


class ParsedFlags(msgspec.Struct):
    """The words of a command line, sorted: values by long flag name, in order, and what is no flag."""

    values: dict[str, list[str]]
    arguments: list[str]

    def one(self, name: str) -> str | None:
        """The flag's value; the last one wins."""
        given = self.values.get(name)
        return given[-1] if given else None

    def many(self, name: str) -> list[str]:
        """Every value of the flag."""
        return self.values.get(name, [])

    def flag(self, name: str) -> bool:
        """Whether a boolean flag is on."""
        return truth(self.one(name) or "false", f"--{name}")


def flags_of(arguments: Mapping[str, object]) -> ParsedFlags:
    """Sort keyword arguments by the table, each as the words that a command line would give it.

    None and empty values are as if not given. Raises `UsageError` for a value that the flag does not take.
    """
    parsed = ParsedFlags({}, [])
    for flag in FLAGS:
        for value in _words(arguments.get(flag.argument)):
            flag.check(value, f"--{flag.name}")
            parsed.values.setdefault(flag.name, []).append(value)
    return parsed


def _words(value: object) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return [f"{name}" if text is None else f"{name}={text}" for name, text in pairs.items()]
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [str(word) for word in cast("Iterable[object]", value)]
    return [] if value is None or value == "" else [str(value)]


def parse_flags(argv: Sequence[str], table: Sequence[Flag] = FLAGS, *, mixed: bool = True) -> ParsedFlags:
    """Sort `argv` by the table, with the syntax of Docker's command line (`--a=b`, `--a b`, `-ab`, `-qt x`).

    Unless `mixed`, all is an argument from the first argument on, as where a command follows. Raises `UsageError` for
    an unknown flag (with the nearest one), a missing value or a bad choice.
    """
    by_name = {flag.name: flag for flag in table}
    by_short = {flag.short: flag for flag in table if flag.short}
    parsed = ParsedFlags({}, [])
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.arguments += words
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag = by_name.get(name)
            if flag is None:
                near = nearest(name, list(by_name))
                raise UsageError(f"Unknown flag --{name}.", hint=f"Did you mean --{near}?" if near else "")
            _take(parsed, flag, f"--{name}", value if equals else None, words)
        elif word.startswith("-") and len(word) > 1:
            _take_short(parsed, by_short, word[1:], words)
        else:
            parsed.arguments.append(word)
            if not mixed:
                parsed.arguments += words
                break
    return parsed


def _take_short(parsed: ParsedFlags, by_short: dict[str, Flag], letters: str, words: list[str]) -> None:
    while letters:
        flag = by_short.get(letters[0])
        if flag is None:
            known = ", ".join(f"-{short}" for short in by_short)
            raise UsageError(f"Unknown flag -{letters[0]}.", hint=f"The short flags are {known}.")
        rest = letters[1:]
        if flag.kind is Kind.BOOL and not rest.startswith("="):
            _take(parsed, flag, f"-{flag.short}", None, words)
            letters = rest
        else:
            _take(parsed, flag, f"-{flag.short}", rest.removeprefix("=") if rest else None, words)
            return


def _take(parsed: ParsedFlags, flag: Flag, shown: str, value: str | None, words: list[str]) -> None:
    if value is None:
        if flag.kind is Kind.BOOL:
            value = "true"
        elif not words:
            raise UsageError(f"{shown} needs a value: {flag.metavar}.")
        else:
            value = words.pop(0)
    flag.check(value, shown)
    parsed.values.setdefault(flag.name, []).append(value)
