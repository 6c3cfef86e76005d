"""The table of the flags of `%build run`, which are those of `docker run`: it parses, documents and completes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..request.flags import Flag, Kind
from ..request.rows import PARSE, Parse, Row, RowInput, field_of, last_word
from ..request.values import parse_size, parse_ulimit
from . import values
from .refused import REFUSED, REFUSED_BY_EXEC
from .volumes import parse_mount, parse_tmpfs, parse_volume


class RunFlag(Row, frozen=True, kw_only=True):
    """The row of a field of RunOptions."""

    read: Callable[[str], Any]
    """Turns a word into the value of the field, or into one of its values. Raises UsageError."""


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


ROWS: tuple[RunFlag, ...] = (
    _flag("add-host", _MANY, "HOST:IP", "Add a custom host-to-IP mapping", "add_hosts", values.read_host),
    _flag("attach", _MANY, "stdout|stderr", "Show only this output", read=values.read_attach, short="a"),
    _flag("cap-add", _MANY, "CAP", "Add a Linux capability", read=values.read_capability),
    _flag("cap-drop", _MANY, "CAP", "Drop a Linux capability, or ALL", read=values.read_capability),
    _flag("cgroup-parent", _ONE, "PATH", "Parent cgroup"),
    _flag("cidfile", _ONE, "PATH", "Write the ID of the run to a file"),
    _flag("commit", _ONE, "NAME", "Save the changes as a layer of a new image", read=values.read_image_name),
    _flag("cpus", _ONE, "NUMBER", "Number of CPUs", read=values.read_cpus),
    _flag(
        "cpu-period",
        _ONE,
        "MICROSECONDS",
        "Period of --cpu-quota; 100000 by default",
        read=values.read_number("--cpu-period", 1000, 1_000_000),
    ),
    _flag(
        "cpu-quota",
        _ONE,
        "MICROSECONDS",
        "Time on the CPUs in each period",
        read=values.read_number("--cpu-quota", 1000, none=(0, -1)),
    ),
    _flag(
        "cpu-shares",
        _ONE,
        "NUMBER",
        "Share of busy CPUs; 1024 is the usual one",
        read=values.read_number("--cpu-shares", 2, 262_144),
        short="c",
    ),
    _flag("cpuset-cpus", _ONE, "0-2,4", "CPUs to run on", read=values.read_processors("--cpuset-cpus")),
    _flag("cpuset-mems", _ONE, "0,1", "Memory nodes to use", read=values.read_processors("--cpuset-mems")),
    _flag("detach", _BOOL, "", "Run in the background until the kernel ends", short="d"),
    _flag("background", _BOOL, "", "The same as --detach", "detach"),
    _flag("detach-from-kernel", _BOOL, "", "With -d: keep running when the kernel ends"),
    _flag("device", _MANY, "NAME|PATH[:PATH]", "Add a device of the machine: a CDI name or a path", "devices"),
    _flag("diff", _BOOL, "", "Show what the process changed"),
    _flag("dns", _MANY, "IP", "DNS server, instead of the machine's", read=values.read_server),
    _flag("dns-option", _MANY, "OPTION", "Option of resolv.conf", "dns_options"),
    _flag("dns-opt", _MANY, "OPTION", "The same as --dns-option", "dns_options"),
    _flag("dns-search", _MANY, "DOMAIN", "Domain to look names up in; . for none", read=values.read_domain),
    _flag("entrypoint", _ONE, "COMMAND", "Overwrite the ENTRYPOINT of the image", read=values.read_entrypoint),
    _flag(
        "env",
        _MANY,
        "NAME[=VALUE]",
        "Set a variable; without a value, copy this process's",
        read=values.read_variable,
        short="e",
    ),
    _flag("env-file", _MANY, "PATH", "Read variables from a file", "env_files"),
    _flag("gpus", _ONE, "all|N|device=0,1", "Add GPUs of the machine"),
    _flag("group-add", _MANY, "GROUP", "Additional group, as a name of the image or a number", read=values.read_group),
    _flag("hostname", _ONE, "NAME", "Host name", short="h"),
    _flag("init", _BOOL, "", "Run an init process that forwards signals and reaps processes"),
    _flag("interactive", _BOOL, "", "Keep standard input open", short="i"),
    _flag("label", _MANY, "NAME[=VALUE]", "Label, for ps --filter", "labels", values.read_label, "l"),
    _flag("label-file", _MANY, "PATH", "Read labels from a file", "label_files"),
    _flag("health-cmd", _ONE, "COMMAND", "With -d: command that checks the health, as HEALTHCHECK does"),
    _flag("health-interval", _ONE, "DURATION", "Time between checks", read=values.read_check_time),
    _flag("health-retries", _ONE, "NUMBER", "Failures in a row that make it unhealthy", read=values.read_retries),
    _flag("health-start-interval", _ONE, "DURATION", "Time between checks at first", read=values.read_check_time),
    _flag("health-start-period", _ONE, "DURATION", "Time in which failures do not count", read=values.read_check_time),
    _flag("health-timeout", _ONE, "DURATION", "Time after which a check has failed", read=values.read_check_time),
    _flag("memory", _ONE, "BYTES", "Memory limit", read=values.read_memory, short="m"),
    _flag("memory-swap", _ONE, "BYTES", "Limit of memory and swap together; -1 for any swap", read=values.read_swap),
    _flag("mount", _MANY, "type=bind|volume|tmpfs,...", "Attach a mount", "volumes", parse_mount),
    _flag("name", _ONE, "NAME", "Name of a run in the background"),
    _flag("net", _ONE, "MODE", "The same as --network", "network", values.read_network),
    _flag("network", _ONE, "MODE", "host (the default) or none", read=values.read_network),
    _flag("no-healthcheck", _BOOL, "", "With -d: do not check the health"),
    _flag("pids-limit", _ONE, "NUMBER", "Limit of processes; -1 for none", read=values.read_pids),
    _flag("platform", _ONE, "OS/ARCH", "Platform of the image"),
    _flag("privileged", _BOOL, "", "Grant all capabilities, and hide nothing"),
    _flag(
        "pull", _ONE, "always|missing|never", "When to pull the image; missing is the default", read=values.read_pull
    ),
    _flag("read-only", _BOOL, "", "Mount the root file system read-only"),
    _flag("rm", _BOOL, "", "With -d: forget the run and its log when it ends"),
    _flag("shm-size", _ONE, "BYTES", "Size of /dev/shm", read=lambda value: parse_size(value, "--shm-size")),
    _flag(
        "stdin", _ONE, "$VARIABLE", "Standard input: text, bytes, an open file, or a DataFrame as CSV", read=str.encode
    ),
    _flag("stop-signal", _ONE, "SIGNAL", "Signal to stop the process", read=values.read_stop_signal),
    _flag("stop-timeout", _ONE, "SECONDS", "Seconds to wait before killing it", read=values.read_seconds),
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
    _flag("workdir", _ONE, "PATH", "Working directory", read=values.read_workdir, short="w"),
)

"""The flags that set a field of RunOptions."""

_IDLE = (Flag("quiet", _BOOL, "", "Holds anyway: a pull prints nothing", short="q"),)

FLAGS: tuple[Flag, ...] = (*sorted((*ROWS, *_IDLE), key=lambda flag: flag.name), *REFUSED)
"""All flags that `docker run` has."""


EXEC_FLAGS: tuple[Flag, ...] = (
    *(
        flag
        for flag in ROWS
        if flag.name in ("env", "env-file", "interactive", "privileged", "stdin", "tty", "user", "workdir")
    ),
    *REFUSED_BY_EXEC,
)
"""The flags of another process in the sandbox of a run, as for `docker exec`."""
