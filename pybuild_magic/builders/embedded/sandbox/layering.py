"""The ways of assembling a root file system that work here, found by trying."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ....portable import file_system
from .client import Helper, JobFailed
from .rootfs import Rootfs

OWN_LAYER = "the store is on a container's own layer, on which overlayfs cannot be stacked"
"""The reason why namespaces are of no use, although they are allowed."""
NOEXEC = "the store is on a file system from which no program may be run (noexec)"
"""The reason why files can only be run through overlayfs, which has flags of its own."""
_CONTENT = b"/.pybuild-probe"


def find_layering(helper: Helper, rootfs: Rootfs) -> tuple[bool, bool]:
    """Return whether overlayfs works on the store's file system, and whether it stacks images.

    Linux mounts images from files since 6.12, where this process may.
    """
    if os.environ.get("PYBUILD_OVERLAY") == "0" or helper.traced:
        return False, False
    found: list[str] = []
    work = rootfs.workdir()
    try:
        if not (helper.userns or os.environ.get("PYBUILD_EROFS") == "0"):
            with suppress(OSError):  # on a full disk, overlayfs is found all the same
                _write_image(work)
        helper.call("probe", str(work), listener=lambda message, _: found.append(message[0]))
    except JobFailed:
        pass  # what was found before holds
    finally:
        rootfs.remove(work)
    return "overlay" in found, "image" in found


def _write_image(work: Path) -> None:
    from .helper.erofs import BLOCK_SIZE, write_image

    (work / "content").write_bytes(_CONTENT.ljust(BLOCK_SIZE))
    (work / "blobs").symlink_to(".")
    row = ("file", "0", 0o644, 0, 0, 0, BLOCK_SIZE, "", 0, 0, 0, 0, None)
    with (work / "image").open("wb") as file:
        write_image(file, [row], [("content", BLOCK_SIZE)])


def why_unstacked(root: Path) -> str:
    """Return why overlayfs cannot keep changes in a store at `root`, once it was found not to.

    That is so on network file systems, on FUSE and in a container's own layer, and before Linux 5.11 for ordinary
    users. A tracer links the files that a process looks at and copies those that it changes; without one, all files are
    copied for each RUN.
    """
    kind = file_system(root).kind
    return OWN_LAYER if kind == "overlay" else f"overlayfs cannot keep changes on the store's file system ({kind})"
