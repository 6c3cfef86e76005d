"""Runs the process of a RUN on a snapshot, and makes a layer of what it changed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ....cancel import Cancel
from ....errors import BuildError, StoreError, UnsupportedError, UsageError
from ....llb.ops import MountType, NetMode
from ....portable import file_system
from ....store import Entry, Layer, LayerWriter, Store
from .agent import AgentSocket
from .client import Helper, JobFailed
from .given import HOSTNAME, environment, hosts, is_text, resolv_conf
from .process import Hold, Output, Result, close_all, run_job
from .remembered import remember
from .rootfs import IMAGE, Rootfs
from .rungs import Place, Rung, best, climb
from .spec import RunOutcome, RunSpec, SandboxMount
from .users import User, resolve_user

if TYPE_CHECKING:
    from .helper.changes import Row
    from .helper.jobs import ChangesJob

RUNTIMES = ("builtin", "runc", "tracer")
OWN_LAYER = "the store is on a container's own layer, over which overlayfs cannot be stacked"
"""Why namespaces are of no use, though there are some."""
_PROBE = "/.pybuild-probe"


class Sandbox:
    """Runs processes on snapshots of `store`. For any number of threads; one helper process serves them all.

    `runtime` is builtin, runc or tracer; "" takes PYBUILD_RUNTIME, else the best rung (see `rungs`).
    PYBUILD_OVERLAY=0 does without overlayfs, PYBUILD_EROFS=0 without images of layers. The network of a process is
    that of the machine, as with rootless BuildKit, unless it asks for none.
    """

    def __init__(self, store: Store, runtime: str = "") -> None:
        self.store = store
        self._wanted = runtime or os.environ.get("PYBUILD_RUNTIME", "")
        self._helper = Helper(store.rootfs.workdir, traced=self._wanted == "tracer", kept=self._wanted != "runc")
        self.rootfs = Rootfs(store, self._helper)
        if self._wanted not in ("", *RUNTIMES):
            raise UsageError(f"PYBUILD_RUNTIME is {self._wanted!r}; it may be builtin, runc or tracer.")
        self._lock = threading.Lock()
        self._prefetching: threading.Thread | None = None
        self._probed: tuple[bool, str] | None = None
        self._rungs: tuple[Rung, ...] | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the helper process. It starts again when it is needed."""
        if self._prefetching is not None:
            self._prefetching.join()  # it might start the helper right after this
        self._helper.close()

    def prefetch(self) -> None:
        """Start the helper in the background, for a build that will need it."""
        thread = threading.Thread(target=self._prefetch, name="pybuild-sandbox", daemon=True)
        thread.start()
        self._prefetching = thread  # not before: other builds join it

    def check(self) -> None:
        """Raise UnsupportedError where no process can be run; waits for the helper's start."""
        if self._prefetching is not None:
            self._prefetching.join()
        self._helper.start()

    def _prefetch(self) -> None:
        with suppress(BuildError):  # whoever runs something will meet it again
            self._probe()

    def rungs(self) -> tuple[Rung, ...]:
        """Every way in which RUN could be run, best first, and whether it can be here. Starts the helper."""
        if self._rungs is None:
            self._rungs = climb(self._place())
        return self._rungs

    @property
    def rung(self) -> Rung | None:
        """The way in which RUN is run here; None where it cannot be."""
        return best(self.rungs())

    def _place(self) -> Place:
        found: dict[str, str] = {}
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        try:
            self._probe()
            if self._helper.tracer:
                if self._helper.refused == OWN_LAYER:
                    return Place(unstacked=OWN_LAYER, root=root, tracer="")
                return Place(namespaces=self._helper.refused, root=root, tracer="")
            self._helper.call("probe_namespaces", None, None, lambda message, _: found.update(message[1]))
        except UnsupportedError as error:
            refused, untraced = self._helper.refused, self._helper.untraced
            return Place(system="" if refused else error.message, namespaces=refused, root=root, tracer=untraced)
        except JobFailed as error:
            return Place(namespaces=str(error), root=root)
        helper = self._helper
        return Place(
            **found,
            userns=helper.userns,
            single=helper.single,
            kept=bool(helper.keeper),
            unmapped=helper.unmapped,
            root=root,
        )

    @property
    def overlay(self) -> bool:
        """Whether layers are stacked with overlayfs; where not, each RUN has a copy of all its files."""
        return self._probe()[0]

    @property
    def runtime(self) -> str:
        """What processes are run with: the path of runc, "" for the built-in sandbox."""
        return self._probe()[1]

    @property
    def unmapped(self) -> str:
        """Why one id stands for all; "" where several are mapped."""
        self._probe()
        return (self._helper.unmapped or "no others are mapped") if self._helper.single else ""

    def run(self, spec: RunSpec, on_output: Output, cancel: Cancel, hold: Hold | None = None) -> RunOutcome:
        """Run a process to its end. `on_output` is called in this thread; `hold` gives it input and signals.

        Raises Interrupted when `cancel` comes, after the process and all it started are dead; UnsupportedError
        where this machine has no sandboxes; BuildError when the sandbox cannot be set up. A process that fails
        is no error here: look at `exit_code`.
        """
        cancel.check()
        overlay, runtime = self._probe()
        user = resolve_user(self.store.tree(spec.snapshot), spec.user)
        work = self.store.rootfs.workdir()
        agents = ExitStack()
        stack: list[str] = []
        try:
            job = self._job(spec, user, work, cancel, agents, overlay=overlay)
            alone = self._helper.single and (user.uid, user.gid) != (0, 0)
            if job["keeper"]:
                remember(self.store, spec, job["owners"])
            elif not (alone or spec.terminal or spec.init) and is_text(spec):
                job["runtime"] = runtime
            stack = [path for mounted in (job, *job["mounts"]) for path in mounted["lower"]]
            if job["tracer"]:
                job["memory"] = agents.enter_context(tempfile.TemporaryDirectory(dir=_in_memory()))
            with agents:
                result = self._execute(job, on_output, cancel, hold)
        except BaseException as error:
            agents.close()
            self.remove(work)
            # Nothing has run yet: with directories of layers that are whole, it will.
            if isinstance(error, SetupError) and self.rootfs.mend(stack):
                return self.run(spec, on_output, cancel, hold)
            raise
        seen = iter(result.images)
        return RunOutcome(
            result.code,
            spec.snapshot,
            work,
            tuple(f"/proc/self/fd/{next(seen)}" if path.endswith(IMAGE) else path for path in job["lower"]),
            result.images,
            result.error,
            tuple(result.stubs),
            tuple(result.made),
            (user.uid, user.gid),
        )

    def commit(self, outcome: RunOutcome, cancel: Cancel | None = None) -> Layer:
        """Make a layer of what a process changed, the one that BuildKit's differ would write.

        When it fails (the disk is full, `cancel` came) the changes are dropped.
        """
        try:
            layer = self._write_layer(outcome, cancel)
        except BaseException:
            self.discard(outcome)
            raise
        close_all(outcome.images)
        if self.overlay:
            self.rootfs.keep_layer(layer, outcome.work)
        else:
            self.discard(outcome)
        return layer

    def _write_layer(self, outcome: RunOutcome, cancel: Cancel | None) -> Layer:
        work, overlay, traced = outcome.work, self.overlay, bool(self._helper.tracer)
        job: ChangesJob = {
            "lower": list(outcome.lower),
            "upper": str(work / "fs") if overlay else "",
            "root": "" if overlay else str(work / "fs"),
            "record": "" if overlay or traced else str(work / "record"),
            "blobs": [] if overlay or traced else (work / "blobs").read_text().splitlines(),
            "stubs": list(outcome.stubs),
            "owners": str(work / "owners") if traced or self._helper.keeper else "",
            "told": str(work / "told") if traced else "",
        }
        with LayerWriter(self.store, cancel=cancel) as writer:
            try:
                if self._helper.userns:
                    self._changes_through_helper(job, outcome, writer, cancel)
                else:
                    _changes_here(job, writer)
            except JobFailed as error:
                raise StoreError(f"What RUN changed could not be read: {error}.") from error
            except OSError as error:
                raise StoreError(f"What RUN changed could not be read: {error.strerror}.") from error
            layer = writer.finish()
        self.remove(work / "tmp")
        return layer

    def _changes_through_helper(
        self, job: ChangesJob, outcome: RunOutcome, writer: LayerWriter, cancel: Cancel | None
    ) -> None:
        """Files of subordinate users can be read by the helper alone, which passes them on as open files."""
        owners = self._owners(outcome) if self._helper.single and not self._helper.keeper else None

        def take(message: Any, fds: list[int]) -> None:
            counted = b"1" if fds else b""
            try:
                for row, has_content in message[1]:
                    entry = _entry(row)
                    writer.add(owners(entry) if owners else entry, fds.pop(0) if has_content else None)
            finally:
                for fd in fds:
                    os.close(fd)
            os.write(grant, counted)

        credit, grant = os.pipe()
        try:
            os.write(grant, b"11")  # messages with files that may be on their way
            self._helper.call("changes", job, cancel, take, (credit,))
        finally:
            os.close(credit)
            os.close(grant)

    def discard(self, outcome: RunOutcome) -> None:
        """Drop what a process changed."""
        close_all(outcome.images)
        self.remove(outcome.work)

    def remove(self, path: Path) -> None:
        """Delete a directory that may hold files of subordinate users."""
        self.rootfs.remove(path)

    def _job(
        self, spec: RunSpec, user: User, work: Path, cancel: Cancel, agents: ExitStack, *, overlay: bool
    ) -> dict[str, Any]:
        root = work / "fs"
        (work / "tmp").mkdir()
        lower: list[str] = []
        if overlay or self._helper.tracer:
            root.mkdir(mode=0o755)
            root.chmod(0o755)
            (work / "tmp/work").mkdir()
            lower = self.rootfs.stack(spec.snapshot, cancel)
        else:
            self.rootfs.copy(spec.snapshot, work, cancel, record=str(work / "record"))
        mounts = [
            self._mount(mount, work / f"tmp/{number}", cancel, agents, overlay=overlay)
            for number, mount in enumerate(spec.mounts)
        ]
        return {
            "lower": lower,
            "upper": str(root) if overlay else "",
            "work": str(work / "tmp/work") if overlay else "",
            "root": "" if overlay else str(root),
            "args": list(spec.args),
            "env": environment(spec.env, user.home),
            "cwd": spec.cwd or "/",
            "uid": user.uid,
            "gid": user.gid,
            "groups": list(user.groups),
            "mounts": mounts,
            "network": "none" if spec.network == NetMode.NONE else "host",
            "hostname": spec.hostname or HOSTNAME,
            "hosts": hosts(spec),
            "resolv": resolv_conf(),
            "ulimits": list(spec.ulimits),
            "shm_size": spec.shm_size,
            "insecure": spec.insecure,
            "readonly_root": spec.readonly_root,
            "capabilities": None if spec.capabilities is None else list(spec.capabilities),
            "root_cwd": spec.root_cwd,
            "init": spec.init,
            "terminal": list(spec.terminal or ()),
            "runtime": "",
            "tracer": self._helper.tracer,
            "keeper": self._helper.keeper,
            "owners": str(work / "owners"),
            "told": str(work / "told"),
            "tmp": str(work / "tmp"),
            "memory": "",
        }

    def _mount(
        self, mount: SandboxMount, place: Path, cancel: Cancel, agents: ExitStack, *, overlay: bool
    ) -> dict[str, Any]:
        lower: list[str] = []
        source = upper = work = ""
        selector = mount.selector
        if mount.kind == MountType.BIND and mount.source is not None:
            source, selector = _place(mount.source)
        elif mount.kind == MountType.BIND:
            if overlay:
                lower = self.rootfs.stack(mount.snapshot, cancel)
                if not mount.readonly:
                    upper, work = str(place / "upper"), str(place / "work")
                    for directory in (place, place / "upper", place / "work"):
                        directory.mkdir(mode=0o755)
            elif mount.readonly:
                source = self.rootfs.merged(mount.snapshot, cancel)
            else:
                place.mkdir()
                self.rootfs.copy(mount.snapshot, place, cancel)
                source = str(place / "fs")
        elif mount.kind == MountType.CACHE:
            directory = _source(mount)
            directory.mkdir(parents=True, exist_ok=True)
            if mount.snapshot:
                self.rootfs.fill(directory, mount.snapshot, cancel)
            source = str(directory)
        elif mount.kind == MountType.SSH:
            agents.enter_context(AgentSocket(place, _source(mount)))
            source = str(place)
        owned = bool(self._helper.tracer or self._helper.keeper) or not self._helper.single
        return {
            "kind": str(mount.kind),
            "dest": mount.dest,
            "readonly": mount.readonly,
            "lower": lower,
            "upper": upper,
            "work": work,
            "source": source,
            "selector": selector,
            "size": mount.size,
            "options": mount.options,
            "data": mount.data,
            "mode": mount.mode,
            "uid": mount.uid if owned else 0,
            "gid": mount.gid if owned else 0,
        }

    def _execute(self, job: dict[str, Any], on_output: Output, cancel: Cancel, hold: Hold | None = None) -> Result:
        result = Result()
        try:
            run_job(self._helper, job, on_output, cancel, result, hold)
            cancel.check()
            if result.failure is None and len(result.images) < sum(path.endswith(IMAGE) for path in job["lower"]):
                result.failure = 0, "its process was killed before it began"
            if result.failure is not None:
                raise _setup_error(result.failure)
            if result.error:
                on_output(2, f"{result.error}\n".encode())
        except BaseException:
            close_all(result.images)
            raise
        return result

    def _owners(self, outcome: RunOutcome) -> Callable[[Entry], Entry]:
        """Where one id stands for all: files that were there keep their owner, new ones get the process's.

        What the sandbox itself has made belongs to root.
        """
        tree = self.store.tree(outcome.snapshot)
        made = {path.lstrip("/") for path in outcome.made}

        def own(entry: Entry) -> Entry:
            if entry.is_whiteout:
                return entry
            old = tree.get(entry.path)
            if old is not None:
                uid, gid = old.uid, old.gid
            else:
                uid, gid = (0, 0) if entry.path in made else outcome.new_owner
            return msgspec.structs.replace(entry, uid=uid, gid=gid)

        return own

    def _probe(self) -> tuple[bool, str]:
        """Find out, once, whether overlayfs works on the store's file system, and which runtime does here."""
        if self._probed is None:
            with self._lock:
                if self._probed is None:
                    self._helper.start()
                    overlay = self._probe_overlay()
                    if not (overlay or self._helper.tracer) and self._may_trace():
                        self._helper.trace(OWN_LAYER)
                    self.rootfs.images = overlay and self._probe_images()
                    self._probed = overlay, self._probe_runtime(overlay=overlay)
        return self._probed

    def _probe_overlay(self) -> bool:
        if os.environ.get("PYBUILD_OVERLAY") == "0" or self._helper.tracer:
            return False
        work = self.store.rootfs.workdir()
        try:
            self._helper.call("probe", str(work))
        except JobFailed:
            return False
        finally:
            self.remove(work)
        return True

    def _may_trace(self) -> bool:
        """Whether a tracer may do what overlayfs does not: not against a wish, and only where a container is around.

        It links what a process looks at, and copies what it changes, where else all files are copied for each RUN.
        """
        if self._wanted or os.environ.get("PYBUILD_OVERLAY") == "0":
            return False
        return file_system(self.store.root)[0] == "overlay"

    def _probe_images(self) -> bool:
        """Whether Linux mounts images from files (since 6.12), and this process may."""
        if self._helper.userns or os.environ.get("PYBUILD_EROFS") == "0":
            return False
        from .helper.erofs import BLOCK_SIZE, write_image

        work = self.store.rootfs.workdir()
        try:
            (work / "content").write_bytes(_PROBE.encode().ljust(BLOCK_SIZE))
            (work / "blobs").symlink_to(".")
            row = ("file", "0", 0o644, 0, 0, 0, BLOCK_SIZE, "", 0, 0, 0, 0, None)
            with (work / "image").open("wb") as file:
                write_image(file, [row], [("content", BLOCK_SIZE)])
            self._helper.call("probe_image", str(work))
        except (JobFailed, OSError):
            return False
        finally:
            self.remove(work)
        return True

    def _probe_runtime(self, *, overlay: bool) -> str:
        """The path of the runtime asked for, which gets as far as to miss the command of an empty root file system."""
        if self._wanted in ("", "builtin", "tracer"):
            return ""
        if (path := shutil.which(self._wanted)) is not None:
            work = self.store.rootfs.workdir()
            try:
                job = self._job(RunSpec((_PROBE,)), User(groups=(0,)), work, Cancel(), ExitStack(), overlay=overlay)
                result = self._execute(job | {"runtime": path}, lambda _stream, _data: None, Cancel())
                if result.code == 127 and _PROBE in result.error:
                    return path
            except BuildError:
                pass
            finally:
                self.remove(work)
        raise UsageError(f"PYBUILD_RUNTIME is {self._wanted}, which is not installed or does not work here.")


def _in_memory() -> str | None:
    """A directory in memory, where this machine has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def _place(path: Path) -> tuple[str, str]:
    """A directory of the machine, and what of it a mount shows: "" for all of it."""
    real = path.resolve()
    return (str(real), "") if real.is_dir() else (str(real.parent), real.name)


def _source(mount: SandboxMount) -> Path:
    if mount.source is None:
        raise BuildError(f"The {mount.kind} mount at {mount.dest} has no source.")
    return mount.source


def _setup_error(failure: tuple[int, str]) -> BuildError:
    number, text = failure
    if number == errno.ENOSPC:
        return StoreError("The disk is full.", hint="Free space, or `%build prune`.")
    return SetupError(f"The sandbox failed: {text}.", hint="`%build doctor` shows what this machine allows it.")


class SetupError(BuildError):
    """A process that was not started."""


def _changes_here(job: ChangesJob, writer: LayerWriter) -> None:
    """As root, this process can read what the sandbox's root has written."""
    from .helper.changes import find

    def add(row: Row, path: bytes) -> None:
        writer.add(_entry(row), _opener(path))

    find(job, add)


def _opener(path: bytes) -> Callable[[], int] | None:
    return (lambda: os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) if path else None


def _entry(row: Any) -> Entry:
    path, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs = row
    if xattrs:
        return Entry(path, kind, mode, uid, gid, mtime, size, link, -1, b"", major, minor, xattrs)
    return Entry(path, kind, mode, uid, gid, mtime, size, link, -1, b"", major, minor)
