"""Signatures with Ed25519, in plain Python: a daemon that hands tokens on checks by them whose they are. Pure.

Some milliseconds each, which is enough for one a registry and build; nothing here is for secrets that are kept.
Source: RFC 8032, section 5.1.
"""

from __future__ import annotations

import hashlib

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P

_Point = tuple[int, int, int, int]
"""X, Y, Z and T with x = X/Z, y = Y/Z, xy = T/Z."""


def _base() -> _Point:
    y = 4 * pow(5, -1, _P) % _P
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    x = _P - x if x % 2 else x
    return x, y, 1, x * y % _P


def _add(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0])
    b = (one[1] + one[0]) * (other[1] + other[0])
    c, d = 2 * one[3] * other[3] * _D, 2 * one[2] * other[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


_BASE = _base()


def _times(scalar: int) -> bytes:
    """The base point so many times, encoded."""
    total, power = (0, 1, 1, 0), _BASE
    while scalar:
        if scalar & 1:
            total = _add(total, power)
        power = _add(power, power)
        scalar >>= 1
    inverse = pow(total[2], -1, _P)
    x, y = total[0] * inverse % _P, total[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _expand(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return (scalar & ((1 << 254) - 8)) | 1 << 254, digest[32:]


def public_key(seed: bytes) -> bytes:
    """The 32 bytes by which signatures are checked that are made with a seed of 32 bytes."""
    return _times(_expand(seed)[0])


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64 bytes of the signature."""

    def number(*parts: bytes) -> int:
        return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _ORDER

    scalar, prefix = _expand(seed)
    once = number(prefix, message)
    point = _times(once)
    proof = (once + number(point, _times(scalar), message) * scalar) % _ORDER
    return point + proof.to_bytes(32, "little")
