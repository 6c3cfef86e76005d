"""The limit of the store's size: the smallest of a setting, a tenth of the disk and half of a quota."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import msgspec

DEFAULT = 10_000_000_000
"""Bytes; BuildKit reserves the same for its cache."""
_GB = 1_000_000_000
_SYS_QUOTACTL_FD = 443
"""The number of quotactl_fd(2): the same on all of Linux's architectures but alpha."""
_Q_GETQUOTA = 0x800007
_USER, _GROUP = 0, 1
_QUOTA_BLOCK = 1024
"""The unit of quotactl's limits, in bytes."""


class Limit(msgspec.Struct, frozen=True):
    """The limit of the store."""

    size: int
    """Bytes."""
    why: str
    """The origin of the number, as the end of a sentence."""


class _Quota(ctypes.Structure):
    """Linux's `struct if_dqblk`."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("hard", "soft", "space", "ihard", "isoft", "inodes", "btime", "itime")),
        ("valid", ctypes.c_uint32),
    ]


def limit_of(root: Path, setting: int = DEFAULT) -> Limit:
    """Return the limit of the store at `root`; `setting` is the user's own, in bytes."""
    limits = [Limit(setting, "as set" if setting != DEFAULT else "the default")]
    status = os.statvfs(root) if hasattr(os, "statvfs") else None
    if status is not None and (disk := status.f_frsize * status.f_blocks):
        # Rounded up to whole GB, as in BuildKit: a tenth of a small disk would not be enough for an image.
        limits.append(Limit((disk // 10 // (1 << 30) + 1) * _GB, "a tenth of the disk, rounded up"))
    if quota := quota_of(root):
        limits.append(Limit(quota // 2, "half of the quota"))
    return min(limits, key=lambda limit: limit.size)


def is_short(root: Path, limit: int) -> bool:
    """Return whether the file system of `root` has less room than `limit`; False where the system does not tell."""
    if not hasattr(os, "statvfs"):
        return False
    status = os.statvfs(root)
    return status.f_frsize * status.f_bavail < limit


def quota_of(root: Path) -> int:
    """Return the bytes that the file system of `root` allows this user or group; 0 without a quota.

    Quotas of projects (of directories) need not be read: the file system reports them as its size.
    """
    if not sys.platform.startswith("linux"):
        return 0
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        quotas = [_ask(fd, kind, number) for kind, number in ((_USER, os.geteuid()), (_GROUP, os.getegid()))]
    finally:
        os.close(fd)
    return min(filter(None, quotas), default=0)


def _ask(fd: int, kind: int, number: int) -> int:
    quota = _Quota()
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    if syscall(_SYS_QUOTACTL_FD, fd, ctypes.c_uint(_Q_GETQUOTA << 8 | kind), number, ctypes.byref(quota)):
        return 0
    return _QUOTA_BLOCK * min(filter(None, (int(quota.hard), int(quota.soft))), default=0)
