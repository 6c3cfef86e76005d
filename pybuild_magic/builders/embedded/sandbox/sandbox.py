"""The sandbox: runs the process of a RUN on a snapshot, and makes a layer of its changes."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ....cancel import Cancel
from ....errors import FULL, BuildError, StoreError, UnsupportedError, UsageError
from ....llb.ops import NO_OUTPUT
from ....portable import file_system
from ....store import Layer, StoppedRun, Store
from .cacheowners import CacheOwners
from .cgroups import Cgroups, Guard, limited, version
from .client import Helper
from .features import check_features
from .given import has_home, is_text
from .layering import NOEXEC, find_layering, why_unstacked
from .leftovers import Leftovers
from .limits import NONE_REACHED, Limits, rlimits
from .process import Hold, Output, Result, close_all, run_job
from .rootfs import IMAGE, Rootfs
from .rungs import WAYS, Rung
from .spec import MountChanges, RunOutcome, RunSpec, sized
from .staging import Staging, process_job
from .users import User, resolve_user

if TYPE_CHECKING:
    from .helper.jobs import EnterJob, RunJob

RUNTIMES = ("builtin", "runc")
_PROBE = "/.pybuild-probe"


class Sandbox:
    """Runs processes on snapshots of `store`. Safe to use from several threads; one helper process serves all of them.

    `runtime` is builtin or runc; "" takes PYBUILD_RUNTIME, else builtin. `rung` is the number of a rung to use instead
    of the best available one (see `rungs`); 0 takes PYBUILD_RUNG. PYBUILD_OVERLAY=0 disables overlayfs, PYBUILD_EROFS=0
    images of layers. A process has the machine's network, as with rootless BuildKit, unless it asks for none.
    """

    def __init__(self, store: Store, runtime: str = "", rung: int = 0) -> None:
        self.store = store
        self._wanted = runtime or os.environ.get("PYBUILD_RUNTIME", "") or "builtin"
        if self._wanted not in RUNTIMES:
            raise UsageError(f"PYBUILD_RUNTIME is {self._wanted!r}, but must be builtin or runc.")
        rung = rung or _rung_wanted()
        if rung and self._wanted == "runc":
            raise UsageError("PYBUILD_RUNG needs the built-in sandbox; leave it out, or PYBUILD_RUNTIME=runc.")
        untraced = "PYBUILD_RUNTIME is runc" if self._wanted == "runc" else ""
        noexec = NOEXEC if file_system(store.root).noexec else ""
        self._helper = Helper(store.rootfs.workdir, rung, untraced, noexec)
        self.rootfs = Rootfs(store, self._helper)
        self._leftovers = Leftovers(self.rootfs.remove)
        self._staging = Staging(store, self._helper, self.rootfs)
        self._lock = threading.Lock()
        self._prefetching: threading.Thread | None = None
        self._probed: tuple[bool, str] | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the helper process. It starts again when it is needed."""
        if self._prefetching is not None:
            self._prefetching.join()  # it could start the helper right after this
        self.tidy()
        self._helper.close()

    def prefetch(self) -> None:
        """Start the helper in the background, for a build that will need it."""
        thread = threading.Thread(target=self._prefetch, name="pybuild-sandbox", daemon=True)
        thread.start()
        self._prefetching = thread  # no earlier: other builds join it

    def check(self, spec: RunSpec | None = None) -> None:
        """Raise UnsupportedError where no process can be run, or not that of `spec`; wait for the helper's start.

        Nothing of `spec` is read but its features and its limits. Raises UsageError for a limit that Linux refuses.
        """
        if self._prefetching is not None:
            self._prefetching.join()
        self._probe()
        if spec is None:
            return
        check_features(spec, self._helper)
        if spec.limits and not rlimits(spec.limits):  # which hold where there are no cgroups
            with limited(spec.limits):
                pass

    def _prefetch(self) -> None:
        with suppress(BuildError):  # the process that is run will meet the error again
            self._probe()

    def rungs(self) -> tuple[Rung, ...]:
        """Return every way of running RUN, best first, with whether it works here. Starts the helper."""
        with suppress(UnsupportedError, UsageError):
            self._probe()
        return self._helper.rungs()

    @property
    def rung(self) -> Rung | None:
        """The way in which RUN is run here; None where it cannot be run."""
        with suppress(UnsupportedError, UsageError):
            self._probe()
        return self._helper.rung

    @property
    def guard(self) -> Guard | None:
        """The cgroup around everything that is run here; None where nothing can be run."""
        with suppress(UnsupportedError, UsageError):
            self._probe()
        return self._helper.guard

    @property
    def overlay(self) -> bool:
        """Whether layers are stacked with overlayfs; otherwise each RUN has a copy of all files."""
        return self._probe()[0]

    @property
    def copied(self) -> bool:
        """Whether proot replaces the tracer, with a copy of all files for each RUN."""
        self._probe()
        return self._helper.copied

    @property
    def runtime(self) -> str:
        """The program that runs processes: the path of runc, or "" for the built-in sandbox."""
        return self._probe()[1]

    @property
    def unmapped(self) -> str:
        """The reason for a single id; "" where several are mapped, or where a tracer simulates them."""
        self._probe()
        single = self._helper.single and not self._helper.traced
        return (self._helper.unmapped or "no others are mapped") if single else ""

    def run(self, spec: RunSpec, on_output: Output, cancel: Cancel, hold: Hold | None = None) -> RunOutcome:
        """Run a process to its end. `on_output` is called in this thread; `hold` gives it input and signals.

        Raises Interrupted on `cancel`, after the process and all its children are dead; UnsupportedError where this
        machine has no sandboxes; BuildError when the sandbox cannot be set up. A process that fails is not an error
        here: see `exit_code`.
        """
        cancel.check()
        overlay, runtime = self._probe()
        check_features(spec, self._helper)
        user = self._user(spec)
        work = self.store.rootfs.workdir()
        agents = ExitStack()
        stack: list[str] = []
        try:
            job = self._staging.job(spec, user, work, cancel, agents, overlay=overlay)
            alone = self._helper.single and (user.uid, user.gid) != (0, 0)
            if not (alone or spec.terminal or spec.init) and is_text(spec):
                job["runtime"] = runtime
            stack = [path for mounted in (job, *job["mounts"]) for path in mounted["lower"]]
            sources = [mount.outlives for mount in spec.mounts if mount.outlives]
            remembered = CacheOwners(self.store, sources if job["tracer"] or job["keeper"] else [])
            warnings = self._unheld(spec)
            limits, held = self._limit(spec.limits, job, agents, warnings) if spec.limits else ("", None)
            reached = NONE_REACHED
            if hold is not None:
                job["started"], hold.cgroups, hold.ulimits = hold.awaited, job["cgroups"], job["ulimits"]
                hold.warnings = (*([limits] if limits else ()), *warnings)
            with agents:
                result = self._execute(job, on_output, cancel, hold)
                if held is not None:
                    reached = held.reached()
            around = self._helper.guard.reached() if self._helper.guard else NONE_REACHED
            reached = reached if held is not None else around  # what happened in its own cgroups counts in both
            table = f"{job['owners']}.mounts" if job["keeper"] else job["owners"]
            self._record(job, remembered, table)
        except BaseException as error:
            agents.close()
            self.remove(work)
            # Nothing has run yet; with complete layer directories, it will.
            if isinstance(error, SetupError) and self.rootfs.mend(stack):
                return self.run(spec, on_output, cancel, hold)
            raise
        seen = iter(result.images)
        images, lower = _shown(job["lower"], seen)
        outputs: dict[int, MountChanges] = {}
        for number, (mount, mounted) in enumerate(zip(spec.mounts, job["mounts"], strict=True)):
            if mount.output != NO_OUTPUT:
                mount_images, mount_lower = _shown(mounted["lower"], seen)
                is_overlay = self._staging.is_stacked(mount, overlay=overlay)
                outputs[mount.output] = MountChanges(
                    snapshot=mount.snapshot,
                    work=work / f"tmp/{number}",
                    lower=mount_lower,
                    images=mount_images,
                    new_owner=(user.uid, user.gid),
                    is_overlay=is_overlay,
                    table=table if self._helper.program and not is_overlay else "",
                )
        return RunOutcome(
            exit_code=result.code,
            snapshot=spec.snapshot,
            work=work,
            lower=lower,
            images=images,
            error=result.error,
            stubs=tuple(result.stubs),
            created=tuple(result.created),
            outputs=outputs,
            limits=limits,
            warnings=tuple(warnings),
            reached=reached,
            new_owner=(user.uid, user.gid),
            no_workdir=result.no_workdir,
        )

    def _record(self, job: RunJob, remembered: CacheOwners, table: str) -> None:
        """Record what the process has done to the store's directories; a full disk does not cost what it has made."""
        reserve = self.store.db.reserve
        try:
            self.rootfs.count(job["lower"])
            remembered.keep(table)
        except (StoreError, OSError):
            with reserve.spent():
                remembered.keep(table)

    def _limit(self, limits: Limits, job: RunJob, stack: ExitStack, warnings: list[str]) -> tuple[str, Cgroups | None]:
        """Hold a process to limits, by cgroups for the time of `stack`, or else by rlimits; returns what holds.

        Raises UnsupportedError where neither can.
        """
        try:
            cgroups = stack.enter_context(limited(limits))
            job["cgroups"] = cgroups.files
        except UnsupportedError as error:
            ulimits = rlimits(limits)
            if not ulimits:
                raise
            job["ulimits"] = [*ulimits, *job["ulimits"]]
            warnings.append(f"The limit applies to each process, not to all of them together. {error.message}")
            return f"{limits} of each process, by rlimit", None
        return f"{limits}, by cgroups of version {version()}", cgroups

    def _unheld(self, spec: RunSpec) -> list[str]:
        """Return a sentence for each size that nothing holds the process to, where nothing can be mounted."""
        rung = self._helper.rung
        if rung is None or not rung.way.TRACED:
            return []
        where = f"is not limited on rung {rung.number}, where it is a directory of this machine"
        return [f"The size of {path} {where}" for path in sized(spec)]

    def enter(self, spec: RunSpec, hold: Hold, channel: int, streams: tuple[int, ...]) -> None:
        """Start an additional process in the sandbox of the running process that `hold` controls.

        `spec` describes what runs there, changed for this process. It uses `channel` and has `streams` (output, errors
        and, if any, input), as in `run_job`. Raises AccountError.
        """
        user = self._user(spec)
        job: EnterJob = {
            **process_job(spec, user),
            "ulimits": hold.ulimits,
            "cgroups": hold.cgroups,
            "runtime": self.runtime,
            "tracer": self._helper.program,
        }
        self._helper.hand_over(f"enter {hold.tag}", job, (channel, *streams))

    def _user(self, spec: RunSpec) -> User:
        user = resolve_user(self.store.tree(spec.snapshot), spec.user, home=not has_home(spec.env))
        return msgspec.structs.replace(user, groups=tuple(dict.fromkeys((*user.groups, *spec.groups))))

    def commit(self, outcome: RunOutcome, cancel: Cancel | None = None, *, drops: bool = True) -> Layer:
        """Make a layer of a process's changes, the same that BuildKit's differ would write.

        When it fails (disk full, `cancel`), the changes are dropped; without `drops`, they are left to the caller.
        """
        from .changed import write_layer  # a run and a kernel keep nothing

        try:
            layer = write_layer(self.store, self._helper, outcome, cancel, overlay=self.overlay)
        except BaseException:
            if drops:
                self.discard(outcome)
            raise
        self._leftovers.close(_images(outcome))
        if self.overlay and not self.rootfs.has_layer(layer):
            aside = outcome.work.with_name(f"{outcome.work.name}.tmp")
            self._leftovers.add((outcome.work / "tmp").rename(aside))
            self.rootfs.keep_layer(layer, outcome.work)
        else:
            self._leftovers.add(outcome.work)
        return layer

    def stop(self, outcome: RunOutcome, run: StoppedRun) -> None:
        """Keep a process's changes as the files of a stopped run, for `commit_stopped`. Raises StoreError."""
        from .changed import list_changes

        entries = list_changes(self.store, self._helper, outcome, overlay=self.overlay)
        close_all(_images(outcome))
        self.store.stopped.keep(run, outcome.work, entries)

    def commit_stopped(self, run: StoppedRun, cancel: Cancel | None = None) -> Layer:
        """Make the layer of a stopped run, which stays until it is removed."""
        from .changed import write_listed

        self._probe()
        stopped = self.store.stopped
        return write_listed(self.store, self._helper, stopped.entries(run), stopped.files(run), cancel)

    def commit_mount(self, mount: MountChanges, cancel: Cancel | None = None) -> Layer:
        """Make a layer of a process's changes in a mount. Their directory stays that of the process."""
        from .changed import write_mount

        return write_mount(self.store, self._helper, mount, cancel)

    def tidy(self) -> None:
        """Wait until the remains of a build's steps are deleted."""
        self._leftovers.wait()

    def discard(self, outcome: RunOutcome) -> None:
        """Drop the changes of a process."""
        close_all(_images(outcome))
        self.remove(outcome.work)

    def remove(self, path: Path) -> None:
        """Delete a directory that may contain files of subordinate users."""
        self.rootfs.remove(path)

    def _execute(self, job: RunJob, on_output: Output, cancel: Cancel, hold: Hold | None = None) -> Result:
        result = Result()
        try:
            kind = "run_kept" if job["keeper"] else "run_proot" if job["proot"] else "run"

            def submit(fds: tuple[int, ...]) -> socket.socket:
                channel = self._helper.submit(f"{kind} {hold.tag}" if hold else kind, job, fds)
                self._leftovers.start()  # this thread only waits from now on
                return channel

            run_job(submit, on_output, cancel, result, hold, terminal=bool(job["terminal"]))
            cancel.check()
            compared = [job["lower"], *(mount["lower"] for mount in job["mounts"] if mount["compared"])]
            images = [path for lower in compared for path in lower if path.endswith(IMAGE)]
            if result.failure is None and len(result.images) < len(images):
                result.failure = 0, "its process was killed before it started"
            if result.failure is not None:
                raise _setup_error(result.failure)
            if result.error:
                on_output(2, f"{result.error}\n".encode())
        except BaseException:
            close_all(result.images)
            raise
        return result

    def _probe(self) -> tuple[bool, str]:
        """Find out, once, whether overlayfs works on the store's file system, and which runtime works here."""
        if self._probed is None:
            with self._lock:
                if self._probed is None:
                    self._helper.start()
                    overlay, self.rootfs.images = find_layering(self._helper, self.rootfs)
                    if not (overlay or self._helper.traced or os.environ.get("PYBUILD_OVERLAY") == "0"):
                        self._helper.trace(why_unstacked(self.store.root))
                        self._helper.start()
                    if self._helper.place.noexec and not overlay:
                        raise self._helper.refuse()
                    self._probed = overlay, self._probe_runtime(overlay=overlay)
        return self._probed

    def _probe_runtime(self, *, overlay: bool) -> str:
        """Return the path of the requested runtime, if it can run a missing command in an empty root file system."""
        if self._wanted == "builtin":
            return ""
        if (path := shutil.which(self._wanted)) is not None:
            work = self.store.rootfs.workdir()
            try:
                spec, user = RunSpec((_PROBE,)), User(groups=(0,))
                job = self._staging.job(spec, user, work, Cancel(), ExitStack(), overlay=overlay)
                job["runtime"] = path
                result = self._execute(job, lambda _stream, _data: None, Cancel())
                if result.code == 127 and _PROBE in result.error:
                    return path
            except BuildError:
                pass
            finally:
                self.remove(work)
        raise UsageError(f"PYBUILD_RUNTIME is {self._wanted}, which is not installed or does not work here.")


def _images(outcome: RunOutcome) -> list[int]:
    """Take the descriptors of images from an outcome, to close them."""
    taken: list[int] = []
    for changes in (outcome, *outcome.outputs.values()):
        taken += changes.images
        changes.images.clear()
    return taken


def _shown(stack: list[str], seen: Iterator[int]) -> tuple[list[int], tuple[str, ...]]:
    """Return the descriptors of the images in a stack, the next of those that were `seen`, and paths of all of it."""
    images = {path: next(seen) for path in stack if path.endswith(IMAGE)}
    paths = tuple(f"/proc/self/fd/{images[path]}" if path in images else path for path in stack)
    return list(images.values()), paths


def _rung_wanted() -> int:
    """Return PYBUILD_RUNG; 0 for the best rung."""
    text = os.environ.get("PYBUILD_RUNG", "")
    numbers = [str(number) for number, _ in enumerate(WAYS, 1)]
    if text and text not in numbers:
        raise UsageError(
            f"PYBUILD_RUNG is {text!r}, but must be a number from 1 to {len(WAYS)}, as in `%build doctor`."
        )
    return int(text or 0)


def _setup_error(failure: tuple[int, str]) -> BuildError:
    number, text = failure
    if number in FULL:
        return StoreError("The disk is full.", hint="Free some space, for instance with `%build prune`.")
    return SetupError(f"The sandbox failed: {text}.", hint="See `%build doctor` for what this machine allows.")


class SetupError(BuildError):
    """A process that could not be started."""
