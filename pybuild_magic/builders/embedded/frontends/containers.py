"""Containers of a front end: processes that it starts on results, without keeping their changes.

The rules are those of BuildKit's `frontend/gateway/container`: the first process of a container makes the sandbox,
further ones join it while the first one runs, and they all end when the container is released.
"""

from __future__ import annotations

import os
import posixpath
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Protocol

import msgspec

from ....cancel import Cancel
from ....errors import BuildError, Interrupted
from ....llb.ops import NO_INPUT, NO_OUTPUT, Edge, ExecOp, Meta, MountType, Node
from ....net.grpc.rpc import ALREADY_EXISTS, INVALID, NOT_FOUND, UNKNOWN, GrpcError
from ....net.grpc.stream import Call, CallCancelled, prefixed
from ....session import Session
from ....store import LayerTree, Store
from ....store.links import EscapeError
from ...proto import gateway_pb2 as gw
from ...proto import ops_pb2 as pb
from ..execspec import ExecSpec, root_of
from ..sandbox import RunSpec, Sandbox
from ..sandbox.limits import Limits
from ..sandbox.process import Hold, Output, Result, run_job
from ..snapshot import Snapshot
from . import files
from .definition import mount_of, network_of, parse, secrets_of
from .result import DefinitionError

MAX_CONTAINERS = 100
_MAX_MOUNTS = 100
_TERMINAL = (24, 80)
_OUTPUTS = (1, 2)
_UNKNOWN_STATUS = 255
_OUT_OF_RANGE = 11
_MAX_PROCESSES = 1000
"""The most processes of a container, in all."""

SolveEdge = Callable[[str], tuple[Edge, Snapshot]]
"""Solves the result with that name."""
Check = Callable[[Edge], None]
_Failed = Callable[[str], str]
_Run = Callable[[Output, Hold, tuple[int, int] | None], tuple[int, str]]
"""Runs a process with its output, its control and its terminal; returns its exit code and why it could not be run."""


class Grounds(msgspec.Struct, frozen=True, eq=False):
    """What the containers of a build run on."""

    store: Store
    session: Session
    sandbox: Sandbox
    limits: Limits
    cancel: Cancel


class _Send(Protocol):
    def __call__(self, **message: object) -> None: ...


class Containers:
    """The containers of one front end, by the names that it gave them.

    `check` raises for what the user has not allowed.
    """

    def __init__(self, grounds: Grounds, solve: SolveEdge, check: Check) -> None:
        self._grounds = grounds
        self._solve = solve
        self._check = check
        self._lock = threading.Lock()
        self._containers: dict[str, _Container] = {}

    def new(self, request: gw.NewContainerRequest) -> gw.NewContainerResponse:
        """Answer NewContainer: solve what is mounted; nothing runs yet. Raises BuildError."""
        if len(request.Mounts) > _MAX_MOUNTS:
            raise DefinitionError(f"a container of a front end has more than {_MAX_MOUNTS} mounts")
        inputs: list[tuple[Edge, Snapshot]] = []
        messages: list[pb.Mount] = []
        for mount in request.Mounts:
            message = pb.Mount()
            message.CopyFrom(mount)
            message.input = len(inputs) if mount.resultID else NO_INPUT
            message.output = NO_OUTPUT
            if mount.resultID:
                inputs.append(self._solve(mount.resultID))
            messages.append(message)
        mounts = tuple(mount_of(message, len(inputs)) for message in messages)
        op = ExecOp(
            Meta((), hostname=request.hostname, extra_hosts=tuple((host.Host, host.IP) for host in request.extraHosts)),
            mounts,
            network=network_of(request.Network),
        )
        root = root_of(op)
        if root not in mounts or root.mount_type is not MountType.BIND:
            raise DefinitionError("a container of a front end has no root file system")
        self._check(Edge(Node(op, tuple(edge for edge, _ in inputs))))
        container = _Container(self._grounds, op, [snapshot for _, snapshot in inputs], self._check)
        with self._lock:
            if request.ContainerID in self._containers:
                raise GrpcError(ALREADY_EXISTS, f"Container {request.ContainerID} already exists")
            if len(self._containers) >= MAX_CONTAINERS:
                raise DefinitionError(f"a front end has more than {MAX_CONTAINERS} containers")
            self._containers[request.ContainerID] = container
        return gw.NewContainerResponse()

    def release(self, request: gw.ReleaseContainerRequest) -> gw.ReleaseContainerResponse:
        """Answer ReleaseContainer: end the processes of a container. Raises GrpcError if one failed, as BuildKit."""
        with self._lock:
            container = self._containers.pop(request.ContainerID, None)
        if container is None:
            raise DefinitionError(f"container details for {request.ContainerID} not found")
        failure = container.failure
        container.close()
        if failure:
            raise GrpcError(UNKNOWN, failure)
        return gw.ReleaseContainerResponse()

    def read_file(self, request: gw.ReadFileRequest) -> gw.ReadFileResponse:
        """Answer ReadFileContainer."""
        tree = self._mounted(request.Ref, request.MountIndex)
        return files.read_file(tree, files.find_mounted(tree, request.FilePath, "open"), request)

    def read_dir(self, request: gw.ReadDirRequest) -> gw.ReadDirResponse:
        """Answer ReadDirContainer."""
        tree = self._mounted(request.Ref, request.MountIndex)
        entries = files.list_directory(tree, files.find_mounted(tree, request.DirPath, "open"), request)
        return gw.ReadDirResponse(entries=[files.mounted_stat(entry, entry.name) for entry in entries])

    def stat_file(self, request: gw.StatFileRequest) -> gw.StatFileResponse:
        """Answer StatFileContainer; of a link that leads to where another mount may be, with the link itself."""
        tree = self._mounted(request.Ref, request.MountIndex)
        try:
            entry = files.find_mounted(tree, request.Path, "stat")
        except EscapeError:
            entry = files.find_mounted(tree, request.Path, "lstat", follow=False)
        return gw.StatFileResponse(stat=files.mounted_stat(entry, posixpath.basename(request.Path.rstrip("/")) or "/"))

    def _mounted(self, name: str, number: int) -> LayerTree:
        with self._lock:
            container = self._containers.get(name)
        if container is None:
            raise DefinitionError(f"container details for {name}@{number} not found")
        return self._grounds.store.tree(container.mounted(number))

    def close(self) -> None:
        """End the processes of all containers."""
        with self._lock:
            containers, self._containers = list(self._containers.values()), {}
        for container in containers:
            container.close()

    def exec_process(self, call: Call) -> None:
        """Answer ExecProcess, a stream of messages about processes; it ends when all of them have."""
        processes: dict[str, _Process] = {}
        sending = threading.Lock()

        def send(name: str, **message: object) -> None:
            data = gw.ExecMessage(ProcessID=name, **message).SerializeToString()  # pyright: ignore[reportArgumentType]
            with sending, suppress(CallCancelled):
                call.send(prefixed(data))

        try:
            while (data := call.receive()) is not None:
                message = parse(gw.ExecMessage, data)
                name = message.ProcessID
                if not name:
                    raise GrpcError(INVALID, "ProcessID required")
                if message.WhichOneof("Input") != "Init":
                    if name not in processes:
                        raise GrpcError(NOT_FOUND, f'IO for process "{name}" not found')
                    processes[name].take(message)
                elif name in processes:
                    raise GrpcError(ALREADY_EXISTS, f"Process {name} already exists")
                else:
                    with self._lock:
                        container = self._containers.get(message.Init.ContainerID)
                    if container is None:
                        lost = f'container "{message.Init.ContainerID}" previously released or not created'
                        raise GrpcError(NOT_FOUND, lost)
                    processes[name] = container.start(message.Init, partial(send, name))
            for process in processes.values():
                process.join()
        except BuildError as error:
            raise GrpcError(UNKNOWN, error.message) from error
        finally:
            for process in processes.values():
                process.close()


class _Container:
    """A container; the first process that is started in it makes its sandbox."""

    def __init__(self, grounds: Grounds, op: ExecOp, inputs: Sequence[Snapshot], check: Check) -> None:
        self._grounds = grounds
        self._op = op
        self._inputs = inputs
        self._check = check
        self._cancel = Cancel()
        self._lock = threading.Lock()
        self._first: Hold | None = None
        self._processes: list[_Process] = []
        self.failure = ""
        """Of the first process that failed."""

    def start(self, request: gw.InitMessage, send: _Send) -> _Process:
        """Start a process."""
        op = self._with(request)
        self._check(Edge(Node(op)))
        with self._lock:
            if len(self._processes) >= _MAX_PROCESSES:
                raise DefinitionError(f"a container of a front end has more than {_MAX_PROCESSES} processes")
            if self._cancel.cancelled:
                raise GrpcError(NOT_FOUND, f'container "{request.ContainerID}" previously released or not created')
            first = self._first
            process = _Process(request, send, awaited=first is None)
            self._first = first or process.hold
            self._processes.append(process)
        run = partial(self._run, op) if first is None else partial(self._join, op, first)
        process.start(run, self._failed)
        return process

    def mounted(self, number: int) -> Snapshot:
        """Return what is mounted, by its number in the request. Raises DefinitionError when that cannot be read."""
        mounts = self._op.mounts
        if not 0 <= number < len(mounts):
            raise DefinitionError(f"mount index {number} is out of bounds ({len(mounts)} available)")
        mount = mounts[number]
        if mount.mount_type is MountType.TMPFS:
            return ()
        if mount.mount_type is not MountType.BIND:
            raise DefinitionError(f"the {mount.mount_type} mount {mount.dest} of a container cannot be read")
        is_constant = mount.readonly and mount.input != NO_INPUT and mount.dest != "/"
        if self._processes and not is_constant:
            raise DefinitionError(f"{mount.dest} of a container cannot be read once a process may have changed it")
        return () if mount.input == NO_INPUT else self._inputs[mount.input]

    def _failed(self, message: str) -> str:
        """Kill the other processes, as BuildKit does when one has failed; return the first failure."""
        with self._lock:
            self.failure = self.failure or message
            self._cancel.cancel()
            return self.failure

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._cancel.cancel()
        for process in self._processes:
            process.join()

    def _with(self, request: gw.InitMessage) -> ExecOp:
        meta = request.Meta
        env = tuple(meta.env)
        if request.Tty and not any(pair.startswith("TERM=") for pair in env):
            env = (*env, "TERM=xterm")
        cwd = posixpath.join("/", meta.cwd)
        changed = msgspec.structs.replace(self._op.meta, args=tuple(meta.args), env=env, cwd=cwd, user=meta.user)
        return msgspec.structs.replace(
            self._op,
            meta=changed,
            insecure=request.Security == pb.INSECURE,
            secretenv=secrets_of(request.secretenv),
        )

    def _opened(self, op: ExecOp, stack: ExitStack, terminal: tuple[int, int] | None) -> RunSpec:
        grounds = self._grounds
        spec = ExecSpec(grounds.store, grounds.session, op, self._inputs, self._cancel)
        opened = stack.enter_context(spec.opened())
        if not opened.args or any("\0" in text for text in (*opened.args, *opened.env)):
            raise DefinitionError("a process of a front end has no arguments that could be run")
        return msgspec.structs.replace(opened, limits=grounds.limits, terminal=terminal)

    def _run(self, op: ExecOp, output: Output, hold: Hold, terminal: tuple[int, int] | None) -> tuple[int, str]:
        sandbox = self._grounds.sandbox
        with ExitStack() as stack:
            stack.enter_context(self._grounds.cancel.on_cancel(self._cancel.cancel))
            outcome = sandbox.run(self._opened(op, stack, terminal), output, self._cancel, hold)
            sandbox.discard(outcome)
            return outcome.exit_code, outcome.error

    def _join(
        self, op: ExecOp, first: Hold, output: Output, hold: Hold, terminal: tuple[int, int] | None
    ) -> tuple[int, str]:
        first.started.wait()
        # The sandbox has the mounts already; a cache that it holds must not be waited for.
        op = msgspec.structs.replace(op, mounts=(root_of(op),))
        with ExitStack() as stack:
            spec = self._opened(op, stack, terminal)

            def submit(streams: tuple[int, ...]) -> socket.socket:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    try:
                        self._grounds.sandbox.enter(spec, first, theirs.fileno(), streams)
                    except BaseException:
                        ours.close()
                        raise
                return ours

            result = Result()
            run_job(submit, output, self._cancel, result, hold, terminal=terminal is not None)
            self._cancel.check()
            if result.failure is not None:
                raise DefinitionError(f"the process cannot be started: {result.failure[1]}")
            return result.code, result.error


class _Process:
    """A process, with its streams as messages."""

    def __init__(self, request: gw.InitMessage, send: _Send, *, awaited: bool) -> None:
        """`awaited` tells whether others wait until it has begun."""
        self._send = send
        self._terminal = _TERMINAL if request.Tty else None
        self._streams = set(request.Fds)
        self._input, self._source = -1, -1
        if 0 in self._streams:
            self._source, self._input = os.pipe()
        self._lock = threading.Lock()
        self.hold = Hold(stdin=self._source)
        self.hold.awaited = awaited
        self._thread = threading.Thread(target=lambda: None)

    def start(self, run: _Run, failed: _Failed) -> None:
        """Run it in a thread of its own; `failed` is told why it did not succeed, before the front end is."""
        work = (run, failed)
        self._thread = threading.Thread(target=self._follow, args=work, name="pybuild-frontend-exec", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def close(self) -> None:
        """End its input, for a stream that ends before the process does."""
        self._end_input()

    def take(self, message: gw.ExecMessage) -> None:
        """Take input, a signal or a new size of the terminal."""
        match message.WhichOneof("Input"):
            case "File":
                self._write(message.File)
            case "Resize":
                self.hold.resize(message.Resize.Rows & 0xFFFF, message.Resize.Cols & 0xFFFF)
            case "Signal":
                name = message.Signal.Name
                number = getattr(signal.Signals, f"SIG{name}", None)
                if number is None:
                    raise GrpcError(INVALID, f"Unknown signal {name}")
                self.hold.signal(number)
            case _:
                raise GrpcError(INVALID, "a message that only a builder sends")

    def _write(self, message: gw.FdMessage) -> None:
        if message.Fd != 0 or self._input < 0:
            raise GrpcError(_OUT_OF_RANGE, f"fd {message.Fd} unavailable to write")
        data = memoryview(message.Data)
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._input, data) :]
        if message.EOF:
            self._end_input()

    def _end_input(self) -> None:
        with self._lock:
            fd, self._input = self._input, -1
        if fd >= 0:
            os.close(fd)

    def _output(self, stream: int, data: bytes) -> None:
        if stream in self._streams:
            self._send(File=gw.FdMessage(Fd=stream, Data=data))

    def _follow(self, run: _Run, failed: _Failed) -> None:
        self._send(Started=gw.StartedMessage())
        code, message = _UNKNOWN_STATUS, ""
        try:
            code, error = run(self._output, self.hold, self._terminal)
            message = f"exit code: {code}" + (f": {error}" if error else "") if code else ""
        except Interrupted:
            code = 128 + signal.SIGKILL
            message = f"exit code: {code}: {failed('context canceled')}"
        except (BuildError, OSError) as error:
            message = error.message if isinstance(error, BuildError) else str(error)
        finally:
            self.hold.started.set()
            if self._source >= 0:
                os.close(self._source)
        for stream in _OUTPUTS:
            if stream in self._streams:
                self._send(File=gw.FdMessage(Fd=stream, EOF=True))
        if message:
            failed(message)
        status = gw.Status(code=UNKNOWN, message=message) if message else None
        self._send(Exit=gw.ExitMessage(Code=code, Error=status))
        self._send(Done=gw.DoneMessage())
