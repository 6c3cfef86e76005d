"""The translation of an ExecOp for the sandbox: its process, and its mounts as directories, bytes and sockets."""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...cancel import Cancel
from ...errors import BuildError
from ...llb.ops import NO_INPUT, NO_OUTPUT, ExecOp, Mount, MountType, SecretEnv, SecretOpt, SSHOpt, has_output
from ...session import Session
from ...store import Store
from .files.contenthash import WHOLE, content_digest
from .sandbox import RunSpec, SandboxMount
from .sandbox.cdi import Machine
from .sandbox.spec import ContainerEdits
from .snapshot import Snapshot


def root_of(op: ExecOp) -> Mount:
    """Return the mount that is the root file system."""
    return next((mount for mount in op.mounts if mount.dest == "/"), Mount("/"))


class ExecSpec:
    """Makes the RunSpec of `op`; `inputs` has the snapshots of its inputs.

    Without a `session`, as after the end of a build, secrets and agents are left out.
    """

    def __init__(
        self, store: Store, session: Session | None, op: ExecOp, inputs: Sequence[Snapshot], cancel: Cancel
    ) -> None:
        self._store = store
        self._session = session
        self._op = op
        self._inputs = inputs
        self._cancel = cancel

    def input(self, number: int) -> Snapshot:
        """Return the snapshot of an input; an empty one when there is none."""
        return () if number == NO_INPUT else self._inputs[number]

    @contextmanager
    def opened(self) -> Generator[RunSpec]:
        """Yield the spec; cache mounts are held during the block."""
        op = self._op
        with ExitStack() as stack:
            numbers = sorted((n for n, m in enumerate(op.mounts) if m.dest != "/"), key=lambda n: op.mounts[n].dest)
            caches = self._caches([op.mounts[number] for number in numbers], stack)
            yield self._spec(numbers, caches)

    def outline(self) -> RunSpec:
        """Return the spec as far as the op alone gives it: without the places of cache mounts.

        Raises BuildError for what the session or the machine lacks.
        """
        return self._spec([number for number, mount in enumerate(self._op.mounts) if mount.dest != "/"], {})

    def _spec(self, numbers: Sequence[int], caches: Mapping[str, Path]) -> RunSpec:
        op, root = self._op, root_of(self._op)
        mounts = tuple(entry for number in numbers if (entry := self._mount(number, caches)) is not None)
        devices = self._devices()
        return RunSpec(
            args=op.meta.args,
            snapshot=self.input(root.input),
            env=(*op.meta.env, *op.meta.proxy_env, *self._secret_env(), *devices.env),
            cwd=op.meta.cwd,
            user=op.meta.user,
            mounts=(*mounts, *devices.mounts),
            hooks=devices.hooks,
            groups=devices.groups,
            network=op.network,
            hostname=op.meta.hostname,
            extra_hosts=op.meta.extra_hosts,
            ulimits=op.meta.ulimit,
            shm_size=op.shm_size,
            insecure=op.insecure,
            readonly_root=root.readonly,
        )

    def _devices(self) -> ContainerEdits:
        """Return the process's devices. Raises UsageError for a required device that does not exist."""
        if not self._op.devices:
            return ContainerEdits()
        machine = Machine()
        return machine.edits(
            [name for device in self._op.devices for name in machine.find(device.name, optional=device.optional)]
        )

    def _caches(self, mounts: Sequence[Mount], stack: ExitStack) -> dict[str, Path]:
        """Return the directory of each cache mount by its path. Mounts with the same id share a directory, with the
        options of the first.

        They are acquired in the order of their ids, so that no two steps wait for each other.
        """
        names: dict[str, str] = {}
        sharing: dict[str, str] = {}
        for mount in mounts:
            if mount.cache is not None:
                names[mount.dest] = self._cache_name(mount)
                sharing.setdefault(names[mount.dest], str(mount.cache.sharing))
        acquire = self._store.cachemounts.acquire
        held_by_name = {
            name: stack.enter_context(acquire(name, sharing[name], self._cancel)) for name in sorted(sharing)
        }
        return {dest: held_by_name[name] for dest, name in names.items()}

    def _cache_name(self, mount: Mount) -> str:
        assert mount.cache is not None
        snapshot, name = self.input(mount.input), mount.cache.id
        return f"{name}:{content_digest(self._store.tree(snapshot), [WHOLE], name)}" if snapshot else name

    def _mount(self, number: int, caches: Mapping[str, Path]) -> SandboxMount | None:
        mount = self._op.mounts[number]
        kind = mount.mount_type
        if kind == MountType.SECRET:
            return self._secret(mount)
        if kind == MountType.SSH:
            return self._ssh(mount)
        if kind == MountType.TMPFS:
            return SandboxMount(mount.dest, kind, size=mount.tmpfs_size)
        snapshot = self.input(mount.input)
        if kind == MountType.CACHE:
            source = caches.get(mount.dest)
            return SandboxMount(mount.dest, kind, snapshot, mount.selector, source=source, readonly=mount.readonly)
        # A read-only mount of an input has that as its output.
        is_changed = has_output(mount) and not (mount.readonly and mount.input != NO_INPUT)
        output = number if is_changed else NO_OUTPUT
        return SandboxMount(mount.dest, kind, snapshot, mount.selector, readonly=mount.readonly, output=output)

    def _dest(self, mount: Mount) -> str:
        """Return the path of a secret or an agent: the front end leaves a relative path as it is."""
        return posixpath.join("/", self._op.meta.cwd, mount.dest)

    def _secret(self, mount: Mount) -> SandboxMount | None:
        option = mount.secret
        assert option is not None
        data = self._session.secrets.get(option.id) if self._session else None
        if data is None:
            return self._absent(option, _no_secret(option.id))
        dest = self._dest(mount)
        return SandboxMount(dest, MountType.SECRET, data=data, mode=option.mode, uid=option.uid, gid=option.gid)

    def _ssh(self, mount: Mount) -> SandboxMount | None:
        option = mount.ssh
        assert option is not None
        socket = self._session.ssh.get(option.id or "default") if self._session else None
        if socket is None:
            name = option.id or "default"
            missing = BuildError(f"unset ssh forward key {name}", hint=f"Pass an agent to the build with --ssh {name}.")
            return self._absent(option, missing)
        return SandboxMount(
            self._dest(mount), MountType.SSH, source=Path(socket), mode=option.mode, uid=option.uid, gid=option.gid
        )

    def _secret_env(self) -> list[str]:
        variables: list[str] = []
        for option in self._op.secretenv:
            data = self._session.secrets.get(option.id) if self._session else None
            if data is None:
                self._absent(option, _no_secret(option.id))
            else:
                variables.append(f"{option.name}={data.decode('utf-8', 'surrogateescape')}")
        return variables

    def _absent(self, option: SecretOpt | SSHOpt | SecretEnv, missing: BuildError) -> None:
        """Raise `missing`, unless the step can do without it, or is run again after its session has ended."""
        if self._session and not option.optional:
            raise missing


def _no_secret(name: str) -> BuildError:
    return BuildError(f"secret {name}: not found", hint=f"Pass it to the build with --secret id={name},src=FILE.")
