"""Who a process runs as: USER's names and numbers, looked up in the image's own /etc/passwd and /etc/group."""

from __future__ import annotations

import msgspec

from ....errors import BuildError
from ....store.tree import Tree, resolve
from ....untrusted.foreign import number

_MAX_FILE = 10 << 20
"""BuildKit reads no more of these files."""
_MAX_ID = 2**32 - 1


class UnknownUserError(BuildError):
    """A name that the root's /etc/passwd or /etc/group does not have."""


class User(msgspec.Struct, frozen=True):
    """A user of an image: numbers, with the supplementary groups and the home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    """Supplementary groups; the primary group is one of them, as BuildKit sets them."""
    home: str = "/"


def resolve_user(tree: Tree, user: str) -> User:
    """Resolve `user` ("", "name", "uid", "name:group", "uid:gid", …) in the snapshot that `tree` shows.

    As BuildKit (executor/oci/user.go) and runc do it. A name without an entry raises BuildError; a number needs
    none. Supplementary groups are those that list the user, unless a group is given.
    """
    passwd = _rows(tree, "etc/passwd", 7)
    name, colon, group = (user or "0").partition(":")
    both = [0 if part == "root" else _number(part) for part in (name, group)]
    if colon and both[0] is not None and both[1] is not None:
        uid, gid, groups = both[0], both[1], ()
    else:
        uid, gid, groups = _look_up(tree, passwd, name or "0", group)
    home = next((row[5] for row in passwd if _number(row[2]) == uid and row[5]), "/")
    return User(uid, gid, groups if gid in groups else (gid, *groups), home)


def _look_up(tree: Tree, passwd: list[list[str]], name: str, group: str) -> tuple[int, int, tuple[int, ...]]:
    number = _number(name)
    uid, gid, matched = number, 0, ""
    for row in passwd:
        if (_number(row[2]) == number) if number is not None else row[0] == name:
            uid, gid, matched = _number(row[2]) or 0, _number(row[3]) or 0, row[0]
            break
    if uid is None:
        raise UnknownUserError(f"unable to find user {name}: no matching entries in passwd file")
    if not group and not matched:
        return uid, gid, ()
    rows = _rows(tree, "etc/group", 4)
    if not group:
        return uid, gid, tuple(_number(row[2]) or 0 for row in rows if matched in row[3].split(","))
    wanted = _number(group)
    for row in rows:
        if (_number(row[2]) == wanted) if wanted is not None else row[0] == group:
            return uid, _number(row[2]) or 0, ()
    if wanted is None:
        raise UnknownUserError(f"unable to find group {group}: no matching entries in group file")
    return uid, wanted, ()


def _number(text: str) -> int | None:
    """A user or group id; None for what is a name."""
    return number(text, _MAX_ID)


def _rows(tree: Tree, path: str, columns: int) -> list[list[str]]:
    """The lines of a file of fields between colons; short lines are filled up, as runc reads them."""
    entry = tree.get(resolve(tree, path))
    if entry is None or not entry.is_file or entry.size > _MAX_FILE:
        return []
    found: list[list[str]] = []
    for line in tree.read(entry).decode("utf-8", "surrogateescape").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            fields = text.split(":")
            found.append(fields + [""] * (columns - len(fields)))
    return found
