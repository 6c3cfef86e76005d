"""The options of a process, from the flags of `%build run` or from keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from ..errors import UsageError
from ..portable import user_path
from ..request.flags import Flag, Kind, ParsedFlags, parse_flags
from ..request.rows import defaults_of, read_fields
from ..request.values import Ulimit
from .flags import FLAGS, ROWS, RunFlag
from .values import read_label
from .volumes import Volume, distinct


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a process is run. Fields mean the same as `docker run`'s flags; what is not given comes from the image."""

    entrypoint: tuple[str, ...] | None = None
    """() removes the image's entrypoint; None keeps it."""
    env: tuple[str, ...] = ()
    """`NAME=value`; a bare name takes this process's value, or removes the image's variable if there is none."""
    env_files: tuple[str, ...] = ()
    user: str = ""
    group_add: tuple[str, ...] = ()
    """Additional groups: names of the image, or numbers."""
    workdir: str = ""
    volumes: tuple[Volume, ...] = ()
    read_only: bool = False
    network: str = ""
    hostname: str = ""
    add_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    """Addresses of DNS servers, in place of the machine's, here and in the next two fields."""
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    """Domains; "." alone for none."""
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    init: bool = False
    detach: bool = False
    """Whether it runs in the background."""
    detach_from_kernel: bool = False
    """Whether it goes on when the kernel ends."""
    name: str = ""
    """The name of a run in the background."""
    rm: bool = False
    """Whether a run in the background is forgotten, with its log, when it ends."""
    labels: tuple[tuple[str, str], ...] = ()
    """(name, value) pairs, by which `%build ps --filter` finds a run in the background."""
    label_files: tuple[str, ...] = ()
    cidfile: str = ""
    """The path of a file for the ID of the run."""
    attach: tuple[str, ...] = ()
    """The streams of which output is taken, `stdout` and `stderr`; () for both."""
    interactive: bool = False
    tty: bool = False
    stop_signal: str = ""
    stop_timeout: float = 10.0
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    memory: int = 0
    """The most bytes that all its processes may use together; 0 is no limit, for all limits alike."""
    memory_swap: int = 0
    """The most bytes of memory and swap together; -1 for any amount of swap."""
    cpus: float = 0.0
    cpu_period: int = 0
    """Microseconds, as is `cpu_quota`."""
    cpu_quota: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    pids_limit: int = 0
    health_cmd: str = ""
    """A command of the image's shell that checks the health of a run in the background, in place of its HEALTHCHECK."""
    health_interval: int = 0
    """Nanoseconds, as are the next three; 0 takes those of the HEALTHCHECK."""
    health_timeout: int = 0
    health_start_period: int = 0
    health_start_interval: int = 0
    health_retries: int = 0
    no_healthcheck: bool = False
    devices: tuple[str, ...] = ()
    """Names of CDI devices, such as `nvidia.com/gpu=0`, or `PATH[:PATH IN CONTAINER]`."""
    gpus: str = ""
    """`all`, a number, or `device=NAME,...`."""
    platform: str = ""
    pull: str = "missing"
    """`always`, `missing` or `never`: whether the image comes from its registry."""
    stdin: bytes | None = None
    """The standard input of the process."""
    commit: str = ""
    """The name of the image to make of the files that the process leaves."""
    diff: bool = False
    """Whether the result has the changes of the process."""


_DEFAULTS = defaults_of(RunOptions)


def options_from(argv: Sequence[str], table: Sequence[Flag] = FLAGS, **more: Any) -> tuple[RunOptions, list[str]]:
    """Parse the words of a line into options and the words that follow them: the image and the command.

    `more` sets further fields. Raises UsageError.
    """
    parsed = parse_flags(argv, table, mixed=False)
    return options_of_flags(parsed, **more), parsed.arguments


def options_of_flags(parsed: ParsedFlags, **more: Any) -> RunOptions:
    """Return the options for parsed flags, ignoring those of other tables; `more` sets further fields."""
    return checked(RunOptions(**(read_fields(ROWS, parsed.values, _DEFAULTS, os.environ) | more)))


def checked(options: RunOptions) -> RunOptions:
    """Return the options unchanged. Raises UsageError for those that cannot be together, or mean nothing alone."""
    distinct(options.volumes)
    if options.cpus and (options.cpu_period or options.cpu_quota):
        raise UsageError("--cpus says the same as --cpu-quota and --cpu-period.", hint="Leave one of them out.")
    if options.memory_swap > 0 and not options.memory:
        raise UsageError("--memory-swap needs --memory, the part of it that is not swap.")
    if 0 < options.memory_swap < options.memory:
        raise UsageError("--memory-swap is less than --memory, which it includes.")
    if options.detach:
        if options.attach:
            raise UsageError("--attach needs a run in the foreground.", hint="%build logs shows the output of others.")
        return options
    for flag, is_given in (("--name", options.name), ("--detach-from-kernel", options.detach_from_kernel)):
        if is_given:
            raise UsageError(f"{flag} needs a run in the background.", hint="Add -d, or leave it out.")
    return options


def options_of(arguments: Mapping[str, Any]) -> RunOptions:
    """Return the options for keyword arguments, which are named like the fields; a value may be the text of a flag."""
    by_field: dict[str, RunFlag] = {flag.field: flag for flag in ROWS}
    by_field["volumes"] = next(flag for flag in ROWS if flag.name == "volume")
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in RunOptions.__struct_fields__:
            raise UsageError(
                f"run() has no argument {name!r}.", hint=f"It takes {', '.join(RunOptions.__struct_fields__)}."
            )
        if name == "stdin":
            values[name] = input_of(value)
        elif name in ("env", "labels") and isinstance(value, Mapping):
            pairs: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
            values[name] = _value(by_field[name], [f"{key}={text}" for key, text in pairs.items()])
        else:
            values[name] = _value(by_field[name], value)
    return checked(RunOptions(**values))


def _value(flag: RunFlag, value: Any) -> Any:
    if flag.kind is Kind.MANY:
        items = [value] if isinstance(value, str) else value
        return tuple(flag.read(item) if isinstance(item, str) else item for item in items)
    return flag.read(value) if isinstance(value, str) and flag.kind is Kind.ONE else value


def input_of(value: Any) -> bytes:
    """Return a value as bytes for a process: text, bytes, a table (with `to_csv`) as CSV, or the rest of an open file.

    Raises UsageError.
    """
    if hasattr(value, "to_csv"):
        value = str(value.to_csv(index=False))
    elif callable(read := getattr(value, "read", None)):
        try:
            value = read()
        except (OSError, ValueError) as error:  # closed, or not open for reading
            raise UsageError(f"--stdin: the file cannot be read: {error}.") from error
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast("bytes", value))
    hint = "Open the file." if hasattr(value, "__fspath__") else "Make text of it, for example with json.dumps."
    kind: str = type(value).__name__
    raise UsageError(f"--stdin takes text, bytes, a table or an open file, not a value of the type {kind}.", hint=hint)


def environment(options: RunOptions, base: Sequence[str]) -> tuple[str, ...]:
    """Return the variables of a process: those of `base`, of files, and those given; the last of each name wins.

    A bare name that is not set here removes the variable, except in a file, where it means nothing.
    """
    variables = dict(_pair(item) for item in base)
    for item in [line for path in options.env_files for line in _lines(path)] + list(options.env):
        name, equals, value = item.partition("=")
        if equals:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
        else:
            variables.pop(name, None)
    for name, value in variables.items():
        if "\0" in name + value:
            raise UsageError(f"The variable {name!r} has a null byte, which no process can be given.")
    return tuple(f"{name}={value}" for name, value in variables.items())


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def all_labels(options: RunOptions, base: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a run: those of `base`, of files, and those given; the last of each name wins."""
    words = [line for path in options.label_files for line in _words(path, "--label-file") if "=" in line]
    return {**base, **dict(map(read_label, words)), **dict(options.labels)}


def _lines(path: str) -> list[str]:
    return [line for line in _words(path, "--env-file") if "=" in line or line in os.environ]


def _words(path: str, flag: str) -> list[str]:
    """Return the lines of a file that are not comments. Raises UsageError for one without a name."""
    try:
        text = user_path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{flag} {path} cannot be read: {error}.") from error
    lines = [line.removesuffix("\r").lstrip() for line in text.split("\n")]  # str.splitlines knows more ends of lines
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        name = line.partition("=")[0]
        if not name or " " in name or "\t" in name:
            raise UsageError(f"{flag} {path}: {line!r} has no name.")
    return lines
