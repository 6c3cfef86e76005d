"""A process on an image, from its options to its result."""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.sandbox import Hold, Output, RunOutcome, RunSpec, SandboxMount
from ..builders.embedded.sandbox.limits import Limits
from ..builders.embedded.sandbox.spec import ContainerEdits
from ..builders.embedded.sandbox.users import resolve_groups
from ..cancel import Cancel
from ..errors import Interrupted, StoreError, UsageError
from ..llb.ops import MountType, NetMode
from ..oci.config import DEFAULT_PATH_UNIX
from ..store import resolve
from .identity import new_identity, write_identity
from .image import RunImage, find_image
from .options import RunOptions, all_labels, environment, options_of
from .result import Captured, RunResult, code_of_outcome
from .systemfiles import RESOLV_CONF, resolv_conf, system_files
from .values import parse_signal
from .volumes import Volume, distinct, to_mounts

if TYPE_CHECKING:
    from ..results.difference import Difference

SHOWN = 8 << 20
"""The most bytes of output that a display gets; it is told when more were left out."""
SCRIPT = "/.pybuild-script"
"""The path of a script in the sandbox."""
_TICK = 0.1

Show = Callable[[int, bytes], None]
"""Takes the stream, 1 (stdout) or 2 (stderr), and the bytes that a process wrote, in the thread that started it."""


class Container:
    """A process to be run on an image. The caller holds a lease of the store, which keeps the image's layers.

    A `script` is run by the program of its `#!` line, or else by the image's SHELL; `command` is then its arguments.
    """

    def __init__(
        self,
        image: RunImage,
        command: tuple[str, ...] = (),
        options: RunOptions | None = None,
        script: str | None = None,
        identity: str = "",
    ) -> None:
        self.image = image
        self.options = options or RunOptions()
        self.id = identity or new_identity()
        all_labels(self.options, {})  # only `%build ps` shows them, but their file may be wrong
        self.script = script if script is not None and script.startswith("#!") else None
        """A script with a `#!` line, which becomes a file in the sandbox."""
        self.command = command_of(image, command, self.options, script)
        self.stop_signal = parse_signal(self.options.stop_signal or image.config.config.stop_signal or "SIGTERM")

    @contextmanager
    def opened(
        self, cancel: Cancel, terminal: tuple[int, int] | None = None, *extra: SandboxMount
    ) -> Generator[RunSpec]:
        """Yield the specification for the sandbox. `terminal` is (rows, columns), `extra` are additional mounts.

        The volumes, and the cache mounts of a failed step, are held during the block.
        """
        step = self.image.step
        with ExitStack() as stack:
            places: dict[str, Path] = {}
            if names := [volume.source for volume in self.options.volumes if volume.named and volume.source]:
                from .named import held_volumes

                places = stack.enter_context(held_volumes(names))
            extra = (*stack.enter_context(self._system_files()), *extra)
            spec = self._spec(terminal, places, extra)
            if step is not None:
                spec = self._on_step(stack.enter_context(embedded_builder().failed.opened(step, cancel)), spec)
            yield spec

    def execute(
        self,
        on_output: Output,
        cancel: Cancel,
        hold: Hold,
        terminal: tuple[int, int] | None = None,
        *,
        note: Callable[[RunSpec], None] | None = None,
    ) -> tuple[RunOutcome, Difference | None]:
        """Run the process to its end, keep the changes that the options ask for, and drop the rest; see `Sandbox.run`.

        `note` is called with the specification before the process starts.
        """
        sandbox = embedded_builder().sandbox
        write_identity(self.options.cidfile, self.id)
        with self.opened(cancel, terminal) as spec:
            if note is not None:
                note(spec)
            outcome = sandbox.run(spec, self._attached(on_output), cancel, hold)
        if self.options.diff or self.options.commit:
            from .commit import keep  # most runs keep nothing

            return outcome, keep(self, outcome, cancel)
        sandbox.discard(outcome)
        return outcome, None

    def _attached(self, on_output: Output) -> Output:
        """Return the function for the output, without that of streams that are not wanted."""
        if not self.options.attach:
            return on_output
        wanted = [number for number, name in ((1, "stdout"), (2, "stderr")) if name in self.options.attach]

        def pass_on(stream: int, data: bytes) -> None:
            if stream in wanted:
                on_output(stream, data)

        return pass_on

    def _on_step(self, step_spec: RunSpec, spec: RunSpec) -> RunSpec:
        """Return the specification of a failed step, `step_spec`, with that of the options, `spec`, applied on top."""
        options = self.options
        destinations = {mount.dest.rstrip("/") for mount in spec.mounts}
        hostname = options.hostname or step_spec.hostname
        return msgspec.structs.replace(
            spec,
            env=environment(options, (*step_spec.env, *(["TERM=xterm"] if options.tty else ()))),
            mounts=(*(mount for mount in step_spec.mounts if mount.dest.rstrip("/") not in destinations), *spec.mounts),
            network=spec.network if options.network else step_spec.network,
            hostname=hostname,
            extra_hosts=(*step_spec.extra_hosts, *spec.extra_hosts),
            ulimits=(*step_spec.ulimits, *spec.ulimits),
            shm_size=spec.shm_size or step_spec.shm_size,
            insecure=spec.insecure or step_spec.insecure,
            readonly_root=spec.readonly_root or step_spec.readonly_root,
        )

    def _spec(
        self, terminal: tuple[int, int] | None, places: Mapping[str, Path], extra: tuple[SandboxMount, ...]
    ) -> RunSpec:
        options, config = self.options, self.image.config.config
        hostname = self.hostname
        base = [f"PATH={DEFAULT_PATH_UNIX}", f"HOSTNAME={hostname}"]
        base += ["TERM=xterm"] if options.tty else []
        edits = _devices(options)
        volumes = distinct(options.volumes)
        mounts = (*edits.mounts, *to_mounts(volumes, places, self.image.snapshot))
        mounts = (*sorted((*self._volumes(volumes, mounts), *mounts), key=lambda mount: mount.dest), *extra)
        if self.script is not None:
            mounts += (SandboxMount(SCRIPT, MountType.SECRET, data=self.script.encode(), mode=0o755),)
        return RunSpec(
            args=self.command,
            snapshot=self.image.snapshot,
            # A device's variables win: CDI edits a specification that is otherwise complete.
            env=environment(RunOptions(env=edits.env), environment(options, (*base, *config.env))),
            cwd=options.workdir or config.working_dir or "/",
            user=options.user or config.user,
            mounts=mounts,
            network=_network(options),
            hostname=hostname,
            extra_hosts=options.add_hosts,
            ulimits=tuple((limit.name, limit.soft, limit.hard) for limit in options.ulimits),
            shm_size=options.shm_size,
            insecure=options.privileged,
            readonly_root=options.read_only,
            hooks=edits.hooks,
            groups=(*edits.groups, *self._groups()),
            capabilities=_capabilities(options),
            root_cwd=True,
            init=options.init,
            limits=_limits(options),
            terminal=(terminal or (24, 80)) if options.tty else None,
        )

    def _groups(self) -> tuple[int, ...]:
        names = self.options.group_add
        return resolve_groups(embedded_builder().store.tree(self.image.snapshot), names) if names else ()

    def _volumes(self, volumes: Iterable[Volume], mounts: tuple[SandboxMount, ...]) -> list[SandboxMount]:
        """Return mounts for the volumes that end with the process: the image's VOLUMEs, and those without a source.

        They begin with the image's files.
        """
        taken = {mount.dest.rstrip("/") for mount in mounts}
        wanted = {"/" + path.strip("/"): Volume("/" + path.strip("/")) for path in self.image.config.config.volumes}
        wanted |= {volume.target: volume for volume in volumes if volume.named and not volume.source}
        tree = embedded_builder().store.tree(self.image.snapshot)
        found: list[SandboxMount] = []
        for dest, volume in wanted.items():
            if dest in taken or dest == "/":
                continue
            entry = tree.get(resolve(tree, dest.lstrip("/")))
            there = volume.copy and entry is not None and entry.is_dir
            snapshot, selector = (self.image.snapshot, dest) if there else ((), "")
            found.append(SandboxMount(dest, snapshot=snapshot, selector=selector, readonly=volume.readonly))
        return found

    @property
    def hostname(self) -> str:
        """The host name of the process."""
        options = self.options
        return options.hostname or (socket.gethostname() if options.network == "host" else self.id[:12])

    @contextmanager
    def _system_files(self) -> Generator[list[SandboxMount]]:
        """Yield mounts for the files of /etc that the process gets, unless one of its volumes is there."""
        if self.image.step is not None and not self._has_dns:  # the step's own are as they were
            yield []
            return
        builder, options = embedded_builder(), self.options
        taken = {volume.target for volume in options.volumes}
        place = builder.store.rootfs.workdir()
        try:
            mounts: list[SandboxMount] = []
            for path, data in self._texts().items():
                if path not in taken:
                    file = place / path.rpartition("/")[2]
                    file.write_bytes(data)
                    file.chmod(0o644)
                    mounts.append(SandboxMount(path, source=file, readonly=options.read_only))
            yield mounts
        finally:
            builder.sandbox.remove(place)

    @property
    def _has_dns(self) -> bool:
        return bool(self.options.dns or self.options.dns_search or self.options.dns_options)

    def _texts(self) -> dict[str, bytes]:
        options = self.options
        nameservers = resolv_conf(options.dns, options.dns_search, options.dns_options)
        if self.image.step is not None:
            return {RESOLV_CONF: nameservers}
        return system_files(self.hostname, options.network, options.add_hosts, nameservers)

    def run(self, show: Show | None = None) -> RunResult:
        """Run the process to its end; `show` gets its output in this thread, as much as a display can take.

        KeyboardInterrupt sends the stop signal, and kills the process after the stop timeout, at a second interrupt, or
        at once if it does not handle the signal; Interrupted is raised then. Raises BuildError when the process cannot
        be run; one that fails raises nothing.
        """
        return _Run(self, show).result()


class _Run:
    """A run of a container, in a separate thread."""

    def __init__(self, container: Container, show: Show | None) -> None:
        self.container = container
        self.show = show
        self.cancel = Cancel()
        self.hold = Hold(container.options.stdin or b"")
        self.streams = {1: Captured(), 2: Captured()}
        self.room = SHOWN
        self.chunks: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.done: RunResult | None = None
        self.thread = threading.Thread(target=self.work, name="pybuild-run", daemon=True)

    def take(self, stream: int, data: bytes) -> None:
        """Keep the output of the process, and queue what is to be displayed; this never waits for the display."""
        self.streams[stream].add(data)
        if self.show is None or not self.room:
            return
        chunk, self.room = data[: self.room], max(0, self.room - len(data))
        self.chunks.put((stream, chunk))
        if not self.room:
            self.chunks.put((2, f"\n[output clipped, limit {SHOWN >> 20}MiB reached]\n".encode()))

    def work(self) -> None:
        """Run the process, and make the image or the difference that the options ask for."""
        try:
            self.done = self._run()
        except BaseException as error:
            self.error = error
        finally:
            self.chunks.put(None)

    def _run(self) -> RunResult:
        options = self.container.options
        started = time.monotonic()
        outcome, changes = self.container.execute(self.take, self.cancel, self.hold)
        duration = time.monotonic() - started
        if self.show is not None:
            for text in (*outcome.warnings, *outcome.reached.sentences):
                self.chunks.put((2, f"WARNING: {text}\n".encode()))
        return RunResult(
            exit_code=code_of_outcome(outcome),
            stdout=bytes(self.streams[1].data),
            stderr=bytes(self.streams[2].data),
            duration=duration,
            truncated=any(stream.truncated for stream in self.streams.values()),
            changes=changes if options.diff else None,
            image=options.commit,
            limits=outcome.limits,
            warnings=(*outcome.warnings, *outcome.reached.sentences),
        )

    def result(self) -> RunResult:
        """Start the process, show its output as it comes, and wait for the end."""
        self.thread.start()
        interrupts = 0
        deadline = 0.0
        while True:
            try:
                if not self._show_next():
                    break
                if interrupts and time.monotonic() > deadline:
                    self.cancel.cancel()
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > 1:
                    self.cancel.cancel()
                else:
                    seconds = self.container.options.stop_timeout
                    deadline = time.monotonic() + seconds if seconds >= 0 else math.inf
                    self.hold.stop(self.container.stop_signal)
        self.thread.join()
        if interrupts and not isinstance(self.error, StoreError):  # which tells how to keep what it has made
            raise Interrupted("The process was stopped.")
        if self.error is not None:
            raise self.error
        assert self.done is not None
        return self.done

    def _show_next(self) -> bool:
        """Show the next output, or wait a little for it; return False at the end."""
        with suppress(queue.Empty):
            chunk = self.chunks.get(timeout=_TICK)
            if chunk is None:
                return False
            if self.show is not None:
                self.show(*chunk)
        return True


def run(ref: Any, *command: str, show: Show | None = None, **arguments: Any) -> RunResult:
    """Run `command`, or else the image's own, on an image, and return its exit code and its output.

    `ref` is a name, a path of an image layout or archive, or a result of a build. Arguments are the fields of
    RunOptions: `run("busybox", "env", env={"A": "1"}, volumes=["./data:/data:ro"], stdin="text")`. Raises the errors
    of `Container.run`, and SourceError when the image cannot be fetched.
    """
    options = options_of(arguments)
    if options.detach:
        raise UsageError(
            "run() cannot detach: it waits for the process to end.",
            hint="Use start(), which runs it in the background.",
        )
    return run_with(ref, command, options, show)


def run_with(
    ref: Any, command: tuple[str, ...], options: RunOptions, show: Show | None = None, script: str | None = None
) -> RunResult:
    """Run `command` as `run` does, from RunOptions; for `script`, see `Container`."""
    with embedded_builder().store.lease():
        return Container(image_for(ref, options), command, options, script).run(show)


def image_for(ref: Any, options: RunOptions) -> RunImage:
    """Return the image that `ref` stands for: see `find_image`.

    Where it has to be pulled, the error with which any process with these options would fail here is raised first.
    """

    def check() -> None:
        devices = _devices(options)
        sources = [(volume.target, volume.source, volume.readonly) for volume in options.volumes if volume.source]
        volumes = tuple(SandboxMount(dest, source=Path(place), readonly=readonly) for dest, place, readonly in sources)
        spec = RunSpec(
            (),
            mounts=(*devices.mounts, *volumes),
            network=_network(options),
            readonly_root=options.read_only,
            hooks=devices.hooks,
            capabilities=_capabilities(options),
            limits=_limits(options),
        )
        embedded_builder().sandbox.check(spec)

    return find_image(ref, options.platform, pull=options.pull, before_pull=check)


def command_of(
    image: RunImage, command: tuple[str, ...], options: RunOptions, script: str | None = None
) -> tuple[str, ...]:
    """Return the words of the command to run; see `Container`. Raises UsageError when there are none."""
    if script is not None and script.startswith("#!"):
        return (SCRIPT, *command)
    if script is not None:
        shell = image.config.config.shell or ("/bin/sh", "-c")
        return (*shell, script, *((shell[0], *command) if command else ()))
    config = image.config.config
    if options.entrypoint is not None:
        words = (*options.entrypoint, *command)
    else:
        words = (*config.entrypoint, *(command or config.cmd))
    if not words:
        raise UsageError(f"No command was given, and {image.name} has none.", hint=f"For instance: run {image.name} sh")
    if any("\0" in word for word in words):
        raise UsageError("A command cannot contain null bytes.")
    return words


def _limits(options: RunOptions) -> Limits:
    return Limits(
        memory=options.memory,
        cpus=options.cpus,
        pids=options.pids_limit,
        swap=options.memory_swap if options.memory else 0,
        shares=options.cpu_shares,
        period=options.cpu_period,
        quota=options.cpu_quota,
        cpuset_cpus=options.cpuset_cpus,
        cpuset_mems=options.cpuset_mems,
        parent=options.cgroup_parent,
    )


def _network(options: RunOptions) -> NetMode:
    return NetMode.NONE if options.network == "none" else NetMode.HOST


def _devices(options: RunOptions) -> ContainerEdits:
    if not options.devices and not options.gpus:
        return ContainerEdits()
    from ..builders.embedded.sandbox.cdi import Machine

    return Machine().resolve(options.devices, options.gpus)


def _capabilities(options: RunOptions) -> tuple[str, ...] | None:
    if not options.cap_add and not options.cap_drop:
        return None
    from ..builders.embedded.sandbox.helper.security import ALL_CAPABILITIES, CAPABILITIES  # Linux's alone

    unknown = [name for name in (*options.cap_add, *options.cap_drop) if name not in (*ALL_CAPABILITIES, "ALL")]
    if unknown:
        raise UsageError(
            f"There is no capability {unknown[0]}.",
            hint="Write it as in docker run, for instance NET_RAW or SYS_PTRACE.",
        )
    default = [name for name in CAPABILITIES if name != "CAP_NET_RAW" or options.network == "none"]
    if "ALL" in options.cap_add:  # and --cap-drop ALL drops nothing then, as in docker run
        return tuple(sorted({"ALL", *ALL_CAPABILITIES} - ({*options.cap_drop} - {"ALL"})))
    kept = set[str]() if "ALL" in options.cap_drop else {*default} - {*options.cap_drop}
    return tuple(sorted(kept | {*options.cap_add}))
