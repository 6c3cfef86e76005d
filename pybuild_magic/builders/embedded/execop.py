"""ExecOp: a process in a sandbox, with BuildKit's mounts, and its changes as a layer."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ...cancel import Cancel
from ...errors import BuildError, RunError, UnsupportedError
from ...golang.text import quote
from ...llb.ops import NO_INPUT, NO_OUTPUT, ExecOp, Mount, MountType, Node
from ...session import Session
from ...status.report import VertexReport
from ...status.trace import LastLines
from ...store import Store
from .files.contenthash import WHOLE, content_digest
from .sandbox import RunOutcome, RunSpec, Sandbox, SandboxMount
from .sandbox.users import UnknownUserError
from .snapshot import Snapshot

LAST_LINES = 20
"""How many of the last printed lines an error carries."""
MAX_STEP_LOG = 8 << 20
"""Bytes of one step's log that are passed on; BuildKit's limit, which is a quarter of it, drops the end as well."""
_LAST_BYTES = 64 << 10
"""Bytes at the end of a longer log that are passed on when the step has ended."""


class ExecRun:
    """One execution of an ExecOp. `inputs` are the snapshots of the node's inputs."""

    def __init__(
        self,
        store: Store,
        sandbox: Sandbox,
        session: Session,
        node: Node,
        inputs: Sequence[Snapshot],
        report: VertexReport,
        cancel: Cancel,
    ) -> None:
        assert isinstance(node.op, ExecOp)
        self._store = store
        self._sandbox = sandbox
        self._session = session
        self._node = node
        self._op = node.op
        self._inputs = inputs
        self._report = report
        self._cancel = cancel
        self._tail = LastLines(LAST_LINES)
        self._printed = _Printed(report)

    def run(self) -> list[Snapshot]:
        """The snapshot of each output. Raises `RunError` when the process fails, with its last lines."""
        op = self._op
        if any(mount.output not in (NO_OUTPUT, 0) for mount in op.mounts):
            raise UnsupportedError(
                "The embedded builder keeps what a RUN writes to its root file system, and not to other mounts.",
                hint="Use --builder for a real BuildKit.",
            )
        root = next((mount for mount in op.mounts if mount.dest == "/"), Mount("/"))
        with ExitStack() as held:
            others = sorted((m for m in op.mounts if m.dest != "/"), key=lambda mount: mount.dest)
            caches = self._caches(others, held)
            mounts = tuple(made for mount in others if (made := self._mount(mount, caches)) is not None)
            spec = RunSpec(
                args=op.meta.args,
                snapshot=self._input(root.input),
                env=(*op.meta.env, *op.meta.proxy_env, *self._secret_env()),
                cwd=op.meta.cwd,
                user=op.meta.user,
                mounts=mounts,
                network=op.network,
                hostname=op.meta.hostname,
                extra_hosts=op.meta.extra_hosts,
                ulimits=op.meta.ulimit,
                shm_size=op.shm_size,
                insecure=op.insecure,
                readonly_root=root.readonly,
            )
            if any("\0" in text for text in (*spec.args, *spec.env)):
                raise self._failed(255)  # as runc, which no kernel lets run it
            try:
                outcome = self._sandbox.run(spec, self._output, self._cancel)
            except UnknownUserError as error:
                error.message = f"{self._said()}: {error.message}"
                raise
            finally:
                self._printed.end()
            return self._finish(outcome, root)

    def _finish(self, outcome: RunOutcome, root: Mount) -> list[Snapshot]:
        valid = self._op.meta.valid_exit_codes or (0,)
        if outcome.exit_code not in valid:
            self._sandbox.discard(outcome)
            raise self._failed(outcome.exit_code, outcome.error)
        if root.readonly or root.output == NO_OUTPUT:
            self._sandbox.discard(outcome)
            return [self._input(root.input)]
        layer = self._sandbox.commit(outcome, self._cancel)
        return [(*outcome.snapshot, layer.diff_id)]

    def _said(self) -> str:
        return f"process {quote(' '.join(self._op.meta.args))} did not complete successfully"

    def _failed(self, exit_code: int, error: str = "") -> RunError:
        return RunError(
            f"{self._said()}: exit code: {exit_code}{': ' if error else ''}{error}",
            exit_code,
            location=self._node.location,
            logs=self._tail.lines(),
        )

    def _output(self, stream: int, data: bytes) -> None:
        self._tail.add(data)
        self._printed.add(data, stream)

    def _input(self, number: int) -> Snapshot:
        return () if number == NO_INPUT else self._inputs[number]

    def _caches(self, mounts: Sequence[Mount], held: ExitStack) -> dict[str, Path]:
        """The directory of each cache mount, by where it is mounted. Mounts of one name share one, as the first says.

        They are taken in the order of their names, so that no two steps wait for what the other has.
        """
        names: dict[str, str] = {}
        sharing: dict[str, str] = {}
        for mount in mounts:
            if mount.cache is not None:
                names[mount.dest] = self._cache_name(mount)
                sharing.setdefault(names[mount.dest], str(mount.cache.sharing))
        acquire = self._store.cachemounts.acquire
        held_by_name = {
            name: held.enter_context(acquire(name, sharing[name], self._cancel)) for name in sorted(sharing)
        }
        return {dest: held_by_name[name] for dest, name in names.items()}

    def _cache_name(self, mount: Mount) -> str:
        assert mount.cache is not None
        snapshot, name = self._input(mount.input), mount.cache.id
        return f"{name}:{content_digest(self._store.tree(snapshot), [WHOLE], name)}" if snapshot else name

    def _mount(self, mount: Mount, caches: Mapping[str, Path]) -> SandboxMount | None:
        kind = mount.mount_type
        if kind == MountType.SECRET:
            return self._secret(mount)
        if kind == MountType.SSH:
            return self._ssh(mount)
        if kind == MountType.TMPFS:
            return SandboxMount(mount.dest, kind, size=mount.tmpfs_size)
        snapshot = self._input(mount.input)
        if kind == MountType.CACHE:
            source = caches[mount.dest]
            return SandboxMount(mount.dest, kind, snapshot, mount.selector, source=source, readonly=mount.readonly)
        return SandboxMount(mount.dest, kind, snapshot, mount.selector, readonly=mount.readonly)

    def _dest(self, mount: Mount) -> str:
        """Where a secret or an agent goes: the front end leaves a relative path as it is."""
        return posixpath.join("/", self._op.meta.cwd, mount.dest)

    def _secret(self, mount: Mount) -> SandboxMount | None:
        option = mount.secret
        assert option is not None
        data = self._session.secrets.get(option.id)
        if data is None:
            if option.optional:
                return None
            raise _no_secret(option.id)
        dest = self._dest(mount)
        return SandboxMount(dest, MountType.SECRET, data=data, mode=option.mode, uid=option.uid, gid=option.gid)

    def _ssh(self, mount: Mount) -> SandboxMount | None:
        option = mount.ssh
        assert option is not None
        socket = self._session.ssh.get(option.id)
        if socket is None:
            if option.optional:
                return None
            raise BuildError(
                f"unset ssh forward key {option.id or 'default'}",
                hint=f"Give the build an agent: --ssh {option.id or 'default'}.",
            )
        return SandboxMount(
            self._dest(mount), MountType.SSH, source=Path(socket), mode=option.mode, uid=option.uid, gid=option.gid
        )

    def _secret_env(self) -> list[str]:
        found: list[str] = []
        for option in self._op.secretenv:
            data = self._session.secrets.get(option.id)
            if data is not None:
                found.append(f"{option.name}={data.decode('utf-8', 'surrogateescape')}")
            elif not option.optional:
                raise _no_secret(option.id)
        return found


def _no_secret(name: str) -> BuildError:
    return BuildError(f"secret {name}: not found", hint=f"Give it to the build: --secret id={name},src=FILE.")


class _Printed:
    """Passes on what a step prints: of too much the beginning and the end, and how much was left out."""

    def __init__(self, report: VertexReport) -> None:
        self._report = report
        self._size = 0
        self._end = bytearray()
        self._stream = 1

    def add(self, data: bytes, stream: int) -> None:
        """Bytes as they come."""
        before, self._size = self._size, self._size + len(data)
        if self._size <= MAX_STEP_LOG:
            self._report.log(data, stream)
            return
        room = max(0, MAX_STEP_LOG - before)
        if before <= MAX_STEP_LOG:
            told = f"\n[output clipped, log limit {MAX_STEP_LOG >> 20}MiB reached]\n"
            self._report.log(data[:room] + told.encode(), stream)
        self._stream = stream
        self._end += data[room:]
        if len(self._end) > 2 * _LAST_BYTES:
            del self._end[:-_LAST_BYTES]

    def end(self) -> None:
        """The step has ended."""
        if self._size > MAX_STEP_LOG:
            last = bytes(self._end[-_LAST_BYTES:])
            left = self._size - MAX_STEP_LOG - len(last)
            told = f"[{left} bytes were left out here]\n".encode() if left else b""
            self._report.log(told + last, self._stream)
