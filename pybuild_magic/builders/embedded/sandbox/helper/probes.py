"""The abilities of a sandbox on this system, found by trying in short-lived processes."""

from __future__ import annotations

import marshal
import os

from . import linux, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def masks(scratch: str, clone: Callable[[int], int]) -> dict[str, str]:
    """Return why a RUN cannot have its own /proc, and why it cannot leave the old root for good; "" for each that
    works.

    `clone` forks into new namespaces. Raises OSError where a namespace that every RUN needs is denied.
    """
    read, write = os.pipe()
    child = clone(linux.CLONE_NEWPID)
    if child == 0:
        try:
            os.write(write, marshal.dumps(_answer(scratch)))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    denied, reasons = marshal.loads(answer)
    if denied:
        raise OSError(*denied)
    return reasons


def _answer(scratch: str) -> tuple[tuple[int, str] | None, dict[str, str]]:
    own = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    try:
        linux.unshare(own | (linux.CLONE_NEWCGROUP if linux.has_cgroup2() else 0))
    except OSError as error:
        return (error.errno or 0, str(error.strerror)), {}
    try:
        return None, _masks(scratch)
    except OSError as error:
        return None, {"proc": str(error.strerror), "pivot": ""}


def _masks(scratch: str) -> dict[str, str]:
    mounts.private_scratch(scratch)
    proc, root = f"{scratch}/proc", f"{scratch}/root"
    for path in (proc, root):
        os.mkdir(path)
    reasons = {"proc": "", "pivot": ""}
    try:
        linux.mount("proc", proc, "proc")
    except OSError as error:
        reasons["proc"] = os.strerror(error.errno or 0)
    linux.mount("root", root, "tmpfs")
    os.chdir(root)
    try:
        linux.pivot_root(".", ".")
    except OSError as error:
        reasons["pivot"] = os.strerror(error.errno or 0)
    return reasons


def overlay(directory: str, scratch: str, *, userns: bool) -> None:
    """Raise OSError where overlayfs cannot have its upper directory in `directory`."""
    os.makedirs(f"{directory}/lower/gone")
    view = _stacked(directory, "lower", scratch, userns=userns)
    os.rmdir(f"{view}/gone")
    os.mkdir(f"{view}/gone")


def image(directory: str, scratch: str, *, userns: bool) -> None:
    """Raise OSError where the EROFS image in `directory` cannot be a layer of an overlay, or is misread."""
    view = _stacked(directory, "image", scratch, userns=userns)
    with open(f"{view}/file", "r+b") as file, open(f"{directory}/content", "rb") as content:
        if file.read() != content.read():
            raise OSError(5, "the image was misread")


def _stacked(directory: str, lower: str, scratch: str, *, userns: bool) -> str:
    """Stack the directories of `directory` as `lower`, visible only to this process; return the mount point."""
    linux.unshare(linux.CLONE_NEWNS)
    mounts.private_scratch(scratch)
    view, links, upper, work = f"{scratch}/view", f"{scratch}/links", f"{directory}/{lower}.u", f"{directory}/{lower}.w"
    for path in (view, links, upper, work):
        os.mkdir(path)
    mounts.overlay(view, links, [f"{directory}/{lower}"], upper=upper, work=work, userns=userns)
    return view
