"""Lowering of RUN: the process, its environment, and its mounts."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ..errors import DockerfileError
from ..golang.path import join_path
from ..golang.text import quote, strip
from ..llb.ops import (
    NO_OUTPUT,
    CacheOpt,
    CDIDevice,
    Chown,
    Edge,
    ExecOp,
    FileMkdir,
    FileMkfile,
    Meta,
    MountType,
    NetMode,
    Node,
    SecretEnv,
    SecretOpt,
    Sharing,
    SSHOpt,
)
from ..llb.ops import Mount as OpMount
from ..oci.platform import normalise
from .heredoc import parse_heredoc
from .instructions import Heredoc, Run
from .lower_config import with_shell
from .lowering import Step
from .mount import Mount, parse_mount
from .names import shown
from .outline import Needed
from .stages import StageState
from .state import Inputs, file_node

SCRIPTS = "/dev/pipes/"
"""The directory in which a here-document that starts with `#!` is mounted to be run."""

_NETWORKS = {"none": NetMode.NONE, "host": NetMode.HOST}


def lower_run(step: Step, instruction: Run) -> None:
    """Lower RUN. Raises DockerfileError for impossible mounts."""
    stage, lowering = step.stage, step.lowering
    options = lowering.options
    stage.paths.add("/")  # a process may read any file
    mounts = _Mounts(step)
    args, summary = _command(step, instruction, mounts)
    parsed = [parse_mount(text, step.expand) for text in instruction.mounts]
    for mount, source in zip(parsed, step.command.sources, strict=True):
        mounts.add(mount, source)
    if options.shm_size:
        mounts.bound.append((OpMount("/dev/shm", mount_type=MountType.TMPFS, tmpfs_size=options.shm_size), None))
    inputs, op_mounts = mounts.finish(stage.state.edge)
    env = stage.state.env
    if mounts.ssh and "SSH_AUTH_SOCK" not in env:
        env = env | {"SSH_AUTH_SOCK": mounts.ssh[0].dest}
    op = ExecOp(
        Meta(
            args=args,
            env=tuple(f"{name}={value}" for name, value in env.items()),
            cwd=stage.state.directory,
            user=stage.state.user,
            hostname=stage.state.hostname,
            extra_hosts=options.extra_hosts,
            ulimit=options.ulimits,
            cgroup_parent=options.cgroup_parent,
            proxy_env=lowering.proxy_env,
        ),
        op_mounts,
        network=_NETWORKS.get(instruction.network, stage.state.network),
        insecure=instruction.security == "insecure",
        secretenv=tuple(mounts.secret_env),
        devices=tuple(CDIDevice(device.name, not device.required) for device in instruction.devices),
    )
    keeping = msgspec.structs.replace(lowering.lexer, raw_quotes=True, keep_unset=True)
    masked = dict(stage.state.env) | {secret.name: "****" for secret in mounts.secret_env}
    node = Node(
        op,
        tuple(inputs),
        name=step.prefix(stage.state.platform) + shown(instruction.original + summary, keeping, masked),
        platform=str(normalise(stage.state.platform or lowering.platform)),
        ignore_cache=stage.ignore_cache,
        location=instruction.location,
    )
    step.commit(f"RUN {_history(args, stage)} # buildkit", layer=True)
    stage.state = stage.state.with_edge(Edge(node))


def _history(args: tuple[str, ...], stage: StageState) -> str:
    """Return `|N NAME=value … words`: the N declared ARGs with the values that the process sees, and its words."""
    declared = [f"{name}={stage.state.env.get(name, value or '')}" for name, value in stage.build_args.items()]
    return " ".join([f"|{len(declared)}", *declared, *args] if declared else args)


def _command(step: Step, instruction: Run, mounts: _Mounts) -> tuple[tuple[str, ...], str]:
    """Return the words of the process, and the text of a here-document for the vertex name."""
    stage, words, summary = step.stage, instruction.args, ""
    if instruction.heredocs:
        first = instruction.heredocs[0]
        if parse_heredoc(words[0]) is None:
            # The shell parses these documents itself, so it is given their text again.
            words = ("\n".join([words[0], *(document.data + document.name for document in instruction.heredocs)]),)
        else:
            summary = f" ({_summary(first)})"
            if first.text.startswith("#!") and stage.config.os != "windows":
                words = (mounts.script(first),)
            else:
                words = (first.text,)
    return (with_shell(stage, words) if instruction.shell else words), summary


def _summary(document: Heredoc) -> str:
    first, *rest = strip(document.data).replace("\r\n", "\n").split("\n")
    return first + "..." * bool(rest)


@dataclass
class _Mounts:
    """The mounts of a RUN, as they are collected."""

    step: Step
    bound: list[tuple[OpMount, Edge | None]] = field(default_factory=list[tuple[OpMount, "Edge | None"]])
    secrets: list[OpMount] = field(default_factory=list[OpMount])
    secret_env: list[SecretEnv] = field(default_factory=list[SecretEnv])
    ssh: list[OpMount] = field(default_factory=list[OpMount])

    def script(self, document: Heredoc) -> str:
        """Mount a here-document as a program, and return its path."""
        file = FileMkfile(join_path("/", document.name), 0o755, document.text.encode("utf-8", "surrogateescape"))
        node = file_node(None, [(file, None)], name="[internal] preparing inline document")
        self.bound.append((OpMount(SCRIPTS, selector="/", readonly=True), Edge(node)))
        return join_path(SCRIPTS, document.name)

    def add(self, mount: Mount, source: StageState) -> None:
        """Add a `--mount`; `source` is the stage or image of its `from`."""
        match mount.type:
            case MountType.SECRET:
                self._add_secret(mount)
            case MountType.SSH:
                self._add_ssh(mount)
            case _:
                self._add_bound(mount, source)

    def _add_bound(self, mount: Mount, source: StageState) -> None:
        """Add a bind, cache or tmpfs mount."""
        stage, lowering = self.step.stage, self.step.lowering
        target = mount.target
        if not target.startswith("/"):
            target = join_path("/", stage.state.directory, target)
        of_context = not mount.from_ and mount.type != MountType.CACHE
        if not of_context and not source.dispatched:
            raise DockerfileError(
                f"cannot mount from stage {quote(mount.from_)} to {quote(mount.target)},"
                " stage needs to be defined before current command"
            )
        if target == "/":
            raise DockerfileError(f"invalid mount target {quote(target)}")
        edge = lowering.context if of_context else source.state.edge
        op = OpMount(target, mount_type=mount.type, readonly=mount.readonly, output=NO_OUTPUT)
        if mount.type == MountType.TMPFS:
            edge, op = None, msgspec.structs.replace(op, tmpfs_size=mount.size)
        if mount.type == MountType.CACHE:
            identity = f"{lowering.options.cache_namespace}/{mount.id or join_path(mount.target)}"
            op = msgspec.structs.replace(op, cache=CacheOpt(identity, mount.sharing or Sharing.SHARED))
        path = join_path("/", mount.source)
        if path != "/":
            op = msgspec.structs.replace(op, selector=path)
        elif mount.uid is not None or mount.gid is not None or mount.mode is not None:
            edge, op = _owned(edge, mount), msgspec.structs.replace(op, selector="/cache")
        self.bound.append((op, edge))
        (stage.context_paths if of_context else source.paths).add(path)

    def _add_secret(self, mount: Mount) -> None:
        identity = mount.source or mount.id or mount.target.rpartition("/")[2]
        optional = not mount.required
        self._note(self.step.stage.outline.secrets, identity, mount.required)
        if mount.env is not None:
            self.secret_env.append(SecretEnv(identity, mount.env or identity, optional))
            if not mount.target:
                return
        dest = mount.target or "/run/secrets/" + identity.rpartition("/")[2]
        secret = SecretOpt(identity, mount.uid or 0, mount.gid or 0, _or(mount.mode, 0o400), optional)
        self.secrets.append(OpMount(dest, mount_type=MountType.SECRET, secret=secret))

    def _add_ssh(self, mount: Mount) -> None:
        if mount.source:
            raise DockerfileError("ssh does not support source")
        identity = mount.id or "default"
        self._note(self.step.stage.outline.ssh, identity, mount.required)
        dest = mount.target or f"/run/buildkit/ssh_agent.{len(self.ssh)}"
        agent = SSHOpt(mount.id, mount.uid or 0, mount.gid or 0, _or(mount.mode, 0o600), not mount.required)
        self.ssh.append(OpMount(dest, mount_type=MountType.SSH, ssh=agent))

    def _note(self, notes: dict[str, Needed], identity: str, required: bool) -> None:
        notes.setdefault(identity, Needed(identity, self.step.location, required))

    def finish(self, root: Edge | None) -> tuple[list[Edge], tuple[OpMount, ...]]:
        """Return the inputs of the node, and the mounts in the order in which they are made: parents first."""
        inputs = Inputs()
        bound = sorted([(OpMount("/", output=0), root), *self.bound], key=lambda pair: pair[0].dest.encode())
        numbered = [msgspec.structs.replace(op, input=inputs.number(edge)) for op, edge in bound]
        return inputs.edges, (*numbered, *self.secrets, *self.ssh)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _owned(edge: Edge | None, mount: Mount) -> Edge:
    """Return a directory `/cache` with the owner and mode of a cache mount."""
    owner = Chown(mount.uid or 0, mount.gid or 0)
    action = FileMkdir("/cache", _or(mount.mode, 0o755) & 0o777, owner=owner)
    name = "[internal] setting cache mount permissions"
    return Edge(file_node(edge, [(action, None)], name=name))
