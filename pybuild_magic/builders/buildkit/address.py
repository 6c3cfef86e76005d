"""A builder's address: the daemon's location and the transport to it. Pure.

Addresses are BuildKit's (`buildctl --addr`, `BUILDKIT_HOST`) and two of ours: `docker://` for a Docker engine and
`buildx://` for whatever `docker buildx` knows by that name.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, unquote

import msgspec

from ...docker.config import EngineAddress
from ...docker.engine import NO_PIPES
from ...errors import UsageError, nearest
from ...net.command import Command, checked, ssh_command
from ...net.tls import TLS
from ...untrusted.foreign import split_url

DEFAULT_SOCKET = "/run/buildkit/buildkitd.sock"
DEFAULT_PORT = 1234
"""The port on which `buildkitd --addr tcp://…` conventionally listens."""
_DIAL = ("buildctl", "dial-stdio")
_KUBE = re.compile(r"[a-z0-9][-a-z0-9.]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class UnixSocket(msgspec.Struct, frozen=True):
    """A daemon's socket on this machine."""

    path: str


class Tcp(msgspec.Struct, frozen=True):
    """A daemon's port; unencrypted without `tls`."""

    host: str
    port: int
    tls: TLS | None = None


Target = UnixSocket | Tcp | Command | EngineAddress


class Address(msgspec.Struct, frozen=True):
    """The address of a builder."""

    text: str
    """The text it was parsed from, for messages and as the builder's name."""
    driver: str
    """The driver's name in buildx: docker, docker-container, kubernetes, remote."""
    target: Target
    node: str = ""
    """The builder and its node as buildx names them, `BUILDER/NODE`; "" for a place that buildx does not know."""

    @property
    def shown(self) -> str:
        """The address without its options."""
        return self.text.partition("?")[0]


SCHEMES = (
    "unix",
    "tcp",
    "docker",
    "docker-container",
    "podman-container",
    "nerdctl-container",
    "kube-pod",
    "ssh",
    "buildx",
)


def is_address(name: str) -> bool:
    """Return whether a builder's name is an address."""
    return "://" in name


def parse(text: str, tls: TLS | None = None) -> Address:
    """Parse an address, except for `docker://NAME` and `buildx://NAME`, which need Docker's configuration.

    `tls` has the settings for `tcp://`; options in the address itself (`?cacert=…&cert=…&key=…&servername=…`, named as
    in `docker buildx create --driver-opt`) take precedence. Raises UsageError.
    """
    parts = split_url(text)
    scheme = parts.scheme
    if scheme == "npipe":
        raise UsageError(f"{text} is a Windows named pipe, which is not supported.", hint=NO_PIPES)
    if scheme not in SCHEMES:
        suggestion = nearest(scheme, SCHEMES)
        raise UsageError(
            f"The builder's address {text} has an unknown scheme, {scheme}://.",
            hint=f"Did you mean {suggestion}://?"
            if suggestion
            else f"Use one of {', '.join(f'{s}://' for s in SCHEMES)}.",
        )
    if parts.password:
        raise UsageError(
            f"The builder's address {scheme}://… contains a password.", hint="Use keys or an agent instead."
        )
    if scheme == "unix":
        path = unquote(parts.netloc + parts.path)
        return Address(text, "remote", UnixSocket(path or DEFAULT_SOCKET))
    if scheme == "tcp":
        return Address(text, "remote", _tcp(text, parts, tls))
    if scheme in ("docker-container", "podman-container", "nerdctl-container"):
        return Address(text, "docker-container", Command(_container(text, scheme, parts)))
    if scheme == "kube-pod":
        return Address(text, "kubernetes", Command(_pod(text, parts)))
    if scheme == "ssh":
        return Address(text, "remote", Command(ssh_command(text, _ssh_dial(parts))))
    raise UsageError(f"{text} must be looked up in Docker's configuration first.")


def _tcp(text: str, parts: SplitResult, tls: TLS | None) -> Tcp:
    query = _query(text, parts, ("cacert", "cert", "key", "servername"))
    try:
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        host, port = "", 0
    if not host:
        raise UsageError(f"The builder's address {text} has no host and port.", hint="Write tcp://HOST:PORT.")
    defaults = tls or TLS()
    merged = TLS(
        query.get("cacert", defaults.ca),
        query.get("cert", defaults.cert),
        query.get("key", defaults.key),
        query.get("servername", defaults.server_name),
    )
    if bool(merged.cert) != bool(merged.key):
        raise UsageError(f"The TLS settings for {text} have a certificate without its key, or a key without it.")
    return Tcp(host, port, merged or None)


def _container(text: str, scheme: str, parts: SplitResult) -> tuple[str, ...]:
    program = {"docker-container": "docker", "podman-container": "podman", "nerdctl-container": "nerdctl"}[scheme]
    option = {"docker": "context", "nerdctl": "namespace"}.get(program, "")
    query = _query(text, parts, (option,) if option else ())
    name = checked(text, parts.netloc, _NAME, "the name of a container")
    argv = [program]
    if option and option in query:
        value = checked(text, query[option], _NAME, f"a valid {option}")
        argv += [f"--{option}={value}"]
    return (*argv, "exec", "-i", name, *_DIAL)


def _pod(text: str, parts: SplitResult) -> tuple[str, ...]:
    query = _query(text, parts, ("context", "namespace", "container"))
    pod = checked(text, parts.netloc, _KUBE, "the name of a pod")
    argv = ["kubectl"]
    if context := query.get("context"):
        argv.append(f"--context={context}")
    if namespace := query.get("namespace"):
        argv.append(f"--namespace={checked(text, namespace, _KUBE, 'a namespace')}")
    argv.append("exec")
    if container := query.get("container"):
        argv.append(f"--container={checked(text, container, _KUBE, 'a container')}")
    return (*argv, "-i", pod, "--", *_DIAL)


def _ssh_dial(parts: SplitResult) -> tuple[str, ...]:
    if parts.path.strip("/"):
        return ("buildctl", "--addr", f"unix://{unquote(parts.path)}", "dial-stdio")
    return _DIAL


def _query(text: str, parts: SplitResult, known: tuple[str, ...]) -> dict[str, str]:
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    for name in query:
        if name not in known:
            suggestion = nearest(name, known)
            raise UsageError(
                f"The builder's address {text} has an unknown option, {name}.",
                hint=f"Did you mean {suggestion}?" if suggestion else "",
            )
    return query
