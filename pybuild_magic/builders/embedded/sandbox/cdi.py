"""Devices of the machine for a process: by CDI names, by paths, or those of a GPU's driver.

The specifications are those of the Container Device Interface (cncf-tags/container-device-interface, SPEC.md).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ....errors import UsageError, nearest
from .spec import ContainerEdits, Hook, SandboxMount

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""The directories of specifications; those in the second take precedence."""
_DEV = "/dev"
_DRIVER = "/usr/local/nvidia"
"""The directory where images made for NVIDIA's GPUs expect the driver's libraries; they are shown there when there is
no CDI.
"""
_LIBRARIES = re.compile(r"lib(cuda|nvcuvid|nvidia-[a-z0-9-]+|nvoptix|EGL_nvidia|GLX_nvidia)\.so(\.\d+)*")
_PLACES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/local/nvidia/lib64")
_NODES = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)")
_BEFORE = ("prestart", "createRuntime", "createContainer")
"""The hooks that are run: those that prepare the root file system."""


class _Node(msgspec.Struct, rename="camel"):
    path: str
    host_path: str = ""


class _Mount(msgspec.Struct, rename="camel"):
    host_path: str
    container_path: str
    options: list[str] = []


class _Hook(msgspec.Struct, rename="camel"):
    hook_name: str
    path: str
    args: list[str] = []
    env: list[str] = []


class _Edits(msgspec.Struct, rename="camel"):
    env: list[str] | None = None
    device_nodes: list[_Node] | None = None
    mounts: list[_Mount] | None = None
    hooks: list[_Hook] | None = None
    additional_gids: list[int] | None = None


class _Device(msgspec.Struct, rename="camel"):
    name: str | int
    container_edits: _Edits = msgspec.field(default_factory=_Edits)


class _Spec(msgspec.Struct, rename="camel"):
    kind: str
    devices: list[_Device]
    container_edits: _Edits = msgspec.field(default_factory=_Edits)


class Machine:
    """The devices of the machine below `root`, and the specifications in `directories` (by default the usual ones)."""

    def __init__(self, root: Path = Path("/"), directories: Sequence[str] = ()) -> None:
        self._root = root
        self._devices: dict[str, ContainerEdits] = {}
        for directory in directories or DIRECTORIES:
            for path in sorted(Path(directory).glob("*")):
                if path.suffix in (".json", ".yaml", ".yml"):
                    self._add(_read(path))

    @property
    def names(self) -> list[str]:
        """The names of devices, such as `nvidia.com/gpu=0`."""
        return list(self._devices)

    def resolve(self, devices: Sequence[str], gpus: str = "") -> ContainerEdits:
        """Return the devices that `--device` and `--gpus` ask for. Raises UsageError for a missing device."""
        edits = ContainerEdits()
        for device in devices:
            edits += self._path(device) if device.startswith("/") else self._named(device)
        return edits + self._gpus(gpus) if gpus else edits

    def _add(self, spec: _Spec) -> None:
        for device in spec.devices:
            edits = _edits(device.container_edits) + _edits(spec.container_edits)
            self._devices[f"{spec.kind}={device.name}"] = edits

    def _named(self, name: str) -> ContainerEdits:
        if name not in self._devices:
            suggestion = nearest(name, self.names)
            known = (
                f"The known devices are {', '.join(self.names)}." if self.names else "No CDI specification defines any."
            )
            raise UsageError(f"There is no device {name}.", hint=f"Did you mean {suggestion}?" if suggestion else known)
        edits = self._devices[name]
        if edits.unrun:
            raise UsageError(
                f"The device {name} has a hook that is not run here ({edits.unrun[0]}).",
                hint=f"Only hooks at these points are run: {', '.join(_BEFORE)}.",
            )
        return edits

    def _path(self, value: str) -> ContainerEdits:
        """Return the devices of `PATH[:PATH IN THE SANDBOX[:rwm]]`; for a directory, those in it."""
        source, _, rest = value.partition(":")
        target, _, permissions = rest.partition(":")
        target, permissions = (source, target) if not target.startswith("/") else (target, permissions)
        if permissions and {*permissions} != {*"rwm"}:
            raise UsageError(
                f"--device {value}: the permissions of a device cannot be restricted here.",
                hint="Leave them out: the mode of the device node says who may read and write it.",
            )
        path = Path(source)
        if path.is_dir():
            nodes = [device for device in sorted(path.rglob("*")) if _is_device(device)]
            return ContainerEdits(tuple(_node(device, f"{target}/{device.relative_to(path)}") for device in nodes))
        if not _is_device(path):
            raise UsageError(f"--device {value}: {source} is not a device of this machine.")
        return ContainerEdits((_node(path, target),))

    def _gpus(self, value: str) -> ContainerEdits:
        """Parse `all`, a number of GPUs, or `device=NAME,...`."""
        kinds = dict.fromkeys(name.partition("=")[0] for name in self.names if name.partition("=")[0].endswith("/gpu"))
        requested = value.strip('"').removeprefix("count=")
        if kinds:
            kind = "nvidia.com/gpu" if "nvidia.com/gpu" in kinds else next(iter(kinds))
            numbered = [name for name in self.names if re.fullmatch(rf"{re.escape(kind)}=\d+", name)]
            if requested in ("all", "-1"):
                return self._named(f"{kind}=all") if f"{kind}=all" in self._devices else self._sum(numbered)
            return self._sum(_chosen(requested, numbered, f"{kind}="))
        nodes = [path for path in sorted((self._root / "dev").glob("nvidia*")) if _NODES.fullmatch(path.name)]
        numbered = [path.name for path in nodes if path.name.removeprefix("nvidia").isdigit()]
        if not numbered:
            raise UsageError(
                "--gpus needs a GPU, but this machine has none: no CDI specification names one, and /dev/nvidia0 does "
                "not exist.",
                hint=f"Put a CDI specification into {' or '.join(DIRECTORIES)}.",
            )
        chosen = numbered if requested in ("all", "-1") else _chosen(requested, numbered, "nvidia")
        selected = [path for path in nodes if path.name in chosen or path.name not in numbered]
        return ContainerEdits(
            (*(_node(path, f"{_DEV}/{path.name}") for path in selected), *self._driver()), self._search()
        )

    def _sum(self, names: Sequence[str]) -> ContainerEdits:
        return sum((self._named(name) for name in names), ContainerEdits())

    def _driver(self) -> Iterator[SandboxMount]:
        """Yield the driver's libraries and its program; of each name the first."""
        seen: set[str] = set()
        for place in _PLACES:
            for path in sorted((self._root / place).glob("lib*")):
                if _LIBRARIES.fullmatch(path.name) and path.name not in seen and path.is_file():
                    seen.add(path.name)
                    yield SandboxMount(f"{_DRIVER}/lib64/{path.name}", source=path, readonly=True)
        for path in (self._root / "usr/bin/nvidia-smi", self._root / "usr/local/nvidia/bin/nvidia-smi"):
            if path.is_file():
                yield SandboxMount(f"{_DRIVER}/bin/nvidia-smi", source=path, readonly=True)
                break

    def _search(self) -> tuple[str, ...]:
        return (f"LD_LIBRARY_PATH={_DRIVER}/lib:{_DRIVER}/lib64",)


def _chosen(requested: str, numbered: Sequence[str], prefix: str) -> list[str]:
    """Return the names of the GPUs that `N` or `device=A,B` stands for."""
    if requested.isdigit():
        if int(requested) > len(numbered):
            raise UsageError(f"--gpus asks for {requested} GPUs, but there are only {len(numbered)}.")
        return list(numbered[: int(requested)])
    if not requested.startswith("device="):
        raise UsageError(f"--gpus {requested!r} is not valid.", hint="Use all, a number, or device=0,1.")
    return [f"{prefix}{name}" for name in requested.removeprefix("device=").split(",")]


def _edits(edits: _Edits) -> ContainerEdits:
    nodes = [_node(Path(node.host_path or node.path), node.path) for node in edits.device_nodes or ()]
    mounts = [
        SandboxMount(mount.container_path, source=Path(mount.host_path), readonly="rw" not in mount.options)
        for mount in edits.mounts or ()
    ]
    hooks = [
        Hook(hook.path, tuple(hook.args), tuple(hook.env)) for hook in edits.hooks or () if hook.hook_name in _BEFORE
    ]
    skipped = tuple(f"{hook.hook_name} {hook.path}" for hook in edits.hooks or () if hook.hook_name not in _BEFORE)
    groups = tuple(number for number in edits.additional_gids or () if number > 0)
    return ContainerEdits((*nodes, *mounts), tuple(edits.env or ()), tuple(hooks), groups, skipped)


def _node(path: Path, target: str) -> SandboxMount:
    return SandboxMount(target, source=path, device=True)


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _read(path: Path) -> _Spec:
    """Read the specification in a file. Raises UsageError for an unreadable file."""
    try:
        data = path.read_bytes()
        if path.suffix == ".json":
            return msgspec.json.decode(data, type=_Spec)
        return msgspec.yaml.decode(data, type=_Spec)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, ImportError) as error:
        raise UsageError(f"The CDI specification {path} cannot be read: {error}.") from error
