"""The values of the flags of `%build run`, read from words as `docker run` reads them."""

from __future__ import annotations

import ipaddress
import re
import signal
from collections.abc import Callable

from ..errors import DockerfileError, UsageError
from ..golang.duration import parse_duration
from ..oci import reference
from ..request.values import parse_host, parse_size

_CAPABILITY = "CAP_"
STREAMS = ("stdin", "stdout", "stderr")
PULLS = ("always", "missing", "never")
_REAL_TIME = re.compile(r"RTMIN\+(1[0-5]|[1-9])|RTMAX-(1[0-4]|[1-9])")
_DOMAIN = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)\.?\s*")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_PROCESSORS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)
_LEAST_MEMORY = 6 << 20
"""The least memory that Docker gives a process."""
_LEAST_CPUS = 0.01
"""The least share of a processor that Docker, and Linux, give a process."""


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


def read_image_name(value: str) -> str:
    """Check the name of an image, which is needed only when the process has ended. Raises UsageError."""
    if value:
        reference.parse(value)
    return value


def read_stop_signal(value: str) -> str:
    """Return the signal as it is given. Raises UsageError if there is none of this name."""
    if value:
        parse_signal(value)
    return value


def read_seconds(value: str) -> float:
    """Return the seconds of `--stop-timeout`. Raises UsageError."""
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"--stop-timeout takes a number of seconds, not {value!r}.") from None


def read_check_time(value: str) -> int:
    """Return the nanoseconds of a time of `--health-*`. Raises UsageError."""
    try:
        time = parse_duration(value)
    except DockerfileError as error:
        raise UsageError(f"--health-*: {error.message}.", hint="For instance 30s, or 1m30s.") from None
    if time < 0:
        raise UsageError(f"--health-*: the time {value} is negative.")
    return time


def read_retries(value: str) -> int:
    """Return the number of `--health-retries`. Raises UsageError."""
    if not value.isascii() or not value.isdigit():
        raise UsageError(f"--health-retries takes a number of failures, not {value!r}.")
    return int(value)


def read_memory(value: str) -> int:
    """Return the bytes of `--memory`. Raises UsageError."""
    size = parse_size(value, "--memory")
    if 0 < size < _LEAST_MEMORY:
        raise UsageError(f"--memory {value} is too little for a process; the least is 6m.")
    return size


def read_variable(value: str) -> str:
    """Return `NAME` or `NAME=VALUE` as it is given. Raises UsageError."""
    if not value or value.startswith("="):
        raise UsageError(f"-e {value!r} does not name a variable.", hint="Write NAME=VALUE.")
    return value


def read_host(value: str) -> tuple[str, str]:
    """Return the name and the address of `HOST:IP`. Raises UsageError."""
    name, address = parse_host(value)
    if address == "host-gateway":
        return name, "127.0.0.1"  # the process has the machine's own network
    return name, _address(address, f"--add-host {value!r} is not HOST:IP")


def read_cpus(value: str) -> float:
    """Return the number of processors of `--cpus`. Raises UsageError."""
    try:
        cpus = float(value)
    except ValueError:
        cpus = -1.0
    if not 0 <= cpus < 1 << 16:
        raise UsageError(f"--cpus takes a number of processors, not {value!r}.", hint="For example: 1.5")
    if 0 < cpus < _LEAST_CPUS:
        raise UsageError(f"--cpus {value} is too little; the least is {_LEAST_CPUS}.")
    return cpus


def read_pids(value: str) -> int:
    """Return the number of processes of `--pids-limit`, 0 for no limit. Raises UsageError."""
    if not value.removeprefix("-").isdigit():
        raise UsageError(f"--pids-limit takes a number of processes, not {value!r}.")
    return max(0, int(value))


def read_network(value: str) -> str:
    """Return the mode of `--network`. Raises UsageError."""
    value = value.removeprefix("name=")
    if value in ("host", "none", "default"):
        return value
    raise UsageError(
        f"--network {value} is not available: a process has the machine's network, or none.",
        hint="Use host or none.",
    )


def _address(value: str, flag: str) -> str:
    try:
        if "%" in value:
            raise ValueError(value)  # an interface of this machine, which Python takes and docker does not
        ipaddress.ip_address(value)
    except ValueError:
        raise UsageError(f"{flag}: {value!r} is not an IP address.") from None
    return value


def read_capability(value: str) -> str:
    """Return a capability with its prefix, or ALL."""
    name = value.upper()
    return name if name == "ALL" or name.startswith(_CAPABILITY) else _CAPABILITY + name


class WorkdirError(UsageError):
    """The working directory is not absolute; `docker exec` has an exit code of its own for that."""


def read_workdir(value: str) -> str:
    """Return an absolute path as it is given. Raises WorkdirError."""
    if value and not value.startswith("/"):
        raise WorkdirError(f"The working directory {value!r} is invalid, it needs to be an absolute path.")
    return value


def read_entrypoint(value: str) -> tuple[str, ...]:
    """Return the words of an entrypoint: one, or none for an empty text."""
    return (value,) if value else ()


def read_pull(value: str) -> str:
    """Return when to pull, one of PULLS. Raises UsageError."""
    if value not in (*PULLS, ""):
        raise UsageError(f"--pull {value} is not known; use {', '.join(PULLS)}.")
    return value or "missing"


def read_attach(value: str) -> str:
    """Return the name of a standard stream in lower case. Raises UsageError."""
    if value.lower() not in STREAMS:
        raise UsageError(f"--attach {value!r} is not a stream; use {', '.join(STREAMS)}.")
    return value.lower()


def read_label(value: str) -> tuple[str, str]:
    """Return the name and the value of `NAME[=VALUE]`. Raises UsageError."""
    name, _, text = value.partition("=")
    if not name or name.split() != [name]:
        raise UsageError(f"--label {value!r} does not name a label.", hint="Write NAME=VALUE, without spaces in NAME.")
    return name, text


def read_server(value: str) -> str:
    """Return the address of a DNS server. Raises UsageError."""
    return _address(value.strip(), "--dns")


def read_domain(value: str) -> str:
    """Return a domain in which names are looked up, or "." for none. Raises UsageError."""
    if value.strip() == ".":
        return "."
    match = _DOMAIN.fullmatch(value)
    if match is None or not any(letter.isalpha() for letter in value):
        raise UsageError(
            f"--dns-search {value!r} is not a domain.", hint="Write a name such as example.com, or . for none."
        )
    return match[1]


def read_group(value: str) -> str:
    """Return a group as it is given. Raises UsageError for an empty name."""
    if not value:
        raise UsageError("--group-add needs the name or the number of a group.")
    return value


def read_number(
    flag: str, least: int = 0, most: int = 1 << 62, *, none: tuple[int, ...] = (0,)
) -> Callable[[str], int]:
    """Return a reader of a whole number between two others; those in `none` stand for no limit, as 0 does here."""

    def read(value: str) -> int:
        number = int(value) if _WHOLE.fullmatch(value) else None
        if number in none:
            return 0
        if number is None or not least <= number <= most:
            raise UsageError(f"{flag} takes a number from {least} to {most}, not {value!r}.")
        return number

    return read


def read_swap(value: str) -> int:
    """Return the bytes of memory and swap together, -1 for any. Raises UsageError."""
    return -1 if value == "-1" else parse_size(value, "--memory-swap")


def read_processors(flag: str) -> Callable[[str], str]:
    """Return a reader of numbers and ranges of processors or memory nodes, such as `0-2,4`."""

    def read(value: str) -> str:
        if value and not _PROCESSORS.fullmatch(value):
            raise UsageError(f"{flag} {value!r} is not a list of numbers.", hint="For example: 0-2,4")
        return value

    return read
