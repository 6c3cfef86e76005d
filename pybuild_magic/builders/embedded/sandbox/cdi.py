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
from ....golang.parsebool import parse_bool
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
"""The hooks that prepare the root file system, which are run as `createContainer`."""
_POINTS = (*_BEFORE, "startContainer")
_CLASS = "org.mobyproject.buildkit.device.class"
_AUTOALLOW = "org.mobyproject.buildkit.device.autoallow"
"""BuildKit's annotations: a name for several devices of a kind, and whether a build gets a device without --allow."""


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
    annotations: dict[str, str | bool] | None = None
    container_edits: _Edits = msgspec.field(default_factory=_Edits)


class _Spec(msgspec.Struct, rename="camel"):
    kind: str
    devices: list[_Device]
    annotations: dict[str, str | bool] | None = None
    container_edits: _Edits = msgspec.field(default_factory=_Edits)


class _Found(msgspec.Struct, frozen=True):
    """A device, and the specification that defines it."""

    path: Path
    device: _Device
    spec: _Spec

    def annotation(self, name: str) -> str:
        """Return an annotation of the device, or else of its specification; "" when there is none."""
        value = {**(self.spec.annotations or {}), **(self.device.annotations or {})}.get(name, "")
        return value if isinstance(value, str) else str(value).lower()


class Machine:
    """The devices of the machine below `root`, and the specifications in `directories` (by default the usual ones)."""

    def __init__(self, root: Path = Path("/"), directories: Sequence[str] = ()) -> None:
        self._root = root
        self._devices: dict[str, _Found] = {}
        self._faults: list[str] = []
        """Sentences about specifications that cannot be read and devices that are defined twice."""
        for directory in directories or DIRECTORIES:
            self._devices |= self._defined_in(Path(directory))

    @property
    def names(self) -> list[str]:
        """The names of devices, such as `nvidia.com/gpu=0`, in their order."""
        return sorted(self._devices)

    def resolve(self, devices: Sequence[str], gpus: str = "") -> ContainerEdits:
        """Return the devices that `--device` and `--gpus` ask for, as `docker run` understands them: by whole names.

        Raises UsageError for a missing device.
        """
        named = [device for device in devices if not device.startswith("/")]
        edits = self.edits([self._known(device) for device in named])
        for device in devices:
            edits += self._path(device) if device.startswith("/") else ContainerEdits()
        return edits + self._gpus(gpus) if gpus else edits

    def find(self, name: str, *, optional: bool = False) -> list[str]:
        """Return the names of the devices that a RUN asks for.

        As in BuildKit (cdidevices/manager.go), `vendor.com/class` stands for the first device of the class,
        `vendor.com/class=*` for all of them, and a name that no device has for those that are annotated with it.

        Raises UsageError when there is none, unless it is `optional`.
        """
        kind, _, own = name.partition("=")
        found = [name] if name in self._devices else []
        if own in ("", "*"):
            those = [known for known in self.names if known.startswith(f"{kind}=")]
            found = those if own else those[:1]
        found = found or [known for known in self.names if self._devices[known].annotation(_CLASS) == name]
        return found or ([] if optional else [self._known(name)])

    def allows(self, name: str) -> bool:
        """Return whether a build gets the device `name` without being allowed to, by its annotation."""
        return bool(parse_bool(self._devices[name].annotation(_AUTOALLOW)))

    def edits(self, names: Sequence[str]) -> ContainerEdits:
        """Return what comes with the devices: of each specification once, and before what its devices have themselves.

        Raises UsageError for a hook that is not run here.
        """
        edits = ContainerEdits()
        specs: set[Path] = set()
        for name in dict.fromkeys(names):
            found = self._devices[name]
            if found.path not in specs:
                edits += _edits(found.spec.container_edits)
            specs.add(found.path)
            edits += _edits(found.device.container_edits)
            if edits.unrun:
                raise UsageError(
                    f"The device {name} has a hook that is not run here ({edits.unrun[0]}).",
                    hint=f"Only hooks that run before the process are run: {', '.join(_POINTS)}.",
                )
        return edits

    def _defined_in(self, directory: Path) -> dict[str, _Found]:
        """Return the devices of a directory, without those that two of its files define."""
        devices: dict[str, _Found] = {}
        twice: set[str] = set()
        for path in sorted(directory.glob("*")):
            if path.suffix not in (".json", ".yaml"):
                continue
            try:
                spec = _read(path)
            except UsageError as error:
                self._faults.append(str(error))
                continue
            for device in spec.devices:
                name = f"{spec.kind}={device.name}"
                if name in devices:
                    twice.add(name)
                    self._faults.append(f"{name} is defined by both {devices[name].path} and {path}.")
                devices[name] = _Found(path, device, spec)
        return {name: found for name, found in devices.items() if name not in twice}

    def _known(self, name: str) -> str:
        """Return the name of a device that there is. Raises UsageError for another."""
        if name in self._devices:
            return name
        suggestion = nearest(name, self.names)
        known = f"The known devices are {', '.join(self.names)}." if self.names else "No CDI specification defines any."
        hint = f"Did you mean {suggestion}?" if suggestion else known
        raise UsageError(f"There is no device {name}.", hint=" ".join([hint, *self._faults]))

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
                return self.edits([f"{kind}=all"] if f"{kind}=all" in self._devices else numbered)
            return self.edits([self._known(name) for name in _chosen(requested, numbered, f"{kind}=")])
        nodes = [path for path in sorted((self._root / "dev").glob("nvidia*")) if _NODES.fullmatch(path.name)]
        numbered = [path.name for path in nodes if path.name.removeprefix("nvidia").isdigit()]
        if not numbered:
            raise UsageError(
                "--gpus needs a GPU, but this machine has none: no CDI specification names one, and /dev/nvidia0 does "
                "not exist.",
                hint=" ".join([f"Put a CDI specification into {' or '.join(DIRECTORIES)}.", *self._faults]),
            )
        chosen = numbered if requested in ("all", "-1") else _chosen(requested, numbered, "nvidia")
        selected = [path for path in nodes if path.name in chosen or path.name not in numbered]
        return ContainerEdits(
            (*(_node(path, f"{_DEV}/{path.name}") for path in selected), *self._driver()), self._search()
        )

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
        Hook(hook.path, tuple(hook.args), tuple(hook.env), inside=hook.hook_name not in _BEFORE)
        for hook in edits.hooks or ()
        if hook.hook_name in _POINTS
    ]
    skipped = tuple(f"{hook.hook_name} {hook.path}" for hook in edits.hooks or () if hook.hook_name not in _POINTS)
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
