"""EXPOSE's port specifications: `80`, `8000-8010/udp`, `[ip:]hostPort:containerPort[/proto]`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

from ..errors import DockerfileError
from ..golang.text import quote
from ..untrusted.foreign import integer
from .rules import EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING, Rule

_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_PROTOCOLS = ("tcp", "udp", "sctp")


Violation = Callable[[Rule, str], None]
"""Receives a rule and the word that violates it."""


def parse_ports(words: Iterable[str], violates: Violation) -> list[str]:
    """Return each port as `number/protocol`, with ranges expanded, in order. Host IPs and ports are only validated.

    Raises DockerfileError with BuildKit's messages.
    """
    return [port for word in words for port in _parse(word, violates)]


def _parse(word: str, violates: Violation) -> list[str]:
    ip, host, container = _split(word)
    container, _, protocol = container.partition("/")
    if not container:
        raise DockerfileError(f"invalid port: {quote(word)}: no port specified")
    if protocol and protocol.lower() not in _PROTOCOLS:
        raise DockerfileError(f"invalid port: {quote(word)}: invalid proto: {protocol}")
    if protocol != protocol.lower():
        violates(EXPOSE_PROTO_CASING, word)
    if ip or host:
        violates(EXPOSE_INVALID_FORMAT, word)
    _check_ip(ip)
    first, last = _range(container, "containerPort")
    if host:
        host_first, host_last = _range(host, "hostPort")
        if last != first and last - first != host_last - host_first:
            raise DockerfileError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [f"{number}/{protocol.lower() or 'tcp'}" for number in range(first, last + 1)]


def _split(word: str) -> tuple[str, str, str]:
    parts = word.split(":")
    container = parts.pop()
    host = parts.pop() if parts else ""
    return ":".join(parts), host, container


def _check_ip(text: str) -> None:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare:
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            raise DockerfileError(f"invalid IP address: {text}") from None


def _range(text: str, subject: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    least, most = (integer(part, 0, 65535) for part in ((first, last) if dash else (first, first)))
    if least is None or most is None or least > most:
        raise DockerfileError(f"invalid {subject}: {text}")
    return least, most
