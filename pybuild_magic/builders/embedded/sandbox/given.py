"""The parts of a process's environment that are in no image: variables, /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path

from .spec import RunSpec

HOSTNAME = "buildkitsandbox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RESOLV_CONF = Path("/etc/resolv.conf")


def environment(env: tuple[str, ...], home: str) -> list[str]:
    """Return `env` with the PATH that BuildKit adds and the HOME that the runtimes add."""
    names = {item.partition("=")[0] for item in env}
    added = [f"PATH={PATH}"] if "PATH" not in names else []
    return [*env, *added, *([f"HOME={home}"] if "HOME" not in names else [])]


def is_text(spec: RunSpec) -> bool:
    """Return whether the process can be described in the JSON that a runtime reads, which is limited to UTF-8."""
    try:
        "".join((*spec.args, *spec.env, spec.cwd, *(mount.dest for mount in spec.mounts))).encode()
    except UnicodeEncodeError:
        return False
    return True


def hosts(spec: RunSpec) -> bytes:
    """Return the /etc/hosts that BuildKit writes."""
    lines = [f"127.0.0.1\tlocalhost {spec.hostname or HOSTNAME}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{host}" for host, address in spec.extra_hosts]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def resolv_conf() -> bytes:
    """Return the machine's /etc/resolv.conf, because a sandbox has the machine's network."""
    try:
        return _RESOLV_CONF.read_bytes()
    except OSError:
        return b""
