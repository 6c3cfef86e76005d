"""A Linux of its own, in QEMU, with this machine's files: for what this machine's own kernel is not set up for.

Its root is this machine's root, read-only; /tmp and /run are empty, and version 2 cgroups are mounted with every
controller. It has Debian's kernel, no network, and no need of /dev/kvm: an emulated processor works anywhere.
"""

from __future__ import annotations

import hashlib
import lzma
import platform
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .common import ServiceError, ServiceMissingError, cache_dir, find, lock, run, tool

SHARED = "/run/shared"
"""Where a shared directory is in it."""

_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_MEMORY = "1536M"
_INIT = """#!/bin/busybox sh
busybox() { /bin/busybox "$@"; }
busybox mkdir -p /proc /sys /dev /new
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
for module in MODULES; do busybox insmod /modules/$module.ko; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro,msize=512000 root /new
busybox mount -t tmpfs -o mode=1777 tmp /new/tmp
busybox mount -t tmpfs run /new/run
for place in proc sys dev; do busybox mount --move /$place /new/$place; done
busybox mount -t cgroup2 cgroup /new/sys/fs/cgroup
busybox mkdir -p /new/dev/shm /new/dev/pts /new/run/shared
busybox mount -t tmpfs -o mode=1777 shm /new/dev/shm
busybox mount -t devpts pts /new/dev/pts
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 shared /new/run/shared
busybox ip link set lo up
busybox cp /bin/busybox /new/run/busybox
exec /bin/busybox switch_root /new /bin/sh -c 'sh /run/shared/start; /run/busybox poweroff -f'
"""


def boot(shared: Path, command: Sequence[str | Path], env: Mapping[str, str], timeout: float) -> str:
    """Boot it, run a command as root with `env` in this directory, and return what its console shows until it is off.

    `shared` is a directory of this machine that it may write to, at SHARED.

    Raises:
        ServiceMissingError: this machine has no QEMU, or no kernel for it.
        ServiceError: it was not off after `timeout` seconds.
    """
    qemu, place = _tool(), kernel()
    exports = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    lines = [*exports, shlex.join(["cd", str(Path.cwd())]), shlex.join(map(str, command))]
    (shared / "start").write_text("\n".join([*lines, ""]))
    words = [qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-m", _MEMORY, "-smp", "2"]
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    words += ["-kernel", place / "vmlinuz", "-initrd", place / "initrd"]
    words += ["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all mitigations=off"]
    for tag, options in (("root", "path=/,readonly=on,multidevs=remap"), ("shared", f"path={shared}")):
        words += ["-fsdev", f"local,id={tag},security_model=none,{options}"]
        words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    return run(words, timeout=timeout, check=False).stdout


def _tool() -> Path:
    if platform.machine() != "x86_64":
        raise ServiceMissingError(f"a Linux of its own is an x86-64 one, and this machine is {platform.machine()}")
    return tool("qemu-system-x86_64")


def kernel() -> Path:
    """The directory with Debian's kernel, from this machine's apt sources, and its first file system.

    Raises:
        ServiceMissingError: it cannot be downloaded here.
    """
    busybox = tool("busybox")
    if find("apt-get") is None:
        raise ServiceMissingError("a Linux of its own takes its kernel from Debian's packages, and here is no apt-get")
    key = hashlib.sha256(repr((_INIT, _MODULES)).encode()).hexdigest()[:8]
    with lock("linux"):
        place = cache_dir() / f"linux-{key}"
        if not place.is_dir():
            with tempfile.TemporaryDirectory(prefix="linux-", dir=cache_dir()) as scratch:
                part = Path(scratch) / "part"
                part.mkdir()
                _make(Path(scratch), part, busybox)
                part.rename(place)
    return place


def _make(scratch: Path, part: Path, busybox: Path) -> None:
    """Download the kernel, and write what is booted into `part`."""
    try:
        package = re.findall(r"linux-image-\d\S+", run(["apt-cache", "depends", "linux-image-amd64"]).stdout)[0]
        # apt's own user, to which it would change, cannot write here.
        run(["apt-get", "-o", "APT::Sandbox::User=root", "download", package], cwd=scratch)
    except (ServiceError, IndexError) as error:
        raise ServiceMissingError(f"Debian's kernel cannot be downloaded: {error}") from error
    run(["dpkg-deb", "-x", next(scratch.glob("*.deb")), scratch / "files"])
    shutil.copy(next((scratch / "files/boot").glob("vmlinuz-*")), part / "vmlinuz")
    found = {path.name.split(".")[0]: path for path in (scratch / "files").rglob("*.ko*")}
    modules: dict[str, bytes] = {}
    for name in _MODULES:
        _add(name, found, modules)
    init = _INIT.replace("MODULES", " ".join(modules))
    files = [("init", 0o100755, init.encode()), ("bin/busybox", 0o100755, busybox.read_bytes())]
    files += [(f"modules/{name}.ko", 0o100644, data) for name, data in modules.items()]
    folders = [(name, 0o40755, b"") for name in ("bin", "modules", "dev")]
    (part / "initrd").write_bytes(archive([*folders, *files]))


def _add(name: str, found: Mapping[str, Path], modules: dict[str, bytes]) -> None:
    """Add a module after those that it depends on. One without a file is built in."""
    path = found.get(name) or found.get(name.replace("_", "-"))
    if path is None or name in modules:
        return
    data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    if depends := re.search(rb"\0depends=([^\0]+)\0", data):
        for other in depends[1].decode().split(","):
            _add(other, found, modules)
    modules[name] = data


def archive(rows: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return a first file system: a cpio archive of (name, mode, content), directories before what is in them."""
    return b"".join(_entry(*row) for row in [*rows, ("TRAILER!!!", 0, b"")])


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """Return an entry of a cpio archive (the kernel's initramfs-buffer-format)."""
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
