"""The parts of a process's environment that are in no image: variables, /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path

from .spec import RunSpec

HOSTNAME = "buildkitsandbox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RESOLV_CONF = Path("/etc/resolv.conf")


def environment(env: tuple[str, ...], home: str) -> list[str]:
    """Return `env` with the PATH that BuildKit adds, and the HOME that the runtimes add, also for an empty one."""
    added = [] if "PATH" in _by_name(env) else [f"PATH={PATH}"]
    if not has_home(env):
        env = tuple(item for item in env if not item.startswith("HOME="))
        added.append(f"HOME={home}")
    return [*env, *added]


def has_home(env: tuple[str, ...]) -> bool:
    """Return whether variables say where the home is, so that the image need not be asked."""
    return bool(_by_name(env).get("HOME"))


def _by_name(env: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, _, value in (item.partition("=") for item in env)}


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
