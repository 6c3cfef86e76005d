"""The job of a RUN: the directories of its root and its mounts, and everything that the helper needs to know."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ....cancel import Cancel
from ....errors import BuildError
from ....llb.ops import NO_OUTPUT, MountType, NetMode
from ....store import Store, resolve
from .agent import AgentSocket
from .client import Helper
from .given import HOSTNAME, environment, hosts, resolv_conf
from .remembered import Remembered
from .rootfs import Rootfs
from .spec import RunSpec, SandboxMount
from .users import User

if TYPE_CHECKING:
    from .helper.jobs import MountJob, ProcessJob, RunJob


def process_job(spec: RunSpec, user: User) -> ProcessJob:
    """Return the job of a process, which may start a sandbox or join one."""
    return {
        "args": list(spec.args),
        "env": environment(spec.env, user.home),
        "cwd": spec.cwd or "/",
        "uid": user.uid,
        "gid": user.gid,
        "groups": list(user.groups),
        "network": "none" if spec.network == NetMode.NONE else "host",
        "ulimits": list(spec.ulimits),
        "insecure": spec.insecure,
        "capabilities": None if spec.capabilities is None else list(spec.capabilities),
        "terminal": list(spec.terminal or ()),
    }


class Staging:
    """The settings that the jobs of one sandbox share."""

    def __init__(self, store: Store, helper: Helper, rootfs: Rootfs) -> None:
        self.store = store
        self.helper = helper
        self.rootfs = rootfs
        self.remembered = Remembered(store)

    def job(self, spec: RunSpec, user: User, work: Path, cancel: Cancel, stack: ExitStack, *, overlay: bool) -> RunJob:
        """Return the job, with its files in `work`; `stack` holds resources that live as long as the process."""
        root = work / "fs"
        (work / "tmp").mkdir()
        lower: list[str] = []
        if overlay or (self.helper.traced and not self.helper.copied):
            root.mkdir(mode=0o755)
            root.chmod(0o755)
            (work / "tmp/work").mkdir()
            # A limit of files' sizes holds for the tracer, too, which would write contents.
            whole = any(name == "fsize" for name, *_ in spec.ulimits)
            lower = self.rootfs.stack(spec.snapshot, cancel, whole=whole)
        else:
            self.rootfs.copy(spec.snapshot, work, cancel, record=str(work / "record"))
        mounts = [
            self._mount(mount, work / f"tmp/{number}", cancel, stack, overlay=overlay)
            for number, mount in enumerate(spec.mounts)
        ]
        job: RunJob = {
            "lower": lower,
            "upper": str(root) if overlay else "",
            "work": str(work / "tmp/work") if overlay else "",
            "root": "" if overlay else str(root),
            **process_job(spec, user),
            "mounts": mounts,
            "hostname": spec.hostname or HOSTNAME,
            "hosts": hosts(spec),
            "resolv": resolv_conf(),
            "shm_size": spec.shm_size,
            "readonly_root": spec.readonly_root,
            "hooks": [(hook.path, list(hook.args), list(hook.env), hook.inside) for hook in spec.hooks],
            "root_cwd": spec.root_cwd,
            "init": spec.init,
            "started": False,
            "cgroups": [],
            "runtime": "",
            "tracer": "",
            "proot": self.helper.proot if self.helper.copied else "",
            "keeper": "",
            "owners": str(work / "owners"),
            "told": str(work / "told"),
            "tmp": str(work / "tmp"),
            "memory": "",
            "spare": str(self.store.db.reserve.path),
        }
        assert self.helper.rung is not None
        self.helper.rung.way.prepare(job, self.helper.program)
        if job["keeper"]:
            self.remembered.write(spec, job["owners"], mounts)
        if self.helper.traced:
            job["memory"] = stack.enter_context(tempfile.TemporaryDirectory(dir=_in_memory()))
        return job

    def is_stacked(self, mount: SandboxMount, *, overlay: bool) -> bool:
        """Return whether a bind mount is an overlay.

        Kept changes are found in a copy instead where a tracer remembers owners: it knows files by their inodes, and
        those of an overlay are not those on the disk.
        """
        return overlay and (mount.output == NO_OUTPUT or not self.helper.kept)

    def _mount(self, mount: SandboxMount, place: Path, cancel: Cancel, stack: ExitStack, *, overlay: bool) -> MountJob:
        lower: list[str] = []
        source = upper = work = ""
        selector = mount.selector
        if mount.kind == MountType.BIND and mount.source is not None:
            if mount.snapshot:
                tree = self.store.tree(mount.snapshot)
                below = resolve(tree, selector.lstrip("/"))
                if (entry := tree.get(below)) is not None and entry.is_dir:
                    self.rootfs.fill(mount.source, mount.snapshot, cancel, below=below)
            source, selector = _place(mount.source)
        elif mount.kind == MountType.BIND:
            if self.is_stacked(mount, overlay=overlay):
                lower = self.rootfs.stack(mount.snapshot, cancel)
                if not mount.readonly or mount.output != NO_OUTPUT:
                    upper, work = str(place / "fs"), str(place / "work")
                    for directory in (place, place / "fs", place / "work"):
                        directory.mkdir(mode=0o755)
            elif mount.output != NO_OUTPUT:
                place.mkdir()
                self.rootfs.copy(mount.snapshot, place, cancel, record=str(place / "record"))
                source = str(place / "fs")
            else:
                selector = resolve(self.store.tree(mount.snapshot), selector)
                if mount.readonly and not self.helper.copied:
                    source = self.rootfs.merged(mount.snapshot, cancel, below=selector)
                else:
                    place.mkdir()
                    self.rootfs.copy(mount.snapshot, place, cancel, below=selector)
                    source = str(place / "fs")
        elif mount.kind == MountType.CACHE:
            directory = _source(mount)
            directory.mkdir(parents=True, exist_ok=True)
            if mount.snapshot:
                self.rootfs.fill(directory, mount.snapshot, cancel)
            source = str(directory)
        elif mount.kind == MountType.SSH:
            stack.enter_context(AgentSocket(place, _source(mount)))
            source = str(place)
        return {
            "kind": str(mount.kind),
            "dest": mount.dest,
            "readonly": mount.readonly,
            "device": mount.device,
            "compared": mount.output != NO_OUTPUT,
            "lower": lower,
            "upper": upper,
            "work": work,
            "source": source,
            "layers": mount.source is None,
            "kept": mount.outlives is not None,
            "selector": selector,
            "size": mount.size,
            "options": mount.options,
            "data": mount.data,
            "mode": mount.mode,
            "uid": mount.uid if self.helper.owned else 0,
            "gid": mount.gid if self.helper.owned else 0,
        }


def _in_memory() -> str | None:
    """Return a directory in memory, if this machine has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def _place(path: Path) -> tuple[str, str]:
    """Return a directory of the machine, and the part of it that a mount shows: "" for all of it."""
    real = path.resolve()
    return (str(real), "") if real.is_dir() else (str(real.parent), real.name)


def _source(mount: SandboxMount) -> Path:
    if mount.source is None:
        raise BuildError(f"The {mount.kind} mount at {mount.dest} has no source.")
    return mount.source
