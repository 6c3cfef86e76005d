"""The functions for networks and addresses that buildx takes from Terraform."""

from __future__ import annotations

import ipaddress
from typing import Any

from ..errors import UsageError
from .evaluate import to_number

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def host(prefix: str, number: Any) -> str:
    """Return the numbered address of a network; a negative number counts from its end. Raises UsageError."""
    network, at = _network(prefix), int(to_number(number))
    size = network.num_addresses
    if not -size <= at < size:
        raise UsageError(f"prefix of {network.prefixlen} does not accommodate a host numbered {at}")
    return str(network[at])


def netmask(prefix: str) -> str:
    """Return the netmask of an IPv4 network. Raises UsageError."""
    network = _network(prefix)
    if network.version == 6:
        raise UsageError("only IPv4 networks have a netmask")
    return str(network.netmask)


def subnet(prefix: str, bits: Any, number: Any) -> str:
    """Return the numbered subnet whose prefix is `extra_bits` bits longer. Raises UsageError."""
    network, extra_bits, at = _network(prefix), int(to_number(bits)), int(to_number(number))
    length = _extended(network, extra_bits, least=0)
    if not 0 <= at < 1 << extra_bits:
        raise UsageError(f"prefix extension of {extra_bits} does not accommodate a subnet numbered {at}")
    first = int(network.network_address) + (at << (network.max_prefixlen - length))
    return str(type(network)((first, length)))


def subnets(prefix: str, *bits: Any) -> list[str]:
    """Return consecutive subnets, each with its own number of additional bits. Raises UsageError."""
    network = _network(prefix)
    allocated: list[str] = []
    at, end = int(network.network_address), int(network.broadcast_address)
    for number in bits:
        length = _extended(network, int(to_number(number)), least=1)
        size = 1 << (network.max_prefixlen - length)
        at = -(-at // size) * size
        if at + size - 1 > end:
            raise UsageError(f"not enough remaining address space for a subnet with a prefix of {length} bits")
        allocated.append(str(type(network)((at, length))))
        at += size
    return allocated


def _extended(network: Network, extra_bits: int, least: int) -> int:
    """Return the length of the prefix that is `extra_bits` bits longer, `least` or above. Raises UsageError."""
    length = network.prefixlen + extra_bits
    if extra_bits < least or length > network.max_prefixlen:
        raise UsageError(f"insufficient address space to extend prefix of {network.prefixlen} by {extra_bits}")
    return length


def _network(prefix: str) -> Network:
    try:
        return ipaddress.ip_network(prefix, strict=False)
    except ValueError as error:
        raise UsageError(f"invalid CIDR expression: {error}") from None
