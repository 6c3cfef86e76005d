"""The privacy of the store: its files are for its user alone, and it is refused if somebody else can change it.

Whoever can write to the store's directory decides what later builds are made of, since a cache record can name any
layer as the result of any step. So the directory must belong to its user or to root, who is trusted anyway, and
nobody else whom this machine knows may be able to write to it. A directory that a group may write to is accepted if
the group is the user's own, or root's, or has no other members, as the volumes of a pod have (`fsGroup`, and
OpenShift's group 0). Directories above it are not checked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..errors import StoreError
from .locks import lock_file_waiting

HAS_OWNERS = hasattr(os, "geteuid")
_ELSEWHERE = "set PYBUILD_HOME to a directory of your own"


def make_private(root: Path, directories: Iterable[str], database: str) -> None:
    """Create the store's directories and its database's file, and take away the rights of others on existing ones.

    Modes do not depend on the umask, on a set-group-ID bit above, or on what another version of the program left.
    Raises StoreError when somebody else owns any of it or can write to it, and OSError when the system refuses.
    """
    _make(root)
    _check_home(root)
    for name in directories:
        _make(place := root / name)
        _close(place)
    path = root / database
    if not path.exists():
        _make_file(path)
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):  # SQLite's own files come and go with its connections
            _close(path.with_name(path.name + suffix))


def _make(path: Path) -> None:
    """Create a directory and missing ones above it, all without rights for others."""
    for place in (*reversed(path.parents), path):
        if not place.exists():
            with suppress(FileExistsError):
                place.mkdir(mode=0o700)
                place.chmod(0o700)


def _make_file(path: Path) -> None:
    """Create an empty file. It is closed before it gets its name: closing a database's file would end locks on it."""
    fresh = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    lock = lock_file_waiting(path.with_suffix(".lock"))
    try:
        if not path.exists():
            fresh.open("xb").close()
            fresh.chmod(0o600)
            fresh.rename(path)
    finally:
        os.close(lock)


def _check_home(root: Path) -> None:
    if not HAS_OWNERS:
        return
    status = root.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise StoreError(
            f"The store at {root} belongs to {_user(status.st_uid)}, and this is {_user(os.geteuid())}.",
            hint=f"Run this as {_user(status.st_uid)}, or {_ELSEWHERE}"
            + (" (with sudo, `sudo -H` does that)." if os.geteuid() == 0 else "."),
        )
    if status.st_mode & stat.S_IWOTH:
        raise StoreError(
            f"Everybody on this machine can write to the store at {root}, and so change what is built from it.",
            hint=_shut("go-w", root, status.st_uid),
        )
    if status.st_mode & stat.S_IWGRP and (other := _another_member(status.st_gid)):
        raise StoreError(
            f"The group {_group(status.st_gid)} can write to the store at {root}, and {other} belongs to it too.",
            hint=_shut("g-w", root, status.st_uid),
        )


def _shut(mode: str, root: Path, owner: int) -> str:
    if owner == os.geteuid():
        return f"Run `chmod {mode} {root}` if nobody else has used it, or {_ELSEWHERE}."
    return f"Set PYBUILD_HOME to {root / 'pybuild'}: it is made there for you alone."


def _close(path: Path) -> None:
    """Remove all rights of others."""
    if not HAS_OWNERS:
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to {_user(status.st_uid)}, and the store around it is that of {_user(os.geteuid())}.",
            hint=f"Give it back (`sudo chown -R {_user(os.geteuid())} {path.parent}`) if it was made by mistake, "
            f"or {_ELSEWHERE}.",
        )
    mode = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
    if stat.S_IMODE(status.st_mode) != mode:
        path.chmod(mode)


def _another_member(gid: int) -> str:
    """Return a member of the group, other than root and this user, whom the machine knows; "" if there is none."""
    import grp
    import pwd

    if gid == 0:
        return ""
    known: dict[str, int] = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    members = [user.pw_name for user in pwd.getpwall() if user.pw_gid == gid]
    with suppress(KeyError):
        members += grp.getgrgid(gid).gr_mem
    return next((name for name in members if known.get(name, -1) not in (0, os.geteuid())), "")


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
