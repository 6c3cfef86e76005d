"""The owners of files that a FileOp makes: numbers, or names looked up in the /etc/passwd and /etc/group of an
input.
"""

from __future__ import annotations

from collections.abc import Callable

from ....llb.ops import NO_INPUT, Chown
from ..accounts import GROUP, LARGEST_ID, PASSWD, AccountError, groups, users
from .upper import FileOpError

FileReader = Callable[[int, str], bytes | None]
"""From (number of an input, path) to the content of the regular file there, following links; None when there is
none.
"""


def resolve_owner(owner: Chown | None, read: FileReader) -> tuple[int, int] | None:
    """Return (uid, gid), or None to keep owners. An unknown name is 0, as in BuildKit.

    Raises `FileOpError` for a name when there are no files to look it up in.
    """
    if owner is None:
        return None
    uid = gid = 0
    try:
        if isinstance(owner.user, int):
            uid = gid = _known(owner.user)
        elif owner.user:
            known = users(_file(owner, read, PASSWD))
            if user := next((user for user in known if user.name == owner.user), None):
                uid, gid = _in_range(user.uid), _in_range(user.gid)
        if isinstance(owner.group, int):
            gid = _known(owner.group)
        elif owner.group:
            all_groups = groups(_file(owner, read, GROUP))
            if group := next((group for group in all_groups if group.name == owner.group), None):
                gid = _in_range(group.gid)
    except AccountError as error:
        raise FileOpError(error.message, hint=error.hint) from error
    return uid, gid


def _known(number: int) -> int:
    """Return a known id: -1 keeps the owner in chown(2), which is root for a new file."""
    return 0 if number in (-1, 0xFFFFFFFF) else number


def _in_range(number: int) -> int:
    """Return an id of the files; 0 for an id that BuildKit refuses."""
    return number if 0 <= number <= LARGEST_ID else 0


def _file(owner: Chown, read: FileReader, path: str) -> bytes:
    if owner.input == NO_INPUT:
        raise FileOpError(
            f"invalid user index: {owner.input}", hint="Use numbers: without a base image, no names are known."
        )
    return read(owner.input, path) or b""
