"""The files of /etc that a process gets, as docker run writes them: they are the process's own, and end with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_HOSTS = Path("/etc/hosts")
_RESOLV_CONF = Path("/etc/resolv.conf")
_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def system_files(hostname: str, network: str, extra: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    """Return the contents by path. `extra` are (host name, IP) pairs; with the network `host`, the machine's are first.

    On docker's own networks, a container's address leads to its name; here the address is the machine's own.
    """
    hosts = (_read(_HOSTS) if network == "host" else b"") or _LOCAL.encode()
    lines = [f"{address}\t{name}" for name, address in extra]
    if network not in ("host", "none"):
        short = hostname.partition(".")[0]
        lines.append(f"127.0.0.1\t{hostname}{f' {short}' if short and short != hostname else ''}")
    text = "".join(f"{line}\n" for line in lines)
    return {
        "/etc/hostname": f"{hostname}\n".encode("utf-8", "surrogateescape"),
        "/etc/hosts": hosts + (b"" if hosts.endswith(b"\n") else b"\n") + text.encode("utf-8", "surrogateescape"),
        "/etc/resolv.conf": _read(_RESOLV_CONF),
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
