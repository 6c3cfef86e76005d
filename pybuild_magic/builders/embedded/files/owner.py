"""Who owns what a FileOp makes: numbers, or names looked up in the /etc/passwd and /etc/group of an input."""

from __future__ import annotations

from collections.abc import Callable

from ....llb.ops import NO_INPUT, Chown
from ....untrusted.foreign import number
from .upper import FileOpError

_LARGEST_ID = 2**32 - 1
MAX_BYTES = 10 << 20
"""The most of /etc/passwd or /etc/group that is looked at, as in BuildKit."""

FileReader = Callable[[int, str], bytes | None]
"""(number of an input, path) to the content of a regular file there, links followed; None for none."""


def resolve_owner(owner: Chown | None, read: FileReader) -> tuple[int, int] | None:
    """(uid, gid), or None to keep owners. A name that is not found is 0, as in BuildKit.

    Raises `FileOpError` for a name where there is nothing to look it up in.
    """
    if owner is None:
        return None
    uid = gid = 0
    if isinstance(owner.user, int):
        uid = gid = _known(owner.user)
    elif owner.user:
        found = _find(_file(owner, read, "etc/passwd"), owner.user)
        if found is not None:
            uid, gid = _number(found, 2), _number(found, 3)
    if isinstance(owner.group, int):
        gid = _known(owner.group)
    elif owner.group:
        found = _find(_file(owner, read, "etc/group"), owner.group)
        if found is not None:
            gid = _number(found, 2)
    return uid, gid


def _known(number: int) -> int:
    """-1 means to chown(2) that the owner stays, which for a new file is root."""
    return 0 if number in (-1, 0xFFFFFFFF) else number


def _file(owner: Chown, read: FileReader, path: str) -> bytes | None:
    if owner.input == NO_INPUT:
        raise FileOpError(
            f"invalid user index: {owner.input}", hint="Without a base image, give numbers: no names are known."
        )
    return read(owner.input, path)


def _find(data: bytes | None, name: str) -> list[str] | None:
    for line in (data or b"")[:MAX_BYTES].decode("utf-8", "surrogateescape").splitlines():
        fields = line.strip().split(":")
        if fields[0] == name and not line.startswith("#"):
            return fields
    return None


def _number(fields: list[str], index: int) -> int:
    """An id of a passwd or group file, which the image wrote; 0 for what is none."""
    return number(fields[index], _LARGEST_ID) or 0 if index < len(fields) else 0
