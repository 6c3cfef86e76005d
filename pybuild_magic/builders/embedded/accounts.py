"""The users and groups of an image, from its /etc/passwd and /etc/group, for COPY --chown and for USER alike.

The files are parsed as BuildKit does (moby/sys/user), which is more lenient than the manuals: white space around a line
is ignored, fields may be missing, a malformed number is 0. Only a newline ends a line, and lines that begin with "#"
are comments only in /etc/group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from ...errors import BuildError
from ...golang.text import strip

PASSWD, GROUP = "etc/passwd", "etc/group"
MAX_BYTES = 10 << 20
"""The most bytes of one of these files that are read."""
LARGEST_ID = (1 << 31) - 1
"""The largest id that the files may define, and the largest number that may stand for a name."""
_LONGEST_LINE = (1 << 16) - 1
"""The longest line of /etc/passwd: the limit of Go's bufio.Scanner."""
_LARGEST = (1 << 63) - 1
_NUMBER = re.compile(r"([+-]?)0*([0-9]+)")


class AccountError(BuildError):
    """A name or a number that is missing from the image's files, or files that cannot be read."""


class User(msgspec.Struct, frozen=True):
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str


class Group(msgspec.Struct, frozen=True):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


def users(data: bytes) -> Iterator[User]:
    """Yield the users of an /etc/passwd. Raises AccountError for a line that is too long."""
    lines = data[:MAX_BYTES].split(b"\n")
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise AccountError(
            "bufio.Scanner: token too long", hint=f"/etc/passwd has a line of more than {_LONGEST_LINE:,} bytes."
        )
    for line in lines:
        if text := _stripped(line):
            name, _, uid, gid, _, home, *_ = [*text.split(":"), *[""] * 6]
            yield User(name, atoi(uid) or 0, atoi(gid) or 0, home)


def groups(data: bytes) -> Iterator[Group]:
    """Yield the groups of an /etc/group."""
    for line in data[:MAX_BYTES].split(b"\n"):
        text = _stripped(line)
        if text and not text.startswith("#"):
            name, _, gid, members, *_ = [*text.split(":"), *[""] * 4]
            yield Group(name, atoi(gid) or 0, tuple(members.split(",")))


def _stripped(line: bytes) -> str:
    return strip(line.decode("utf-8", "surrogateescape"))


def atoi(text: str) -> int | None:
    """Parse a number as Go's strconv.Atoi does, with the nearest value if it is out of range; None if it is
    malformed.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    value = int(match[2]) if len(match[2]) < 20 else _LARGEST + 1
    return -min(value, _LARGEST + 1) if match[1] == "-" else min(value, _LARGEST)
