"""An aarch64 Linux in QEMU, whose files are all in memory: for programs that this machine's processor cannot run.

It has Debian's kernel, no disk and no network. Its programs are from Debian's packages for aarch64, and from the test.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .common import ServiceError, ServiceMissingError, cache_dir, find, lock, run, tool
from .debian import host_suite, mirror
from .linux import archive

LIBRARIES = ("libc.so.6", "libresolv.so.2", "ld-linux-aarch64.so.1")
"""What a program of `busybox` needs in /lib."""
_FILES = {
    "busybox-static": {"busybox-static": "bin/busybox"},
    "busybox": {"busybox": "bin/busybox"},
    "libc6": {name: f"lib/aarch64-linux-gnu/{name}" for name in LIBRARIES},
}
"""Package -> the names of its files in `programs`, and where they are in the package."""
_INIT = """#!/bin/busybox sh
busybox() { /bin/busybox "$@"; }
busybox mkdir -p /proc /sys /dev /tmp
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox --install -s /bin
PATH=/bin busybox sh /script
busybox poweroff -f
"""


def programs() -> Path:
    """The directory with `vmlinuz`, and with the files of Debian's packages that `_FILES` names.

    Raises:
        ServiceMissingError: they cannot be downloaded here.
    """
    if find("apt-get") is None or find("dpkg-deb") is None:
        raise ServiceMissingError("an aarch64 Linux is made of Debian's packages, and here is no apt-get")
    suite = host_suite()
    with lock("arm"):
        place = cache_dir() / f"arm-{suite}"
        if not place.is_dir():
            with tempfile.TemporaryDirectory(prefix="arm-", dir=cache_dir()) as scratch:
                part = Path(scratch) / "part"
                part.mkdir()
                try:
                    _download(Path(scratch), part, f"deb {mirror()} {suite} main\n")
                except (ServiceError, IndexError, StopIteration) as error:
                    raise ServiceMissingError(f"Debian's packages for aarch64 cannot be had: {error}") from error
                part.rename(place)
    return place


def _download(scratch: Path, part: Path, source: str) -> None:
    """Take what `programs` has from packages, with lists of apt's that are not the machine's."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    (scratch / "state/status").touch()
    (scratch / "sources.list").write_text(source)
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",  # apt's own cannot write here
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "Dir::State": f"{scratch}/state",
        "Dir::State::status": f"{scratch}/state/status",
        "Dir::Cache": f"{scratch}/cache",
        "Dir::Etc::sourcelist": f"{scratch}/sources.list",
        "Dir::Etc::sourceparts": "-",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *options, "update"])
    depends = run(["apt-cache", *options, "depends", "linux-image-arm64"]).stdout
    kernel = re.findall(r"linux-image-\d\S+", depends)[0]
    for package in (kernel, *_FILES):
        place = scratch / package
        place.mkdir()
        run(["apt-get", *options, "download", package], cwd=place)
        run(["dpkg-deb", "-x", next(place.glob("*.deb")), place / "files"])
        for name, path in _FILES.get(package, {}).items():
            shutil.copy(place / "files" / path, part / name)
    shutil.copy(next((scratch / kernel / "files/boot").glob("vmlinuz-*")), part / "vmlinuz")


def boot(files: Mapping[str, tuple[int, bytes]], script: str, timeout: float) -> str:
    """Boot it, run a shell script as root, and return what its console shows until it is off.

    `files` are paths, without a slash in front, with their types and modes and their contents; their directories are
    made. Raises ServiceMissingError without QEMU, and ServiceError if it was not off after `timeout` seconds.
    """
    qemu, place = tool("qemu-system-aarch64"), programs()
    executable = 0o100755
    own = {
        "init": (executable, _INIT.encode()),
        "script": (executable, script.encode()),
        "bin/busybox": (executable, (place / "busybox-static").read_bytes()),
    }
    everything = {**own, **files}
    folders = {str(above) for path in everything for above in Path(path).parents} - {"."}
    rows = [(name, 0o40755, b"") for name in sorted(folders)]
    rows += [(name, *row) for name, row in everything.items()]
    with tempfile.TemporaryDirectory(prefix="pybuild-arm-") as scratch:
        initrd = Path(scratch) / "initrd"
        initrd.write_bytes(archive(rows))
        words = [qemu, "-machine", "virt", "-accel", "tcg,thread=multi", "-cpu", "max,pauth=off", "-m", "1024M"]
        words += ["-smp", "2", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
        words += ["-kernel", place / "vmlinuz", "-initrd", initrd]
        words += ["-append", "console=ttyAMA0 quiet panic=-1 mitigations=off"]
        return run(words, timeout=timeout, check=False).stdout.replace("\r\n", "\n")
