"""The cases with a RUN on each lower rung of the sandbox's ladder, and why some of them differ there."""

from __future__ import annotations

import re

from .case import Case

RUNGS = (2, 3, 4, 5)
COLUMNS = tuple(f"rung {number}" for number in RUNGS)
STORES = {2: "namespaces", 3: "one", 4: "traced", 5: "traced"}
"""Rungs that make the same files of a layer share a store, and what they made."""

_RUN = re.compile(r"^\s*(ONBUILD\s+)?RUN\b", re.MULTILINE | re.IGNORECASE)

_REASONS: dict[str, tuple[str, tuple[int, ...]]] = {
    "tmpfs": ("a tmpfs is a directory of the place", (4, 5)),
    "tmpfs_keeps_a_mode": ("a tmpfs is a directory of the place", (4, 5)),
    "tmpfs_size": ("a tmpfs is a directory of the place, of no size of its own", (4, 5)),
    "cannot_mount": ("root has the place's rights over its name", (4,)),
    "capabilities_without_network": ("the kernel tells the place's capabilities in /proc/self/status", (4, 5)),
    "dev": ("/dev has the place's devices, shown by the tracer", (4, 5)),
    "device_like_whiteout": ("a device 0:0 is remembered like any other; overlayfs refuses it", (3, 4, 5)),
    "fails_signal": ("killed, pid 1 of a namespace is not; a traced process is", (4, 5)),
    "mount_on_a_descriptor": ("nothing is mounted, so nothing is refused", (4, 5)),
    "mount_options": ("nothing is mounted", (4, 5)),
    "mounts": ("nothing is mounted", (4, 5)),
    "network_none_flag": ("the interfaces of the place show, and cannot be used", (4, 5)),
    "network_none": ("the interfaces of the place show, and cannot be used", (4, 5)),
    "no_new_privileges": ("a tracer needs no_new_privs", (3, 4, 5)),
    "pid": ("/proc is that of the place", (2, 4, 5)),
    "proc_masked": ("/proc is that of the place", (4, 5)),
    "shm_size": ("/dev/shm is a directory of the place", (4, 5)),
    "shm_size_default": ("/dev/shm is a directory of the place", (4, 5)),
    "standard_streams": ("pipes keep the owner that they have outside", (3, 4, 5)),
}
_MOUNTS = ("tmpfs", "tmpfs_keeps_a_mode", "tmpfs_size")

EXPLAINED: dict[str, dict[int, str]] = {
    f"{'mounts' if name in _MOUNTS else 'run'}/{name}": dict.fromkeys(rungs, why)
    for name, (why, rungs) in _REASONS.items()
}
"""By case and rung: why it differs there. What the place decides may be equal in another."""


def has_run(case: Case) -> bool:
    """Whether a case runs something."""
    return _RUN.search(case.dockerfile) is not None
