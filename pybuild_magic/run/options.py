"""The flags of `%build run`, which are those of `docker run`: one table that parses, documents and completes them."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import UsageError
from ..portable import user_path
from ..request.flags import Kind, ParsedFlags, parse_flags
from ..request.rows import PARSE, Parse, Row, RowInput, defaults_of, field_of, last_word, read_fields
from ..request.values import Ulimit, parse_host, parse_size, parse_ulimit
from .volumes import Volume, distinct, parse_mount, parse_tmpfs, parse_volume

_CAPABILITY = "CAP_"
PULLS = ("always", "missing", "never")
_REAL_TIME = re.compile(r"RTMIN\+(1[0-5]|[1-9])|RTMAX-(1[0-4]|[1-9])")
_LEAST_MEMORY = 6 << 20
"""The least memory that Docker gives a process."""
_LEAST_CPUS = 0.01
"""The least share of a processor that Docker, and Linux, give a process."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a process is run. Fields mean the same as `docker run`'s flags; what is not given comes from the image."""

    entrypoint: tuple[str, ...] | None = None
    """() removes the image's entrypoint; None keeps it."""
    env: tuple[str, ...] = ()
    """`NAME=value`; a bare name takes this process's value, or removes the image's variable if there is none."""
    env_files: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    volumes: tuple[Volume, ...] = ()
    read_only: bool = False
    network: str = ""
    hostname: str = ""
    add_hosts: tuple[tuple[str, str], ...] = ()
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
    interactive: bool = False
    tty: bool = False
    stop_signal: str = ""
    stop_timeout: float = 10.0
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    memory: int = 0
    """The most bytes that all its processes may use together; 0 is no limit, here and in the next two fields."""
    cpus: float = 0.0
    pids_limit: int = 0
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


class RunFlag(Row, frozen=True, kw_only=True):
    """The row of a field of RunOptions."""

    read: Callable[[str], Any]
    """Turns a word into the value of the field, or into one of its values. Raises UsageError."""


def parse_signal(value: str) -> int:
    """Return the number of a signal: `SIGTERM`, `TERM` or `15`. Raises UsageError."""
    name = value.upper().removeprefix("SIG")
    if name.isdigit() and int(name) in range(1, 65):
        return int(name)
    if match := _REAL_TIME.fullmatch(name):
        return signal.SIGRTMIN + int(match[1]) if match[1] else signal.SIGRTMAX - int(match[2])
    number = getattr(signal, f"SIG{name}", None)
    if not isinstance(number, signal.Signals):
        raise UsageError(f"There is no signal {value!r}.", hint="For instance: SIGTERM, INT or 9.")
    return int(number)


def _stop_signal(value: str) -> str:
    if value:
        parse_signal(value)
    return value


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"--stop-timeout takes a number of seconds, not {value!r}.") from None


def _memory(value: str) -> int:
    size = parse_size(value, "--memory")
    if 0 < size < _LEAST_MEMORY:
        raise UsageError(f"--memory {value} is too little for a process; the least is 6m.")
    return size


def _variable(value: str) -> str:
    if not value or value.startswith("="):
        raise UsageError(f"-e {value!r} does not name a variable.", hint="Write NAME=VALUE.")
    return value


def _host(value: str) -> tuple[str, str]:
    name, address = parse_host(value)
    if address == "host-gateway":
        return name, "127.0.0.1"  # the process has the machine's own network
    try:
        if "%" in address:
            raise ValueError(address)  # an interface of this machine, which Python takes and docker does not
        ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(f"--add-host {value!r} is not HOST:IP: {address!r} is not an IP address.") from None
    return name, address


def _cpus(value: str) -> float:
    try:
        cpus = float(value)
    except ValueError:
        cpus = -1.0
    if not 0 <= cpus < 1 << 16:
        raise UsageError(f"--cpus takes a number of processors, not {value!r}.", hint="For example: 1.5")
    if 0 < cpus < _LEAST_CPUS:
        raise UsageError(f"--cpus {value} is too little; the least is {_LEAST_CPUS}.")
    return cpus


def _pids(value: str) -> int:
    if not value.removeprefix("-").isdigit():
        raise UsageError(f"--pids-limit takes a number of processes, not {value!r}.")
    return max(0, int(value))


def _network(value: str) -> str:
    value = value.removeprefix("name=")
    if value in ("host", "none", "default"):
        return value
    raise UsageError(
        f"--network {value} is not available: a process has the machine's network, or none.",
        hint="Use host or none.",
    )


def _capability(value: str) -> str:
    name = value.upper()
    return name if name == "ALL" or name.startswith(_CAPABILITY) else _CAPABILITY + name


class WorkdirError(UsageError):
    """The working directory is not absolute; `docker exec` has an exit code of its own for that."""


def _workdir(value: str) -> str:
    if value and not value.startswith("/"):
        raise WorkdirError(f"The working directory {value!r} is invalid, it needs to be an absolute path.")
    return value


def _entrypoint(value: str) -> tuple[str, ...]:
    return (value,) if value else ()


def _pull(value: str) -> str:
    if value not in (*PULLS, ""):
        raise UsageError(f"--pull {value} is not known; use {', '.join(PULLS)}.")
    return value or "missing"


def _publish(value: str) -> None:
    raise UsageError(
        f"-p {value} is not needed: a process has the machine's network, and what it listens on is there.",
        hint="Leave it out, and connect to the port of the process.",
    )


_BOOL, _ONE, _MANY = Kind.BOOL, Kind.ONE, Kind.MANY


def _flag(
    name: str, kind: Kind, metavar: str, doc: str, field: str = "", read: Callable[[str], Any] = str, short: str = ""
) -> RunFlag:
    parse: Parse = {Kind.BOOL: PARSE[Kind.BOOL], Kind.ONE: last_word(read), Kind.MANY: _more(read)}[kind]
    return RunFlag(name, kind, metavar, doc, short, field=field or field_of(name), parse=parse, read=read)


def _more(read: Callable[[str], Any]) -> Parse:
    """Return a parser that adds each word to a field that other flags may share, as `-v` and `--mount` do."""

    def parse(source: RowInput) -> tuple[Any, ...]:
        items = tuple(map(read, source.words))  # before the field is read: a flag that is always refused has none
        return (*source.field, *items)

    return parse


FLAGS: tuple[RunFlag, ...] = (
    _flag("add-host", _MANY, "HOST:IP", "Add a custom host-to-IP mapping", "add_hosts", _host),
    _flag("cap-add", _MANY, "CAP", "Add a Linux capability", read=_capability),
    _flag("cap-drop", _MANY, "CAP", "Drop a Linux capability, or ALL", read=_capability),
    _flag("commit", _ONE, "NAME", "Save the changes as a layer of a new image"),
    _flag("cpus", _ONE, "NUMBER", "Number of CPUs", read=_cpus),
    _flag("detach", _BOOL, "", "Run in the background until the kernel ends", short="d"),
    _flag("background", _BOOL, "", "The same as --detach", "detach"),
    _flag("detach-from-kernel", _BOOL, "", "With -d: keep running when the kernel ends"),
    _flag("device", _MANY, "NAME|PATH[:PATH]", "Add a device of the machine: a CDI name or a path", "devices"),
    _flag("diff", _BOOL, "", "Show what the process changed"),
    _flag("entrypoint", _ONE, "COMMAND", "Overwrite the ENTRYPOINT of the image", read=_entrypoint),
    _flag(
        "env", _MANY, "NAME[=VALUE]", "Set a variable; without a value, copy this process's", read=_variable, short="e"
    ),
    _flag("env-file", _MANY, "PATH", "Read variables from a file", "env_files"),
    _flag("gpus", _ONE, "all|N|device=0,1", "Add GPUs of the machine"),
    _flag("hostname", _ONE, "NAME", "Host name", short="h"),
    _flag("init", _BOOL, "", "Run an init process that forwards signals and reaps processes"),
    _flag("interactive", _BOOL, "", "Keep standard input open", short="i"),
    _flag("memory", _ONE, "BYTES", "Memory limit", read=_memory, short="m"),
    _flag("mount", _MANY, "type=bind|volume|tmpfs,...", "Attach a mount", "volumes", parse_mount),
    _flag("name", _ONE, "NAME", "Name of a run in the background"),
    _flag("net", _ONE, "MODE", "The same as --network", "network", _network),
    _flag("network", _ONE, "MODE", "host (the default) or none", read=_network),
    _flag("pids-limit", _ONE, "NUMBER", "Limit of processes; -1 for none", read=_pids),
    _flag("platform", _ONE, "OS/ARCH", "Platform of the image"),
    _flag("privileged", _BOOL, "", "Grant all capabilities, and hide nothing"),
    _flag("publish", _MANY, "PORT", "Not needed: the network is the machine's", read=_publish, short="p"),
    _flag("pull", _ONE, "always|missing|never", "When to pull the image; missing is the default", read=_pull),
    _flag("read-only", _BOOL, "", "Mount the root file system read-only"),
    _flag("rm", _BOOL, "", "With -d: forget the run and its log when it ends"),
    _flag("shm-size", _ONE, "BYTES", "Size of /dev/shm", read=lambda value: parse_size(value, "--shm-size")),
    _flag("stdin", _ONE, "$VARIABLE", "Standard input: text, bytes, or a DataFrame as CSV", read=str.encode),
    _flag("stop-signal", _ONE, "SIGNAL", "Signal to stop the process", read=_stop_signal),
    _flag("stop-timeout", _ONE, "SECONDS", "Seconds to wait before killing it", read=_seconds),
    _flag("tmpfs", _MANY, "PATH[:OPTIONS]", "Mount an empty file system in memory", "volumes", parse_tmpfs),
    _flag("tty", _BOOL, "", "Allocate a terminal", short="t"),
    _flag("ulimit", _MANY, "NAME=SOFT[:HARD]", "Ulimit options", "ulimits", parse_ulimit),
    _flag("user", _ONE, "USER[:GROUP]", "User and group, as names or numbers", short="u"),
    _flag(
        "volume",
        _MANY,
        "SOURCE:PATH[:ro]",
        "Bind mount a file or directory, or a named volume",
        "volumes",
        parse_volume,
        "v",
    ),
    _flag("workdir", _ONE, "PATH", "Working directory", read=_workdir, short="w"),
)


EXEC_FLAGS = tuple(
    flag
    for flag in FLAGS
    if flag.name in ("env", "env-file", "interactive", "privileged", "stdin", "tty", "user", "workdir")
)
"""The flags of another process in the sandbox of a run, as for `docker exec`."""


def options_from(argv: Sequence[str], table: Sequence[RunFlag] = FLAGS, **more: Any) -> tuple[RunOptions, list[str]]:
    """Parse the words of a line into options and the words that follow them: the image and the command.

    `more` sets further fields. Raises UsageError.
    """
    parsed = parse_flags(argv, table, mixed=False)
    return options_of_flags(parsed, **more), parsed.arguments


def options_of_flags(parsed: ParsedFlags, **more: Any) -> RunOptions:
    """Return the options for parsed flags, ignoring those of other tables; `more` sets further fields."""
    return checked(RunOptions(**(read_fields(FLAGS, parsed.values, _DEFAULTS, os.environ) | more)))


def checked(options: RunOptions) -> RunOptions:
    """Return the options unchanged. Raises UsageError for those that cannot be together, or mean nothing alone."""
    distinct(options.volumes)
    if options.detach:
        return options
    for flag, is_given in (("--name", options.name), ("--detach-from-kernel", options.detach_from_kernel)):
        if is_given:
            raise UsageError(f"{flag} needs a run in the background.", hint="Add -d, or leave it out.")
    return options


def options_of(arguments: Mapping[str, Any]) -> RunOptions:
    """Return the options for keyword arguments, which are named like the fields; a value may be the text of a flag."""
    by_field: dict[str, RunFlag] = {flag.field: flag for flag in FLAGS}
    by_field["volumes"] = next(flag for flag in FLAGS if flag.name == "volume")
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in RunOptions.__struct_fields__:
            raise UsageError(
                f"run() has no argument {name!r}.", hint=f"It takes {', '.join(RunOptions.__struct_fields__)}."
            )
        if name == "stdin":
            values[name] = input_of(value)
        elif name == "env" and isinstance(value, Mapping):
            pairs: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
            values[name] = tuple(f"{key}={text}" for key, text in pairs.items())
        else:
            values[name] = _value(by_field[name], value)
    return checked(RunOptions(**values))


def _value(flag: RunFlag, value: Any) -> Any:
    if flag.kind is Kind.MANY:
        items = [value] if isinstance(value, str) else value
        return tuple(flag.read(item) if isinstance(item, str) else item for item in items)
    return flag.read(value) if isinstance(value, str) and flag.kind is Kind.ONE else value


def input_of(value: Any) -> bytes:
    """Return a value as bytes for a process: text, bytes, or a table (with `to_csv`) as CSV. Raises UsageError."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if hasattr(value, "to_csv"):
        return str(value.to_csv(index=False)).encode()
    raise UsageError(f"--stdin takes text, bytes or a table, not a {type(value).__name__}.")


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


def _lines(path: str) -> list[str]:
    try:
        text = user_path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--env-file {path} cannot be read: {error}.") from error
    lines = [line.removesuffix("\r").lstrip() for line in text.split("\n")]  # str.splitlines knows more ends of lines
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        name = line.partition("=")[0]
        if not name or " " in name or "\t" in name:
            raise UsageError(f"--env-file {path}: {line!r} names no variable.")
    return [line for line in lines if "=" in line or line in os.environ]
