"""The user of a process: the names and numbers of USER, looked up in the image's /etc/passwd and /etc/group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from ....store.tree import Tree, resolve
from ....untrusted.foreign import number
from .. import accounts
from ..accounts import GROUP, LARGEST_ID, MAX_BYTES, PASSWD, AccountError, atoi

_MAX_ID = 2**32 - 1
_KNOWN, _SMALL = 16, 64 << 10
_known: dict[bytes, bytes] = {}
"""The small files read last, by digest: every RUN of a build asks for the same two."""
_RANGE = f"uids and gids must be in range 0-{LARGEST_ID}"


class User(msgspec.Struct, frozen=True):
    """A user of an image: numbers, with the supplementary groups and the home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    """Supplementary groups, including the primary group, as BuildKit sets them."""
    home: str = "/"


def resolve_user(tree: Tree, user: str, *, home: bool = True) -> User:
    """Resolve `user` ("", "name", "uid", "name:group", "uid:gid", …) in the snapshot that `tree` shows.

    This follows BuildKit (executor/oci/user.go) and moby/sys/user. Raises AccountError for a name without an entry; a
    number needs none. Supplementary groups are those that list the user, unless a group is given. Without `home`, that
    is not looked for, and "uid:gid" reads nothing of the tree.
    """
    name, colon, group = (user or "0").partition(":")
    uid, gid = [0 if part == "root" else number(part, _MAX_ID) for part in (name, group)]
    if colon and uid is not None and gid is not None:
        return User(uid, gid, (gid,), _home(_read(tree, PASSWD), uid) if home else "/")
    passwd, group_file = _read(tree, PASSWD), _read(tree, GROUP)
    find = _find if len(passwd) + len(group_file) <= _SMALL else _find.__wrapped__
    return find(passwd, group_file, user, home=home)


@lru_cache(_KNOWN)  # every RUN of a build asks the same
def _find(passwd: bytes, group_file: bytes, user: str, *, home: bool) -> User:
    name, _, group = user.partition(":")
    try:
        uid, gid, groups = _look_up(passwd, group_file, name or "0", group)
    except AccountError:
        if user:
            raise
        uid, gid, groups = 0, 0, ()
    groups = groups if gid in groups else (gid, *groups)
    return User(uid, gid, groups, _home(passwd, uid) if home else "/")


def resolve_groups(tree: Tree, names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of groups, given as names of the image or as numbers. Raises AccountError.

    This follows moby/sys/user's GetAdditionalGroups: a number is also a name.
    """
    listed = list(accounts.groups(_read(tree, GROUP)))
    found: list[int] = []
    for name in names:
        row = next((row for row in listed if name in (row.name, str(row.gid))), None)
        gid = row.gid if row else number(name, LARGEST_ID)
        if gid is None:
            raise AccountError(f"unable to find group {name}: no matching entries in group file")
        found.append(gid)
    return tuple(found)


def _home(passwd: bytes, uid: int) -> str:
    """Return the home of the first user with that number, which may be "", as in runc; "/" when there is none."""
    try:
        return next((user.home for user in accounts.users(passwd) if user.uid == uid), "/")
    except AccountError:
        return "/"


def _look_up(passwd: bytes, group_file: bytes, name: str, group: str) -> tuple[int, int, tuple[int, ...]]:
    uid, wanted_gid = _numeric(name), _numeric(group)
    try:
        users = list(accounts.users(passwd))
    except AccountError as error:
        raise AccountError(f"unable to find user {name}: {error.message}", hint=error.hint) from error
    user = next((user for user in users if (user.uid == uid if uid is not None else user.name == name)), None)
    if user is None and uid is None:
        raise AccountError(f"unable to find user {name}: no matching entries in passwd file")
    found_uid, found_gid = (user.uid, user.gid) if user else (uid or 0, 0)
    if group:
        listed = accounts.groups(group_file)
        match = (row for row in listed if (row.gid == wanted_gid if wanted_gid is not None else row.name == group))
        row = next(match, None)
        if row is None and wanted_gid is None:
            raise AccountError(f"unable to find group {group}: no matching entries in group file")
        found_gid = row.gid if row else wanted_gid or 0
        supplementary: tuple[int, ...] = ()
    elif user is not None and user.name:
        supplementary = tuple(row.gid for row in accounts.groups(group_file) if user.name in row.members)
    else:
        supplementary = ()
    if not all(0 <= number <= LARGEST_ID for number in (found_uid, found_gid, *supplementary)):
        raise AccountError(_RANGE)
    return found_uid, found_gid, supplementary


def _numeric(text: str) -> int | None:
    """Return the id that USER gives as a number; None for a name. Raises AccountError for one that is out of range."""
    value = atoi(text)
    if value is not None and not 0 <= value <= LARGEST_ID:
        raise AccountError(_RANGE)
    return value


def _read(tree: Tree, path: str) -> bytes:
    """Return the content of a file of the image, up to the limit; b"" when there is none."""
    entry = tree.get(resolve(tree, path))
    if entry is None or not entry.is_file:
        return b""
    content = _known.get(entry.digest)
    if content is None:
        with tree.open(entry) as file:
            content = file.read(MAX_BYTES)
        if entry.digest and len(content) <= _SMALL:
            if len(_known) >= _KNOWN:
                _known.clear()
            _known[entry.digest] = content
    return content
