"""The files of /etc that a process gets, as docker run writes them: they are the process's own, and end with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

_HOSTS = Path("/etc/hosts")
RESOLV_CONF = "/etc/resolv.conf"
_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def system_files(hostname: str, network: str, extra: Iterable[tuple[str, str]], nameservers: bytes) -> dict[str, bytes]:
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
        RESOLV_CONF: nameservers,
    }


def resolv_conf(servers: Sequence[str], search: Sequence[str], options: Sequence[str]) -> bytes:
    """Return the machine's /etc/resolv.conf, or one in which what is given takes the place of what that has."""
    machine = _read(Path(RESOLV_CONF))
    if not (servers or search or options):
        return machine
    words = [line.split() for line in machine.decode("utf-8", "surrogateescape").splitlines()]

    def own(*keys: str) -> list[list[str]]:
        return [line[1:] for line in words if line and line[0] in keys]

    servers = servers or [line[0] for line in own("nameserver") if line]
    search = search or [[], *own("search", "domain")][-1]
    options = options or [word for line in own("options") for word in line]
    lines = [f"nameserver {address}" for address in servers]
    domains = [domain for domain in search if domain != "."]
    lines += [f"search {' '.join(domains)}"] if domains else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
